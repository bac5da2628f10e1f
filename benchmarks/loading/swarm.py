"""Agents in one process: asyncio tasks of one payer that buy here and there, give up now and then, and repeat what was not delivered.

Reads what it has to know (keys of test money, addresses) as one line of JSON on stdin, and says what happened as one line on stdout.
What an agent asks for is new each time, by its URL; whatever fails is asked for again, so a second payment for it would be a double one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parent))
from street import fast

from x402_agent import Payer, PaymentError, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.payer.facts import pretend
from x402_agent.policy import Bounds
from x402_agent.wallet import KeySigner

__all__ = ["Swarm", "payer_of"]

FAMILIES = {"evm": "eip155", "solana": "solana", "stacks": "stacks", "tron": "tron"}
LATE = ("tenacity.asyncio", "coincurve", "solders.transaction", "Crypto.PublicKey.ECC", "Crypto.Cipher.AES", "sha3")
DEADLINE, ANSWER = 30.0, 8.0  # seconds: of all legs, and of a seller's answer at least
WAITING = ("evm", "solana", "stacks", "tron")  # whose PATIENCE is in seconds of a chain that runs faster here
TRIES = 5


def payer_of(told: dict[str, Any], ledger: SqliteLedger) -> Payer:
    """The one payer of a run, whoever asks: agents, and who resumes at the end."""
    dialects: dict[str, dict[str, Any]] = {}
    coins: dict[str, int] = {}
    for stall in told["stalls"]:
        coins |= stall["coins"]
        for name, said in stall["dialects"].items():
            dialects[name] = dialects.get(name, {}) | said
    settings = replace(Settings.load({"X402_AGENT_HOME": told["home"]}), nodes=told["nodes"], dialects=dialects, deadline=DEADLINE, answer_timeout=ANSWER)
    networks = tuple(sorted({stall["network"] for stall in told["stalls"]}))
    agents = {f"task:agent-{number}": Bounds(total=told["agent"]) for number in range(told["agents"])}
    hosts = {f"host:{stall['origin'].split('/')[2].split(':')[0]}": Bounds(total=told["host"]) for stall in told["stalls"]}
    policy = Policy(networks=networks, per_call=200_000, day=None, total=told["total"], budgets={**agents, **hosts}, stop_after=told["stop_after"], max_lifetime=3600)
    wallet = Wallet(*(KeySigner(bytes.fromhex(key), FAMILIES[chain]) for chain, key in told["keys"].items()))
    return Payer(wallet=wallet, policy=policy, settings=settings, ledger=ledger, clock=fast(told["start"], told["speed"]), prices=pretend(coins))


def ledger_of(told: dict[str, Any]) -> SqliteLedger:
    """The one ledger of a run."""
    return SqliteLedger(Path(told["ledger"]), sandbox=True, clock=fast(told["start"], told["speed"]))


class Swarm:
    """`told`: who it is (first agent, how many, seed, seconds), where it buys, and what it may spend."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.payer = payer_of(told, ledger_of(told))
        self.count: Counter[str] = Counter()
        self.why: Counter[str] = Counter()
        self.hung: list[str] = []
        self.samples: list[tuple[float, int, int, int, int]] = []
        self.longest = 0.0
        self.busy: dict[str, tuple[str, float]] = {}  # what each agent waits for, and since when
        self.piece = told["piece"]
        self.hangs = _hurried(told["speed"]) + 2 * DEADLINE

    # -- one agent ------------------------------------------------------------------------------------------------

    async def agent(self, number: int, http: Any, ends: float) -> None:
        """Buy until the time is over."""
        chance = random.Random(self.told["seed"] * 10_007 + number)  # noqa: S311 - chance is seeded
        bought = 0
        await asyncio.sleep(chance.random() * min(self.told["pause"], 5.0))
        with self.payer.task(f"agent-{number}", expect_calls=None):
            while time.monotonic() < ends:
                bought += 1
                (stall,) = chance.choices(self.told["stalls"], [each["weight"] for each in self.told["stalls"]])
                await self.purchase(f"{self.told['seed']}-{number}-{bought}", stall, chance, http, ends)
                await asyncio.sleep(chance.random() * self.told["pause"])

    async def purchase(self, name: str, stall: dict[str, Any], chance: random.Random, http: Any, ends: float) -> None:
        """One thing, until it came, or cannot."""
        path = chance.choice(stall["paths"])
        if "{}" in path:
            path, self.piece = path.format(self.piece), self.piece + 1
        url = f"{stall['origin']}{path}" + ("" if stall["seller"] == "x402pay" else f"?of={name}")
        options: dict[str, Any] = {"expect_calls": stall["expect"]} if stall["expect"] > 1 else {}
        options |= {"key": name} if chance.random() < 0.4 else {}
        body = name.encode() * 40 if path == "/upload" else None
        label = f"{stall['seller']} on {stall['chain']}"
        for attempt in range(TRIES):
            patience = chance.uniform(0.2, 4) if chance.random() < self.told["gives_up"] else self.hangs
            began = time.monotonic()
            self.busy[name.split("-")[1]] = f"{label} {url}", began
            end = await self.call(label, url, body, options, http, patience)
            self.longest = max(self.longest, time.monotonic() - began)
            if end == "came":
                self.count[f"{label}: came{', by repeating' if attempt else ''}"] += 1
                return
            if end == "no" or time.monotonic() > ends:
                break
            await asyncio.sleep(chance.uniform(0.1, 1.5))
        self.count[f"{label}: did not come"] += 1

    async def call(self, label: str, url: str, body: bytes | None, options: dict[str, Any], http: Any, patience: float) -> str:
        """-> came, again (it may be asked for again) or no (a rule forbids it)."""
        method = "POST" if body else "GET"
        try:
            async with asyncio.timeout(patience):
                reply = await http.request(method, url, content=body, extensions={"payment": options})
        except TimeoutError:
            if patience == self.hangs:
                self.hung.append(f"{label} {url}")
            self.why["an agent gave up"] += 1
            return "again"
        except PaymentError as error:
            self.why[f"{label}: {type(error).__name__}: {error.rule[:60]}"] += 1
            rule = f"{type(error).__name__} {error.rule}"
            return "no" if "Budget" in rule else "again"
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            self.why[f"{label}: {type(error).__name__}"] += 1
            return "again"
        if reply.status_code == 200:
            return "came"
        paid = reply.extensions.get("payment")
        self.why[f"{label}: {reply.status_code} {paid.outcome if paid else ''}"] += 1
        return "again"

    # -- all of them ------------------------------------------------------------------------------------------------

    async def warm(self) -> None:
        """Import what the first calls would: on a busy machine that takes seconds, and all wait for it."""
        for name in LATE:
            import_module(name)
        async with self.payer.async_client(library="httpx2"):
            pass

    async def run(self) -> dict[str, Any]:
        """Let them buy; -> what there is to say."""
        ends = time.monotonic() + self.told["until"] - time.time()
        loop = asyncio.get_running_loop()
        beside = [asyncio.create_task(self.watch()), asyncio.create_task(self.tidy())]
        limits = httpx2.Limits(max_connections=200, max_keepalive_connections=50)
        first = self.told["first"]
        async with self.payer.async_client(library="httpx2", limits=limits, timeout=httpx2.Timeout(10.0, pool=60.0)) as http:
            agents = [asyncio.create_task(self.agent(first + each, http, ends), name=f"agent-{first + each}") for each in range(self.told["each"])]
            done, late = await asyncio.wait(agents, timeout=max(0.0, ends - time.monotonic()) + self.told["grace"])
            self.hung += [f"{task.get_name()}: {what} since {time.monotonic() - since:.0f} s" for task in late for what, since in [self.busy[task.get_name()[6:]]]]
            for task in late:
                task.cancel()
            ended = await asyncio.gather(*agents, return_exceptions=True)
            broken = [repr(each)[:300] for each in ended if isinstance(each, BaseException)]
        for each in beside:
            each.cancel()
        broken += [repr(each)[:300] for each in await asyncio.gather(*beside, return_exceptions=True) if isinstance(each, Exception)]
        await loop.shutdown_default_executor()
        return {"count": self.count, "why": self.why, "hung": self.hung, "broken": broken, "samples": self.samples,
                "longest": self.longest, "piece": self.piece, "done": len(done)}  # fmt: skip

    async def watch(self) -> None:
        """How much memory, how many connections and threads there are, each second, whatever else takes its time."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(1)
            rss, fds, threads = self.resources()
            traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
            self.samples.append((round(time.monotonic() - began, 1), rss, fds, threads, traced))

    async def tidy(self) -> None:
        """`resume` as a person would type it, again and again; one may take minutes where sellers do not answer."""
        while True:
            await asyncio.sleep(self.told["resumes"])
            await asyncio.to_thread(self.resume)

    def resume(self) -> None:
        try:
            found = self.payer.resume()
        except PaymentError as error:
            self.why[f"resume: {type(error).__name__}: {error.rule[:60]}"] += 1
        else:
            for each in found:
                self.count[f"resume: {each.before} to {each.after}"] += 1

    @staticmethod
    def resources() -> tuple[int, int, int]:
        """Resident KiB, open descriptors, threads."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") // 1024, len(os.listdir("/proc/self/fd")), threading.active_count()


def _hurried(speed: float) -> float:
    """Let who waits for a chain be as patient as chains are fast here. -> seconds that the most patient waits."""
    rooms = [import_module(f"x402_agent.chains.{name}.transfer") for name in WAITING]
    for room in rooms:
        room.PATIENCE /= speed
    return max(room.PATIENCE for room in rooms)


def main() -> None:
    """One swarm, as a process of its own."""
    told = json.loads(sys.stdin.readline())
    if told["traced"]:
        tracemalloc.start(8)
    before = Swarm.resources()
    swarm = Swarm(told)
    asyncio.run(swarm.warm())
    print("ready", flush=True)
    told["until"] = told.get("until") or float(sys.stdin.readline())
    made = asyncio.run(swarm.run())
    if told["traced"]:
        taken = tracemalloc.take_snapshot().statistics("lineno")[:25]
        made["top"] = [f"{each.size // 1024} KiB, {each.count}: {each.traceback[0]}" for each in taken]
    swarm.payer.close()
    gc.collect()
    made |= {"before": before, "after": Swarm.resources()}
    print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
