"""The agent's connections to the service: kept open, one for each payment under way, none shared with a forked child."""

from __future__ import annotations

import os
import select
import socket
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError, SigningFailed
from ..secret import without_frames
from .frames import MAX_TAIL, PROTOCOL, Fields, Malformed, frame, receive, receive_tail
from .nouns import error_in
from .peers import peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .peers import Peer

__all__ = ["Connection", "Link"]

_HELLO = 10.0
_IDLE = 16
_LINKS: weakref.WeakSet[Link] = weakref.WeakSet()
_HINT = "x402-agent signer status"


class Connection:
    """One conversation with the service at a time. Raises SigningFailed when it fails, and what the service refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.settimeout(_HELLO)
            self._sock.connect(os.fspath(path))
            self.service: Peer = peer(self._sock)
            self.hello = self.call({"op": "hello", "protocol": PROTOCOL}, _HELLO)
            self.patience = self.hello.whole("patience", 1 << 20)  # seconds: over there a chain may be asked, or a person
        except OSError as why:
            self.close()
            raise SigningFailed(f"no signer answers at {path}: {why.strerror or type(why).__name__}",
                                rule="X402_AGENT_SIGNER", hint="x402-agent signer run, as the signer's own user") from None  # fmt: skip
        except BaseException:
            self.close()
            raise

    def call(self, message: dict[str, Any], patience: float = 0, *, tail: bytes = b"") -> Fields:
        """Send one message, and bytes behind it, and wait for its answer."""
        told, broken = None, ""
        try:
            with suppress(BrokenPipeError):  # it has hung up, and may have said why
                self.tell(message, tail)
            told = receive(self._sock, patience or self.patience)
        except (Malformed, OSError) as why:
            without_frames(why)  # its frames may hold a proof
            broken = str(why) if isinstance(why, Malformed) else why.strerror or type(why).__name__
        if told is None:
            self.close()
            raise SigningFailed(
                f"the signer at {self.path} did not answer{': ' + broken if broken else ''}; nothing was sent to the seller",
                rule="X402_AGENT_SIGNER", hint=f"{_HINT}; repeating the call never pays twice",
            )  # fmt: skip
        if told.has("error"):
            raise error_in(told)
        return told

    def tell(self, message: dict[str, Any], tail: bytes = b"") -> None:
        """Send one message; raises OSError, Malformed."""
        self._sock.sendall(frame(message, tail))

    def fetch(self, message: dict[str, Any]) -> tuple[Fields, bytes]:
        """Send one message. -> its answer, and the bytes behind it."""
        told = self.call(message)
        try:
            return told, receive_tail(self._sock, told, MAX_TAIL)
        except (Malformed, OSError) as why:
            self.close()
            raise SigningFailed(f"the signer at {self.path} broke off: {type(why).__name__}", rule="X402_AGENT_SIGNER", hint=_HINT) from None

    @property
    def stale(self) -> bool:
        """Whether it is closed, or holds something that nobody waits for."""
        if self._sock.fileno() < 0:
            return True
        poll = select.poll()  # select() knows no descriptor above 1023
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """End it from another thread: whoever waits for an answer hears at once that none comes."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it; the service then takes what it handed out over it for unanswered."""
        self._sock.close()


class Link:
    """The connections of one payer. Thread-safe; a forked child begins with none. `heard` is told what the service says of
    itself, on each new one."""

    def __init__(self, path: Path, heard: Callable[[Fields], None] = lambda _: None) -> None:
        if len(os.fsencode(path)) > 103:  # sun_path of macOS; Linux has 108
            raise SettingsError(f"{path} is too long for a socket", rule="X402_AGENT_SIGNER", hint="a shorter path")
        self.path, self._heard = path, heard
        self._idle: list[Connection] = []
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        _LINKS.add(self)
        weakref.finalize(self, _end, self._idle)

    def take(self) -> Connection:
        """A connection of one's own until it is given back; raises SigningFailed."""
        while True:
            with self._lock:
                found = self._idle.pop() if self._idle else None
            if found is None:
                found = Connection(self.path)
                self._heard(found.hello)
                with self._lock:
                    self._all.add(found)
                return found
            if not found.stale:
                return found
            found.close()

    def give(self, connection: Connection) -> None:
        """Give it back for the next conversation."""
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def ask(self, message: dict[str, Any], *, tail: bytes = b"") -> Fields:
        """One question and its answer, over whichever connection is free."""
        connection = self.take()
        try:
            return connection.call(message, tail=tail)
        finally:
            self.give(connection)  # were it broken, it is closed, and whoever takes it next sees that

    def fetch(self, message: dict[str, Any]) -> tuple[Fields, bytes]:
        """One question, its answer and the bytes behind it."""
        connection = self.take()
        try:
            return connection.fetch(message)
        finally:
            self.give(connection)

    def close(self) -> None:
        """End all that is idle."""
        with self._lock:
            _end(self._idle)

    def forked(self) -> None:
        """In a forked child: the parent's conversations are not ours, and must end with the parent."""
        self._lock = threading.Lock()
        self._idle.clear()
        for connection in list(self._all):
            with suppress(OSError):
                connection.close()


def _end(idle: list[Connection]) -> None:
    while idle:
        idle.pop().close()


def _after_fork() -> None:
    for link in list(_LINKS):
        link.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
