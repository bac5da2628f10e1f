"""A damaged ledger is mended by a person's command: what is proven is kept, what is not stays counted, nothing becomes free."""

from __future__ import annotations

import random
import shutil
import sqlite3

import pytest

from x402_agent.errors import LedgerError, PaymentInDoubt, PolicyDenied
from x402_agent.ledger import SqliteLedger, repair
from x402_agent.ledger.lock import Owners

CAP = 250_000
PAID = 6


@pytest.fixture
def made(desk):
    """Six payments of 10,000: one in doubt, one released by proof, four claimed; closed."""
    ledger = desk.open(journal="full", notes=desk.folder / "notes")
    ids = []
    for number in range(PAID):
        hold = desk.pay(ledger, desk.ask(f"/{number}"))
        state = {2: "UNKNOWN", 3: "DEAD"}.get(number, "CLAIMED")
        ledger.close(hold, state, status=200, transaction="0xab").run()
        ids.append(hold.payment_id)
    ledger.shut()
    return ids


def mend(desk, **options):
    return repair(desk.path, cap=CAP, notes_path=desk.folder / "notes", clock=desk.clock, **options)


def again(desk):
    return desk.open(notes=desk.folder / "notes", journal="full")


def edit(desk, *statements):
    db = sqlite3.connect(desk.path, isolation_level=None)
    db.execute("DROP TRIGGER IF EXISTS x402_events_no_update")
    db.execute("DROP TRIGGER IF EXISTS x402_events_no_delete")
    for each in statements:
        db.execute(each)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def whole(ledger):
    """It verifies, it opens again, and it may be paid from."""
    assert ledger.verify() == []
    return {p.payment_id: p for p in ledger.payments()}


def test_a_ledger_that_is_whole_is_left_alone(desk, made):
    before = desk.path.read_bytes()
    found = mend(desk)
    assert (found.problems, found.backup) == ((), "")
    assert desk.path.read_bytes() == before
    assert not list(desk.folder.glob("*before-repair*")) and not list(desk.folder.glob(".repair-*"))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE x402_payments SET micros = 1 WHERE id = 1",
        "UPDATE x402_payments SET state = 'DEAD', is_open = 0 WHERE id = 1",
        "UPDATE x402_payments SET nonce = '0x00' WHERE id = 1",
        "UPDATE x402_payments SET last_event = 99 WHERE id = 1",
        "UPDATE x402_payments SET url = 'https://other/', origin = 'https://other' WHERE id = 1",
        "UPDATE x402_payments SET amount = x'ff00' WHERE id = 1",
        "DELETE FROM x402_payments WHERE id = 1",
        "DELETE FROM x402_payments WHERE id = 3",
        "DELETE FROM x402_payments",
    ],
)
def test_a_row_is_made_anew_from_its_journal(desk, made, damage):
    untouched = {p.payment_id: p for p in again(desk).payments()}
    desk.opened.pop().shut()
    edit(desk, damage)
    with pytest.raises(LedgerError):
        desk.pay(again(desk), desk.ask("/x"))
    desk.opened.pop().shut()
    found = mend(desk)
    assert found.problems and not found.quarantined and found.lost == 0
    assert set(found.rebuilt) <= set(made) and found.rebuilt
    ledger = again(desk)
    rows = whole(ledger)
    assert rows == untouched
    assert desk.counted(ledger) == 50_000
    assert ledger.find(desk.ask("/2")).run().payment_id == made[2], "its proof can be shown again"
    desk.pay(ledger, desk.ask("/more"))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE x402_events SET data = '{}' WHERE payment_id = '{id}' AND before = 0",
        "UPDATE x402_events SET hash = 'x' WHERE payment_id = '{id}'",
        "DELETE FROM x402_events WHERE payment_id = '{id}' AND before = 0",
        "DELETE FROM x402_events WHERE payment_id = '{id}'",
        "UPDATE x402_events SET state = 'RELEASED' WHERE payment_id = '{id}' AND before > 0",
    ],
)
@pytest.mark.parametrize("which", [0, 2, 3, 5])
def test_a_row_whose_journal_is_hurt_goes_into_quarantine(desk, made, damage, which):
    edit(desk, damage.replace("{id}", made[which]))
    found = mend(desk)
    assert [each[:2] for each in found.quarantined] == [(made[which], CAP)]
    ledger = again(desk)
    rows = whole(ledger)
    assert (rows[made[which]].state, rows[made[which]].outcome) == ("QUARANTINE", "in_doubt")
    others = 5 if which == 3 else 4  # that one had been released
    assert desk.counted(ledger) == CAP + 10_000 * others
    with pytest.raises(PaymentInDoubt, match="damaged"):
        ledger.find(desk.ask(f"/{which}")).run()
    assert made[which] not in [hold.payment_id for hold in ledger.open_payments() if hold.state != "QUARANTINE"]


