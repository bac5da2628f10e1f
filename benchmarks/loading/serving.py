"""A seller in a process of its own, for `load.py`: told on stdin what to make, it answers on stdout, a JSON line each.

    {"do": "make", "count": N, "file": PATH}   paid requests, one a line; the clock of the load does not run
    {"do": "spent"}                            CPU so far, memory, payments that moved money, requests that came
    {"do": "look"}, {"do": "looked"}           a profile of the server's thread, and where its time went

The sandbox's own clock runs at a tenth: what was signed before the load begins must still stand when its turn comes.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))

from loading.shots import ROWS

from x402_agent.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loading.shots import Row

__all__ = ["serve"]

SLOWER = 10
BOOKS = ("kamiyo", "x402pay", "monitor", "lily")  # sellers that keep a database
_PLACES = (  # what stands in a file's name: what it is called; the first that fits
    ("/asyncio/", "asyncio"), ("/selectors.py", "asyncio"), ("/h11/", "HTTP parser"), ("/uvicorn/", "uvicorn"), ("/json/", "JSON"),
    ("/x402_agent/database.py", "SQL"), ("/x402_agent/primitives", "signatures, hashes"), ("/x402_agent/encodings", "signatures, hashes"),
    ("/coincurve/", "signatures, hashes"), ("/chains/stacks/", "transactions read"), ("/sandbox/machines.py", "EVM"), ("/sandbox/evm.py", "EVM"),
    ("/sandbox/tron/chain.py", "EVM"), ("/sandbox/solana/chain.py", "Solana's VM"), ("/sandbox/stacks/", "the pretend Stacks"), ("facilitator.py", "facilitator"),
    ("/sandbox/messages.py", "JSON"), ("/dialects/strict.py", "JSON"), ("/sandbox/server.py", "our ASGI app"), ("/sandbox/app.py", "our ASGI app"),
)  # fmt: skip


class Looks:
    """A profile of the server's thread, which it begins and ends itself: inside the next request that comes."""

    def __init__(self, box: Sandbox) -> None:
        self._box, self._app, self._handle = box, cast("Any", box.app), box.app.handle
        self._profile = cProfile.Profile()
        self._on = False

    def begin(self) -> None:
        """From the next request on."""
        self._app.handle = self._first

    def _first(self, request: Any) -> Any:
        if not self._on:
            self._on = True
            self._profile.enable()
        return self._handle(request)

    def _last(self, request: Any) -> Any:
        self._profile.disable()
        self._app.handle = self._handle
        return self._handle(request)

    def end(self) -> dict[str, float]:
        """Shares of the time in which it did something, by place, the largest first."""
        self._app.handle = self._last
        urlopen(self._box.url("/facilitator/supported")).close()  # noqa: S310 - our own, on loopback
        found: Counter[str] = Counter()
        for (file, _, name), (_, _, own, _, callers) in pstats.Stats(self._profile).stats.items():  # type: ignore[attr-defined]
            if file != "~":
                found[_place(file)] += own
                continue
            for (caller, _, _), (_, _, part, _) in callers.items():  # what C does is its caller's
                if "poll" not in name:
                    found[_place(caller) if caller != "~" else "other"] += part
        total = sum(found.values()) or 1.0
        return {name: seconds / total for name, seconds in found.most_common()}


def _place(file: str) -> str:
    file = file.replace("\\", "/")
    known = next((name for part, name in _PLACES if part in file), "")
    inside = file.partition("/x402_agent/sandbox/")[2]
    return known or (f"seller ({inside.partition('/')[0].removesuffix('.py')})" if inside else "other")


def _spent(box: Sandbox) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": time.process_time(), "rss": used.ru_maxrss // 1024, "payments": len(box.settlements), "requests": box.requests_since(0)[1]}


def serve(row: Row, orders: Mapping[str, Callable[[Sandbox, dict[str, Any]], dict[str, Any]]]) -> None:
    """Serve a row until stdin ends; `orders` are more that it takes."""
    start = time.time()
    with tempfile.TemporaryDirectory(prefix="x402-") as folder:
        books = f"{folder}/books.db" if row.seller in BOOKS else ""
        with Sandbox(chain=row.chain, seller=row.seller, database=books, clock=lambda: start + (time.time() - start) / SLOWER) as box:
            box.serve()
            print(json.dumps({"origin": box.origin, "backend": box.backend}), flush=True)
            looks = Looks(box)
            for line in sys.stdin:
                order = json.loads(line)
                said: dict[str, Any] = {}
                if order["do"] == "make":
                    with Path(order["file"]).open("w", encoding="utf-8") as file:
                        file.writelines(json.dumps(shot) + "\n" for shot in row.made(box, order["count"]))
                    gc.collect()
                elif order["do"] == "look":
                    looks = Looks(box)
                    looks.begin()
                elif order["do"] == "looked":
                    said["shares"] = looks.end()
                elif order["do"] in orders:
                    said |= orders[order["do"]](box, order)
                print(json.dumps(said | _spent(box)), flush=True)


if __name__ == "__main__":
    serve(next(each for each in ROWS if each.name == sys.argv[1]), {})
