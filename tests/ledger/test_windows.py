"""What a window holds, by the plainest reading: begun in it, or still able to settle when it began (X7)."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from x402_agent.errors import BudgetExceeded, LedgerError
from x402_agent.ledger import counters, states
from x402_agent.ledger.windows import began
from x402_agent.model import Limit, Under

WINDOWS = ("minute", "hour", "day", "month", "total")
HOSTS = ("a.example", "b.example")
PATHS = ("/v1/x", "/v1/y/z", "/v2")
PAYEES = ("0x" + "Ab" * 20, "0x" + "cd" * 20)
AGENTS = (Under(), Under(agent="scout", group="team"), Under(agent="boss,scout", task="dig/deep", runs=("r1", "r2"), tool="t"))
STEPS = (0.5, 7, 70, 1800, 5000, 40_000, 90_000, 800_000)
MAY_SETTLE = states.UNSENT | states.IN_DOUBT


@pytest.mark.parametrize(
    ("at", "month", "day"),
    [("2026-11-30T23:59:59.9", "2026-11-01", "2026-11-30"), ("2026-12-01T00:00:00", "2026-12-01", "2026-12-01"),
     ("2028-02-29T12:00:31", "2028-02-01", "2028-02-29")],
)  # fmt: skip
def test_windows_are_those_of_the_calendar_in_utc(at, month, day):
    moment = datetime.fromisoformat(at + "+00:00")
    found = began(moment.timestamp())
    assert datetime.fromtimestamp(found["month"], UTC).isoformat() == month + "T00:00:00+00:00"
    assert datetime.fromtimestamp(found["day"], UTC).isoformat() == day + "T00:00:00+00:00"
    assert found["hour"] == moment.timestamp() // 3600 * 3600
    assert (found["minute"], found["total"]) == (moment.timestamp() // 60 * 60, 0)


class Oracle:
    """Counts by reading everything: each payment's whole journal, each time."""

    def __init__(self, ledger) -> None:
        self.db = ledger._store.db
        names = [row[1] for row in self.db.execute("PRAGMA table_info(x402_payments)")]
        self.rows = [dict(zip(names, row, strict=True)) for row in self.db.execute("SELECT * FROM x402_payments")]
        self.moves: dict[str, list[tuple[int, str]]] = {}
        for payment_id, at, state in self.db.execute("SELECT payment_id, at, state FROM x402_events ORDER BY seq"):
            self.moves.setdefault(payment_id, []).append((at, state))

    def counts(self, scope: str, window: str, now: float) -> tuple[int, int, int]:
        since = began(now)[window]
        found = [row for row in self.rows if self.is_in(row, scope) and self.stands(row, since)]
        units = [int(row["charged"] or row["amount"]) + int(row["fee_cap"]) for row in found]
        return sum(row["micros"] for row in found), len(found), sum(units)

    def stands(self, row, since: int) -> bool:
        if row["state"] in states.FREED:
            return False
        if row["created_at"] >= since:
            return True
        then = [state for at, state in self.moves[row["payment_id"]] if at < since * 1000][-1]
        return then in MAY_SETTLE and since < row["valid_before"] + 86400

    def is_in(self, row, scope: str) -> bool:
        kind, _, name = scope.partition(":")
        among = {"agent": "agent", "group": "team", "tool": "tool"}
        return (
            scope == "all"
            or (kind in ("host", "asset", "origin") and row[kind] == name)
            or scope == "asset:USDC"
            or (kind == "payee" and row["to_address"].lower() == name)
            or (kind == "payee" and f"{row['network']}/{row['to_address'].lower()}" == name)
            or (kind == "path" and (row["origin"] + row["path"] + "/").startswith(name + "/"))
            or (kind in among and name in row[among[kind]].split(","))
            or (kind == "task" and (row["task"] + "/").startswith(name + "/"))
            or (kind == "run" and name in row["runs"].split("/"))
        )


def scopes(offer) -> list[str]:
    return [
        "all", "host:a.example", "origin:https://b.example", "path:https://a.example/v1", "path:https://a.example/v1/y",
        f"payee:{offer.network.id}/{PAYEES[0].lower()}", f"asset:{offer.asset.id}", "asset:USDC", f"payee:{PAYEES[1].lower()}",
        "agent:scout", "agent:boss", "group:team",
        "tool:t", "task:dig", "task:dig/deep", "run:r1", "run:r2",
    ]  # fmt: skip


def run(desk, seed: int, moves: int) -> int:
    """Two processes, one of which knows no limits; clocks that jump, and step back a little. -> payments."""
    rng = random.Random(seed)
    ledgers = [desk.open(), desk.open()]
    every = [Limit(scope, window, 10**12, unit="units" if scope.startswith("asset:eip") else "micros")
             for scope in scopes(desk.offer()) for window in WINDOWS]  # fmt: skip
    holds = []
    for _ in range(moves):
        desk.clock.now += rng.choice(STEPS) if rng.random() < 0.6 else rng.choice([0, 0, 1, -40])
        which = rng.randrange(2)
        ledger = ledgers[which]
        act = rng.random()
        if act < 0.5 or not holds:
            host = rng.choice(HOSTS)
            ask = desk.ask(rng.choice(PATHS), host=host, under=rng.choice(AGENTS), caller_key=str(rng.random()))
            offer = desk.offer(rng.randrange(1, 9) * 1000, pay_to=rng.choice(PAYEES), scheme=rng.choice(["exact", "upto"]))
            ledger.unpin(ask.origin)
            limits = tuple(rng.sample(every, 12)) if which == 0 or rng.random() < 0.3 else ()
            try:
                holds.append(desk.pay(ledger, ask, offer, limits=limits, reserve=rng.random() < 0.3, lifetime=rng.choice([60, 7200])))
            except LedgerError as why:
                assert "behind the newest row" in why.what
        elif act < 0.9:
            end = rng.choice(["CLAIMED", "UNKNOWN", "PAID_UNDELIVERED", "CONFIRMED", "DEAD", "DEAD"])
            ledger.close(rng.choice(holds), end, status=200).run()
            ledger.flush()
        else:
            hold = rng.choice(holds)
            try:
                ledger.true_up(hold.payment_id, rng.randrange(hold.offer.amount + 1))
            except LedgerError:
                continue
        if rng.random() < 0.3:
            compare(desk, ledgers, rng.sample(every, 6))
    compare(desk, ledgers, every)
    assert ledgers[1].verify() == []
    return len(holds)


