"""Ten situations, the official client and ours, each in a process of its own against the same hostile seller on loopback.

    python benchmarks/compare.py --official PYTHON      # the table of docs/compare.md; --json for programs

The seller is `tests/loopback.py`. What is told is what the seller saw: which authorisations, where, how many.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from paid_request import measure

from loopback import Hit, Seller

__all__: list[str] = []

HERE = Path(__file__).parent
YEARS = 10 * 365 * 86400
Facts = dict[str, Any]


@dataclass
class Scene:
    """`build` sets the sellers up and returns the orders, one per process; `tell` says what came of them."""

    name: str
    build: Callable[[Seller, Seller], list[Facts]]
    tell: Callable[[Seller, Seller, list[Facts]], str]


def _gone(seller: Seller) -> str:
    """A seller who takes the payment and never answers; a second authorisation would be taken as well."""

    def route(hit: Hit) -> bytes | Iterator[bytes]:
        return hit.reset() if hit.proof else seller.ask("/gone")

    return seller.serves("/gone", route)


def _redirect(seller: Seller, other: Seller) -> list[Facts]:
    other.serves("/collect", other.answer(200, b"thanks"))
    moved = seller.answer(302, b"", location=other.url("/collect"))
    return [{"urls": [seller.sells("/moved", moved)]}]


def _offers(seller: Seller, path: str, *entries: Facts) -> str:
    document = seller.terms(path)
    good = document["accepts"][0]
    document["accepts"] = [entry if "drop" in entry else {**good, **entry} for entry in entries]
    return seller.demands(path, document)


def _bomb(seller: Seller, _: Seller) -> list[Facts]:
    body = gzip.compress(b'{"x402Version":1,"accepts":[' + b" " * (300 << 20) + b"]}")
    answer = seller.answer(402, body, content_encoding="gzip", content_type="application/json")
    return [{"urls": [seller.serves("/bomb", answer)], "timeout": 30}]


def _nested(seller: Seller, _: Seller) -> list[Facts]:
    body = b'{"x402Version":1,"accepts":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    return [{"urls": [seller.serves("/nested", seller.answer(402, body, content_type="application/json"))]}]


def _proofs(seller: Seller, _: Seller, __: list[Facts]) -> str:
    count = len(seller.nonces)
    return f"{count} authorisation{'' if count == 1 else 's'} signed"


def _lifetime(seller: Seller, _: Seller, __: list[Facts]) -> str:
    if not seller.proofs:
        return "nothing signed"
    left = int(seller.authorization(seller.proofs[0])["validBefore"]) - time.time()
    return f"signed for {left / 86400 / 365:.1f} years" if left > 86400 * 365 else f"signed for {left / 60:.0f} minutes"


def _price(seller: Seller, _: Seller, __: list[Facts]) -> str:
    paid = [int(seller.authorization(proof)["value"]) / 1e6 for proof in seller.proofs]
    return f"{paid[0]:.3f} USDC signed" if paid else "nothing signed"


def _leak(_: Seller, other: Seller, __: list[Facts]) -> str:
    return "the proof went to the second host" if other.proofs else "the proof stayed with the host that asked"


def _cost(_: Seller, __: Seller, facts: list[Facts]) -> str:
    one = facts[0]
    died = f"the process died: {one['died']}" if "died" in one else one["told"][0].partition(":")[0].partition(" ")[0]
    return f"{died}; {one['seconds']:.1f} s, {max(0, one['megabytes']):.0f} MB"


def _malformed(seller: Seller, _: Seller, facts: list[Facts]) -> str:
    return "the good entry is paid" if seller.proofs else facts[0]["told"][0][:60]


SCENES = [
    Scene("the answer is lost, the caller calls three times", lambda s, _: [{"urls": [_gone(s)] * 3}], _proofs),
    Scene("the seller asks for a ten-year authorisation",
          lambda s, _: [{"urls": [_offers(s, "/years", {"maxTimeoutSeconds": YEARS})]}], _lifetime),
    Scene("the first of two offers costs 0.050, the second 0.001",
          lambda s, _: [{"urls": [_offers(s, "/two", {"amount": "50000"}, {"amount": "1000"})]}], _price),
    Scene("the paid request is redirected to another host", _redirect, _leak),
    Scene("a 402 whose JSON is 200,000 brackets deep", _nested, _cost),
    Scene("a 402 of 0.3 MB that unpacks to 300 MB", _bomb, _cost),
    Scene("20 calls at once at 0.01 under a budget of 0.05",
          lambda s, _: [{"urls": [f"{s.sells('/tasks')}?n={n}" for n in range(20)], "parallel": True, "budget": 50_000}], _proofs),
    Scene("the answer is lost, the process ends, a new one calls again",
          lambda s, _: [{"urls": [_gone(s)]}, {"urls": [_gone(s)]}], _proofs),
    Scene("one malformed entry before a good one",
          lambda s, _: [{"urls": [_offers(s, "/entry", {"drop": 1, "scheme": "exact", "network": "eip155:84532"}, {})]}], _malformed),
]  # fmt: skip


def _run(python: str, who: str, order: Facts, home: str) -> Facts:
    start = time.perf_counter()
    words = [python, str(HERE / "compare_clients.py"), who, json.dumps({**order, "home": home})]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        died = f"signal {-done.returncode}" if done.returncode < 0 else done.stderr.strip().splitlines()[-1][:80]
        return {"died": died, "seconds": time.perf_counter() - start, "megabytes": 0, "told": [""]}
    facts: Facts = json.loads(done.stdout)
    return facts


def _play(scene: Scene, python: str, who: str) -> str:
    seller, other = Seller(), Seller()
    try:
        free = seller.serves("/free", seller.answer(200, b"free"))
        with tempfile.TemporaryDirectory() as home:
            facts = [_run(python, who, {**order, "free": free}, home) for order in scene.build(seller, other)]
        return scene.tell(seller, other, facts)
    finally:
        seller.close()
        other.close()


def _speed(python: str) -> tuple[str, str, str]:
    found = measure(rounds=6, calls=40, python=python)
    best = {name: min(wall for wall, _ in rounds) * 1e3 for name, rounds in found.items()}
    theirs = f"{best['official, with coincurve']:.1f} ms (without coincurve {best['official, without']:.1f})"
    return "a paid call, best of the rounds", theirs, f"{best['ours, paid, durable']:.1f} ms, written down durably first"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", default=os.environ.get("X402_OFFICIAL_PYTHON", ""), help="the Python of its environment")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    if not options.official:
        parser.error("name the official client's Python: --official, or X402_OFFICIAL_PYTHON; make .venv-official/.ok makes one")
    rows = [_speed(options.official)]
    for scene in SCENES:
        rows.append((scene.name, _play(scene, options.official, "official"), _play(scene, sys.executable, "ours")))
        print(f"{len(rows)} of {len(SCENES) + 1}: {scene.name}", file=sys.stderr)
    if options.json:
        print(json.dumps([{"situation": name, "official": theirs, "ours": ours} for name, theirs, ours in rows]))
        return
    print("| situation | official client | x402_agent |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
