"""A proxy on loopback that misbehaves as networks and servers do: by chance, and by a seed. It reads a request whole, and may lose
it, answer in its server's place, be slow, or lose the answer of a server that has acted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = ["Faults", "Proxy"]

PROOFS = (b"payment-signature:", b"x-payment", b"x-402-payment:", b"authorization: bearer")  # lines by which something is shown as payment
BEFORE = ("reset", "503", "500", "429")  # the server never hears of it
AFTER = ("lost", "late 502", "torn", "slow", "hangs")  # it has acted
MOST = 8 << 20  # bytes of one message
HANGS = 12.0  # seconds without a word: longer than a client's patience with one question
_WORDS = {"429": b"Too Many Requests", "500": b"Internal Server Error", "502": b"Bad Gateway", "503": b"Service Unavailable"}


@dataclass
class Faults:
    """What goes wrong, and how often: `share` of all requests, drawn from one seed; nothing while `calm`."""

    seed: int
    share: float
    calm: bool = False
    count: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - chance is seeded

    def drawn(self, *, paid: bool) -> tuple[str, float]:
        """The fault of one request, "" for none, and how many seconds its way takes."""
        fault = ""
        if not self.calm and self._chance.random() < self.share:
            fault = self._chance.choice(BEFORE if self._chance.random() < 0.4 else AFTER)
            self.count[f"{fault}, {'with' if paid else 'without'} a proof"] += 1
        return fault, 0.0 if self.calm else self._chance.random() * 0.02

    def seconds(self) -> float:
        """How long a slow answer takes."""
        return self._chance.uniform(0.3, 3.0)


class Proxy:
    """One address in front of one server. What is behind sees the Host that the client wrote."""

    def __init__(self, faults: Faults, port: int) -> None:
        self._faults, self._port = faults, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None] | None] = set()  # a loop alone keeps none of them alive

    async def start(self, host: str) -> int:
        """Listen; -> the port."""
        self._server = await asyncio.start_server(self._serve, host, 0, limit=1 << 20, backlog=512)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            _reset(writer)
        finally:
            self._tasks.discard(task)
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False where the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        body = await _body(reader, head)
        fault, way = self._faults.drawn(paid=any(each in head.lower() for each in PROOFS))
        await asyncio.sleep(way)
        if fault == "reset":
            _reset(writer)
            return False
        if fault in _WORDS:
            writer.write(_said(fault))
            await writer.drain()
            return True
        answer = await self._asked(head, body)
        if fault in ("slow", "hangs"):
            await asyncio.sleep(self._faults.seconds() if fault == "slow" else HANGS)
        if not answer or fault in ("lost", "hangs"):
            _reset(writer)
            return False
        writer.write(_said("502") if fault == "late 502" else answer[: len(answer) // 2] if fault == "torn" else answer)
        await writer.drain()
        if fault == "torn":
            _reset(writer)
        return fault != "torn" and _lasts(answer)

    async def _asked(self, head: bytes, body: bytes) -> bytes:
        """The server's whole answer, b"" for none."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith((b"connection:", b"transfer-encoding:", b"content-length:"))]
            lines += [b"Connection: close"] + [b"Content-Length: %d" % len(body)] * bool(body)
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            await writer.drain()
            made = await reader.read(MOST)
            while more := await reader.read(MOST):
                made += more
        finally:
            writer.close()
        found, _, rest = made.partition(b"\r\n\r\n")
        kept = [line for line in found.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join(kept) + b"\r\n\r\n" + rest if found else b""

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()


def _lasts(answer: bytes) -> bool:
    """Whether an answer says where it ends, so that the next one may follow it."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return b"\r\ncontent-length:" in head or b"\r\ntransfer-encoding: chunked" in head


def _said(status: str) -> bytes:
    """An answer that no server gave."""
    wait = b"Retry-After: 1\r\n" if status in ("429", "503") else b""
    return b"HTTP/1.1 %s %s\r\n%sContent-Type: text/plain\r\nContent-Length: 4\r\n\r\noops" % (status.encode(), _WORDS[status], wait)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End it with RST."""
    writer.transport.abort()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """What follows the head of a request."""
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    if b"chunked" not in fields.get(b"transfer-encoding", b"").lower():
        return await reader.readexactly(min(MOST, int(fields.get(b"content-length", b"0"))))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body
