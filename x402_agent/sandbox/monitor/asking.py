"""POST /create_payment, read strictly, in the words of the published API."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..tron.contracts import raw_address
from .store import MICRO, Payment

if TYPE_CHECKING:
    from .quirks import Quirks

__all__ = ["LEAST", "MOST", "Wrong", "invoice"]

LEAST, MOST = 10_000, 1_000_000 * MICRO
_FIELDS = ("wallet_address", "expected_amount_usdt", "callback_url", "order_id")
_LOOKS = re.compile(r"T[1-9A-HJ-NP-Za-km-z]{33}").fullmatch
_URL = 2000  # characters


class Wrong(Exception):
    """What is wrong with a request, in the API's words."""


def invoice(body: Any, now: float, quirks: Quirks) -> Payment:
    """The invoice that a decoded body asks for; raises Wrong."""
    if not isinstance(body, dict) or not body:
        raise Wrong("Invalid JSON or empty request body")
    missing = [name for name in _FIELDS if name not in body]
    if missing:
        raise Wrong(f"Missing required fields: {', '.join(missing)}")
    amount = _amount(body["expected_amount_usdt"], quirks.rounds)
    wallet = body["wallet_address"]
    if not isinstance(wallet, str) or not _LOOKS(wallet) or not (quirks.lax_address or _checked(wallet)):
        raise Wrong("Invalid TRON wallet address format")
    if not _callable(body["callback_url"]):
        raise Wrong("Invalid callback URL format")
    order = body["order_id"]
    if not isinstance(order, str) or not order.strip() or not order.isprintable():
        raise Wrong("order_id must be a non-empty string")
    if len(order) > 100:
        raise Wrong("order_id cannot exceed 100 characters")
    return Payment(str(uuid.uuid4()), wallet, amount, body["callback_url"], order, "pending", created=now)


def _amount(given: Any, places: int) -> int:
    """Atomic units of a JSON number; `places` below 6 round it, as a seller does that counts in floats."""
    if type(given) not in (int, float) or given <= 0:
        raise Wrong("expected_amount_usdt must be a positive number")
    exact = Decimal(repr(given)) * MICRO  # a number of up to 15 digits comes back from a float as it was written
    if exact < LEAST:
        raise Wrong("expected_amount_usdt must be at least 0.01 USDT")
    if exact > MOST:
        raise Wrong("expected_amount_usdt cannot exceed 1,000,000 USDT")
    if places < 6:
        return int(round(exact / MICRO, places) * MICRO)
    if exact != int(exact):
        raise Wrong("expected_amount_usdt cannot have more than 6 decimal places")
    return int(exact)


def _checked(wallet: str) -> bool:
    try:
        raw_address(wallet)
    except ValueError:
        return False
    return True


def _callable(url: Any) -> bool:
    """An http(s) URL of printable ASCII with a host, and without a name or password before it."""
    if not isinstance(url, str) or len(url) > _URL or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and "\\" not in url