def compare(desk, ledgers, limits) -> None:
    for ledger in ledgers:
        ledger.flush()
    now = max(desk.clock.now, ledgers[0]._store.db.execute("SELECT MAX(at) FROM x402_events").fetchone()[0] / 1000)
    oracle = Oracle(ledgers[0])
    for limit in limits:
        micros, payments, units = oracle.counts(limit.scope, limit.window, now)
        wanted = units if limit.unit == "units" else micros
        for ledger in ledgers:
            assert ledger.spent([limit], realm="test")[0].spent == wanted, limit
        calls = Limit(limit.scope, limit.window, 0, unit="payments")
        assert ledgers[1].spent([calls], realm="test")[0].spent == payments, limit


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(100, 300), marks=pytest.mark.full)], ids=["some", "many"])
def test_every_counter_is_what_the_journal_says_whatever_the_clock_does(desk, seeds, tmp_path):
    paid = 0
    for seed in seeds:
        own = type(desk)(tmp_path / str(seed))
        own.folder.mkdir()
        paid += run(own, seed, 60)
        for ledger in own.opened:
            ledger.shut()
    assert paid > 15 * len(seeds)


def carry_nothing(monkeypatch):
    monkeypatch.setattr(counters, "_OPEN", counters._OPEN + " AND 0")


def forget_the_settled(monkeypatch):
    monkeypatch.setattr(counters, "_CLOSED", counters._CLOSED + " AND 0")


def give_back_everywhere(monkeypatch):
    monkeypatch.setattr(counters, "_stands_in", lambda store, row, before, began: True)


def begin_with_nothing(monkeypatch):
    monkeypatch.setattr(counters, "_sum", lambda store, scope, window, began: counters.Counter(scope, window, began))


def count_only_where_limits_are_known(monkeypatch):
    load = counters.load
    monkeypatch.setattr(counters, "load", lambda store, scopes: load(store, tuple(scopes)[:1]))


BROKEN = [carry_nothing, forget_the_settled, give_back_everywhere, begin_with_nothing, count_only_where_limits_are_known]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.__name__)
def test_a_broken_counter_is_caught(desk, monkeypatch, tmp_path, broken):
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        test_every_counter_is_what_the_journal_says_whatever_the_clock_does(desk, range(40), tmp_path)


def test_a_counter_that_is_gone_is_made_from_the_rows(desk, ledger):
    limit = Limit("all", "day", 40_000)
    for number in range(3):
        desk.pay(ledger, desk.ask(f"/{number}"), limits=(limit,))
    assert ledger._job(counters.forget, write=True).run() == 1
    desk.pay(desk.open(), desk.ask("/3"), limits=(limit,))
    with pytest.raises(BudgetExceeded):
        desk.pay(ledger, desk.ask("/4"), limits=(limit,))
    assert ledger.verify() == []


def test_a_clock_that_was_wrong_for_a_moment_empties_no_window(desk, ledger):
    limit = Limit("all", "day", 30_000)
    for number in range(3):
        ledger.close(desk.pay(ledger, desk.ask(f"/{number}"), limits=(limit,)), "CLAIMED").run()
    ledger.flush()
    desk.clock.now += 9 * 86400
    plan = ledger.hold(desk.ask("/x"), desk.offer(), desk.terms(), (limit,)).run()  # looked at, and nothing paid
    assert plan.state == "planned"
    ledger.recover()
    desk.clock.now -= 9 * 86400
    with pytest.raises(BudgetExceeded):
        desk.pay(ledger, desk.ask("/y"), limits=(limit,))


def test_a_call_limit_and_a_unit_limit_say_what_they_count(desk, ledger):
    offer = desk.offer()
    calls, units = Limit("host:api.example.com", "minute", 1, unit="payments"), Limit(f"asset:{offer.asset.id}", "month", 15_000, unit="units")
    desk.pay(ledger, desk.ask("/a"), limits=(calls, units))
    with pytest.raises(BudgetExceeded, match=r"the limit per minute for api.example.com is 1 payment, left this minute 0 payments"):
        desk.pay(ledger, desk.ask("/b"), limits=(calls, units))
    with pytest.raises(BudgetExceeded, match=r"is 0\.0150 USDC \(base-sepolia\), left this month 0\.0050 USDC"):
        desk.pay(ledger, desk.ask("/c"), limits=(units,))
    desk.clock.now += 90_000
    desk.pay(ledger, desk.ask("/b"), desk.offer(1000), limits=(calls, units))
