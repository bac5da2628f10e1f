"""One lock between processes, and who is alive. A file system whose locks do not lock is refused.

`fcntl.flock` where there is one, `LockFileEx` on Windows; both vanish with the process that held them. The ledger
holds the lock around BEGIN..COMMIT, open and close, so that one connection at a time writes or checkpoints: SQLite
3.7.0 to 3.51.2 can damage a WAL database otherwise (sqlite.org/wal.html, "the WAL-reset bug").
"""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..errors import LedgerError

__all__ = ["Owners", "acquire", "acquire_now", "open_private", "prove", "read_at_start", "try_lock", "unlock", "write_at"]

PATIENCE = 30.0
COURTESY = 0.5  # seconds

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("Internal", ctypes.c_void_p),
            ("InternalHigh", ctypes.c_void_p),
            ("Offset", wintypes.DWORD),
            ("OffsetHigh", wintypes.DWORD),
            ("hEvent", wintypes.HANDLE),
        )

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _FAIL_IMMEDIATELY, _EXCLUSIVE, _BEYOND = 1, 2, 1 << 30  # one byte far past the data, which stays readable

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Take the lock of an open file, for us alone or shared; False when somebody is in the way."""
        where = _Overlapped(Offset=_BEYOND)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(fd))
        flags = _FAIL_IMMEDIATELY | (0 if shared else _EXCLUSIVE)
        return bool(_kernel.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(where)))

    def unlock(fd: int) -> None:
        """Give the lock back."""
        where = _Overlapped(Offset=_BEYOND)
        _kernel.UnlockFileEx(wintypes.HANDLE(msvcrt.get_osfhandle(fd)), 0, 1, 0, ctypes.byref(where))

else:
    import fcntl

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Take the lock of an open file, for us alone or shared; False when somebody is in the way."""
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(fd: int) -> None:
        """Give the lock back."""
        fcntl.flock(fd, fcntl.LOCK_UN)


def acquire(fd: int, patience: float = PATIENCE, *, line: int = -1) -> None:
    """Take the lock, waiting up to `patience` seconds; raises LedgerError when its holder does not let go.

    `line` is a file whose lock is held by the one who is next, so that nobody who has just had the lock takes it again
    before him. It is a courtesy: a process that was stopped while it stood there holds nobody up for long.
    """
    first = line >= 0 and _wait(line, COURTESY)
    try:
        if not _wait(fd, patience):
            raise LedgerError(
                f"another process has held the ledger's lock for {patience:.0f} seconds",
                rule="one writer at a time",
                hint="look for a stopped x402-agent process",
            )
    finally:
        if first:
            unlock(line)


def acquire_now(fd: int, line: int) -> bool:
    """Take the lock unless somebody has it or waits for it."""
    if not try_lock(line):
        return False
    try:
        return try_lock(fd)
    finally:
        unlock(line)


def _wait(fd: int, patience: float) -> bool:
    pause, begun = 0.0001, 0.0
    while not try_lock(fd):
        now = time.monotonic()
        begun = begun or now
        if now > begun + patience:
            return False
        time.sleep(pause)
        pause = min(pause * 1.2, 0.0005 if now < begun + 0.1 else 0.004)
    return True


def open_private(path: Path, *, create: bool = True) -> int:
    """Open a file of ours, 0600, never through a symbolic link; raises LedgerError, or FileNotFoundError."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | (os.O_CREAT if create else 0)
    if path.is_symlink():
        raise LedgerError(f"{path} is a symbolic link", rule="ledger files are plain files (Z13)", hint=f"ls -l {path}")
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:
        raise
    except OSError as cause:
        raise LedgerError(f"{path} cannot be opened: {cause.strerror}", rule="no journal, no signature",
                          hint=f"ls -ld {path.parent}: it must be yours; or another folder: export X402_AGENT_HOME=/path") from cause  # fmt: skip
    made = os.fstat(fd)
    if not stat.S_ISREG(made.st_mode) or (hasattr(os, "getuid") and made.st_uid != os.getuid()):
        os.close(fd)
        raise LedgerError(f"{path} is not a file of this user", rule="ledger files belong to their user (Z13)", hint=f"ls -l {path}")
    if sys.platform != "win32" and made.st_mode & 0o077:
        os.fchmod(fd, 0o600)
    return fd


def prove(path: Path) -> None:
    """We hold the lock of `path`: a second descriptor of it must be refused; raises LedgerError (Z8)."""
    second = open_private(path, create=False)
    try:
        if try_lock(second):
            unlock(second)
            raise LedgerError(
                f"file locks do not work in {path.parent}",
                rule="two processes must not share one budget unseen (Z8)",
                hint="move the ledger to a local disk: X402_AGENT_HOME=/path/on/a/local/disk",
            )
    finally:
        os.close(second)


class Owners:
    """Each open ledger holds a lock on its own small file; whoever can take that lock knows that the owner is gone."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        folder.mkdir(mode=0o700, exist_ok=True)
        self.fd = open_private(folder / name)
        if not try_lock(self.fd):
            raise LedgerError(f"the owner name {name} is taken", rule="one owner per open ledger")

    def alive(self, name: str) -> bool:
        """Whether the owner of this name still runs; our own is."""
        if name == self.name:
            return True
        if not name or "/" in name or "\\" in name or name.startswith("."):
            return False
        try:
            fd = open_private(self.folder / name, create=False)
        except FileNotFoundError:
            return False
        try:
            return not try_lock(fd, shared=True)  # shared: two that ask at once are no sign of life to each other
        finally:
            os.close(fd)

    def sweep(self) -> int:
        """Remove the files of owners that are gone; call it under the ledger's lock. -> how many."""
        gone = [each for each in self.folder.iterdir() if not self.alive(each.name)]
        for each in gone:
            with suppress(OSError):
                each.unlink()
        return len(gone)

    def close(self) -> None:
        """End our life as an owner."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            with suppress(OSError):
                (self.folder / self.name).unlink()

    def forget(self) -> None:
        """In a forked child: drop the inherited descriptor without ending the parent's life."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


# What a lock file begins with can be read and written by whoever has the lock, without a word from SQLite.
if sys.platform == "win32":

    def read_at_start(fd: int, size: int) -> bytes:
        """The first bytes of an open file."""
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, size)

    def write_at(fd: int, data: bytes, at: int = 0) -> None:
        """Replace bytes of an open file, the first ones unless `at` says otherwise."""
        os.lseek(fd, at, os.SEEK_SET)
        os.write(fd, data)

else:

    def read_at_start(fd: int, size: int) -> bytes:
        """The first bytes of an open file."""
        return os.pread(fd, size, 0)

    def write_at(fd: int, data: bytes, at: int = 0) -> None:
        """Replace bytes of an open file, the first ones unless `at` says otherwise."""
        os.pwrite(fd, data, at)
