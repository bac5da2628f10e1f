"""KAMIYO's 402 bodies: `payment_options` of the gateway, `payment_methods` of a server without one. Prices are JSON decimals of USDC.

The gateway's embedded x402 offer is read by the x402 dialect and nobody else. What this page knows beside it are its traps:
it compares every proof with its entry for Base, and with the token name that it wrote there, whatever the proof names.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from ... import assets
from ...errors import ChallengeInvalid
from ...model import QUOTA, Challenge, Offer
from .. import strict
from ..x402.dialect import challenge as x402_challenge
from ..x402.passed import Passed, broken, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Ask, Asset

__all__ = ["CALL", "LIFE", "MINIMUM", "NAME", "challenge", "described", "most", "same", "usdc"]

NAME = "kamiyo"
MINIMUM = 100_000  # atomic units: less than 0.10 on chain is kept and buys nothing
CALL = 1_000  # atomic units of one call where nobody has asked yet: a thousand for a dollar, as published servers are set by default
LIFE = 86_400  # seconds that calls bought on chain live
MAX_OPTIONS = 8
MAX_CHAINS = 16
CHAINS = {  # that it can verify
    "base": "eip155:8453", "ethereum": "eip155:1", "solana": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    "base-sepolia": "eip155:84532", "solana-devnet": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
}  # fmt: skip
ITSELF = '{"account":"itself"}'  # on Solana it looks for the transfer at the address itself: that is a token account, or nobody is paid
PROVEN = frozenset({"eip155:8453", "eip155:84532"})
_DECIMAL = re.compile(r'"?([0-9]{1,12}(?:\.[0-9]{1,24})?(?:[eE][-+]?[0-9]{1,2})?)"?').fullmatch
_DOCUMENTED = frozenset({"error", "price", "merchant", "paymentOptions"})
_HINT = "x402-agent get --dry-run URL"


def challenge(found: strict.Document, ask: Ask) -> Challenge | None:
    """The challenge in a body, None when it is not KAMIYO's; raises ChallengeInvalid when nothing of it can be read."""
    fields = found.fields
    if fields.keys() >= _DOCUMENTED and "accepts" not in fields:
        return Challenge(NAME, (), ("a shape that PayAI's readme describes and no server is known to send: it says of no token what it is",))
    options, methods = fields.get("payment_options"), fields.get("payment_methods")
    if fields.get("payment_required") is not True or not (isinstance(options, list) or isinstance(methods, list)):
        return None
    offers: list[Offer] = []
    passed: list[str] = []
    faults = False
    for index, option in enumerate(_listed(options)[:MAX_OPTIONS]):
        where = f"payment_options[{index}]"
        try:
            if isinstance(option.get("x402_standard"), dict):
                _facilitator(found.rows[index], ask, where, offers, passed)
            else:
                _native(option, found, ask, where, offers, passed)
        except Passed as why:
            passed.append(f"{where}: {why.reason}")
            faults = faults or why.broken
    for index, method in enumerate(_listed(methods)[:MAX_OPTIONS]):
        where = f"payment_methods[{index}]"
        try:
            _native(method, found, ask, where, offers, passed)
        except Passed as why:
            passed.append(f"{where}: {why.reason}")
            faults = faults or why.broken
    if faults and not offers:
        raise ChallengeInvalid("no option of the challenge can be read", rule="; ".join(passed[:4]), hint=_HINT)
    return Challenge(NAME, tuple(offers), tuple(passed))


def _listed(options: object) -> list[Any]:
    """Options that are objects, in their places; what is none is read as one that offers nothing."""
    return [each if isinstance(each, dict) else {} for each in options] if isinstance(options, list) else []


def usdc(text: str) -> int:
    """Atomic units of six decimals, rounded up, from the text of a JSON number; raises Passed (P4)."""
    found = _DECIMAL(text)
    if found is None:
        raise broken(f"the price {show(text)} is not a decimal of USDC (P4)")
    return int((Decimal(found[1]) * 1_000_000).to_integral_value(ROUND_CEILING))


# -- the facilitator ----------------------------------------------------------------------------------------------------


