"""kill -9 at every write and at every send of a purchase, enumerated, then a fresh process; judged by the chain's balances.

    python -m tests.recovery.faultpoints            all ways of paying, every point
    python -m tests.recovery.faultpoints --step 5   every fifth point

A helper process, which has one thread and everything imported, forks the children: one that dies at its n-th point
(watch.py), for n from 1 until one survives; and after each a fresh one that resumes, and repeats the call under its key.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
import watch  # noqa: E402

import trust  # noqa: E402
from first import First, shop  # noqa: E402
from kamiyo.shop import Shop  # noqa: E402
from lily.bank import Bank as Lily  # noqa: E402
from loopback import Seller  # noqa: E402
from tron_invoice.shop import Shop as Invoices  # noqa: E402

PRICE = 10_000
X402PAY = {"chain": "stacks", "seller": "x402pay", "settles": 100_000, "counts": 102_000}  # with the network's fee, a coin at a dollar
WAYS = {  # name: path, and how it is paid
    "one transaction": {"path": "/joke"},
    "reserved first": {"path": "/joke", "reserve": True},
    "prepaid": {"path": "/joke", "prepay": True},
    "permit2": {"path": "/permit2"},
    "an upload": {"path": "/upload", "body": "an upload"},
    "by asyncio": {"path": "/joke", "loop": True},
    "a new ledger": {"path": "/joke", "new": True},
    "pays first": {"path": "/first", "first": True},  # on another chain: "chain" beside it, and a line in PAY_FIRST
    "calls of KAMIYO": {"path": "/exploits", "calls": True, "settles": 100_000},
    "on solana, calls of KAMIYO": {"path": "/exploits", "calls": True, "settles": 100_000, "chain": "solana"},
    "a tool": {"path": "/mcp", "tool": "joke", "seller": "mcp"},
    "resumed": {"path": "/joke", "died": "sent"},
    "resumed, nothing sent": {"path": "/joke", "died": "send"},
    "on solana, pays first": {"path": "/first", "first": True, "chain": "solana"},
    "on solana, a Lily proof": {"path": "/agents/report", "lily": True, "chain": "solana"},
    "on solana, a Lily session": {"path": "/agents/report", "lily": True, "chain": "solana", "expect": 10, "settles": 100_000},
    "on solana, a Lily top-up": {"path": "/agents/report", "lily": True, "chain": "solana", "top_up": 100_000, "settles": 100_000},
    "upto": {"path": "/upto", "settles": 12_000, "counts": 50_000},
    "on solana": {"path": "/joke", "chain": "solana"},
    "on tron": {"path": "/joke", "chain": "tron", "counts": PRICE + 100},  # with the facilitator's fee
    "on tron, permit2": {"path": "/permit2", "chain": "tron"},
    "on stacks": {"path": "/joke", "chain": "stacks"},
    "on stacks, pays first": {"path": "/first", "first": True, "chain": "stacks"},
    "on tron, pays first": {"path": "/first", "first": True, "chain": "tron"},
    "on tron, an invoice": {"path": "/report", "invoice": True, "chain": "tron"},
    "on tron, an invoice without a 402": {"path": "/report", "bill": True, "invoice": True, "chain": "tron"},
    "on stacks, v1": {"path": "/v1/usdcx", "chain": "stacks"},
    "on stacks, draft": {"path": "/draft/usdcx", "chain": "stacks"},
    "on stacks, sponsored": {"path": "/sponsored", "chain": "stacks"},
    "on stacks, x402Pay by transfer": {"path": "/articles/paying-by-transfer", **X402PAY},
    "on stacks, x402Pay by contract": {"path": "/articles/four-arguments", **X402PAY},
    "on stacks, x402Pay by its gateway": {"path": "/functions/v1/x402-gateway?contentId=paying-by-contract", **X402PAY},
    "on stacks, resumed": {"path": "/joke", "chain": "stacks", "died": "sent"},
}
PAY_FIRST = (*(f"x402_agent.chains.{chain}.transfer" for chain in ("evm", "solana", "stacks", "tron")), "x402_agent.dialects.kamiyo.native", "x402_agent.dialects.x402pay.till", "x402_agent.dialects.lily.pages", "x402_agent.dialects.lily.credits", "x402_agent.dialects.lily.till", "x402_agent.payer.invoices")  # what only such payments import
CONTROL = {"a client that writes down late": {"path": "/joke", "late": True}}  # what a fault looks like to this judge


@dataclass
class Found:
    """What came of one way of paying: points are counted by kind, faults are in words."""

    way: str
    points: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    double: int = 0
    forgotten: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {name}" for name, count in self.points.most_common())
        return (f"{self.way:24} {self.points.total():4} points  {self.kills:4} kills  {self.double} double  "
                f"{self.forgotten} forgotten  {len(self.faults)} faults  {self.seconds:5.1f} s   ({kinds})")  # fmt: skip


# -- in the children ----------------------------------------------------------------------------------------------------


def payer_of(order: dict[str, Any]) -> Any:
    from x402_agent import Payer, Policy, Settings, Wallet
    from x402_agent.ledger import SqliteLedger
    from x402_agent.payer.facts import pretend
    from x402_agent.policy import Bounds

    settings = Settings.load({"X402_AGENT_HOME": order["home"]})
    settings = replace(settings, nodes={order["network"]: order["node"]}, dialects=order.get("dialects", {}))
    policy = Policy(networks=(order["network"],), approve_above=0 if order.get("reserve") else None,
                    prepay=(order["origin"],) if order.get("prepay") else (), expect_calls=order.get("expect", 1),
                    budgets={"host:127.0.0.1": Bounds(top_up=order["top_up"])} if order.get("top_up") else {})  # fmt: skip
    ledger = SqliteLedger(Path(order["home"]) / "ledger.db", sandbox=True, notes=settings.notes_path)
    wallet = Wallet.from_key(bytes.fromhex(order["key"]), order["network"].partition(":")[0])
    return Payer(wallet=wallet, policy=policy, settings=settings, ledger=ledger,
                 approve=lambda offer, ask: True, prices=pretend({"STX": 10**6} if order.get("seller") == "x402pay" else {}), dialects=(First(),) if order.get("first") else None)  # fmt: skip


def buy(order: dict[str, Any], payer: Any, key: str = "the purchase") -> dict[str, Any]:
    url, body = order["origin"] + order["path"], order.get("body")
    request = ("POST" if body else "GET", url)
    options = {"content": body, "extensions": {"payment": {"key": key}}}
    if order.get("told"):
        return {"status": 200, "outcome": payer.invoice(**order["told"], timeout=20).receipt.outcome}
    if order.get("tool"):
        result = anyio.run(called, url, order["tool"], payer, key)
        return {"status": 200, "outcome": result.payment.outcome}
    if order.get("loop"):

        async def go() -> Any:
            async with payer.async_client(timeout=20) as http:
                return await http.request(*request, **options)

        reply = anyio.run(go)
    else:
        with payer.client(timeout=20) as http:
            reply = http.request(*request, **options)
    receipt = reply.extensions.get("payment")  # none where calls that were bought before open the door
    return {"status": reply.status_code, "outcome": receipt.outcome if receipt else "spent" if reply.status_code == 200 else ""}


async def called(url: str, tool: str, payer: Any, key: str) -> Any:
    """A tool of the server there, paid for."""
    from mcp import Client

    async with Client(url, mode="legacy") as client:
        return await payer.mcp(client).call_tool(tool, {"note": "a"}, payment={"key": key})


def counted(payer: Any) -> int:
    from x402_agent.model import Limit

    return int(payer.ledger.spent([Limit("all", "total", 10**12)], realm="sandbox")[0].spent)


def prepare(order: dict[str, Any]) -> dict[str, Any]:
    """A ledger that knows the allowance; for prepay also what was asked a moment ago."""
    with payer_of(order) as payer:
        for allowed in order["allowed"]:
            payer.ledger.allow(*allowed).run()
        if order.get("prepay"):
            buy(order, payer, "an earlier purchase")
        return {"counted": counted(payer)}


def judged(order: dict[str, Any]) -> dict[str, Any]:
    """A fresh process: what it finds, then resume twice, then the same call under the same key."""
    with payer_of(order) as payer:
        before = counted(payer)
        payer.resume()
        payer.resume()
        again = buy(order, payer)
        payer.ledger.flush()
        states = [row.state for row in payer.ledger.payments()]
        left = [each.uses_left for each in payer.ledger.tokens()]
        return {**again, "before": before, "counted": counted(payer), "states": states, "wrong": payer.ledger.verify(), "left": left}


def paid(order: dict[str, Any]) -> None:
    if order.get("late"):
        from x402_agent.payer.kit import Kit
        from x402_agent.steps import Commit

        perform = Kit.perform
        Kit.perform = lambda kit, step, ms: (  # type: ignore[method-assign]
            replace(step.hold, state="INFLIGHT") if isinstance(step, Commit) else perform(kit, step, ms)
        )
    with payer_of(order) as payer:
        buy(order, payer)


def resumed(order: dict[str, Any]) -> None:
    with payer_of(order) as payer:
        payer.resume()


WORK = {"prepare": prepare, "judged": judged, "paid": paid, "resumed": resumed}


def plain(order: dict[str, Any]) -> Any:
    """The work in a forked child that nobody watches; -> what it returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        try:
            known = set(sys.modules)
            made = {"result": WORK[order["do"]](order), "imported": [name for name in sys.modules if name not in known]}
            with os.fdopen(writing, "w") as out:
                json.dump(made, out)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{order['do']} failed")
    made = json.loads(text)
    for name in made["imported"]:  # the next child finds them here, and its points are the purchase's alone
        importlib.import_module(name)
    return made["result"]


