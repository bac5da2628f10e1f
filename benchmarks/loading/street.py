"""Five systems' sellers on four chains in one process, each behind a proxy that misbehaves, and so are their nodes. Told what to do line by line (JSON) on its
stdin; says on its stdout what a client has to know, and at the end what truly moved on the chains.

    python street.py SEED SHARE T0 SPEED

Time runs SPEED times as fast as the machine's since T0 (unix seconds), for chains and clients alike: depth then comes in seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from faults import Faults, Proxy

from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.app import App
from x402_agent.sandbox.seller import seller

__all__ = ["STALLS", "Stall", "fast"]

PIECES = 4_000  # articles of the blog, each to be bought once
ALLOWED = 10**12  # atomic units that an account is given: no test of ours is about an empty purse


class Stall(NamedTuple):
    """One seller on one chain: what is bought there, how often beside the others, and how many calls at a time each agent expects."""

    seller: str
    chain: str
    paths: tuple[str, ...]
    weight: int
    expect: int = 1


STALLS = (
    Stall("shop", "evm", ("/joke", "/v1/joke", "/upload", "/report", "/order", "/stream"), 8),
    Stall("kamiyo", "solana", ("/exploits", "/exploits/latest-alert", "/wallets/risk-check"), 6, 10),
    Stall("x402pay", "stacks", ("/articles/piece-{}",), 1),  # it answers about ten payments a minute
    Stall("monitor", "tron", ("/joke", "/report"), 3),
    Stall("shop", "stacks", ("/joke", "/stx", "/sponsored"), 3),
    Stall("lily", "solana", ("/joke", "/report"), 3, 5),
)


def fast(start: float, speed: float) -> Any:
    """A clock: unix seconds, `speed` times as fast since `start`."""
    return lambda: start + (time.time() - start) * speed


class Street:
    """The stalls, open."""

    def __init__(self, seed: int, share: float, start: float, speed: float) -> None:
        self.faults = Faults(seed, share)
        self.boxes: list[tuple[Stall, Sandbox]] = []
        grounds: dict[str, Sandbox] = {}
        for stall in STALLS:
            box = Sandbox(clock=fast(start, speed), chain=stall.chain, seller=stall.seller)
            if stall.chain in grounds:  # two sellers on one chain: a client has one node for it
                box.close()
                box.ground = grounds[stall.chain].ground
                box.seller = seller(stall.seller, box.ground, "honest", "")
                box.app = App(box)
            grounds.setdefault(stall.chain, box)
            box.serve()
            self.boxes.append((stall, box))
            _stocked(stall, box)
        self.grounds = {chain: box.ground for chain, box in grounds.items()}
        for chain, ground in self.grounds.items():
            _endowed(chain, ground)
        self._had = self._held()

    async def opened(self) -> dict[str, Any]:
        """What a client needs: addresses of proxies, keys of test money, settings."""
        stalls, nodes = [], {}
        for number, (stall, box) in enumerate(self.boxes):
            host, port = f"127.0.0.{number + 10}", int(box.origin.rpartition(":")[2])
            origin = f"http://{host}:{await Proxy(self.faults, port).start(host)}"
            if box.network not in nodes:
                nodes[box.network] = f"http://127.0.1.{number + 10}:{await Proxy(self.faults, port).start(f'127.0.1.{number + 10}')}{box.ground.node_path}"
            settings = {name: {origin: dict(said)} for name, said in box.seller.dialect_settings(origin).items()}
            stalls.append({**stall._asdict(), "origin": origin, "network": box.network, "dialects": settings, "coins": dict(box.seller.coins)})
        keys = {chain: ground.payer_key.hex() for chain, ground in self.grounds.items()}
        return {"stalls": stalls, "nodes": nodes, "keys": keys}

    def _held(self) -> dict[str, int]:
        """Atomic units of each token that the payer has, by its id: coins of networks are looked at by `_coins`."""
        return {ground.asset.id: ground.balance(ground.payer_address) for ground in self.grounds.values()}

    def truth(self) -> dict[str, Any]:
        """Atomic units that left the payer for goods, by asset; and the transactions whose sessions are used up, with when."""
        moved = {asset: self._had[asset] - now for asset, now in self._held().items()}
        stacks = self.grounds["stacks"]
        ours = stacks.payer_address
        history = [each for each in stacks.chain.history(ours) if each.status == "success"]
        sent = sum(move.amount for each in history for move in each.moves if move.sender == ours and move.asset == "STX")
        moved[next(each.id for each in _coins() if each.network.id == stacks.networks[2])] = sent
        faults = dict(sorted(self.faults.count.items()))
        return {"moved": moved, "used_up": self._used_up(), "faults": faults, "requests": sum(box.requests_since(0)[1] for _, box in self.boxes)}

    def _used_up(self) -> dict[str, float]:
        """By the books of who sells sessions: the payment of each that is used up, and the unix second (of the chains' clock) of its last call."""
        found: dict[str, float] = {}
        for stall, box in self.boxes:
            if stall.seller == "lily":
                rows = box.seller.store.books.database.rows(  # type: ignore[attr-defined]
                    "select initial_payment_signature as paid, last_used_at as used from x402_payment_sessions where status = 'depleted'"
                )
                found |= {row["paid"]: datetime.fromisoformat(row["used"]).replace(tzinfo=UTC).timestamp() for row in rows}
        return found

    def command(self, told: dict[str, Any]) -> Any:
        """One line from who drives."""
        if told["do"] == "calm":
            self.faults.calm = True
        elif told["do"] == "warp":
            for ground in self.grounds.values():
                ground.warp(int(told["seconds"]))
        elif told["do"] == "mine":
            for ground in self.grounds.values():
                ground.mine(int(told["blocks"]))
        return self.truth() if told["do"] == "truth" else {}


def _coins() -> list[Any]:
    from x402_agent.assets import assets

    return [each for each in assets() if each.native]


def _stocked(stall: Stall, box: Sandbox) -> None:
    """More articles, each by a transfer or by a contract, as the blog's own."""
    if stall.seller != "x402pay":
        return
    catalogue: Any = box.seller.catalogue  # type: ignore[attr-defined]
    for number in range(PIECES):
        model = catalogue.find(("paying-by-transfer", "paying-by-contract")[number % 2])
        catalogue.put(f"piece-{number}", model.owner, {"stx": "0.10"}, model.about, "published")
        if model.contract:
            box.ground.publish(f"piece-{number}", 100_000)  # type: ignore[attr-defined]


def _endowed(chain: str, ground: Any) -> None:
    """Enough of everything: tokens, and coins for transactions."""
    ground.fund(ground.payer_address, ALLOWED)
    if chain == "tron":
        from x402_agent.encodings import unbase58check

        ground.chain.endow(unbase58check(ground.payer_address)[1:], 10**13)
    elif chain == "stacks":
        ground.chain.endow("STX", ground.payer_address, ALLOWED)
    else:
        for _ in range(5):
            ground.fuel()


async def main(seed: int, share: float, start: float, speed: float) -> None:
    """Open, tell, obey until stdin ends."""
    street = await asyncio.to_thread(Street, seed, share, start, speed)
    print(json.dumps(await street.opened()), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await asyncio.to_thread(street.command, json.loads(line))), flush=True)
    for _, box in street.boxes:
        box.close()
    os._exit(0)  # whatever still waits for a slow answer: its client is gone


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *map(float, sys.argv[2:5])))