def _facilitator(row: str, ask: Ask, where: str, offers: list[Offer], passed: list[str]) -> None:
    """What the x402 dialect reads of the embedded offer, without what this gateway cannot settle. Raises Passed."""
    try:
        inner = x402_challenge(strict.parse(strict.parse(row.encode()).raw["x402_standard"].encode()), ask)
    except ChallengeInvalid as why:
        raise broken(f"{why.what} ({why.rule})") from None
    passed += [f"{where}.{each}" for each in inner.passed_over]
    for offer in inner.offers:
        if reason := _trap(offer):
            passed.append(f"{where}, {offer.network.name}: {reason}")
        else:
            offers.append(replace(offer, dialect=NAME))


def _trap(offer: Offer) -> str:
    """Why this gateway would refuse a good proof for this entry, or lose one, in words; "" when it would not."""
    if offer.network.id not in PROVEN:
        return "the gateway compares every proof with its entry for base, whatever network it names"
    named = (json.loads(offer.wire[2]).get("extra") or {}).get("name")
    known = offer.asset.eip712
    if known is not None and named is not None and named != known[0]:
        return f"extra.name {show(named)} is not {known[0]!r}, as the token calls itself: no proof passes both it and the chain (D1)"
    return ""


# -- calls on chain -----------------------------------------------------------------------------------------------------


def _native(option: Mapping[str, Any], found: strict.Document, ask: Ask, where: str, offers: list[Offer], passed: list[str]) -> None:
    """One offer for each chain that names an address. Raises Passed."""
    kind = option.get("type")
    if kind == "token":
        return  # what calls on chain buy
    if kind not in ("direct_transfer", "onchain"):
        raise Passed(f"type {show(kind)} is not one we pay (A7)", broken=False)
    addresses, chains = option.get("payment_addresses"), option.get("supported_chains")
    if not isinstance(addresses, dict) or not addresses:
        raise broken("payment_addresses names nobody (R2)")
    price = usdc(found.raw["amount_usdc"]) if "amount_usdc" in found.raw else 0
    for name, pay_to in list(addresses.items())[:MAX_CHAINS]:
        try:
            if isinstance(chains, list) and name not in chains:
                raise Passed("it is not among supported_chains", broken=False)
            offers += _calls(name, pay_to, price, ask)
        except Passed as why:
            passed.append(f"{where}, {show(name)}: {why.reason}")


def _calls(name: str, pay_to: object, price: int, ask: Ask) -> list[Offer]:
    """As many calls as are expected, and the fewest that are sold, for a policy that lets no more be paid at once. Raises Passed."""
    asset = _usdc(CHAINS.get(name, ""))
    if asset is None:
        raise Passed("its verifier knows no such chain: what is paid there is lost", broken=False)
    if not isinstance(pay_to, str) or not pay_to.isascii() or not pay_to.isalnum() or len(pay_to) > 64:
        raise broken(f"{show(pay_to)} is not an address (R2)")
    least = max(MINIMUM, price)
    details = ITSELF if asset.network.namespace == "solana" else ""
    return [
        Offer(dialect=NAME, scheme="transfer", method="transfer", flow=QUOTA, asset=asset, amount=amount, pay_to=pay_to, lifetime=LIFE,
              resource=ask.url, description=described(amount // CALL, price), wire=("native", name, str(price)), details=details,
              serves=amount // CALL)
        for amount in dict.fromkeys((max(least, CALL * ask.expect), least))
    ]  # fmt: skip


def described(calls: int, price: int) -> str:
    """What an offer of calls says of itself; `price` of one alone, in atomic units, 0 where nobody says."""
    alone = f"{Decimal(price) / 1_000_000:f} USDC" if price else "unpriced"
    return f"about {calls} calls within a day, paid on chain (one alone: {alone})"


def most(offer: Offer) -> int:
    """As many calls as an offer is believed to have bought, whatever is said later: those that were advertised, else a thousand a dollar."""
    said = offer.wire[3] if len(offer.wire) > 3 else ""
    return int(said) if said.isascii() and said.isdigit() and len(said) < 16 else offer.amount // CALL


def same(one: str, other: str) -> bool:
    """Whether two addresses or ids are one: in hex, which starts with 0x, letters are digits; in base58 each is its own."""
    return one.lower() == other.lower() if other.startswith("0x") else one == other


def _usdc(network: str) -> Asset | None:
    """USDC on a network of the table."""
    return next((each for each in assets.assets() if each.network.id == network and each.symbol == "USDC"), None)