def test_a_flipped_sum_does_not_swallow_every_budget(desk, made):
    """Its amount says otherwise, and its journal is hurt as well: a cap, not what the flipped bit makes of it."""
    edit(desk, f"DELETE FROM x402_events WHERE payment_id = '{made[1]}'", f"UPDATE x402_payments SET micros = 1 << 44 WHERE payment_id = '{made[1]}'")
    assert [each[:2] for each in mend(desk).quarantined] == [(made[1], CAP)]
    assert desk.counted(again(desk)) == CAP + 40_000


def test_what_nobody_can_read_counts_a_cap_each(desk, made):
    edit(desk, f"DELETE FROM x402_events WHERE payment_id IN ('{made[1]}', '{made[4]}')",
         f"DELETE FROM x402_payments WHERE payment_id IN ('{made[1]}', '{made[4]}')")  # fmt: skip
    found = mend(desk)
    assert (found.lost, found.lost_micros) == (2, 2 * CAP)
    ledger = again(desk)
    whole(ledger)
    assert desk.counted(ledger) == 2 * CAP + 30_000
    ledger.shut()
    assert mend(desk).problems == (), "and only once"


def test_the_sums_of_a_checkpoint_are_kept_when_their_rows_are_gone(desk, monkeypatch):
    monkeypatch.setattr("x402_agent.ledger.checkpoints.TIDY", 2)
    ledger = desk.open()
    for number in range(8):
        desk.pay(ledger, desk.ask(f"/{number}"), desk.offer(900_000))
    ledger.shut()
    edit(desk, "DELETE FROM x402_payments WHERE id < 5", "DELETE FROM x402_events WHERE seq < 5")
    found = repair(desk.path, cap=1, clock=desk.clock)
    assert (found.lost, found.lost_micros) == (4, 4 * 900_000)
    ledger = desk.open()
    assert desk.counted(ledger) == 8 * 900_000 and ledger.verify() == []


def test_Z3_an_older_copy_is_taken_up_with_a_cap_for_each_entry_that_is_missing(desk, made):
    older = {each.name: each.read_bytes() for each in desk.folder.iterdir() if each.is_file()}
    ledger = again(desk)
    for number in range(3):
        desk.pay(ledger, desk.ask(f"/later/{number}"))
    ledger.shut()
    for name, content in older.items():
        (desk.folder / name).write_bytes(content)
    with pytest.raises(LedgerError, match="older"):
        desk.pay(again(desk), desk.ask("/x"))
    desk.opened.pop().shut()
    found = mend(desk)
    assert found.lost == 3
    ledger = again(desk)
    whole(ledger)
    assert desk.counted(ledger) == 50_000 + 3 * CAP
    desk.pay(ledger, desk.ask("/more"))


def test_a_dry_run_says_what_would_be_done_and_does_nothing(desk, made):
    edit(desk, f"DELETE FROM x402_events WHERE payment_id = '{made[0]}'")
    files = {each.name: each.read_bytes() for each in desk.folder.iterdir() if each.is_file()}
    plan = mend(desk, dry_run=True)
    assert files == {each.name: each.read_bytes() for each in desk.folder.iterdir() if each.is_file()}
    assert not list(desk.folder.glob("*before-repair*"))
    done = mend(desk)
    assert (plan.problems, plan.quarantined, plan.after) == (done.problems, done.quarantined, done.after)
    (backup,) = desk.folder.glob("*before-repair*")
    assert (backup / "ledger.db").read_bytes() == files["ledger.db"] and backup.stat().st_mode & 0o077 == 0


def test_a_text_that_is_none_any_more_is_mended_too(desk, made):
    edit(desk, "UPDATE x402_pins SET pay_to = CAST(x'307832ff' AS TEXT)")
    assert "1 texts cannot be read" in mend(desk).problems
    ledger = again(desk)
    whole(ledger)
    with pytest.raises(PolicyDenied, match="wants the money at"):
        desk.pay(ledger, desk.ask("/more"))
    ledger.unpin("https://api.example.com")
    desk.pay(ledger, desk.ask("/more"))


