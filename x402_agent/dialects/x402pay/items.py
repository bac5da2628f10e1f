"""Prices of x402Pay as its pages write them: each spelling has its own unit, and one that could mean two is refused.

A decimal point means whole tokens ("0.10" STX), digits alone the smallest unit, as its API and its webhooks say them. For
USDCx digits could be its database's cents or the chain's millionths: they are refused, but in `accepts`, which is x402's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import assets
from ...encodings import unc32_address
from ...secret import plain
from ..x402.passed import Passed, broken, show

if TYPE_CHECKING:
    from ...model import Asset, Network

__all__ = ["CONTENT", "SYMBOLS", "Item", "Price", "item", "network_of", "token", "units"]

SYMBOLS = {"stx": "STX", "sbtc": "sBTC", "usdcx": "USDCx"}
CONTENT = re.compile(r"[A-Za-z0-9_-]{1,50}").fullmatch
_CENTS = "USDCx"
_DIGITS = re.compile(r"[0-9]{1,30}").fullmatch
_DECIMAL = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})").fullmatch
_CONTRACT = re.compile(r"S[0-9A-Z]{27,41}\.[A-Za-z][A-Za-z0-9_-]{0,39}").fullmatch
_TITLE = 200


class Price(NamedTuple):
    """One way to pay an item: by its symbol, and where the item says on which network, the token and its atomic units."""

    symbol: str
    text: str
    asset: Asset | None = None
    units: int = 0
    reason: str = ""


class Item(NamedTuple):
    """One discovery item, as far as it can be believed: a price that cannot be read has a reason instead of units."""

    content: str
    title: str
    contract: str
    agents: bool
    prices: tuple[Price, ...]


def units(said: object, asset: Asset, *, whole: bool = False, cents: bool = True) -> int:
    """Atomic units of a price. `whole`: digits mean whole tokens, too; `cents`: they might mean cents. Raises Passed (P3 to P8)."""
    if isinstance(said, bool) or not isinstance(said, str | int):
        raise broken(f"the price {show(said)} is no text and no whole number (P4)" if said is not None else "it names no price (P8)")
    text = str(said)
    if found := _DECIMAL(text):
        rest = found[2].rstrip("0")
        if len(rest) > asset.decimals:
            raise broken(f"the price {show(said)} is finer than {asset.symbol} can be (P4)")
        made = int(found[1] + rest.ljust(asset.decimals, "0"))
    elif not _DIGITS(text):
        raise broken(f"the price {show(said)} is neither digits nor a decimal (P5)")
    elif cents and not whole and asset.symbol == _CENTS:
        raise broken(f"the price {show(said)} of USDCx may be cents or millionths (P4)")
    else:
        made = int(text) * (10**asset.decimals if whole else 1)
    if not 0 < made < 1 << 64:
        raise broken(f"the price {show(said)} is not above zero, or too large (P2)")
    return made


def network_of(address: object) -> Network:
    """The network by the version of an account's or contract's address. Raises Passed (R2)."""
    text = address if isinstance(address, str) else ""
    try:
        version, _ = unc32_address(text.partition(".")[0])
    except ValueError as why:
        raise broken(f"{show(address)} is {why} (R2)") from None
    name = {22: "stacks:1", 20: "stacks:1", 26: "stacks:2147483648", 21: "stacks:2147483648"}.get(version)
    found = assets.network(name) if name else None
    if found is None or ("." in text and not _CONTRACT(text)):
        raise broken(f"{show(address)} is no address on Stacks (R2)")
    return found


def token(name: object, where: Network) -> Asset:
    """STX, sBTC or USDCx on a network. Raises Passed (A1)."""
    symbol = SYMBOLS.get(name.lower(), "") if isinstance(name, str) else ""
    found = assets.asset(where, symbol) if symbol else None
    if found is None:
        raise Passed(f"asset {show(name)} is none of STX, sBTC and USDCx (A1)", broken=False)
    return found


def item(fields: dict[str, Any]) -> Item:
    """A discovery item: `contractAddress` says the network of its prices. Raises Passed for one without a contentId."""
    content = fields.get("contentId")
    if not isinstance(content, str) or not CONTENT(content):
        raise broken("a contentId that is none")
    contract = fields.get("contractAddress")
    pricing = fields.get("pricing")
    rows = list(pricing.items())[:8] if isinstance(pricing, dict) else []
    prices = tuple(_price(name, said, contract) for name, said in rows if said is not None)
    title = fields.get("title")
    return Item(content, plain(title, _TITLE) if isinstance(title, str) else "", contract if isinstance(contract, str) else "",
                fields.get("agentCompatible") is not False, prices)  # fmt: skip


def _price(name: str, said: object, contract: object) -> Price:
    symbol = SYMBOLS.get(name.lower(), plain(name, 20))
    text = said if isinstance(said, str) else ""
    try:
        if not isinstance(said, str) or not (_DECIMAL(said) or _DIGITS(said)):
            raise broken(f"the price {show(said)} is no decimal text (P4)")
        asset = token(name, network_of(contract))
        return Price(symbol, text, asset, units(said, asset, whole=True))
    except Passed as why:
        return Price(symbol, text, reason=why.reason)