def helper() -> None:
    """Forks what it is told to, a line of JSON each. Everything that a purchase needs is imported here, once.

    What a child that nobody watched has imported besides is imported here after it: most of a child's time was that.
    """
    import httpx
    import httpx2

    from x402_agent import recovery
    from x402_agent.chains.evm import Evm
    from x402_agent.primitives import keccak
    from x402_agent.transport import drivers

    async def nothing() -> None:
        return

    anyio.run(nothing)  # its backend is imported on first use
    assert to_thread and recovery and drivers and Evm and keccak(b"")
    for name in PAY_FIRST:
        importlib.import_module(name)
    trust.read_once()
    for library in (httpx, httpx2):  # they load what a client needs, and the authorities
        library.Client(trust_env=False).close()
        library.Client().close()
    for line in sys.stdin:
        order = json.loads(line)
        if "kill" in order:
            done = watch.watched(lambda order=order: WORK[order["do"]](order), order["kill"])
            answer: Any = {"points": done.points, "killed": done.killed, "status": done.status}
        else:
            answer = plain(order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


# -- the judge ----------------------------------------------------------------------------------------------------------


class Bench:
    """One sandbox, one helper, and a folder for each child."""

    def __init__(self, box: Any, folder: Path) -> None:
        self.box, self.folder, self.seller = box, folder, Seller()
        if box.seller.name == "shop":
            shop(self.seller, box)  # who is paid first, by a transaction
            self.calls = Shop(self.seller, box, gateway=False)  # and one who sells calls for it
            self.invoices = Invoices(self.seller, box, amount="0.01", newest=True)
            self.lily = Lily(self.seller, box)
        self.process = subprocess.Popen([sys.executable, __file__, "--helper"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)  # fmt: skip

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()
        self.seller.close()

    def tell(self, do: str, home: Path, way: dict[str, Any], **more: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        origin = (self.seller if way.get("first") or way.get("calls") or way.get("invoice") or way.get("lily") else self.box).origin
        facts = {"do": do, "home": str(home), "origin": origin, "key": self.box.payer_key.hex(), "node": self.box.rpc_url,
                 "allowed": self.box.ground.allowances, "network": self.box.network, "dialects": self.lily.settings() if way.get("lily") else self.box.dialects}  # fmt: skip
        self.process.stdin.write(json.dumps({**facts, **way, **more}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, name: str, step: int = 1) -> Found:
        """Every `step`-th point of one way of paying, until a child survives."""
        way, found, start = {**WAYS, **CONTROL}[name], Found(name), time.monotonic()
        template = self.folder / name
        if way.get("invoice"):
            self.invoices.forget()
        base = self.tell("prepare", template, way)["counted"]
        last = self._last(template, way)
        point = 1
        while self._one(found, template, way, point, (base, last)):
            point += step
        found.seconds = time.monotonic() - start
        return found

    def _last(self, template: Path, way: dict[str, Any]) -> int:
        """At which point a purchase dies that is then resumed: before or after its proof was sent; 0 for none."""
        if "died" not in way:
            return 0
        dry = self.folder / "dry"
        shutil.copytree(template, dry)
        points = self.tell("paid", dry, way, kill=0)["points"]
        shutil.rmtree(dry)
        return 1 + max(index for index, name in enumerate(points) if name == way["died"])

    def _one(self, found: Found, template: Path, way: dict[str, Any], point: int, known: tuple[int, int]) -> bool:
        """One child killed at this point, and what a fresh process makes of it; -> whether there was such a point."""
        home = self.folder / "child"
        if not way.get("new"):
            shutil.copytree(template, home)
        price = way.get("settles", PRICE)
        most = way.get("counts", price)  # what budgets count at most: a fee beside the price, a ceiling that is not trued up yet
        self._ready(most)
        if way.get("lily"):
            self.lily.balance = None
        before = self._got()
        base, last = known
        if way.get("bill"):  # a new one for each child
            way = {**way, "told": {name: value for name, value in self.invoices.new().items() if name != "error"}}
        if way.get("new"):
            base = 0
        if last:
            assert self.tell("paid", home, way, kill=last)["killed"]
        done = self.tell("resumed" if last else "paid", home, way, kill=point)
        moved = self._got() - before
        after = self.tell("judged", home, way)
        settled = self._got() - before
        found.kills += done["killed"]
        if done["killed"]:
            found.points[done["points"][-1]] += 1
        found.double += settled > price
        found.forgotten += after["before"] - base < moved or after["counted"] - base < settled
        whole = (after["outcome"], settled, price <= after["counted"] - base <= most, after["wrong"])
        if (theirs := self._theirs(way)) is not None and not (len(after["left"]) == 1 and theirs - 4 <= after["left"][0] <= theirs):
            found.faults.append(f"{found.way}, point {point}: {after['left']} of {theirs} calls")
        if whole != ("spent", price, True, []) or (not done["killed"] and done["status"]):
            found.faults.append(f"{found.way}, point {point} ({done['points'][-1:]}): {after}, settled {settled}")
        shutil.rmtree(home)
        return bool(done["killed"])

    def _ready(self, most: int) -> None:
        """Money for one purchase; x402Pay's seller forgets whom it has granted what, and its minute is over."""
        if self.box.seller.name != "x402pay":
            self.box.fund(self.box.payer_address, most)
            return
        self.box.warp(61)
        with self.box.seller.store.database.spoken():
            self.box.seller.store.database.rows("delete from access_grants")

    def _got(self) -> int:
        """What was paid so far, in atomic units: to x402Pay's contracts and accounts in STX, fees aside."""
        if self.box.seller.name != "x402pay":
            return int(self.box.balance(self.box.pay_to))
        history = self.box.ground.chain.history(self.box.payer_address)
        return sum(move.amount for each in history if each.status == "success" for move in each.moves)

    def _theirs(self, way: dict[str, Any]) -> int | None:
        """How many calls the last payment still has by its seller's count: one token of ours stands for it, with no call more, and few less."""
        if way.get("calls"):
            return int(self.calls.left[max(self.calls.left)])
        if way.get("top_up"):
            return int((self.lily.balance or 0) / Decimal(self.lily.price))
        return self.lily.left if way.get("expect") else None


def run(ways: list[str], step: int = 1) -> list[Found]:
    """Each way, those of one chain and seller on one sandbox."""
    from x402_agent.sandbox import Sandbox

    known = {**WAYS, **CONTROL}
    found, on = [], {name: (known[name].get("chain", "evm"), known[name].get("seller", "shop")) for name in ways}
    for each in dict.fromkeys(on.values()):
        with tempfile.TemporaryDirectory() as folder, Sandbox(chain=each[0], seller=each[1]) as box:
            box.serve()
            bench = Bench(box, Path(folder))
            try:
                found += [bench.run(name, step) for name in ways if on[name] == each]
            finally:
                bench.close()
    return found


def main() -> int:
    """Print the table; exit 1 on any fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("ways", nargs="*", default=list(WAYS))
    options = parser.parse_args()
    if options.helper:
        helper()
        return 0
    found: list[Found] = []
    for name in options.ways:
        found += run([name], options.step)
        print(found[-1], *found[-1].faults, sep="\n", flush=True)
    total = sum(one.points.total() for one in found), sum(one.kills for one in found)
    print(f"{total[0]} points, {total[1]} kills, {sum(one.double for one in found)} double payments, "
          f"{sum(one.forgotten for one in found)} forgotten, {sum(len(one.faults) for one in found)} faults")  # fmt: skip
    return int(any(one.faults or one.double or one.forgotten for one in found))


if __name__ == "__main__":
    sys.exit(main())