def test_an_offer_that_cannot_be_read_puts_its_payments_into_quarantine(desk, made):
    edit(desk, "UPDATE x402_offers SET lifetime = ''")
    assert len(mend(desk).quarantined) == PAID
    whole(again(desk))


def test_another_process_at_work_is_not_disturbed(desk, made):
    other = Owners(desk.folder / "ledger.db.owners", "abcdef")
    try:
        with pytest.raises(LedgerError, match="another process"):
            mend(desk)
    finally:
        other.close()


def test_after_it_everything_is_walked_as_before(desk, made):
    """What was accepted stays accepted only as it stood."""
    edit(desk, f"DELETE FROM x402_events WHERE payment_id = '{made[0]}'")
    mend(desk)
    ledger = again(desk)
    desk.pay(ledger, desk.ask("/more"))
    ledger.shut()
    edit(desk, "UPDATE x402_events SET at = at + 1 WHERE seq = (SELECT MIN(seq) FROM x402_events)")
    assert any("does not follow" in each for each in again(desk).verify())


@pytest.mark.parametrize("seed", range(12))
def test_I10_whatever_is_torn_what_was_counted_stays_counted(desk, made, seed):
    """Pages overwritten at random: after the repair the sum is no less, every Ask in doubt is known or in quarantine."""
    dice = random.Random(seed)
    data = bytearray(desk.path.read_bytes())
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(4096, len(data))
        size = dice.choice([1, 16, 700, 4096])
        data[at : at + size] = dice.randbytes(len(data[at : at + size]))
    desk.path.write_bytes(data)
    desk.path.with_name("ledger.db-wal").unlink(missing_ok=True)
    found = mend(desk)
    ledger = again(desk)
    assert ledger.verify() == []
    assert desk.counted(ledger) + desk.counted(ledger, "real") >= 50_000, found
    desk.pay(ledger, desk.ask("/more"))


@pytest.mark.parametrize("size", [0, 100, 5000, 40_000])
def test_Z2_a_file_cut_short_is_taken_up_with_what_its_lock_remembers(desk, made, size):
    with desk.path.open("r+b") as file:
        file.truncate(size)
    found = mend(desk)
    assert found.problems
    ledger = again(desk)
    assert ledger.verify() == []
    assert desk.counted(ledger) + desk.counted(ledger, "real") >= 50_000


@pytest.mark.parametrize("at", [0, 16, 18, 28, 100])
def test_a_file_that_is_no_database_any_more_counts_a_cap_for_each_entry(desk, made, at):
    data = bytearray(desk.path.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    desk.path.write_bytes(data)
    found = mend(desk)
    assert found.problems
    ledger = again(desk)
    assert ledger.verify() == []
    assert desk.counted(ledger) + desk.counted(ledger, "real") >= 50_000


def test_a_lost_secret_is_made_anew_and_the_note_learns_it(desk, made):
    desk.path.with_name("ledger.db.secret").write_bytes(b"short")
    with pytest.raises(LedgerError, match="damaged"):
        again(desk)
    assert "secret" in mend(desk).problems[0]
    ledger = again(desk)
    whole(ledger)
    desk.pay(ledger, desk.ask("/more"))


def test_the_copies_are_gone_whatever_happens(desk, made, monkeypatch):
    edit(desk, f"DELETE FROM x402_events WHERE payment_id = '{made[0]}'")
    monkeypatch.setattr("x402_agent.ledger.mending.Mending._seal", lambda self, gaps: None)
    before = desk.path.read_bytes()
    with pytest.raises(LedgerError, match="not whole"):
        mend(desk)
    assert desk.path.read_bytes() == before and not list(desk.folder.glob(".repair-*"))


def test_a_copy_that_was_mended_is_the_same_ledger(desk, made):
    edit(desk, "DELETE FROM x402_payments WHERE id = 1")
    shutil.copytree(desk.folder, desk.folder.parent / "copy")
    repair(desk.folder.parent / "copy" / "ledger.db", cap=CAP, clock=desk.clock)
    mend(desk)
    one, other = again(desk), SqliteLedger(desk.folder.parent / "copy" / "ledger.db", clock=desk.clock)
    assert one.payments() == other.payments()
    other.shut()
