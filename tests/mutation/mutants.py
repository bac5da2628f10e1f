"""Break the money path in one small place, run the tests that should notice, and do it again.

    python tests/mutation/mutants.py --count 150 --seed 1            # a sample of every room, in a private copy
    python tests/mutation/mutants.py --only ledger/counters.py       # all of one file

A mutant that no test notices survives: it gets a test, or stands in equivalent.txt with the reason why it changes nothing.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ROOM = "x402_agent"
LEDGER = ["tests/ledger/test_budget.py", "tests/ledger/test_states.py", "tests/ledger/test_idempotent.py", "tests/ledger/test_machine.py"]
FLOW = ["tests/transport/test_matrix.py", "tests/transport/test_hostile.py", "tests/transport/test_policy.py",
        "tests/transport/test_credentials.py", "tests/transport/test_prepay.py", "tests/hostile/test_rows.py"]  # fmt: skip
TESTS: dict[str, list[str]] = {
    "flow.py": FLOW,
    "steps.py": FLOW,
    "payer/kit.py": [*FLOW, "tests/approvals/test_asking.py"],
    "transport/wire.py": [*FLOW, "tests/transport/test_options.py"],
    "payer/prepay.py": ["tests/transport/test_prepay.py"],
    "tasks/task.py": ["tests/tasks"],
    "tasks/slips.py": ["tests/tasks"],
    "scopes.py": ["tests/policy", "tests/ledger/test_nested.py"],
    "policy/choose.py": ["tests/policy", "tests/transport/test_policy.py"],
    "policy/rules.py": ["tests/policy"],
    "policy/bounds.py": ["tests/policy"],
    "policy/reasons.py": ["tests/policy"],
    "policy/identity.py": ["tests/policy"],
    "policy/live.py": ["tests/policy"],
    "policy/value.py": ["tests/policy"],
    "ledger/counters.py": ["tests/ledger/test_windows.py", "tests/ledger/test_charges.py", *LEDGER, "tests/ledger/test_nested.py", "tests/policy/test_budgets.py"],
    "ledger/windows.py": ["tests/ledger/test_windows.py", *LEDGER],
    "ledger/budget.py": [*LEDGER, "tests/ledger/test_windows.py", "tests/policy/test_budgets.py"],
    "ledger/freezes.py": ["tests/ledger/test_freezes.py", "tests/policy/test_stop.py", "tests/cli/test_freeze.py"],
    "ledger/moves.py": [*LEDGER, "tests/ledger/test_charges.py", "tests/ledger/test_broadcasts.py"],
    "ledger/charges.py": ["tests/ledger/test_charges.py", "tests/recovery/test_receipts.py"],
    "ledger/purchase.py": ["tests/ledger/test_idempotent.py", "tests/ledger/test_find.py", "tests/ledger/test_machine.py"],
    "ledger/slips.py": ["tests/tasks"],
    "ledger/tokens.py": ["tests/ledger/test_tokens.py", "tests/transport/test_credentials.py", "tests/cli/test_credentials.py"],
    "ledger/sqlite.py": [*LEDGER, "tests/ledger/test_find.py", "tests/ledger/test_processes.py", "tests/recovery"],
    "ledger/states.py": LEDGER,
    "ledger/store.py": [*LEDGER, "tests/ledger/test_files.py", "tests/ledger/test_processes.py", "tests/ledger/test_notes.py"],
    "dialects/strict.py": ["tests/dialects"],
    "dialects/x402/dialect.py": ["tests/dialects"],
    "dialects/x402/offers.py": ["tests/dialects"],
    "chains/evm/chain.py": ["tests/chains"],
    "chains/evm/eip3009.py": ["tests/chains"],
    "chains/evm/permit2.py": ["tests/chains"],
    "chains/evm/charge.py": ["tests/chains"],
    "chains/evm/fate.py": ["tests/chains"],
    "chains/evm/lookup.py": ["tests/chains"],
    "signer/session.py": ["tests/signer"],
    "signer/service.py": ["tests/signer"],
    "signer/frames.py": ["tests/signer"],
    "signer/nouns.py": ["tests/signer"],
    "signer/peers.py": ["tests/signer"],
    "approvals/asking.py": ["tests/approvals"],
    "approvals/request.py": ["tests/approvals"],
    "approvals/file.py": ["tests/approvals"],
    "approvals/webhook.py": ["tests/approvals"],
}
_SWAPS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_DULL = ("log.", "__slots__", "__all__", "hint=", "_HINT")


class Mutant(NamedTuple):
    """One small change: `new` bytes for those from `start` to `end` of a file."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    new: bytes

    def apply(self, source: bytes) -> bytes:
        """The broken file."""
        return source[: self.start] + self.new + source[self.end :]

    def told(self, source: bytes) -> str:
        """`ledger/budget.py:103 compare: used + adds > limit.most -> >=`, stable while the line stays as it is."""
        old = b" ".join(source[self.start : self.end].split()).decode()
        return f"{self.file} | {self.kind} | {old[:110]} -> {b' '.join(self.new.split()).decode()[:110]}"


