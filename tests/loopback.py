"""A hostile seller on loopback that writes raw bytes, a signer that counts, and payers with a ledger of their own."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.wallet import KeySigner

USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
LONG = 30.0  # seconds: never the limit that a test is about


def reads(seconds: float | None) -> tuple[float, float | None, float, float]:
    """A client's timeouts: this for each read, and patience for whatever a busy machine is late with by itself."""
    return LONG, seconds, LONG, LONG


def request_of(line: Any) -> bytes:
    """A request as it came, head and as much body as it announces; b"" where it ends before."""
    read = b""
    while data := line.recv(65536):
        read += data
        head, end, body = read.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and len(body) >= (int(length[1]) if length else 0):
            return read
    return b""


@dataclass
class Hit:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    conn: socket.socket = field(repr=False)

    @property
    def proof(self) -> str:
        return self.headers.get("payment-signature") or self.headers.get("x-payment") or ""

    def reset(self) -> bytes:
        """Close with RST instead of FIN."""
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return b""


Answer = Callable[[Hit], bytes | Iterator[bytes]]


class Seller:
    """One origin. A route answers with bytes (the connection stays), b"" or an iterator (it is closed afterwards)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.routes: dict[str, Answer] = {}
        self.hits: list[Hit] = []
        self.stop = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.origin = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.threads: list[threading.Thread] = []
        self.conns: list[socket.socket] = []
        self._spawn(self._accept)

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            if self.stop.is_set():
                conn.close()
                return
            self.conns.append(conn)
            self._spawn(self._serve, conn)

    def _serve(self, plain: socket.socket) -> None:
        conn = plain
        if self.tls is not None:
            try:
                conn = self.tls.wrap_socket(plain, server_side=True)
            except OSError:  # SSLError is one: a client that does not trust us
                plain.close()
                return
        with conn, conn.makefile("rb") as stream, suppress(OSError, ValueError):
            while (hit := self._read(conn, stream)) is not None:
                self.hits.append(hit)
                route = self.routes.get(hit.path.partition("?")[0])
                made = self.answer(404) if route is None else route(hit)
                if isinstance(made, bytes):
                    if not made:
                        return
                    conn.sendall(made)
                    continue
                for piece in made:
                    conn.sendall(piece)
                return

    @staticmethod
    def _read(conn: socket.socket, stream: Any) -> Hit | None:
        line = stream.readline().decode("latin-1").split()
        if len(line) < 2:
            return None
        headers: dict[str, str] = {}
        while (raw := stream.readline().decode("latin-1").strip()) != "":
            name, _, value = raw.partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(stream.readline(), 16):
                body += stream.read(size)
                stream.readline()
            stream.readline()
        else:
            body = stream.read(int(headers.get("content-length", "0")))
        return Hit(line[0], line[1], headers, body, conn)

    def close(self) -> None:
        self.stop.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self.listener.close()
        for conn in self.conns:
            with suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)

    # -- what it says ---------------------------------------------------------------------------------------------

    def url(self, path: str) -> str:
        return self.origin + path

    @staticmethod
    def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
        """A whole response; `a_b="c"` is the header `a-b: c`."""
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def terms(self, path: str = "/", amount: int = 10_000, **changes: Any) -> dict[str, Any]:
        offer = {
            "scheme": "exact", "network": "eip155:84532", "amount": str(amount), "asset": USDC,
            "payTo": "0x" + "ab" * 20, "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}, **changes,
        }  # fmt: skip
        return {"x402Version": 2, "resource": {"url": self.url(path)}, "accepts": [offer]}

    @staticmethod
    def packed(document: Any) -> str:
        """The value of a PAYMENT-REQUIRED header: JSON (or the text or bytes given) in base64."""
        text = document if isinstance(document, (str, bytes)) else json.dumps(document)
        return base64.b64encode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")).decode()

    def ask(self, path: str = "/", amount: int = 10_000, body: bytes = b"{}", **headers: str) -> bytes:
        """A 402 with a v2 challenge in its header."""
        return self.answer(402, body, payment_required=self.packed(self.terms(path, amount)), **headers)

    def demands(self, path: str, document: Any) -> str:
        """Ask by this document, v2 in the header, v1 in the body; give the content for a proof; -> the URL."""
        if isinstance(document, dict) and document.get("x402Version") == 1:
            asked = self.answer(402, json.dumps(document).encode(), content_type="application/json")
        else:
            asked = self.answer(402, b"{}", payment_required=self.packed(document))
        return self.serves(path, lambda hit: self.ok() if hit.proof else asked)

    def terms_v1(self, path: str = "/", amount: int = 10_000, **changes: Any) -> dict[str, Any]:
        offer = {
            "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": str(amount), "asset": USDC,
            "payTo": "0x" + "ab" * 20, "resource": self.url(path), "description": "", "mimeType": "",
            "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}, **changes,
        }  # fmt: skip
        return {"x402Version": 1, "error": "pay", "accepts": [offer]}

    def ask_v1(self, path: str = "/", amount: int = 10_000) -> bytes:
        """A 402 with a v1 challenge in its body."""
        body = json.dumps(self.terms_v1(path, amount)).encode()
        return self.answer(402, body, content_type="application/json")

    @staticmethod
    def receipt(**changes: Any) -> str:
        fields = {"success": True, "transaction": "0x" + "12" * 32, "network": "eip155:84532", **changes}
        return base64.b64encode(json.dumps(fields).encode()).decode()

    def ok(self, body: bytes = b"paid content", **headers: str) -> bytes:
        return self.answer(200, body, **{"payment_response": self.receipt(), **headers})

    def sells(self, path: str, then: bytes | Answer | None = None, amount: int = 10_000) -> str:
        """Ask at `path`, and give `then` for a proof; -> the URL."""

        def route(hit: Hit) -> bytes | Iterator[bytes]:
            if not hit.proof:
                return self.ask(path, amount)
            if then is None:
                return self.ok()
            return then if isinstance(then, bytes) else then(hit)

        self.routes[path] = route
        return self.url(path)

    def serves(self, path: str, then: bytes | Answer) -> str:
        """Give `then` at `path`, paid or not; -> the URL."""
        self.routes[path] = (lambda hit: then) if isinstance(then, bytes) else then
        return self.url(path)

    def hang(self, hit: Hit) -> Iterator[bytes]:
        """Say nothing until the test is over."""
        self.stop.wait(30)
        yield b""

    def drip(self, *first: bytes, piece: bytes, every: float = 0.05) -> Iterator[bytes]:
        """A piece now and then, until the test is over."""
        yield from first
        while not self.stop.wait(every):
            yield piece

    # -- what it saw ----------------------------------------------------------------------------------------------

    @property
    def proofs(self) -> list[str]:
        return [hit.proof for hit in self.hits if hit.proof]

    @property
    def nonces(self) -> set[str]:
        """The distinct authorisations it was shown: each could take the money once."""
        return {self.authorization(proof)["nonce"] for proof in self.proofs}

    @staticmethod
    def payload(proof: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(base64.b64decode(proof))["payload"]
        return found

    @classmethod
    def authorization(cls, proof: str) -> dict[str, str]:
        found: dict[str, str] = cls.payload(proof)["authorization"]
        return found


class CountingSigner:
    """A local key that counts its signatures, and fails when told to."""

    local = True

    def __init__(self) -> None:
        self.inner = KeySigner("0x" + "01" * 32)
        self.count = 0
        self.broken: Exception | None = None

    def address(self, namespace: str) -> str | None:
        return self.inner.address(namespace)

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        self.count += 1
        if self.broken is not None:
            raise self.broken
        return self.inner.sign_digest(namespace, digest)


class Till:
    """Makes payers on one folder; `signer` counts what they sign."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.load({"X402_AGENT_HOME": str(folder)})
        self.signer = CountingSigner()
        self.made: list[Payer] = []

    def payer(
        self, *, policy: Policy | None = None, deadline: float = 20.0, answer_timeout: float = 0.15, **options: Any
    ) -> Payer:
        settings = replace(self.settings, deadline=deadline, answer_timeout=answer_timeout)
        made = Payer(
            wallet=Wallet(self.signer), policy=policy or Policy(networks=("testnet",)), settings=settings,
            ledger=SqliteLedger(settings.ledger_path, journal="normal", clock=options.get("clock", time.time)), **options,
        )  # fmt: skip
        self.made.append(made)
        return made

    @staticmethod
    def rows(payer: Payer) -> list[tuple[str, str]]:
        """(state, outcome) of each payment in the ledger."""
        payer.ledger.flush()
        return [(row.state, row.outcome) for row in payer.ledger.payments()]
