"""Limits are checked in the transaction that counts; the clock alone frees nothing (X7, Z12)."""

import dataclasses

import pytest

from x402_agent.errors import BudgetExceeded, LedgerError
from x402_agent.model import Limit, Under, run_id

DAY = 86400
ALL = Limit("all", "day", 50_000, "per day in policy.toml:3", "x402-agent budget set --day 0.06")
TOTAL = Limit("all", "total", 50_000, "total")


def host(micros: int, name: str = "api.example.com") -> Limit:
    return Limit(f"host:{name}", "day", micros, "per host")


def next_day(desk) -> None:
    desk.clock.now = (desk.clock.now // DAY + 1) * DAY + 5


def test_a_limit_is_used_to_the_last_unit_and_no_further(desk, ledger):
    for _ in range(5):
        desk.pay(ledger, limits=(ALL,))
    with pytest.raises(BudgetExceeded) as caught:
        ledger.hold(desk.ask(), desk.offer(), desk.terms(), (ALL,)).run()
    assert caught.value.what == (
        "api.example.com asks 0.0100 USDC (base-sepolia), the limit per day for all hosts is 0.0500 USD, "
        "left today 0.0000 USD"
    )
    assert (caught.value.rule, caught.value.hint) == (ALL.rule, ALL.hint)
    assert len(ledger.payments()) == 5


def test_spending_before_a_limit_was_set_counts(desk, ledger):
    for _ in range(5):
        desk.pay(ledger)
    for limit in (ALL, TOTAL, host(50_000)):
        with pytest.raises(BudgetExceeded):
            ledger.hold(desk.ask(), desk.offer(), desk.terms(), (limit,)).run()
    desk.pay(ledger, desk.ask(host="other.example"), limits=(host(50_000), host(10_000, "other.example")))


@pytest.mark.parametrize("first", ["plan", "other"])
def test_commit_checks_again_what_another_process_spent_around_the_plan(desk, ledger, first):
    roomy, other = dataclasses.replace(ALL, most=1_000_000), desk.open()
    desk.pay(ledger, limits=(roomy,))

    def planned():
        return ledger.hold(desk.ask(), desk.offer(), desk.terms(), (roomy,)).run()

    plan = planned() if first == "plan" else None
    desk.pay(other, offer=desk.offer(985_000))
    plan = plan or planned()  # from memory, which another process has just made a moment old
    assert plan.state == "planned"
    with pytest.raises(BudgetExceeded):
        ledger.commit(plan).run()
    assert desk.counted(ledger) == 995_000


def test_near_the_limit_the_hold_is_written_and_counts(desk, ledger):
    desk.pay(ledger, limits=(ALL,))
    holds = [ledger.hold(desk.ask(), desk.offer(), desk.terms(), (ALL,)).run() for _ in range(4)]
    assert [hold.state for hold in holds] == ["planned", "planned", "planned", "planned"]
    holds = [ledger.hold(desk.ask(), desk.offer(15_000), desk.terms(), (ALL,)).run() for _ in range(2)]
    assert [hold.state for hold in holds] == ["planned", "planned"]
    tight = [ledger.hold(desk.ask(), desk.offer(25_000), desk.terms(), (ALL,)).run()]
    assert tight[0].state == "RESERVED"
    with pytest.raises(BudgetExceeded):
        ledger.hold(desk.ask(), desk.offer(25_000), desk.terms(), (ALL,)).run()
    ledger.close(tight[0], "RELEASED").run()
    assert ledger.hold(desk.ask(), desk.offer(25_000), desk.terms(), (ALL,)).run().state == "RESERVED"


def test_a_plan_with_ample_room_touches_no_disk(desk, ledger, monkeypatch):
    desk.pay(ledger, limits=(dataclasses.replace(ALL, most=10**9),))
    before = ledger._store.generation()
    assert ledger.find(desk.ask("/other")).finished
    plan = ledger.hold(desk.ask(), desk.offer(), desk.terms(), (dataclasses.replace(ALL, most=10**9),))
    assert plan.finished
    assert ledger._store.generation() == before


def test_refused_unanswered_and_undelivered_stay_counted_for_ever(desk, ledger):
    for state in ("UNKNOWN", "PAID_UNDELIVERED", "CLAIMED", "CONFIRMED"):
        hold = desk.pay(ledger, desk.ask("/" + state), limits=(TOTAL,))
        ledger.close(hold, state, refused=state == "UNKNOWN").run()
    desk.clock.now += 400 * DAY
    assert desk.counted(ledger) == 40_000
    desk.pay(ledger, desk.ask("/last"), limits=(TOTAL,))
    with pytest.raises(BudgetExceeded, match=r"left 0\.0000 USD"):
        ledger.hold(desk.ask("/more"), desk.offer(), desk.terms(), (TOTAL,)).run()


def test_a_new_day_has_its_own_budget_but_open_rows_come_along(desk, ledger):
    for number in range(5):
        hold = desk.pay(ledger, desk.ask(f"/{number}"), limits=(ALL,))
        ledger.close(hold, "CLAIMED" if number < 3 else "UNKNOWN").run()
    opened = ledger.payments(in_doubt=True)
    next_day(desk)
    assert ledger.spent([ALL], realm="test")[0].spent == 20_000
    for number in range(3):
        desk.pay(ledger, desk.ask(f"/new{number}"), limits=(ALL,))
    for each in (ledger, desk.open()):
        with pytest.raises(BudgetExceeded):
            each.hold(desk.ask(), desk.offer(), desk.terms(), (ALL,)).run()
    ledger.close(ledger.find(desk.ask("/3")).run(), "DEAD", note="unused past expiry").run()
    desk.pay(ledger, desk.ask("/freed"), limits=(ALL,))
    desk.clock.now = opened[0].valid_before + DAY  # now it can no longer settle, but on this day it could
    assert ledger.spent([ALL], realm="test")[0].spent == 50_000
    next_day(desk)
    assert ledger.spent([ALL], realm="test")[0].spent == 40_000


@pytest.mark.parametrize("window", ["minute", "hour", "day"])
def test_an_open_row_falls_out_with_the_window_in_which_it_can_settle_no_more(desk, ledger, window):
    limit = Limit("all", window, 50_000)
    hold = desk.pay(ledger, limits=(limit,))
    length = {"minute": 60, "hour": 3600, "day": DAY}[window]
    last = (hold.terms.valid_before + DAY - 1) // length * length
    for at in (last, last + length - 1):
        desk.clock.now = at
        assert ledger.spent([limit], realm="test")[0].spent == 10_000
    desk.clock.now += 1
    assert ledger.spent([limit], realm="test")[0].spent == 0
    assert desk.counted(ledger) == 10_000


def test_dead_gives_back_in_the_windows_it_stands_in_and_in_no_other(desk, ledger):
    hold = desk.pay(ledger, limits=(ALL, TOTAL))
    ledger.close(hold, "UNKNOWN").run()
    next_day(desk)
    desk.pay(ledger, desk.ask("/b"), limits=(ALL, TOTAL))
    late = desk.pay(ledger, desk.ask("/c"), limits=(ALL, TOTAL))
    ledger.close(late, "CLAIMED").run()
    ledger.close(hold, "CLAIMED").run()
    ledger.flush()
    next_day(desk)
    desk.pay(ledger, desk.ask("/d"), limits=(ALL, TOTAL))  # /a was settled yesterday, /b may be today
    assert [each.spent for each in ledger.spent([ALL, TOTAL], realm="test")] == [20_000, 40_000]
    ledger.close(hold, "DEAD").run()
    ledger.flush()
    assert [each.spent for each in ledger.spent([ALL, TOTAL], realm="test")] == [20_000, 30_000]
    assert ledger.verify() == []


def test_test_money_and_real_money_are_counted_apart(desk, ledger):
    for _ in range(5):
        desk.pay(ledger, limits=(ALL,))
    real = desk.offer(network="base")
    desk.pay(ledger, offer=real, limits=(ALL,))
    assert (desk.counted(ledger, "test"), desk.counted(ledger, "real")) == (50_000, 10_000)
    assert ledger.spent([ALL])[0].left == 40_000


def test_a_sandbox_ledger_counts_in_its_own_realm(desk):
    ledger = desk.open(sandbox=True)
    desk.pay(ledger)
    assert desk.counted(ledger, "sandbox") == 10_000
    assert ledger.spent([ALL])[0].spent == 10_000


def test_the_fee_cap_counts(desk, ledger):
    desk.pay(ledger, offer=desk.offer(10_000, fee_cap=2_345))
    assert desk.counted(ledger) == 12_345


def test_a_token_without_a_peg_meets_no_dollar_limit(desk, ledger):
    pegged = desk.offer()
    free = dataclasses.replace(pegged, asset=dataclasses.replace(pegged.asset, peg=""))
    with pytest.raises(BudgetExceeded):
        ledger.hold(desk.ask(), free, desk.terms(), (ALL,)).run()
    assert ledger.hold(desk.ask(), free, desk.terms(), ()).run().state == "planned"


@pytest.mark.parametrize("limit", [Limit("moon:x", "day", 1), Limit("all", "week", 1), Limit("all", "day", 1, unit="units")])
def test_a_limit_that_nothing_counts_is_refused(desk, ledger, limit):
    desk.pay(ledger, desk.ask("/before"), limits=(ALL, TOTAL))
    with pytest.raises(LedgerError):
        ledger.hold(desk.ask(), desk.offer(), desk.terms(), (limit,)).run()


def test_a_payment_begun_before_midnight_and_committed_after_counts_on_the_new_day(desk, ledger):
    plan = ledger.hold(desk.ask(), desk.offer(), desk.terms(), (ALL,)).run()
    next_day(desk)
    ledger.commit(plan).run()
    ledger.close(plan, "CLAIMED").run()
    assert ledger.spent([ALL], realm="test")[0].spent == 10_000
    assert len(ledger.totals("day")) == 1


def test_limits_of_other_hosts_do_not_matter(desk, ledger):
    desk.pay(ledger, limits=(host(1, "other.example"),))


def test_huge_numbers_are_refused_or_kept_exactly(desk, ledger):
    hold = desk.pay(ledger, desk.ask("/x"), desk.offer(2**53, lifetime=2**70, fee_cap=0))
    for amount in (2**53 + 1, 2**64, 2**256 - 1):
        for limits in ((), (ALL,)):
            with pytest.raises(BudgetExceeded):
                ledger.hold(desk.ask("/y"), desk.offer(amount), desk.terms(), limits).run()
    assert ledger.payment(hold.payment_id).amount == 2**53
    ledger.close(hold, "UNKNOWN").run()
    assert ledger.find(desk.ask("/x")).run().offer == hold.offer


def test_text_that_cannot_be_stored_is_an_error_and_spoils_nothing(desk, ledger):
    plan = ledger.hold(desk.ask("/bad"), desk.offer(description="\ud800"), desk.terms(), ()).run()
    with pytest.raises(LedgerError):
        ledger.commit(plan).run()
    desk.pay(ledger, desk.ask("/good"))
    assert len(ledger.payments()) == 1
    assert ledger.verify() == []


def test_a_clock_minutes_behind_the_newest_row_stops_everything(desk, ledger):
    plan = ledger.hold(desk.ask(), desk.offer(), desk.terms(), ()).run()
    desk.pay(ledger)
    desk.clock.now -= 299
    desk.pay(ledger)
    desk.clock.now -= 2
    for call in (
        lambda: ledger.commit(plan).run(),
        lambda: ledger.hold(desk.ask(), desk.offer(), desk.terms(), ()).run(),
        lambda: desk.pay(desk.open()),
    ):
        with pytest.raises(LedgerError, match="behind the newest row"):
            call()


def test_nobody_looks_for_a_tasks_payments_before_it_was_made(desk, ledger, monkeypatch):
    """A ledger may be long, and most tasks are new; a clock that is set back by some hours hides nothing."""
    old, new = (run_id(desk.clock.now - ago, bytes(5) + bytes([ago % 251])) for ago in (30 * 86400, 0))
    for run in (old, old, new):
        desk.pay(ledger, desk.ask(f"/{run}", under=Under(runs=(run,))))
        desk.clock.now += 100
    ledger.flush()
    asked = []
    ledger._store.db.set_trace_callback(lambda text: asked.append(text) if "instr(p.runs" in text else None)
    said = [ledger.spent([Limit(f"run:{run}", "total", 0)], realm="test")[0].spent for run in (old, new)]
    assert said == [20_000, 10_000]
    assert all("p.id >= " in text for text in asked) and len(asked) == 2
    for name in ("", "scout."):
        ahead = name + run_id(desk.clock.now + 20 * 3600, bytes(6))
        desk.pay(ledger, desk.ask("/ahead", under=Under(runs=(ahead,))))
        assert ledger.spent([Limit(f"run:{ahead}", "total", 0)], realm="test")[0].spent == 10_000
        with pytest.raises(LedgerError, match="a day or more before this task was made"):
            desk.pay(ledger, desk.ask("/far", under=Under(runs=(name + run_id(desk.clock.now + 2 * 86400, bytes(6)),))))
    assert ledger.verify() == []


def test_counters_of_old_tasks_go_and_what_still_lives_is_counted_anew(desk, ledger):
    old, limits = run_id(desk.clock.now, bytes(6)), ()
    for number in range(3):
        limits = (Limit(f"run:{old}", "total", 40_000),)
        ledger.close(desk.pay(ledger, desk.ask(f"/{number}", under=Under(runs=(old,))), limits=limits), "CLAIMED").run()
    ledger.flush()
    desk.clock.now += 3 * 86400

    def counters():
        return [row[0] for row in ledger._store.db.execute("SELECT scope FROM x402_counters WHERE scope LIKE '%/run:%'")]

    assert counters() == [f"test/run:{old}"]
    second = desk.open()
    assert counters() == []
    desk.pay(second, desk.ask("/4", under=Under(runs=(old,))), limits=limits)
    for each in (ledger, second):
        with pytest.raises(BudgetExceeded):
            desk.pay(each, desk.ask("/5", under=Under(runs=(old,))), limits=limits)
    ledger.recover()  # memory knows the counter, the file has none
    with pytest.raises(BudgetExceeded):
        desk.pay(ledger, desk.ask("/6", under=Under(runs=(old,))), limits=limits)
    assert ledger.verify() == []