class _Places:
    """Byte offsets of nodes."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.expr | ast.stmt) -> bytes:
        start, end = self.span(node)
        return self.source[start:end]


def mutants(file: str, source: bytes) -> Iterator[Mutant]:
    """Every small change that we know of, in the order of the file."""
    places = _Places(source)
    lines = source.decode().splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.expr | ast.stmt) or any(dull in lines[node.lineno - 1] for dull in _DULL):
            continue
        for kind, at, new in _changes(node, places):
            start, end = places.span(at)
            if source[start:end] != new:
                yield Mutant(file, node.lineno, kind, start, end, new)


def _changes(node: ast.expr | ast.stmt, places: _Places) -> Iterator[tuple[str, ast.expr | ast.stmt, bytes]]:
    text = places.text
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield "compare", node, b"(%s) %s (%s)" % (text(left), _SWAPS[type(op)].encode(), text(right))
        case ast.BoolOp(op=op, values=values):
            word = b" or " if isinstance(op, ast.And) else b" and "
            yield "bool", node, b"(" + word.join(b"(%s)" % text(each) for each in values) + b")"
            yield "drop-last", node, b"(" + (b" and " if word == b" or " else b" or ").join(b"(%s)" % text(each) for each in values[:-1]) + b")"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", node, b"(%s)" % text(operand)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            yield "sign", node, b"(%s) %s (%s)" % (text(left), b"-" if isinstance(op, ast.Add) else b"+", text(right))
        case ast.If(test=test, body=[ast.Raise() | ast.Return() | ast.Continue() | ast.Break()]) if b"TYPE_CHECKING" not in text(test):
            yield "drop-check", test, b"False"
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield "drop-call", node, b"pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return-none", node, b"return None"
        case ast.Constant(value=bool() as value):
            yield "flip", node, str(not value).encode()
        case ast.Constant(value=int() as value):
            yield "number", node, str(value + 1).encode()
        case ast.Call(args=[first, second, *_]) if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
            start, end = places.span(node)
            (a, b), (c, d) = places.span(first), places.span(second)
            source = places.source
            yield "swap", node, source[start:a] + source[c:d] + source[b:c] + source[a:b] + source[d:end]
        case _:
            return


def chosen(count: int, seed: int, only: str) -> list[Mutant]:
    """A sample that gives every file its share; all of one file with `only`."""
    pick = random.Random(seed)
    by_file = {file: list(mutants(file, (ROOT / ROOM / file).read_bytes())) for file in TESTS if only in ("", file)}
    if only:
        return [each for found in by_file.values() for each in found][: count or None]
    sample: list[Mutant] = []
    total = sum(map(len, by_file.values()))
    for found in by_file.values():
        sample += pick.sample(found, min(len(found), max(2, round(count * len(found) / total))))
    pick.shuffle(sample)
    return sample


def survives(copy: Path, mutant: Mutant, seconds: float) -> bool:
    """Whether no test of those that should notices it."""
    target = copy / ROOM / mutant.file
    source = target.read_bytes()
    target.write_bytes(mutant.apply(source))
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-m", "not full", *TESTS[mutant.file]]
    try:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return False
    finally:
        target.write_bytes(source)
    return done.returncode == 0


def equivalent() -> set[str]:
    """Mutants that change nothing, each with its reason on the line above."""
    text = Path(__file__).with_name("equivalent.txt").read_text("utf-8")
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def main() -> int:
    """Print every survivor; 1 when there is one that equivalent.txt does not know."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=150)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="one file of the package, for example ledger/budget.py")
    options.add_argument("--seconds", type=float, default=240, help="for the tests of one mutant; longer counts as noticed")
    given = options.parse_args()
    sample, known, left = chosen(given.count, given.seed, given.only), equivalent(), 0
    with tempfile.TemporaryDirectory(prefix="x402-mutants-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv*", ".git", "__pycache__", "build"))
        for number, mutant in enumerate(sample, 1):
            told = mutant.told((copy / ROOM / mutant.file).read_bytes())
            if told in known:
                continue
            if survives(copy, mutant, given.seconds):
                left += 1
                print(f"SURVIVES line {mutant.line}: {told}", flush=True)
            else:
                print(f"{number}/{len(sample)} noticed: {mutant.file}:{mutant.line} {mutant.kind}", flush=True)
    print(f"{len(sample)} mutants, {left} survived, seed {given.seed}")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
