"""Who is at the other end of a Unix socket, by the kernel's word, and which places on disk nobody else can tamper with."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from ..errors import SettingsError

__all__ = ["Peer", "gone", "peer", "refuse_open", "refuse_unsafe"]

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # macOS, sys/un.h
_XUCRED = struct.Struct("IIh16I")  # version, uid, number of groups, groups


class Peer(NamedTuple):
    """The process that connected, or listens: user and process id. `pid` is 0 where the system does not say."""

    uid: int
    pid: int


def peer(sock: socket.socket) -> Peer:
    """The other end's user as the kernel knows it (SO_PEERCRED, LOCAL_PEERCRED); raises SettingsError without one."""
    if sys.platform == "linux":
        pid, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Peer(uid, pid)
    if sys.platform == "darwin":
        uid = _XUCRED.unpack(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))[1]
        return Peer(uid, struct.unpack("i", sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))[0])
    raise SettingsError("this system does not say who connects to a socket", rule="peer credentials: Linux and macOS")


def refuse_open(path: Path, what: str, *, shared: bool = False) -> None:
    """Raise SettingsError when others can read or write this file of ours, or it belongs to somebody else.

    `shared` allows a file of root's, and reading by the group: a policy that an administrator wrote.
    """
    try:
        made = path.stat()
    except FileNotFoundError:
        return
    if made.st_uid != os.geteuid() and not (shared and made.st_uid == 0):
        raise SettingsError(f"the {what} {path} belongs to user {made.st_uid}", rule="the signer's own files are its own (Z13)",
                            hint=f"chown it to user {os.geteuid()}")  # fmt: skip
    if made.st_mode & (0o037 if shared else 0o077):
        raise SettingsError(f"others on this machine can reach the {what} {path}", rule=f"mode {made.st_mode & 0o777:04o}, not 0600 (Z10)",
                            hint=f"chmod 600 {path}")  # fmt: skip


def refuse_unsafe(folder: Path, what: str) -> None:
    """Raise SettingsError when anybody but us and root could put another file or folder in the way to this folder.

    Every folder on the way is looked at, as written and as resolved, so a link can only be one that we or root made.
    """
    absolute = Path(os.path.abspath(folder))
    real = absolute.resolve()
    for place in {absolute, *absolute.parents, real, *real.parents}:
        try:
            made, link = place.stat(), place.lstat()
        except OSError as why:
            raise SettingsError(f"{place} cannot be looked at: {why.strerror}", rule=what, hint=f"ls -ld {place}") from None
        ours = {made.st_uid, link.st_uid} <= {0, os.geteuid()}
        sticky = made.st_mode & stat.S_ISVTX and place not in (absolute, real)  # others cannot rename what is ours there
        if not ours or (made.st_mode & 0o022 and not sticky):
            raise SettingsError(
                f"others on this machine can change what lies in {place}",
                rule=f"{what}: its folder and all above it belong to us or root (Z13)",
                hint=f"chmod go-w {place}" if ours else f"another folder than one of user {made.st_uid}",
            )


def gone(sock: socket.socket) -> bool:
    """Whether the other side has hung up; it has nothing to say while it waits."""
    sock.settimeout(0)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
