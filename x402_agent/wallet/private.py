"""Files that only their owner may read: opened without following links, written whole or not at all (Z10, Z13)."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import WalletError
from ..secret import Secret

__all__ = ["alone", "read", "replace", "write_new"]

MAX_BYTES = 64 * 1024
_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_ROOM = "room on the disk, and a folder that is yours"


def read(path: Path, *, links: bool = False, public: bool = False) -> Secret:
    """The whole file, at most 64 KiB; raises WalletError when it is missing, not ours, or readable by others.

    `links` allows a symbolic link to it (mounted secrets are such), a pipe, and a file of root's that at most its group
    may read; `public` allows that others read it, which is right for a file that is encrypted.
    """
    fd = _opened(path, links=links)
    try:
        _refuse(path, os.fstat(fd), links=links, public=public)
        return _content(fd, path)
    finally:
        os.close(fd)


def _content(fd: int, path: Path) -> Secret:
    found = Secret()
    while len(found) <= MAX_BYTES:
        more = Secret(os.read(fd, MAX_BYTES + 1 - len(found)))
        if not len(more):
            return found
        found = Secret(found.raw + more.raw)
    raise WalletError(f"{path} is larger than {MAX_BYTES} bytes", rule="a wallet file is small")


def _opened(path: Path, *, links: bool = False) -> int:
    if not links and path.is_symlink():
        raise WalletError(
            f"{path} is a symbolic link", rule="a wallet file is a plain file (Z13)", hint=f"ls -l {path}"
        )
    try:
        return os.open(path, os.O_RDONLY | _PLAIN | (0 if links else _NOFOLLOW | getattr(os, "O_NONBLOCK", 0)))
    except FileNotFoundError:
        raise WalletError(f"there is no file {path}", rule=str(path), hint="x402-agent wallet new") from None
    except OSError as why:
        raise WalletError(f"{path} cannot be read: {why.strerror}", rule=str(path), hint=f"ls -l {path}") from None


def _refuse(path: Path, made: os.stat_result, *, links: bool, public: bool) -> None:
    if not (stat.S_ISREG(made.st_mode) or (links and stat.S_ISFIFO(made.st_mode))):
        raise WalletError(f"{path} is not a plain file", rule="a wallet file is a plain file (Z13)", hint=f"ls -l {path}")
    if sys.platform == "win32":
        return  # permissions are access lists there, and a profile is private by default
    if made.st_uid != os.geteuid() and not (links and made.st_uid == 0):
        raise WalletError(f"{path} belongs to another user", rule="a wallet file belongs to who pays (Z13)", hint=f"ls -l {path}")
    granted = links and made.st_uid == 0 and os.geteuid() != 0  # orchestrators hand secrets of root's to our group
    if not public and made.st_mode & (0o037 if granted else 0o077):
        raise WalletError(
            f"others on this machine can read or write {path}", rule=f"mode {made.st_mode & 0o777:04o}, not 0600 (Z10)",
            hint=f"chmod 600 {path}; if somebody may have read it, move the money to a new wallet",
        )  # fmt: skip


def write_new(path: Path, data: bytes, *, hint: str = "x402-agent wallet show, or another path in X402_AGENT_WALLET") -> None:
    """Write a new file, 0600, durably; raises WalletError when there is one already, which stays as it is."""
    fresh = _beside(path, data)
    try:
        os.link(fresh, path, follow_symlinks=False)  # unlike rename, this never overwrites
    except FileExistsError:
        raise WalletError(f"{path} exists and is never overwritten", rule="new files only", hint=hint) from None
    except OSError as why:
        raise WalletError(f"{path} cannot be written: {why.strerror}", rule=str(path), hint=_ROOM) from None
    finally:
        os.unlink(fresh)
    _sync(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Put a whole new content in the place of a file, at once and durably; raises WalletError."""
    fresh = _beside(path, data)
    try:
        os.replace(fresh, path)
    except OSError as why:
        os.unlink(fresh)
        raise WalletError(f"{path} cannot be written: {why.strerror}", rule=str(path), hint=_ROOM) from None
    _sync(path.parent)


def _beside(path: Path, data: bytes) -> Path:
    fresh = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_folder(path.parent)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN | _NOFOLLOW, 0o600)
    except OSError as why:
        raise WalletError(f"nothing can be written in {path.parent}: {why.strerror}", rule=str(path), hint=_ROOM) from None
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as why:
        with suppress(OSError):
            os.unlink(fresh)
        raise WalletError(f"{path} cannot be written: {why.strerror}", rule=str(path), hint=_ROOM) from None
    return fresh


def _refuse_folder(folder: Path) -> None:
    mode = folder.stat().st_mode
    if sys.platform != "win32" and mode & 0o002 and not mode & stat.S_ISVTX:
        raise WalletError(f"everybody may write in {folder}", rule="the wallet's folder is private (Z13)",
                          hint=f"chmod 700 {folder}")  # fmt: skip


def _sync(folder: Path) -> None:
    if sys.platform != "win32":
        fd = os.open(folder, os.O_RDONLY | _PLAIN)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process changes this file meanwhile (flock; on Windows nothing holds them apart)."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    while True:
        fd = _opened(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _same(fd, path):  # else it was replaced while we waited
                yield
                return
        finally:
            os.close(fd)


def _same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
