"""A quarantine ends by a person's word: what is accepted is what happens, durably, and the proof is never shown again."""

from __future__ import annotations

import sqlite3

import pytest

from x402_agent.errors import LedgerError, PaymentInDoubt
from x402_agent.ledger import SqliteLedger, end_quarantine, repair, verdict

CAP = 250_000


@pytest.fixture
def torn(desk):
    """Three payments of 10,000; the journal of the second is hurt, so it stands in quarantine and counts a cap."""
    ledger = desk.open(journal="full", notes=desk.folder / "notes")
    ids = []
    for number in range(3):
        hold = desk.pay(ledger, desk.ask(f"/{number}"))
        ledger.close(hold, "CLAIMED", status=200).run()
        ids.append(hold.payment_id)
    ledger.shut()
    db = sqlite3.connect(desk.path, isolation_level=None)
    db.execute("DROP TRIGGER x402_events_no_update")
    db.execute("UPDATE x402_events SET data = '{}' WHERE payment_id = ? AND before = 0", (ids[1],))
    db.close()
    assert len(repair(desk.path, cap=CAP, notes_path=desk.folder / "notes", clock=desk.clock).quarantined) == 1
    return ids[1]


@pytest.fixture
def mended(desk, torn):
    return desk.open(notes=desk.folder / "notes", journal="full")


def reopened(desk, ledger):
    ledger.shut()
    return desk.open(notes=desk.folder / "notes", journal="full")


def test_paid_stays_counted_and_is_never_shown_again(desk, torn, mended):
    made = verdict(mended, torn, paid=True)
    assert (made.before, made.after) == (CAP, CAP) and desk.counted(mended) == 20_000 + CAP
    one = end_quarantine(mended, made)
    assert (one.state, one.outcome, one.delivered) == ("CONFIRMED", "spent", True)
    assert one.note == "a person decided: paid"
    ledger = reopened(desk, mended)
    assert ledger.verify() == [] and desk.counted(ledger) == 20_000 + CAP
    assert [hold.payment_id for hold in ledger.open_payments()] == []
    assert ledger.find(desk.ask("/1")).run() is None, "its request may be bought again"
    with pytest.raises(PaymentInDoubt, match="damaged") as why:
        ledger.find(desk.ask("/1", again=False)).run()
    assert why.value.rule == "its proof is never shown again"
    desk.pay(ledger, desk.ask("/1"))


def test_not_paid_stops_counting_once_nothing_can_settle(desk, torn, mended):
    with pytest.raises(LedgerError, match="may settle until"):
        verdict(mended, torn, paid=False)
    desk.clock.now += 3601
    made = verdict(mended, torn, paid=False)
    assert (made.before, made.after) == (CAP, 0)
    assert desk.counted(mended) == 20_000 + CAP, "to look changes nothing"
    assert end_quarantine(mended, made).state == "DEAD"
    ledger = reopened(desk, mended)
    assert ledger.verify() == [] and desk.counted(ledger) == 20_000
    with pytest.raises(LedgerError, match="is DEAD, not in quarantine"):
        verdict(ledger, torn, paid=True)
    with pytest.raises(LedgerError, match="moved meanwhile"):
        end_quarantine(ledger, made)


def test_a_checkpoint_is_sealed_behind_it_and_the_head_is_mirrored(desk, torn, mended):
    end_quarantine(mended, verdict(mended, torn, paid=True))
    db = sqlite3.connect(desk.path)
    seq, name, digest = db.execute("SELECT seq, payment_id, hash FROM x402_events ORDER BY seq DESC LIMIT 1").fetchone()
    db.close()
    assert name == "checkpoint"
    (note,) = [each for each in (desk.folder / "notes").iterdir() if each.is_file()]
    words = note.read_text("utf-8")
    assert digest in words and str(seq) in words


def test_an_older_copy_from_before_the_decision_pays_nothing(desk, torn, mended):
    mended.flush()
    db = sqlite3.connect(desk.path)
    copy = sqlite3.connect(desk.folder / "copy.db")
    db.backup(copy)
    db.close(), copy.close()
    end_quarantine(mended, verdict(mended, torn, paid=True))
    mended.shut()
    for name in ("-wal", "-shm"):
        desk.path.with_name(desk.path.name + name).unlink(missing_ok=True)
    (desk.folder / "copy.db").replace(desk.path)
    with pytest.raises(LedgerError, match="older"):
        desk.pay(desk.open(notes=desk.folder / "notes", journal="full"), desk.ask("/new"))


def test_what_was_decided_survives_another_repair(desk, torn, mended):
    end_quarantine(mended, verdict(mended, torn, paid=True))
    mended.shut()
    db = sqlite3.connect(desk.path, isolation_level=None)
    db.execute("DELETE FROM x402_payments WHERE payment_id = ?", (torn,))
    db.close()
    done = repair(desk.path, cap=CAP, notes_path=desk.folder / "notes", clock=desk.clock)
    ledger = desk.open(notes=desk.folder / "notes", journal="full")
    assert ledger.verify() == [] and desk.counted(ledger) == 20_000 + CAP, done
    one = ledger.payment(torn)
    assert one.state in ("CONFIRMED", "QUARANTINE")
    assert one.state == "QUARANTINE" or ledger.find(desk.ask("/1")).run() is None


def test_nothing_is_decided_in_a_damaged_ledger_nor_about_others(desk, torn, mended):
    other = next(each for each in mended.payments() if each.payment_id != torn)
    with pytest.raises(LedgerError, match="is CLAIMED, not in quarantine"):
        verdict(mended, other.payment_id, paid=False)
    made = verdict(mended, torn, paid=True)
    mended.shut()
    db = sqlite3.connect(desk.path, isolation_level=None)
    db.execute("UPDATE x402_payments SET micros = 1 WHERE payment_id = ?", (other.payment_id,))
    db.close()
    broken = SqliteLedger(desk.path, notes=desk.folder / "notes", clock=desk.clock)
    desk.opened.append(broken)
    with pytest.raises(LedgerError, match="changed or damaged"):
        end_quarantine(broken, made)
