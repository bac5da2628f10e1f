"""A damaged ledger is mended by a person's command: a new file is made of what can be read, and what cannot stays counted.

Rows that their journal proves are kept, or made anew from it. Any other row goes into QUARANTINE, counted with what it
says and with at least one per-call cap; so do rows and entries that cannot be read at all, a cap for each. Entries of the
journal are never changed: a last checkpoint says that they were accepted as they stand. Everything is copied first.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LedgerError, PaymentError
from . import lock, notes, recovery
from .mending import Mended, Mending
from .salvage import Wreck
from .store import Store, stamp, stamped
from .writer import Job, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Journal

__all__ = ["Mended", "repair"]

_FILES = ("", "-wal", ".lock", ".secret")


def repair(
    path: Path,
    *,
    cap: int,
    sandbox: bool = False,
    notes_path: Path | None = None,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
) -> Mended:
    """Mend the ledger at `path`; `cap` is one per-call cap, in micro-dollars. A ledger that is whole is left as it is.

    Raises LedgerError when there is none, another process has it open, or what was made cannot be verified.
    """
    if not path.exists() and not path.with_name(path.name + ".lock").exists():
        raise LedgerError(f"there is no ledger at {path}", hint="put a backup of it there")
    fd = lock.open_private(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(fd)
        try:
            lock.prove(path.with_name(path.name + ".lock"))
            _alone(path)
            return _mend(_Place(path, fd, cap, sandbox, notes_path, clock), dry_run=dry_run)
        finally:
            lock.unlock(fd)
    except (OSError, sqlite3.Error) as cause:
        what = getattr(cause, "strerror", "") or str(cause)
        raise LedgerError(f"{path} cannot be mended: {what}", rule="no journal, no signature", hint="x402-agent ledger test; where that is fine, put a backup in its place") from cause
    finally:
        os.close(fd)


@dataclass(frozen=True)
class _Place:
    """Where the ledger lies, and what a person said about it."""

    path: Path
    fd: int
    cap: int
    sandbox: bool
    notes: Path | None
    clock: Callable[[], float]

    def head(self) -> tuple[int, str]:
        """The newest head that was ever written down beside the ledger or in its note."""
        kept = [stamped(self.fd)[1:]] + ([notes.head_of(self.notes, self.path)] if self.notes else [])
        return max(kept)


def _alone(path: Path) -> None:
    folder = path.with_name(path.name + ".owners")
    ours = lock.Owners(folder, secrets.token_hex(8))
    try:
        others = [each.name for each in folder.iterdir() if each.name != ours.name and ours.alive(each.name)]
    finally:
        ours.close()
    if others:
        raise LedgerError("another process has the ledger open", rule="mended by one alone", hint="end it, then try again")


def _mend(place: _Place, *, dry_run: bool) -> Mended:
    path = place.path
    scratch = Path(tempfile.mkdtemp(prefix=".repair-", dir=path.parent))
    try:
        backup = scratch / "before"
        backup.mkdir(mode=0o700)
        for end in _FILES:
            if (each := path.with_name(path.name + end)).exists():
                shutil.copy2(each, backup / each.name)
        secret = _secret(backup / (path.name + ".secret"))
        found, made, journal = _build(place, scratch / "first", backup, secret)
        if not found.problems and (why := _unusable(place, scratch / "tried", backup)):
            found, made, journal = _build(place, scratch / "second", backup, secret, (why,))
        if dry_run or not found.problems:
            return found
        return replace(found, backup=_put_in_place(place, made, journal, backup, secret))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _build(
    place: _Place, scratch: Path, backup: Path, secret: bytes, known: tuple[str, ...] = ()
) -> tuple[Mended, Path, Journal]:
    """A new ledger of what can be read of the old one; `known` is what was found wrong before. -> it, its file and journal."""
    name = place.path.name
    _copies(backup, scratch / "wreck", name, ("", "-wal"))
    store = _new(scratch / "made", name, secret, place.clock)
    try:
        wreck = Wreck(scratch / "wreck" / name)
        try:
            found = Mending(store, wreck, place.cap, place.head(), sandbox=place.sandbox).run(known)
        finally:
            wreck.close()
        return found, store.path, store.journal
    finally:
        store.close()  # the last close of a WAL database writes its log back into it


def _copies(backup: Path, folder: Path, name: str, ends: tuple[str, ...]) -> None:
    folder.mkdir(mode=0o700, parents=True)
    for end in ends:
        if (each := backup / (name + end)).exists():
            shutil.copy2(each, folder / each.name)


def _unusable(place: _Place, folder: Path, backup: Path) -> str:
    """Why the old files cannot be paid from although all of it can be read, or "": a copy of them is tried."""
    _copies(backup, folder, place.path.name, _FILES)
    try:
        store = Store(folder / place.path.name, place.clock, durable=False)
    except PaymentError as why:
        return why.what.replace(str(folder), str(place.path.parent))
    try:
        Job(Writer(store), recovery.trust, write=True, full=False).run()
        Job(Writer(store), lambda one: one.db.execute("UPDATE x402_schema SET name = name"), write=True, full=False).run()
        return store.broken.replace(str(folder), str(place.path.parent))
    except PaymentError as why:
        return why.what.replace(str(folder), str(place.path.parent))
    finally:
        store.close()


def _new(folder: Path, name: str, secret: bytes, clock: Callable[[], float]) -> Store:
    """An empty ledger with the old one's secret."""
    folder.mkdir(mode=0o700, parents=True)
    fd = lock.open_private(folder / f"{name}.secret")
    try:
        os.write(fd, secret)
    finally:
        os.close(fd)
    return Store(folder / name, clock, durable=True)


def _secret(path: Path) -> bytes:
    found = path.read_bytes() if path.exists() else b""
    return found if len(found) == 32 else secrets.token_bytes(32)


def _put_in_place(place: _Place, made: Path, journal: Journal, backup: Path, secret: bytes) -> str:
    """The new file takes the old one's name, and everything that knows its head learns the new one. -> the backup."""
    path = place.path
    kept = path.with_name(f"{path.name}.before-repair-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(place.clock()))}")
    while kept.exists():
        kept = kept.with_name(kept.name + "x")
    os.replace(backup, kept)
    with made.open("r+b") as file:
        os.fsync(file.fileno())
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    os.replace(made, path)
    kept_secret = path.with_name(path.name + ".secret")
    if not kept_secret.exists() or kept_secret.read_bytes() != secret:
        kept_secret.unlink(missing_ok=True)
        fd = lock.open_private(kept_secret)
        os.write(fd, secret)
        os.fsync(fd)
        os.close(fd)
    stamp(place.fd, stamped(place.fd)[0] + 1, journal)
    os.fsync(place.fd)
    if place.notes is not None and notes.note_path(place.notes, path).exists():
        notes.rewrite(place.notes, path, secret, journal)
    return str(kept)

