"""Whether what a seller signed says what he asks, and who signed it: before a payment, and afterwards for anybody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ChallengeInvalid
from ..secret import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model import Ask, Offer
    from .signed import Signed

__all__ = ["judge", "says"]

_RULE = "a signed offer binds the seller to its terms"
_HINT = "x402-agent get --dry-run URL"


def judge(signed: Iterable[Signed], ask: Ask, offer: Offer, now: float) -> Signed | None:
    """The signed offer that stands for `offer`, None when the seller signed nothing about it.

    Raises ChallengeInvalid when he signed other terms for this token, when the signature of these terms does not
    hold, when they are those of another origin, or when they have run out (`now` in unix seconds).
    """
    other: Signed | None = None
    for each in signed:
        if each.problem and not each.payload:
            continue  # nothing in it can be read, so it says nothing about these terms
        if not _about(each.payload, offer):
            continue
        if (difference := _difference(each.payload, offer)) and not each.problem:
            other = other or each
        elif not difference:
            _stands(each, ask, now)
            return each
    if other is not None:
        raise ChallengeInvalid(
            f"{ask.host} asks other terms than it signed: {_difference(other.payload, offer)}", rule=_RULE, hint=_HINT
        )
    return None


def _stands(signed: Signed, ask: Ask, now: float) -> None:
    if signed.problem:
        raise ChallengeInvalid(f"the signature of {ask.host}'s offer is wrong: {signed.problem}", rule=_RULE, hint=_HINT)
    if signed.payload["resourceUrl"] != ask.tool and _origin(signed.payload["resourceUrl"]) not in ("", ask.origin):
        named = plain(_origin(signed.payload["resourceUrl"]), 80)
        raise ChallengeInvalid(f"the offer was signed for {named}, not for {ask.origin}", rule=_RULE, hint=_HINT)
    until = signed.payload["validUntil"]
    if until and now > until:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(until, 1 << 35)))
        raise ChallengeInvalid(f"the signed offer ran out at {when}", rule=_RULE, hint="repeat the call")


def _about(payload: Mapping[str, Any], offer: Offer) -> bool:
    """Whether these terms speak of the same token, scheme and network."""
    asset, chain = payload["asset"], offer.network
    same = asset.lower() == offer.asset.address.lower() if chain.namespace == "eip155" else asset == offer.asset.address
    return bool(same) and payload["network"] == chain.id and payload["scheme"] == offer.scheme


def _difference(payload: Mapping[str, Any], offer: Offer) -> str:
    """How the signed terms differ from the offer's, "" when they do not."""
    if payload["amount"] != str(offer.amount):
        return f"{plain(payload['amount'], 80)} atomic units signed, {offer.amount} asked"
    signed, asked = payload["payTo"], offer.pay_to
    same = signed.lower() == asked.lower() if offer.network.namespace == "eip155" else signed == asked
    return "" if same else f"{plain(signed, 80)} was signed as the payee, {plain(asked, 80)} is asked for"


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}{port}" if parts.scheme and parts.netloc else ""


def says(signed: Signed, payee: str) -> str:
    """Who signed, in words: for people, and for whoever is shown the evidence."""
    if signed.problem:
        return f"proves nothing: {signed.problem}"
    if signed.unproved:
        return f"proves nothing by itself: its key {signed.unproved} is one that its host can exchange, and is never fetched"
    if payee and signed.signer.lower() == payee.lower():
        return f"signed by the payee {signed.signer}"
    return f"signed by {signed.signer}, which is not the payee"
