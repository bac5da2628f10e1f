"""What is kept of a purchase until somebody has it, under the wallet's key: the request that can be repeated, and the goods."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ..errors import PaymentError
from ..ledger import Sealed
from ..model import Receipt, Repeat
from ..secret import Secret
from ..steps import Goods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..ledger import Waiting
    from ..model import Hold
    from .sealing import Vault

__all__ = ["MOST", "Bare", "Keeping", "harmless", "packed", "unpacked"]

MOST = 8 << 20  # bytes of goods that wait in the ledger
REQUEST, GOODS = "request", "goods"
# No credential and no cookie is kept, and nothing that a client writes anew for each request.
_PRIVATE = re.compile(r"auth|cookie|token|secret|key|session|passw|signature|credential|csrf|payment", re.IGNORECASE).search
_PLAIN = frozenset({"idempotency-key", "sec-websocket-key"})
_HOP = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"})
_OUTPUT = ":output"  # no name of a header begins so
_CODED = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "set-cookie", "keep-alive", "trailer"})


class Keeping:
    """Seals and opens what the ledger keeps of unfinished purchases."""

    def __init__(self, vault: Callable[[], Vault]) -> None:
        self._vault = vault

    def request(self, hold: Hold) -> Sealed | None:
        """The request that this Hold pays for, sealed; None when there is none to keep, or nothing to seal it with."""
        try:
            plain = _request(hold)
            return None if plain is None else self._close(REQUEST, plain, hold)
        except PaymentError:
            return None

    def repeat(self, hold: Hold, kept: Sealed | None) -> Repeat | None:
        """The request of an open payment; None when it was not kept, or with another key. Raises WalletError."""
        plain = None if kept is None else self._vault().open(REQUEST, kept.account, kept.sealed, hold.payment_id)
        return None if plain is None else _repeat(plain)

    def goods(self, hold: Hold, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Sealed:
        """An answer, its body decoded, sealed. Raises WalletError, SigningFailed."""
        return self._close(GOODS, _goods(status, headers, body), hold)

    def opened(self, waiting: Waiting, *, sandbox: bool) -> Goods | None:
        """Goods that wait, for a caller; None when they are sealed with another key, or the wallet is locked."""
        hold = waiting.hold
        try:
            plain = self._vault().open(GOODS, waiting.goods.account, waiting.goods.sealed, hold.payment_id)
        except PaymentError:
            return None
        if plain is None:
            return None
        return _served(waiting, plain, sandbox=sandbox)

    def _close(self, purpose: str, plain: Secret, hold: Hold) -> Sealed:
        return Sealed(*self._vault().close(purpose, plain, hold.payment_id))


def harmless(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers without credentials, and without those that a client writes anew for each request."""
    return [
        (name, value) for name, value in headers
        if name.lower() not in _HOP and (name.lower() in _PLAIN or not _PRIVATE(name))
    ]  # fmt: skip


def _request(hold: Hold) -> Secret | None:
    repeat = hold.ask.repeat()
    if repeat is None:
        return None
    output = [(_OUTPUT, hold.ask.output)] if hold.ask.output else []
    return packed(output + harmless(repeat.headers), repeat.body)


def _repeat(plain: Secret) -> Repeat:
    headers, body = unpacked(plain)
    first = headers[0] if headers else ("", "")
    return Repeat(headers[1:], body, first[1]) if first[0] == _OUTPUT else Repeat(headers, body)


def _goods(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Secret:
    return packed([("status", str(status)), *((name, value) for name, value in headers if name.lower() not in _CODED)], body)


def _served(waiting: Waiting, plain: Secret, *, sandbox: bool) -> Goods:
    headers, body = unpacked(plain)
    receipt = Receipt("spent", waiting.hold.offer, waiting.hold.payment_id, waiting.transaction, sandbox=sandbox, again=True)
    return Goods(receipt, int(headers[0][1]), headers[1:], body)


def packed(headers: Iterable[tuple[str, str]], body: bytes) -> Secret:
    """Headers and body as one text of bytes."""
    return Secret(json.dumps(list(headers)).encode() + b"\n" + body)


def unpacked(plain: Secret) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """What `packed` made."""
    head, _, body = plain.raw.partition(b"\n")
    return tuple((name, value) for name, value in json.loads(head)), body


class Bare:
    """The same where there is no key to seal with: a signer's agent hands it over as it is, and the signer seals it."""

    def request(self, hold: Hold) -> Sealed | None:
        """As Keeping.request."""
        plain = _request(hold)
        return None if plain is None else Sealed("", plain.raw)

    def repeat(self, _hold: Hold, kept: Sealed | None) -> Repeat | None:
        """As Keeping.repeat."""
        return None if kept is None else Repeat(*unpacked(Secret(kept.sealed)))

    def goods(self, _hold: Hold, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Sealed:
        """As Keeping.goods."""
        return Sealed("", _goods(status, headers, body).raw)

    def opened(self, waiting: Waiting, *, sandbox: bool) -> Goods:
        """As Keeping.opened."""
        return _served(waiting, Secret(waiting.goods.sealed), sandbox=sandbox)
