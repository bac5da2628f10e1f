"""Every byte: a ledger cut short or changed anywhere counts no less than before, or refuses to sign (I10, Z1, Z2)."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from x402_agent.errors import LedgerError, PaymentError
from x402_agent.ledger import SqliteLedger
from x402_agent.model import Limit

PAID = 4
OPEN = "/open"
ALL = [Limit("all", "total", 0)]


def journal(desk, *, checkpoint: bool) -> list[Path]:
    """Four payments, one of them in doubt; the files as they lie there after a kill, or after a clean end."""
    ledger = desk.open(journal="full")
    for number in range(PAID):
        hold = desk.pay(ledger, desk.ask(OPEN if number == 2 else f"/{number}"))
        if number != 2:
            ledger.close(hold, "CLAIMED", status=200).run()
    ledger.flush()
    seen = desk.folder / "seen"
    if checkpoint:
        ledger.shut()
    seen.mkdir()
    for each in desk.folder.iterdir():
        if each.is_file() and not each.name.endswith("-shm"):
            shutil.copy(each, seen / each.name)
    return sorted(seen.iterdir())


def judge(desk, folder: Path) -> str:
    """What a payer makes of these files: `refuses`, or the money still counted."""
    try:
        ledger = SqliteLedger(folder / "ledger.db", clock=desk.clock, journal="normal")
    except LedgerError:
        return "refuses"
    try:
        try:
            again = ledger.find(desk.ask(OPEN)).run()
            plan = ledger.hold(desk.ask("/new"), desk.offer(), desk.terms(), ()).run()
            assert ledger.commit(plan).run() is not None
        except PaymentError:
            return "refuses"
        counted = ledger.spent(ALL, realm="test")[0].spent
        assert counted >= 10_000 * (PAID + 1), "forgot money"
        assert again is not None, "forgot an open payment: its Ask would get a second proof"
        return "counts"
    finally:
        with suppress(PaymentError):
            ledger.shut()


def damaged(desk, made: list[Path], change) -> dict[str, str]:
    """Each change to a fresh copy of the files, and what came of it."""
    found = {}
    copy = desk.folder / "copy"
    for name, at, edit in change:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o700)
        for each in made:
            shutil.copy(each, copy / each.name)
        edit(copy / name)
        try:
            found[f"{name}@{at}"] = judge(desk, copy)
        except AssertionError as why:
            found[f"{name}@{at}"] = str(why).partition("\n")[0]
    return found


def cut(at: int):
    def edit(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(at)

    return edit


def flip(at: int, mask: int):
    def edit(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= mask
        path.write_bytes(data)

    return edit


def forgetful(found: dict[str, str]) -> dict[str, str]:
    return {where: what for where, what in found.items() if what not in ("refuses", "counts")}


def places(path: Path, step: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    size = path.stat().st_size
    return sorted({min(size - 1, n + chance.randrange(step)) for n in range(0, size, step)})


def files(made: list[Path], *names: str) -> list[Path]:
    return [each for each in made if each.name in names]


@pytest.mark.parametrize("step", [9001, pytest.param(257, marks=pytest.mark.full)])
def test_I10_any_prefix_counts_as_much_or_refuses(desk, step):
    made = journal(desk, checkpoint=False)
    names = files(made, "ledger.db", "ledger.db-wal", "ledger.db.lock", "ledger.db.secret")
    assert len(names) == 4
    changes = [(f.name, at, cut(at)) for f in names for at in places(f, step if f.stat().st_size > 200 else 7, 1)]
    found = damaged(desk, made, changes)
    assert forgetful(found) == {}
    assert "refuses" in found.values()


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("step", [6007, pytest.param(307, marks=pytest.mark.full)])
def test_I10_any_flipped_bit_counts_as_much_or_refuses(desk, step, checkpoint):
    made = journal(desk, checkpoint=checkpoint)
    names = files(made, "ledger.db", "ledger.db-wal", "ledger.db.secret")
    changes = [
        (f.name, at, flip(at, 1 << random.Random(at).randrange(8)))
        for f in names
        for at in places(f, step if f.stat().st_size > 200 else 7, 2)
    ]
    assert forgetful(damaged(desk, made, changes)) == {}


@pytest.mark.full
def test_I10_every_used_byte_of_a_ledger_zeroed(desk):
    """The database itself, eight bytes at a time wherever it holds anything."""
    made = journal(desk, checkpoint=True)
    (database,) = files(made, "ledger.db")
    data = database.read_bytes()

    def blank(at: int):
        def edit(path: Path) -> None:
            path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])

        return edit

    used = [at for at in range(0, len(data), 8) if data[at : at + 8].strip(b"\0")]
    found = damaged(desk, made, [(database.name, at, blank(at)) for at in used[:: max(1, len(used) // 800)]])
    assert forgetful(found) == {}


def test_Z2_a_torn_tail_of_the_log_loses_nothing_that_was_acknowledged(desk):
    """The last frame of the write-ahead log cut anywhere: the commit that was answered for is missed."""
    made = journal(desk, checkpoint=False)
    (log,) = files(made, "ledger.db-wal")
    size = log.stat().st_size
    found = damaged(desk, made, [(log.name, size - n, cut(size - n)) for n in (1, 8, 24, 500, 4000, 4095, 4096, 4120)])
    assert forgetful(found) == {}


def test_Z1_an_index_that_hides_an_open_payment_is_noticed_in_a_large_file(desk, monkeypatch):
    monkeypatch.setattr("x402_agent.ledger.recovery.SMALL", 0)
    ledger = desk.open()
    desk.pay(ledger, desk.ask(OPEN))
    ledger.shut()
    for was, now in (("is_open = 1", "is_open = 7"), ("is_open = 7", "is_open = 1")):  # an index made empty
        db = sqlite3.connect(desk.path, isolation_level=None)
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'x402_payments_open'", (was, now))
        db.close()
        if now.endswith("7"):
            db = sqlite3.connect(desk.path, isolation_level=None)
            db.execute("REINDEX x402_payments_open")
            db.close()
    with pytest.raises(LedgerError, match="index of open payments"):
        desk.pay(desk.open(), desk.ask("/other"))
