"""A payment with a ceiling counts all of it until the chain shows what it was charged; then the rest is given back, once."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

import pytest

from x402_agent.errors import BudgetExceeded, LedgerError
from x402_agent.ledger import rows
from x402_agent.model import Limit

FACILITATOR = "0x" + "fa" * 20


@pytest.fixture
def spent(desk, ledger):
    """A payment of 10,000 units under a ceiling, in this state."""

    def make(state="CLAIMED", amount=10_000, path="/report", **options):
        offer = desk.offer(amount, **{"scheme": "upto", "method": "permit2", "facilitator": FACILITATOR, **options})
        hold = desk.pay(ledger, desk.ask(path), offer)
        if state != "INFLIGHT":
            ledger.close(hold, state, status=200, transaction="0x" + "12" * 32).run()
        ledger.flush()
        return hold

    return make


def scheme_of(offer):
    return offer.scheme, offer.method, offer.facilitator


def test_how_it_moves_and_who_settles_come_back_out_of_the_ledger(desk, ledger, spent):
    hold = spent("UNKNOWN")
    (found,) = ledger.open_payments()
    assert found.offer == hold.offer
    assert scheme_of(found.offer) == ("upto", "permit2", FACILITATOR)
    assert found.ask.method == "GET"


@pytest.mark.parametrize("change", [{"method": "permit2"}, {"facilitator": FACILITATOR}])
def test_the_digest_covers_both_and_is_what_it_was_without_them(desk, change):
    plain = desk.offer()
    assert plain.digest == "c7edfb3f53044eb206d2dbf1dce1b3ab383e7f2731bdc656a1f43e5e3ec5980e"
    assert desk.offer(**change).digest != plain.digest


def test_V7_the_ceiling_counts_until_the_chain_shows_less(desk, ledger, spent):
    hold = spent()
    assert desk.counted(ledger) == 10_000
    ((uncharged, transaction),) = ledger.uncharged()
    assert (uncharged.payment_id, uncharged.offer, transaction) == (hold.payment_id, hold.offer, "0x" + "12" * 32)
    assert ledger.true_up(hold.payment_id, 300) == 9_700
    payment = ledger.payment(hold.payment_id)
    assert (payment.state, payment.charged, payment.micros, payment.amount) == ("CONFIRMED", 300, 300, 10_000)
    assert desk.counted(ledger) == 300 == ledger.totals("host")[0].micros
    assert ledger.uncharged() == []
    last = ledger.events(hold.payment_id)[-1]
    assert (last.data["charged"], last.data["given_back"]) == ("300", 9_700)
    assert ledger.verify() == []


def test_it_gives_back_once_whatever_is_said_later(desk, ledger, spent):
    hold = spent()
    ledger.true_up(hold.payment_id, 300)
    assert [ledger.true_up(hold.payment_id, charged) for charged in (300, 0, 10_000)] == [0, 0, 0]
    assert desk.counted(ledger) == 300
    assert len(ledger.events(hold.payment_id)) == 3


def test_the_whole_ceiling_charged_is_noted_and_gives_nothing_back(desk, ledger, spent):
    hold = spent()
    assert ledger.true_up(hold.payment_id, 10_000) == 0
    assert ledger.uncharged() == [] and desk.counted(ledger) == 10_000 and ledger.verify() == []


@pytest.mark.parametrize("charged", [-1, 10_001, 1 << 256])
def test_a_charge_outside_the_ceiling_is_refused(desk, ledger, spent, charged):
    hold = spent()
    with pytest.raises(LedgerError, match="not within"):
        ledger.true_up(hold.payment_id, charged)
    assert desk.counted(ledger) == 10_000 and ledger.payment(hold.payment_id).charged is None


@pytest.mark.parametrize("state", ["INFLIGHT", "UNKNOWN", "DEAD"])
def test_only_what_was_spent_is_trued_up(desk, ledger, spent, state):
    hold = spent(state)
    before = desk.counted(ledger)
    with pytest.raises(LedgerError, match="not trued up"):
        ledger.true_up(hold.payment_id, 1)
    assert ledger.uncharged() == [] and desk.counted(ledger) == before


def test_an_exact_price_is_never_trued_up(desk, ledger, spent):
    hold = spent(scheme="exact", facilitator="")
    assert ledger.uncharged() == []
    with pytest.raises(LedgerError, match="exact"):
        ledger.true_up(hold.payment_id, 1)
    with pytest.raises(LedgerError, match="no payment"):
        ledger.true_up("0" * 16, 1)


def test_paid_and_undelivered_stays_so_and_open(desk, ledger, spent):
    hold = spent("PAID_UNDELIVERED")
    assert ledger.true_up(hold.payment_id, 1) == 9_999
    assert ledger.payment(hold.payment_id).state == "PAID_UNDELIVERED"
    assert [each.payment_id for each in ledger.open_payments()] == [hold.payment_id]


def test_nothing_was_ever_charged_and_it_dies(desk, ledger, spent):
    hold = spent()
    ledger.close(hold, "DEAD", note="unused on chain past its expiry").run()
    assert desk.counted(ledger) == 0 and ledger.uncharged() == [] and ledger.verify() == []


def test_what_is_given_back_may_be_spent_again_by_every_ledger_on_the_file(desk, ledger, spent):
    limit = Limit("all", "day", 10_000)
    hold = spent()
    other = desk.open()
    with pytest.raises(BudgetExceeded):
        desk.pay(other, desk.ask("/b"), desk.offer(9_700), limits=(limit,))
    ledger.true_up(hold.payment_id, 300)
    desk.pay(other, desk.ask("/b"), desk.offer(9_700), limits=(limit,))
    with pytest.raises(BudgetExceeded):
        desk.pay(ledger, desk.ask("/c"), desk.offer(1), limits=(limit,))


def test_Z1_books_changed_to_count_less_are_found(desk, ledger, spent):
    hold = spent()
    for change in (
        "micros = 0, given_back = 10000",
        "micros = 0, given_back = 10000, charged = '0'",
        "micros = 0",
        "charged = '10000'",
    ):
        db = sqlite3.connect(desk.path)
        db.execute(f"UPDATE x402_payments SET {change} WHERE payment_id = ?", (hold.payment_id,))
        db.commit()
        assert any(hold.payment_id in problem for problem in ledger.verify()), change
        db.execute("UPDATE x402_payments SET micros = 10000, given_back = 0, charged = ''")
        db.commit()
        db.close()
    assert ledger.verify() == []
    ledger.true_up(hold.payment_id, 300)
    for change in ("charged = '299'", "charged = ''", "micros = 299, given_back = 9701"):
        db = sqlite3.connect(desk.path)
        db.execute(f"UPDATE x402_payments SET {change}")
        db.commit()
        assert any(hold.payment_id in problem for problem in ledger.verify()), change
        db.execute("UPDATE x402_payments SET micros = 300, given_back = 9700, charged = '300'")
        db.commit()
        db.close()
    assert ledger.verify() == []


def test_a_ledger_of_schema_1_is_brought_forward_with_what_is_open_in_it(desk, monkeypatch):
    first = desk.open()
    monkeypatch.setattr(rows, "facts", rows._old_facts)
    hold = desk.pay(first)
    monkeypatch.undo()
    first.close(hold, "UNKNOWN").run()
    first.shut()
    newer = desk.path.rename(desk.path.with_suffix(".newer"))
    db = sqlite3.connect(desk.path)
    db.executescript(files("x402_agent.ledger").joinpath("migrations", "0001_first.sql").read_text("utf-8"))
    db.execute("ATTACH ? AS newer", (str(newer),))
    for table in ("x402_payments", "x402_offers", "x402_events"):
        columns = ",".join(row[1] for row in db.execute(f"PRAGMA table_info({table})"))
        db.execute(f"INSERT INTO {table} SELECT {columns} FROM newer.{table}")
    db.executescript("CREATE TABLE x402_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL);"
                     "INSERT INTO x402_schema VALUES (1, '0001_first.sql')")  # fmt: skip
    db.close()
    later = desk.open()
    assert later.verify() == []
    (found,) = later.open_payments()
    assert (found.offer, found.terms) == (hold.offer, hold.terms)
    assert desk.counted(later) == 10_000
