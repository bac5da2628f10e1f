"""One invoice, read strictly: whom, how much in decimal text, until when, and where its status is told.

The shop's 402 is flat JSON of our own documentation (docs/tron-invoices.md), since monitors have none. An amount is text because
a JSON number goes through a float in most readers, and 3.141591 USDT must not become 3.14159.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ... import assets
from ...encodings import unbase58check
from ...model import INVOICE, Offer
from ..x402.passed import Passed, broken, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Asset, Network

__all__ = ["BY_CALL", "LAST", "NAME", "SHOP", "Invoice", "account", "address", "offers", "read", "units"]

NAME = "tron-invoice"
CURRENCY = "USDT_TRC20"
# Nothing is paid in the last ten minutes of an invoice: a minute to get into a block, another until that is solid, some polls of the monitor, and
# as much again for a busy chain. What comes later is kept by the seller and noticed by nobody.
LAST = 600
LIFE = 86_400  # seconds that a shop gives what was bought, and that monitors watch
_LATEST = 253_402_300_800  # unix seconds of the year 10000: what is beyond is most likely in milliseconds
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_AMOUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?").fullmatch
_URL = re.compile(r"https?://[!-~]{1,1000}").fullmatch
SHOP, BY_CALL = "402", "call"  # how an invoice came: the first opens a shop's door, the second is paid for itself


class Invoice(NamedTuple):
    """What is asked: `amount` in atomic units of USDT, `ends` in unix seconds. `networks`: CAIP-2, every one where none was named."""

    payment_id: str
    wallet: str
    amount: int
    ends: int
    status_url: str
    networks: tuple[Network, ...]
    order_id: str = ""

    @property
    def name(self) -> str:
        """What it is paid once by: its id, at the origin that tells its status."""
        return f"{address(self.status_url)} {self.payment_id}"


def read(fields: Mapping[str, Any], origin: str = "") -> Invoice:
    """One invoice; with an `origin` its status is told there and nowhere else. Raises Passed for what is broken, or not ours."""
    if missing := [name for name in ("payment_id", "wallet_address", "amount", "expires_at", "status_url") if name not in fields]:
        raise broken(f"the invoice names no {', '.join(missing)} (W4)")
    payment_id, order_id = fields["payment_id"], fields.get("order_id")
    if not isinstance(payment_id, str) or not _ID(payment_id):
        raise broken(f"payment_id {show(payment_id)} is not an id of 1 to 64 letters, digits, _ or - (W4)")
    if order_id is not None and (not isinstance(order_id, str) or len(order_id) > 100):
        raise broken(f"order_id {show(order_id)} is not a text of at most 100 characters (W4)")
    if fields.get("currency") not in (None, CURRENCY):
        raise Passed(f"currency {show(fields['currency'])} is not {CURRENCY} (A1)", broken=False)
    return Invoice(payment_id, account(fields["wallet_address"]), units(fields["amount"]), _ends(fields["expires_at"]),
                   _status(fields["status_url"], payment_id, origin), _networks(fields.get("network")), order_id or "")  # fmt: skip


def offers(invoice: Invoice, resource: str, way: str) -> tuple[Offer, ...]:
    """The transfer that pays it, on each network that it may be paid on: policy says which of them is ours."""
    wire = ("invoice", invoice.name, invoice.payment_id, invoice.status_url, str(invoice.ends), invoice.order_id, way)
    return tuple(
        Offer(dialect=NAME, scheme="transfer", method="transfer", flow=INVOICE, asset=asset, amount=invoice.amount, pay_to=invoice.wallet,
              lifetime=LIFE, resource=resource, description=f"invoice {invoice.payment_id}", wire=wire, ends=max(1, invoice.ends - LAST))
        for asset in _usdt() if asset.network in invoice.networks
    )  # fmt: skip


def account(text: object) -> str:
    """An address of TRON whose checksum is right; raises Passed (R2). Monitors check its length and letters alone."""
    try:
        raw = unbase58check(text) if isinstance(text, str) and len(text) == 34 and text.isascii() else b""
    except ValueError:
        raise broken(f"wallet_address {show(text)} has a wrong base58 checksum (R2)") from None
    if len(raw) != 21 or raw[0] != 0x41:
        raise broken(f"wallet_address {show(text)} is no address of TRON (R2)")
    return str(text)


def units(amount: object) -> int:
    """Atomic units of USDT from decimal text of at most six places, exactly; raises Passed (P4, P8)."""
    if not isinstance(amount, str):
        raise broken(f"amount {show(amount)} is no text: as a JSON number it goes through a float (P4)")
    if not _AMOUNT(amount):
        raise broken(f"amount {show(amount)} is not decimal text of at most six places (P4)")
    if not (made := int(Decimal(amount).scaleb(6))):
        raise broken("amount is zero (P8)")
    return made


def address(url: str) -> str:
    """The origin of a URL as an Ask has it; raises ValueError."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _ends(said: object) -> int:
    """Unix seconds, from those or from ISO text with a zone; raises Passed."""
    if isinstance(said, str) and len(said) <= 40:
        try:
            at = datetime.fromisoformat(said)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise broken(f"expires_at {show(said)} is no time with a zone: read as local time it is hours away (D6)")
        return int(at.timestamp())
    if type(said) not in (int, float) or not 0 < said < _LATEST:  # type: ignore[operator]
        raise broken(f"expires_at {show(said)} is not a time in unix seconds (D6)")
    return int(said)  # type: ignore[call-overload, no-any-return]


def _status(url: object, payment_id: str, origin: str) -> str:
    """Where its status is told: at the origin that asks for the money, under its own id. Raises Passed (O1)."""
    text = f"{origin}{url}" if isinstance(url, str) and url.startswith("/") and not url.startswith("//") else url
    try:
        parts = urlsplit(text) if isinstance(text, str) and _URL(text) else None
        where = address(parts.geturl()) if parts else ""
    except ValueError:
        parts, where = None, ""
    if parts is None or not parts.hostname or parts.username is not None or parts.fragment:
        raise broken(f"status_url {show(url)} is no plain URL (W4)")
    if origin and where != origin:
        raise Passed(f"status_url is at {show(where)}: an invoice whose status another origin tells is not paid (O1)", broken=False)
    if payment_id not in parts.path.split("/") and f"={payment_id}" not in parts.query:
        raise broken(f"status_url {show(url)} does not name {payment_id}: it would tell of another payment (W4)")
    return str(text)


@cache
def _usdt() -> tuple[Asset, ...]:
    """USDT on every network of TRON that the table has."""
    return tuple(each for each in assets.assets() if each.symbol == "USDT" and each.network.namespace == "tron")


def _networks(said: object) -> tuple[Network, ...]:
    """The network that is named, or every one of TRON; raises Passed (A5)."""
    if said is None:
        return tuple(each.network for each in _usdt())
    found = assets.network(said) if isinstance(said, str) else None
    if found is None or found.namespace != "tron":
        raise Passed(f"network {show(said)} is none of TRON's (A5)", broken=False)
    return (found,)
