"""The chain matrix of the README, made of the tests that prove it.

    python tools/matrix.py             what each cell stands on
    python tools/matrix.py --write     writes the table into README.md, between its two marks

A test says what it proves: `@pytest.mark.proves("solana", "exact", "pays", "killed")`; a judge is named: `by="tronweb"`.
tests/test_matrix.py fails when the page and the tests differ, so a cell ends with its test. A new way of paying is a line in ROWS.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["COLUMNS", "ROWS", "Claim", "claims", "page", "table"]

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- matrix: python tools/matrix.py --write -->", "<!-- end of matrix -->"
ROWS = {
    ("evm", "exact"): "EVM: `exact` by EIP-3009, x402 v1 and v2",
    ("evm", "permit2"): "EVM: `exact` by Permit2",
    ("evm", "upto"): "EVM: `upto` by Permit2",
    ("evm", "transfer"): "EVM: a transfer that pays first",
    ("solana", "exact"): "Solana: `exact`, v1 and v2",
    ("solana", "transfer"): "Solana: a transfer that pays first",
    ("solana", "lily"): "Solana: Lily, by proof, session and credits",
    ("stacks", "exact"): "Stacks: `exact`, v2 (STX, sBTC, USDCx)",
    ("stacks", "v1"): "Stacks: v1, the transaction in the header",
    ("stacks", "draft"): "Stacks: `signedTransaction` of the draft",
    ("stacks", "sponsored"): "Stacks: `exact`, the fee sponsored",
    ("stacks", "transfer"): "Stacks: a transfer or call that pays first",
    ("stacks", "x402pay"): "Stacks: x402Pay, by transfer and by contract",
    ("tron", "exact_permit"): "TRON: `exact_permit`, its fee counted",
    ("tron", "permit2"): "TRON: `exact` by Permit2",
    ("tron", "transfer"): "TRON: a transfer that pays first",
    ("tron", "invoice"): "TRON: an invoice, its monitor waited for",
}
COLUMNS = {
    "pays": "is paid",
    "seller": "sandbox seller",
    "facilitator": "verify, settle",
    "fate": "fate and recovery",
    "killed": "kill -9 anywhere",
    "judge": "judged by others",
}


class Claim(NamedTuple):
    """One test's word for one cell: `by` is whose program judges."""

    family: str
    way: str
    column: str
    path: str
    test: str
    by: str


def claims(folder: Path = ROOT / "tests") -> list[Claim]:
    """What every test claims, in the order of files and lines; raises ValueError for a mark that nobody could read."""
    found: list[Claim] = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text("utf-8")
        if "mark.proves(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            for mark in getattr(node, "decorator_list", []):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.proves":
                    found += _claimed(mark, path, node)
    return found


def _claimed(mark: ast.Call, path: Path, node: ast.AST) -> list[Claim]:
    where = f"{path.name}: {ast.unparse(mark)}"
    name = getattr(node, "name", "")
    try:
        family, way, *columns = map(ast.literal_eval, mark.args)
        by = {each.arg: ast.literal_eval(each.value) for each in mark.keywords}
    except ValueError:
        raise ValueError(f"{where}: only plain words can be read") from None
    if not name.startswith("test_") or not path.name.startswith("test_"):
        raise ValueError(f"{where}: this is no test that runs")
    if (family, way) not in ROWS or not columns or not set(columns) <= set(COLUMNS) or not set(by) <= {"by"}:
        raise ValueError(f"{where}: no such row or column")
    if ("judge" in columns) != bool(by):
        raise ValueError(f"{where}: a judge, and nothing else, has a name")
    shown = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return [Claim(family, way, column, shown, name, by.get("by", "")) for column in columns]


def table(found: list[Claim]) -> str:
    """The matrix as Markdown: rows that a test speaks of, a link to the test's file in each cell."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for (family, way), label in ROWS.items():
        own = [each for each in found if (each.family, each.way) == (family, way)]
        if own:
            lines.append(f"| {label} | " + " | ".join(_cell([each for each in own if each.column == column]) for column in COLUMNS) + " |")
    return "\n".join(lines)


def _cell(own: list[Claim]) -> str:
    """`yes`, linked once; judges by name; `-` where no test says anything."""
    seen: dict[str, str] = {}
    for each in own:
        seen.setdefault(each.by or "yes", each.path)
    return ", ".join(f"[{word}]({path})" for word, path in seen.items()) or "-"


def page(text: str, found: list[Claim]) -> str:
    """A page with its matrix made anew; raises ValueError for one without the two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{begin}\n{table(found)}\n{end}{after}"


def main() -> int:
    """Show, or write; -> exit code."""
    found, readme = claims(), ROOT / "README.md"
    if "--write" in sys.argv[1:]:
        readme.write_text(page(readme.read_text("utf-8"), found), "utf-8")
        return 0
    for key in ROWS:
        for each in found:
            if (each.family, each.way) == key:
                print(f"{each.family:7} {each.way:13} {each.column:12} {each.path}::{each.test}{' by ' + each.by if each.by else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
