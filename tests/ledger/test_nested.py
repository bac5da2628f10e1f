"""Four processes of 25 threads against budgets that lie inside each other: no node of the tree is overspent, to the atomic unit.

Judged by the rows, and by what the buyers themselves wrote down.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from x402_agent.errors import BudgetExceeded
from x402_agent.ledger import states
from x402_agent.ledger.cache import Cache
from x402_agent.ledger.store import Store
from x402_agent.model import Limit, Under

PROCESSES, THREADS = 4, 25
HOSTS = tuple(f"h{number}.example" for number in range(5))
PAYEES = tuple("0x" + f"{number:02x}" * 20 for number in (0xA1, 0xB2, 0xC3))
CENTS = 10_000


class Wall:
    """A desk's clock that tells the real time."""

    now = property(lambda _: time.time())

    def __call__(self) -> float:
        return time.time()


def tree(offer) -> tuple[Limit, ...]:
    """Every node; none can be filled without the ones around it."""
    found = [Limit("all", "total", 300 * CENTS), Limit("all", "month", 290 * CENTS), Limit(f"asset:{offer.asset.id}", "total", 285 * CENTS, unit="units")]
    for group in range(2):
        found.append(Limit(f"group:g{group}", "total", 160 * CENTS))
        for agent in range(2):
            found.append(Limit(f"agent:g{group}a{agent}", "day", 90 * CENTS))
            found += [Limit(f"run:g{group}a{agent}r{run}", "total", 50 * CENTS) for run in range(2)]
    found += [Limit(f"host:{host}", "total", 70 * CENTS) for host in HOSTS]
    found += [Limit(f"host:{HOSTS[0]}", "total", 40, unit="payments"), Limit(f"path:https://{HOSTS[1]}/v1/deep", "total", 12 * CENTS)]
    return (*found, *(Limit(f"payee:{offer.asset.network.id}/{payee}", "total", 110 * CENTS) for payee in PAYEES))


def attempt(desk, ledger, rng: random.Random, limits) -> dict[str, object] | None:
    """One purchase by somebody, somewhere; -> what he wrote down, None when it was refused or given back."""
    group, agent, run = rng.randrange(2), rng.randrange(2), rng.randrange(2)
    who = f"g{group}a{agent}"
    under = Under(agent=who, group=f"g{group}", runs=(f"{who}r{run}",))
    ask = desk.ask(rng.choice(["/v1/deep/x", "/v1/y"]) + f"?{rng.random()}", host=(host := rng.choice(HOSTS)), under=under)
    ask.path = ask.url.removeprefix(ask.origin).partition("?")[0]
    offer = desk.offer(rng.choice([700, 1900, 4300, 9100]), pay_to=rng.choice(PAYEES))
    try:
        hold = ledger.hold(ask, offer, desk.terms(), limits, reserve=rng.random() < 0.4).run()
        if rng.random() < 0.2:
            ledger.close(hold, "RELEASED").run()
            return None
        assert ledger.commit(hold).run() is not None
    except BudgetExceeded:
        return None
    ledger.close(hold, rng.choice(["CLAIMED", "CLAIMED", "UNKNOWN"]), status=200).run()
    names = ["all", f"group:g{group}", f"agent:{who}", f"run:{who}r{run}", f"host:{host}", f"asset:{offer.asset.id}",
             f"payee:{offer.asset.network.id}/{offer.pay_to}", f"path:https://{host}{ask.path.removesuffix('/x')}"]  # fmt: skip
    return {"id": hold.payment_id, "amount": offer.amount, "in": names}


def believe_memory() -> None:
    """A ledger that takes what it remembers for what the file holds, whatever others have written meanwhile."""
    begin = Store._begin_generation

    def anyway(self) -> bool:
        begin(self)
        self.journal.load()
        return True

    Store._begin_generation = anyway
    Cache.forget = lambda self: None


def buyer(folder: str, number: int, attempts: int, broken: bool) -> None:
    """One process; it writes its purchases to a file of its own."""
    from conftest import Desk

    if broken:
        believe_memory()
    desk = Desk(Path(folder))
    desk.clock = Wall()
    ledger = desk.open()
    ledger._pinned = lambda store, hold: True  # sellers with several recipients: pins are not what is tried here
    limits, bought, lock = tree(desk.offer()), [], threading.Lock()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(attempts // THREADS):
            found = attempt(desk, ledger, rng, limits)
            if found is not None:
                with lock:
                    bought.append(found)

    threads = [threading.Thread(target=work, args=(number * 1000 + each,)) for each in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.shut()
    Path(folder, f"bought-{number}.json").write_text(json.dumps(bought))


def judge(desk, limits) -> tuple[dict[str, int], int]:
    """What each node holds by the buyers' own words, after comparing them with the rows; and how many payments there are."""
    told = [each for number in range(PROCESSES) for each in json.loads((desk.folder / f"bought-{number}.json").read_text())]
    desk.clock = Wall()
    ledger = desk.open()
    rows = {p.payment_id: p for p in ledger.payments(limit=10**6) if p.state in states.COUNTED}
    assert {each["id"]: each["amount"] for each in told} == {p.payment_id: p.amount for p in rows.values()}
    held = {}
    for limit in limits:
        mine = [each for each in told if limit.scope in each["in"]]
        held[f"{limit.scope} {limit.window} {limit.unit}"] = total = len(mine) if limit.unit == "payments" else sum(each["amount"] for each in mine)
        assert total <= limit.most, f"{limit.scope} is overspent by {total - limit.most}"
        assert ledger.spent([limit], realm="test")[0].spent == total
    assert ledger.verify() == []
    return held, len(told)


def race(desk, attempts: int, *, broken: bool = False) -> None:
    code = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}; from test_nested import buyer; buyer({str(desk.folder)!r}, %d, {attempts // PROCESSES}, {broken})"
    desk.open().shut()
    made = [subprocess.Popen([sys.executable, "-c", code % number], stderr=subprocess.PIPE, text=True) for number in range(PROCESSES)]
    told = [process.communicate(timeout=900)[1] for process in made]
    assert [process.returncode for process in made] == [0] * PROCESSES, told


@pytest.mark.parametrize("attempts", [5_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_no_node_of_the_tree_is_overspent(desk, attempts):
    limits = tree(desk.offer())
    race(desk, attempts)
    held, payments = judge(desk, limits)
    full = [name for limit, (name, total) in zip(limits, held.items(), strict=True) if limit.unit == "payments" or limit.most - total < 9_100]
    print(f"{attempts} attempts, {payments} payments, {len(limits)} nodes, {len(full)} of them full, overspent by 0")
    assert len(full) >= 3, held


def test_a_ledger_that_believes_its_memory_is_caught(desk):
    race(desk, 2_500, broken=True)
    with pytest.raises(AssertionError):
        judge(desk, tree(desk.offer()))
