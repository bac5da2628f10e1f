"""Every byte: a ledger cut short or changed anywhere counts no less than before, or refuses to sign (I10, Z1, Z2)."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from x402_agent.errors import LedgerError, PaymentError, PolicyDenied
from x402_agent.ledger import SqliteLedger, checkpoints, lock, repair
from x402_agent.model import Limit

PAID = 4
OPEN = "/open"
ALL = [Limit("all", "total", 0)]


def journal(desk, *, checkpoint: bool) -> list[Path]:
    """Four payments, one of them in doubt; the files as they lie there after a kill, or after a clean end.

    In pages of 512 bytes, so that every table and index has more than one; counted against limits; sealed once between.
    """
    os.close(lock.open_private(desk.path))
    db = sqlite3.connect(desk.path, isolation_level=None)
    db.execute("PRAGMA page_size = 512")
    db.execute("VACUUM")
    db.close()
    ledger = desk.open(journal="full")
    assert ledger._store.db.execute("PRAGMA page_size").fetchone() == (512,)
    limits = (Limit("all", "day", 10**7), Limit("all", "total", 10**7), Limit("host:api.example.com", "hour", 10**7))
    for number in range(PAID):
        if number == 3:
            ledger._job(checkpoints.seal, write=True, full=True).run()
        hold = desk.pay(ledger, desk.ask(OPEN if number == 2 else f"/{number}"), limits=limits)
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


def damaged(desk, made: list[Path], change, look=judge) -> dict[str, str]:
    """Each change to a fresh copy of the files, and what came of it."""
    found = {}
    memory = Path("/dev/shm")
    copy = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else desk.folder))
    for name, at, edit in change:
        shutil.rmtree(copy, ignore_errors=True)  # a ledger refused above may close its files a moment later
        copy.mkdir(mode=0o700)
        for each in made:
            shutil.copy(each, copy / each.name)
        edit(copy / name)
        try:
            found[f"{name}@{at}"] = look(desk, copy)
        except AssertionError as why:
            found[f"{name}@{at}"] = str(why).partition("\n")[0]
    shutil.rmtree(copy, ignore_errors=True)
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


def blank(at: int):
    def edit(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])

    return edit


class Share(NamedTuple):
    """One of so many parts, so that the processes of a long run divide them."""

    part: int
    parts: int


def forgetful(found: dict[str, str]) -> dict[str, str]:
    return {where: what for where, what in found.items() if what not in ("refuses", "counts")}


def some(places: list[int], most: int | Share) -> list[int]:
    """At most that many of them, spread out, or a share of every one."""
    return places[most.part :: most.parts] if isinstance(most, Share) else places[:: max(1, len(places) // most)]


def files(made: list[Path], *names: str) -> list[Path]:
    found = [each for each in made if each.name in names]
    assert len(found) == len(names)
    return found


EVERY = [pytest.param(Share(part, 4), marks=pytest.mark.full, id=f"every-{part}") for part in range(4)]


@pytest.mark.parametrize("most", [40, *EVERY])
def test_I10_any_prefix_counts_as_much_or_refuses(desk, most):
    made = journal(desk, checkpoint=False)
    changes = []
    for file in files(made, "ledger.db", "ledger.db-wal", "ledger.db.lock", "ledger.db.secret"):
        size = file.stat().st_size
        changes += [(file.name, at, cut(at)) for at in some(list(range(0, size, 97 if size > 200 else 1)), most)]
    found = damaged(desk, made, changes)
    assert forgetful(found) == {}
    assert "refuses" in found.values()


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("most", [80, *EVERY])
def test_I10_any_flipped_bit_counts_as_much_or_refuses(desk, most, checkpoint):
    """In every byte that is not zero: of the database after a clean end, of the write-ahead log after a kill."""
    made = journal(desk, checkpoint=checkpoint)
    changes = []
    for file in files(made, "ledger.db" if checkpoint else "ledger.db-wal", "ledger.db.secret"):
        used = [at for at, byte in enumerate(file.read_bytes()) if byte]
        changes += [(file.name, at, flip(at, 1 << random.Random(at).randrange(8))) for at in some(used, most)]
    assert forgetful(damaged(desk, made, changes)) == {}


@pytest.mark.parametrize("most", [80, *EVERY])
def test_I10_any_eight_bytes_zeroed_count_as_much_or_refuse(desk, most):
    made = journal(desk, checkpoint=True)
    (database,) = files(made, "ledger.db")
    data = database.read_bytes()
    used = [at for at in range(0, len(data), 8) if data[at : at + 8].strip(b"\0")]
    found = damaged(desk, made, [(database.name, at, blank(at)) for at in some(used, most)])
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


@pytest.mark.parametrize("most", [24, *(pytest.param(Share(part, 68), marks=pytest.mark.full, id=f"share-{part}") for part in range(0, 68, 17))])
def test_I10_after_a_repair_as_much_is_counted(desk, most):
    """Whatever byte was flipped, wherever the file was cut: it can be mended, verifies, and no money is forgotten."""
    made = journal(desk, checkpoint=True)
    (database,) = files(made, "ledger.db")
    data = database.read_bytes()
    used = [at for at, byte in enumerate(data) if byte]
    changes = [(database.name, at, flip(at, 1 << random.Random(at).randrange(8))) for at in some(used, most)]
    changes += [(database.name, at, cut(at)) for at in some(list(range(0, len(data), 97)), most if isinstance(most, Share) else most // 4)]
    assert forgetful(damaged(desk, made, changes, mended)) == {}


def mended(desk, folder: Path) -> str:
    """Repair, and look at what is counted then."""
    found = repair(folder / "ledger.db", cap=10_000, clock=desk.clock)
    ledger = SqliteLedger(folder / "ledger.db", clock=desk.clock, journal="normal")
    try:
        assert ledger.verify() == [], found
        counted = sum(ledger.spent(ALL, realm=realm)[0].spent for realm in ("test", "real"))
        assert counted >= 10_000 * PAID, f"forgot money: {found}"
        try:
            desk.pay(ledger, desk.ask("/new"))
        except PolicyDenied:
            return "refuses"  # the pin was hit
        return "counts"
    finally:
        ledger.shut()
