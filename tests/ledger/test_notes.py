"""The note kept apart from the ledger: a deleted or exchanged ledger is not a fresh budget (row Z4)."""

import stat
from pathlib import Path

import pytest

from x402_agent.errors import LedgerError


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


def test_a_ledger_never_paid_from_leaves_no_note(desk):
    desk.open(notes=desk.folder / "elsewhere").shut()
    assert not (desk.folder / "elsewhere").exists()


def test_a_note_that_cannot_be_kept_is_no_payment(desk):
    (desk.folder / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be written"):
        desk.pay(desk.open(notes=desk.folder / "file"))
