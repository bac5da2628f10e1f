"""The note kept apart from the ledger: a deleted or exchanged ledger is not a fresh budget (row Z4)."""

import stat
from pathlib import Path

import pytest

from x402_agent.errors import LedgerError
from x402_agent.ledger import SqliteLedger


def paid(desk):
    """A ledger with a note elsewhere, paid from once, and closed."""
    ledger = desk.open(notes=desk.folder / "elsewhere")
    desk.pay(ledger)
    ledger.shut()


def test_Z4_a_ledger_that_was_deleted_whole_is_missed(desk):
    paid(desk)
    desk.pay(desk.open(notes=desk.folder / "elsewhere"), desk.ask("/more"))
    desk.opened.pop().shut()
    for each in desk.folder.iterdir():
        if each.is_file():
            each.unlink()
    with pytest.raises(LedgerError, match="deleted or replaced"):
        desk.pay(desk.open(notes=desk.folder / "elsewhere"))
    (note,) = (desk.folder / "elsewhere").iterdir()
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    note.unlink()  # a person's decision
    desk.pay(desk.open(notes=desk.folder / "elsewhere"))


def test_Z4_another_ledger_in_its_place_is_missed(desk, tmp_path):
    paid(desk)
    mine = {each.name: each.read_bytes() for each in desk.folder.iterdir() if each.is_file()}
    for name in mine:
        (desk.folder / name).unlink()
    desk.pay(desk.open())  # somebody else's, with rows of its own
    desk.opened.pop().shut()
    with pytest.raises(LedgerError, match="deleted or replaced"):
        desk.pay(desk.open(notes=desk.folder / "elsewhere"), desk.ask("/x"))


def test_Z4_only_the_database_and_its_lock_are_deleted(desk):
    paid(desk)
    desk.path.unlink()
    Path(f"{desk.path}.lock").unlink()
    with pytest.raises(LedgerError, match="deleted or replaced"):
        desk.pay(desk.open(notes=desk.folder / "elsewhere"))


def test_a_process_that_died_before_its_first_commit_left_nothing_to_miss(desk):
    notes = desk.folder / "elsewhere"
    first = SqliteLedger(desk.path, notes=notes, clock=desk.clock)
    first._job(lambda _: first._note.keep(), write=True).run()
    first.shut()
    again = SqliteLedger(desk.path, notes=notes, clock=desk.clock)
    desk.pay(again)
    again.shut()
    for name in ("", ".lock"):  # from then on it is missed
        Path(f"{desk.path}{name}").unlink()
    third = SqliteLedger(desk.path, notes=notes, clock=desk.clock)
    with pytest.raises(LedgerError, match="deleted or replaced"):
        desk.pay(third)
    third.shut()


def test_a_ledger_never_paid_from_leaves_no_note(desk):
    desk.open(notes=desk.folder / "elsewhere").shut()
    assert not (desk.folder / "elsewhere").exists()


def test_a_note_that_cannot_be_kept_is_no_payment(desk):
    (desk.folder / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be written"):
        desk.pay(desk.open(notes=desk.folder / "file"))


def folder_of(desk):
    return {each.name: each.read_bytes() for each in desk.folder.iterdir() if each.is_file()}


def restore(desk, files):
    for each in desk.folder.iterdir():
        if each.is_file():
            each.unlink()
    for name, content in files.items():
        (desk.folder / name).write_bytes(content)


def full(desk, *paths):
    """Paid from durably, so that the note knows the head."""
    ledger = desk.open(notes=desk.folder / "elsewhere", journal="full")
    for path in paths:
        desk.pay(ledger, desk.ask(path))
    ledger.shut()
    (note,) = (desk.folder / "elsewhere").iterdir()
    return note


def test_Z3_the_whole_folder_of_an_older_day_is_missed(desk):
    full(desk, "/a")
    older = folder_of(desk)
    full(desk, "/b")
    restore(desk, older)  # database, lock, secret: everything beside the note
    with pytest.raises(LedgerError, match="older than its own last commit"):
        desk.pay(desk.open(notes=desk.folder / "elsewhere"))
    assert "older" in desk.open(notes=desk.folder / "elsewhere").verify()[0]


def test_Z3_an_older_copy_gives_nothing_back_before_it_is_noticed(desk):
    """What was RESERVED in the copy may have left since."""
    full(desk, "/a")
    ledger = desk.open(notes=desk.folder / "elsewhere", journal="full")
    hold = ledger.hold(desk.ask("/b"), desk.offer(), desk.terms(), (), reserve=True).run()
    ledger.flush()
    ledger._store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    older = folder_of(desk)
    assert ledger.commit(hold).run() is not None
    desk.crash(ledger)
    restore(desk, older)
    again = desk.open(notes=desk.folder / "elsewhere")
    assert again.payment(hold.payment_id).state == "RESERVED"
    assert desk.counted(again) == 20_000


def test_a_head_that_is_behind_says_nothing(desk):
    note = full(desk, "/a")
    older = note.read_bytes()
    assert len(older) == 64 + 1 + 20 + 1 + 64 + 1
    full(desk, "/b")
    assert note.read_bytes() != older
    note.write_bytes(older)  # its last writes never reached the disk
    full(desk, "/c")


@pytest.mark.parametrize("at", [63, 64, 70, 100, 149])
def test_a_damaged_head_is_no_head(desk, at):
    note = full(desk, "/a")
    data = bytearray(note.read_bytes())
    data[at] ^= 8
    note.write_bytes(data)
    with pytest.raises(LedgerError, match=r"damaged|older|replaced"):
        desk.pay(desk.open(notes=desk.folder / "elsewhere"), desk.ask("/b"))


def test_a_note_of_an_older_release_is_taken_up(desk):
    note = full(desk, "/a")
    note.write_bytes(note.read_bytes()[:64])
    full(desk, "/b")
    assert len(note.read_bytes()) == 151


def test_the_head_costs_less_than_ten_microseconds(desk):
    import time

    ledger = desk.open(notes=desk.folder / "elsewhere", journal="full")
    desk.pay(ledger)
    times = []
    for _ in range(7):
        start = time.thread_time()  # a busy machine is not its cost
        for _ in range(1000):
            ledger._note.follow(ledger._store.journal)
        times.append(time.thread_time() - start)
    assert min(times) < 0.040, "0.010 on a quiet machine"
