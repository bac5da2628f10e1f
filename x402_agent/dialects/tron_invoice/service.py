"""A TRON payment monitor, for developers who sell: create a payment, ask for its status, read its callback. Nothing here pays.

A monitor wants its amount as a JSON number; it is written from decimal text, so that no float comes between. Its callback carries no signature:
what it says is worth nothing until the status page says the same.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ...errors import ChallengeInvalid, NodeError, PolicyDenied, SettingsError
from ...secret import plain
from ...steps import Fetch, Fetched
from .. import strict
from ..x402.passed import Passed
from .invoice import account, units

if TYPE_CHECKING:
    from ...steps import Steps

__all__ = ["Callback", "Created", "Service", "Status", "callback", "tailed"]

LEAST, MOST = 10_000, 10**12  # atomic units that a monitor watches for: 0.01 to 1,000,000 USDT
TAIL = 9_999  # atomic units, the most that a unique tail adds
_CENT = 10_000
_NEAR = Decimal("0.000001")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_HASH = re.compile(r"[0-9a-f]{64}").fullmatch
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Created(NamedTuple):
    """An invoice to hand to a payer: `amount` is decimal text with its tail, `expires_at` unix seconds."""

    payment_id: str
    wallet_address: str
    amount: str
    expires_at: float
    status_url: str
    order_id: str = ""


class Status(NamedTuple):
    """What the monitor says of a payment: amounts as decimal text, "" for none; `transaction` 64 hex digits or ""."""

    payment_id: str
    status: str
    wallet_address: str
    expected: str
    received: str
    transaction: str
    order_id: str


class Callback(NamedTuple):
    """What somebody posted, in the fields of a monitor: unsigned, so a reason to ask for the status and no more."""

    payment_id: str
    order_id: str
    wallet_address: str
    expected: str
    received: str
    transaction: str
    milliseconds: int


def tailed(amount: str, chance: int) -> str:
    """The amount with a tail of 0.000001 to 0.009999 that tells it from others at the same wallet, as decimal text.

    `chance` is any whole number, best a random one. An amount that has more than two places has its tail already. Raises SettingsError.
    """
    made = _units(amount)
    return _text(made if made % _CENT else made + 1 + chance % TAIL)


class Service:
    """One monitor. Its questions are generators of steps."""

    def __init__(self, base: str, *, loopback: bool = False) -> None:
        parts = urlsplit(base)
        local = loopback and parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not parts.hostname or parts.username or parts.query or parts.fragment or not (parts.scheme == "https" or local):
            raise SettingsError("a monitor is asked over https", rule="base", hint="loopback=True for one on this machine")
        self._base = base.rstrip("/")

    def __repr__(self) -> str:
        return f"Service({urlsplit(self._base).hostname})"

    def create_payment(self, wallet_address: str, amount: str, *, order_id: str = "", callback_url: str = "", chance: int = 0) -> Steps[Created]:
        """A new invoice, its amount with a unique tail made of `chance`. The address is judged by its checksum, which monitors do not look at.

        Raises SettingsError for what no monitor takes, PolicyDenied for an order_id that has an open payment, NodeError without an answer.
        """
        asked = tailed(amount, chance)
        members = {"wallet_address": _account(wallet_address), **({"callback_url": callback_url} if callback_url else {}),
                   **({"order_id": order_id} if order_id else {})}  # fmt: skip
        body = f'{json.dumps(members)[:-1]}, "expected_amount_usdt": {asked}}}'.encode()
        got: Fetched = yield Fetch("POST", f"{self._base}/create_payment", body, {"content-type": "application/json"}, timeout=15.0, theirs=False)
        found = _page(got)
        if got.status == 409:
            raise PolicyDenied(f"the monitor has an open payment for this order: {_words(found)}", rule="order_id", hint="its payment_id; or another order_id")
        if got.status == 400:
            raise SettingsError(f"the monitor takes no such payment: {_words(found)}", rule="create_payment")
        payment_id = found.fields.get("payment_id") if found else None
        ends = found.fields.get("expires_at") if found else None
        if got.status not in (200, 201) or not isinstance(payment_id, str) or not _ID(payment_id) or type(ends) not in (int, float):
            raise NodeError(f"the monitor created no payment: {_words(found) or f'status {got.status}'}", rule="create_payment", hint="ask it again later")
        return Created(payment_id, wallet_address, asked, float(ends), f"{self._base}/payment_status/{payment_id}", order_id)  # type: ignore[arg-type]

    def payment_status(self, payment_id: str) -> Steps[Status]:
        """What it says of a payment. Raises SettingsError for one that it does not know, NodeError without an answer."""
        if not _ID(payment_id):
            raise SettingsError("that is no payment_id", rule="payment_id", hint="as create_payment gave it")
        got: Fetched = yield Fetch("GET", f"{self._base}/payment_status/{payment_id}", retries=2, theirs=False)
        found = _page(got)
        if got.status == 404:
            raise SettingsError(f"the monitor knows no payment {payment_id}, or no longer", rule="payment_id", hint="monitors forget after 24 hours")
        if got.status != 200 or found is None or not isinstance(status := found.fields.get("status"), str):
            raise NodeError(f"the monitor told no status: {_words(found) or f'status {got.status}'}", rule="payment_status", hint="ask it again later")
        return Status(payment_id, plain(status, 20), _word(found, "wallet_address"), _amount(found, "expected_amount_usdt"),
                      _amount(found, "received_amount_usdt"), _hash(found), _word(found, "order_id"))  # fmt: skip

    def believed(self, body: bytes) -> Steps[Callback]:
        """What was posted as a callback, where the status page says the same: completed, this order, wallet, amount and transaction.

        Raises ChallengeInvalid where it does not, and as `payment_status`.
        """
        posted = callback(body)
        found = yield from self.payment_status(posted.payment_id)
        told = ("completed", posted.wallet_address, posted.transaction, posted.order_id)  # a true one with another order's name buys that order
        same = (found.status, found.wallet_address, found.transaction, found.order_id) == told
        asked, came = Decimal(posted.expected), Decimal(found.received or -1)
        if not same or Decimal(found.expected or -1) != asked or came < asked - _NEAR or abs(came - Decimal(posted.received)) >= _NEAR:
            raise ChallengeInvalid("the status page does not say what this callback says", rule="a callback is unsigned: the status page decides")
        return posted


def callback(body: bytes) -> Callback:
    """What was posted as a callback; raises ChallengeInvalid for what no monitor sends. It is unsigned: see Service.believed."""
    found = strict.parse(body)
    made = Callback(_word(found, "payment_id"), _word(found, "order_id"), _word(found, "wallet_address"), _amount(found, "expected_amount_usdt"),
                    _amount(found, "received_amount_usdt"), _hash(found), found.fields.get("block_timestamp", 0))  # fmt: skip
    fine = _ID(made.payment_id) and made.transaction and made.expected and made.received and type(made.milliseconds) is int
    if not fine or found.fields.get("status") != "completed" or found.fields.get("currency") != "USDT_TRC20":
        raise ChallengeInvalid("what was posted is no callback of a monitor", rule="its fields (TRON monitor)")
    return made


def _units(amount: str) -> int:
    try:
        made = units(amount)
    except Passed as why:
        raise SettingsError(why.reason, rule="amount", hint='"12.34"') from None
    if not LEAST <= made <= MOST - TAIL:
        raise SettingsError(f"a monitor watches for 0.01 to 1,000,000 USDT, not {_text(made)}", rule="amount", hint='"12.34"')
    return made


def _account(text: str) -> str:
    try:
        return account(text)
    except Passed as why:
        raise SettingsError(why.reason, rule="wallet_address", hint="the address as the wallet shows it") from None


def _text(units: int) -> str:
    return f"{units // 10**6}.{units % 10**6:06}"


def _page(got: Fetched) -> strict.Document | None:
    try:
        return strict.parse(got.content)
    except ChallengeInvalid:
        return None


def _words(found: strict.Document | None) -> str:
    said = next((found.fields[name] for name in ("error", "message") if name in found.fields), "") if found else ""
    return plain(said, 200) if isinstance(said, str) else ""


def _word(found: strict.Document, name: str) -> str:
    said = found.fields.get(name)
    return plain(said, 120) if isinstance(said, str) else ""


def _amount(found: strict.Document, name: str) -> str:
    """A number of the page as it is written, never through a float; "" for what is none."""
    text = found.raw.get(name, "").strip('"')
    return text if len(text) <= 40 and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,18})?", text, re.ASCII) else ""


def _hash(found: strict.Document) -> str:
    said = _word(found, "transaction_hash").lower().removeprefix("0x")
    return said if _HASH(said) else ""
