"""A person at this very terminal: asked there and nowhere else, and only while this process is in its foreground.

Whoever reads a terminal reads what was typed for somebody else: one question at a time, across processes, by a lock on it;
and what was typed before the question counts for nothing. The answer is `yes` or the amount; everything else is no.
"""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TYPE_CHECKING

from ..errors import PolicyDenied
from ..steps import Sleep
from .request import lines

if TYPE_CHECKING:
    from ..model import Money
    from ..steps import Steps
    from .request import Request

__all__ = ["Terminal"]

PAUSE = 0.1
MAX_LINE = 256
_AMOUNT = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?", re.ASCII).fullmatch


class Terminal:
    """Asks where standard input and standard error are a terminal, and this process is in its foreground."""

    name = "terminal"

    def ask(self, request: Request) -> Steps[bool]:
        """True when `yes` or the amount was typed in time; raises PolicyDenied where nobody can be asked."""
        end = time.monotonic() + request.expires - request.created
        fd = _open()
        try:
            yield from _turn(fd, end)
            import termios

            termios.tcflush(fd, termios.TCIFLUSH)
            amount = request.offer.money.text
            text = "\n".join(["x402-agent asks before it pays", *lines(request.facts)])
            yield from _write(fd, f"{text}\nType yes, or {amount}, to pay within {int(end - time.monotonic())} s: ", end)
            try:
                typed = yield from _line(fd, end)
            except BaseException:
                yield from _write(fd, "\nnothing is paid\n", end + 1)
                raise
            return typed.casefold() == "yes" or _is(typed, request.offer.money)
        finally:
            os.close(fd)


def _open() -> int:
    """The terminal, opened anew: not blocking here leaves everybody else's as it is."""
    nobody = PolicyDenied("no terminal to ask at", hint='how = "file" or "webhook" under [approval] in policy.toml')
    if sys.platform == "win32" or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise nobody
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(os.ttyname(sys.stderr.fileno()), flags)
    except (OSError, ValueError):  # another user's, after su: then by the name that everybody may open
        try:
            fd = os.open("/dev/tty", flags)
        except OSError:
            raise nobody from None
    try:
        mine = os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        mine = False
    if not mine:  # to read it would stop this process
        os.close(fd)
        raise PolicyDenied("not in the foreground of its terminal", hint="fg, then the same again")
    return fd


def _turn(fd: int, end: float) -> Steps[None]:
    """Wait until nobody else asks here."""
    import fcntl

    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield from _pause(end)
        else:
            return


def _write(fd: int, text: str, end: float) -> Steps[None]:
    left = text.encode("utf-8", "replace")
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            yield from _pause(end)


def _line(fd: int, end: float) -> Steps[str]:
    """What is typed until the end of the line; "" for an end of file, and for more than anybody types."""
    typed = b""
    while len(typed) < MAX_LINE:
        try:
            more = os.read(fd, MAX_LINE)
        except BlockingIOError:
            yield from _pause(end)
            continue
        typed += more
        if not more or b"\n" in more or b"\r" in more:
            return typed.decode("utf-8", "replace").strip()
    return ""


def _pause(end: float) -> Steps[None]:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    yield Sleep(min(PAUSE, left))


def _is(typed: str, money: Money) -> bool:
    found = _AMOUNT(typed)
    if found is None:
        return False
    part = (found[2] or "").rstrip("0")
    places = money.asset.decimals
    return len(part) <= places and int(found[1] + part.ljust(places, "0")) == money.amount
