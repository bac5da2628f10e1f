"""One POST to somebody on this machine: the sandbox calls nobody else, follows no redirect, and waits only so long."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Said", "loopback", "post"]

_LINE = 1024  # bytes: a status line is shorter


class Said(NamedTuple):
    """What a receiver answered: its HTTP status, 0 where there was none, and that in words."""

    status: int
    words: str

    @property
    def good(self) -> bool:
        """Whether it took what it was sent."""
        return 200 <= self.status < 300


def loopback(url: str) -> tuple[str, int] | None:
    """Where to connect for an http URL, None where that is not this machine. `localhost` is not looked up."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        found = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return (str(found), port) if parts.scheme == "http" and parts.username is None and found.is_loopback and mapped is None else None


def post(url: str, body: bytes, headers: Mapping[str, str], patience: float) -> Said:
    """Send JSON, and read the status line: the rest of an answer is nobody's business. `patience` in seconds, for all of it."""
    where = loopback(url)
    if where is None:
        return Said(0, "the sandbox calls http on this machine alone")
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    end = time.monotonic() + patience
    heard = b""
    try:
        with socket.create_connection(where, patience) as link:
            link.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            while b"\n" not in heard and len(heard) < _LINE:
                link.settimeout(max(0.001, end - time.monotonic()))
                more = link.recv(_LINE)
                if not more:
                    break
                heard += more
    except OSError as cause:
        return Said(0, type(cause).__name__)
    words = heard.partition(b"\n")[0].decode("latin-1").split()
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not (len(words[1]) == 3 and words[1].isascii() and words[1].isdigit()):
        return Said(0, "no HTTP answer")
    return Said(int(words[1]), f"HTTP {words[1]}")
