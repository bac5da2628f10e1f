"""One entry of `accepts` becomes one frozen Offer, or a line that says why not. Entries never borrow from each other.

An entry is either broken (its seller breaks the protocol) or merely not ours (a chain, token, scheme or flow that we do
not pay). Money is a string of ASCII digits or a JSON integer, inside uint256, and never anything else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import assets
from ...model import Offer
from ...secret import plain
from .passed import Passed, broken, show
from .ways import FAMILIES, SCHEMES, Told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Ask, Asset

__all__ = ["AMOUNT_FIELD", "FLOWS", "amount", "lifetime", "offer"]

AMOUNT_FIELD = {1: "maxAmountRequired", 2: "amount"}
FLOWS = frozenset({"authorization", "upfront", "escrow"})
MAX_ENTRY = 16 * 1024
_DIGITS = re.compile(r"[0-9]{1,78}").fullmatch
_WORD = re.compile(r"[ -~]{1,128}").fullmatch


def amount(value: object, field: str = "amount") -> int:
    """Atomic units, 0 < n < 2**256, from ASCII digits or a JSON integer; raises Passed naming a row of P1 to P12."""
    if value is None or value == "":
        raise broken(f"{field} is missing (P8)")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise broken(f"{field} {show(value)} is not a whole number of atomic units (P4)")
    if isinstance(value, str):
        if len(value) > 78:
            raise broken(f"{field} has {len(value)} characters (P7)")
        if not _DIGITS(value):
            row = "P3" if value[0] == "-" else "P6" if not value.isascii() else "P4" if "." in value else "P5"
            raise broken(f"{field} {show(value)} is not digits ({row})")
        value = int(value)
    if value <= 0:
        raise broken(f"{field} {show(value)} is not above zero ({'P8' if value == 0 else 'P3'})")
    if value >= 1 << 256:
        raise broken(f"{field} does not fit in 256 bits (P2)")
    return value


def lifetime(value: object) -> int:
    """maxTimeoutSeconds: a positive JSON integer below 2**63 (rows D5, D6). The chain clamps it."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise broken(f"maxTimeoutSeconds {show(value)} is not a positive whole number (D6)")
    if value >= 1 << 63:
        raise broken("maxTimeoutSeconds does not fit in 63 bits (D5)")
    return value


def _word(entry: Mapping[str, Any], field: str, row: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not _WORD(value):
        raise broken(f"{field} {show(value)} is not a short printable string ({row})")
    return value


def _asset(entry: Mapping[str, Any]) -> Asset:
    """Network and token, each exactly as the closed table spells it."""
    name = _word(entry, "network", "A5")
    network = assets.network(name)
    if network is None or network.namespace not in FAMILIES:
        raise Passed(f"network {show(name)} is not in the table (A5)", broken=False)
    address = _word(entry, "asset", "A2")
    asset = assets.asset(network, address)
    if asset is None:
        raise Passed(f"asset {show(address)} on {network.name} is not in the table (A1)", broken=False)
    return asset


def _flow(extra: Mapping[str, Any]) -> str:
    """The payment flow; raises Passed for one that we do not know."""
    flow = extra.get("paymentFlow")
    if flow is not None and (not isinstance(flow, str) or flow not in FLOWS):
        raise Passed(f"paymentFlow {show(flow)} is not one we know", broken=False)
    return flow or "authorization"


def describe(text: object, url: object, ask: Ask) -> str:
    """The seller's words, harmless, and a note when they name another host than the one asked (rows W12, R6)."""
    words = plain(text) if isinstance(text, str) else ""
    if not isinstance(url, str) or not url or url in (ask.url, ask.tool) or url.startswith(f"{ask.origin}/"):
        return words
    if url.startswith("mcp://tool/"):
        return f"{words} (the seller names another tool: {plain(url[11:], 80)})".lstrip()
    try:
        host = urlsplit(url[:2048]).hostname or ""
    except ValueError:
        host = ""
    if not host or host == ask.host.lower():
        return words
    return f"{words} (the seller names another host: {plain(host, 80)})".lstrip()


def offer(
    entry: object, raw: str, version: int, ask: Ask, resource: Mapping[str, Any], tail: tuple[str, str],
    extensions: Mapping[str, Any],
) -> Offer:  # fmt: skip
    """The Offer in one entry; `tail` is the text of `resource` and `extensions` to echo. Raises Passed.

    What is bought is the URL that was asked, whatever `resource` says (row R6).
    """
    if not isinstance(entry, dict):
        raise broken(f"{show(entry)} is not an object (W4)")
    if len(raw) > MAX_ENTRY:
        raise broken(f"it is {len(raw)} characters long (S6)")
    scheme = _word(entry, "scheme", "A7")
    if scheme not in SCHEMES[version]:
        raise Passed(f"scheme {show(scheme)} is not one we pay (A7)", broken=False)
    asset = _asset(entry)
    extra = entry.get("extra")
    if extra is not None and not isinstance(extra, dict):
        raise broken(f"extra {show(extra)} is not an object (W4)")
    flow = _flow(extra or {})
    way = FAMILIES[asset.network.namespace](Told(scheme, version, extra or {}, extensions, asset))
    field = AMOUNT_FIELD[version]
    about = resource if version == 2 else {"url": entry.get("resource"), "description": entry.get("description")}
    return Offer(
        dialect="x402",
        scheme=scheme,
        asset=asset,
        amount=amount(entry.get(field), field),
        pay_to=_word(entry, "payTo", "R2"),
        lifetime=lifetime(entry.get("maxTimeoutSeconds")),
        resource=ask.url,
        description=describe(about.get("description"), about.get("url"), ask),
        flow=flow,
        wire=(str(version), entry["network"], raw, *tail),
        fee_cap=way.fee,
        method=way.method,
        facilitator=way.facilitator,
        details=way.details,
        fees=way.fees,
    )
