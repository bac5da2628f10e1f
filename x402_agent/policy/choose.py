"""The cheapest offer that every rule allows, never the first; and why each other one was passed over."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import BudgetExceeded, NoAcceptableOffer, PaymentError, PolicyDenied
from ..model import Limit, Money, Offer
from .approval import Reason
from .budget import dollars

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Challenge
    from .rules import Policy

__all__ = ["Choice", "choose", "is_loopback"]


@dataclass(frozen=True)
class Choice:
    """What policy makes of a challenge. `error` says why nothing was chosen; `asks`, why a person must agree first."""

    offer: Offer | None
    limits: tuple[Limit, ...]
    passed_over: tuple[tuple[Offer, str], ...] = ()
    unread: tuple[str, ...] = ()
    error: PaymentError | None = None
    asks: tuple[Reason, ...] = ()


def choose(
    policy: Policy,
    ask: Ask,
    challenge: Challenge,
    refuses: Callable[[Offer], str],
    lacks: Callable[[Offer], str] = lambda _: "",
    door: PolicyDenied | None = None,
) -> Choice:
    """Judge every offer. `refuses` is the chain's and wallet's word: "" when it can be paid from here.

    `lacks` says what only the wallet's owner can still provide for an offer that is otherwise allowed: an allowance.
    `door` is why nobody is paid just now, whoever asks: the task at hand is over.
    """
    door = door or _door(policy, ask)
    over: list[tuple[Offer, str]] = []
    denied: list[tuple[Offer, PaymentError]] = []
    chosen: Offer | None = None
    lacking: Offer | None = None
    for offer in sorted(challenge.offers, key=_price):
        unfit = _unfit(policy, offer) or refuses(offer)
        if unfit:
            over.append((offer, unfit))
            continue
        error = door or _denied(policy, ask, offer)
        if error is not None:
            denied.append((offer, error))
            over.append((offer, error.what))
        elif chosen is not None:
            over.append((offer, "dearer, or not better, than the one chosen"))
        elif lack := lacks(offer):
            lacking = lacking or offer
            over.append((offer, lack))
        else:
            chosen = offer
    if chosen is not None:
        asks = _asks(policy, ask, chosen)
        return Choice(chosen, policy.limits(ask, chosen), tuple(over), challenge.passed_over, asks=asks)
    error = denied[0][1] if denied and lacking is None else _nothing(policy, ask, challenge, over, lacking)
    return Choice(None, (), tuple(over), challenge.passed_over, error)


def _price(offer: Offer) -> tuple[int, bool, bool]:
    """Value in 10^-18 dollars, then flows in which a failing handler costs nothing, then what needs no allowance."""
    value = offer.money.amount * 10 ** (18 - min(18, offer.asset.decimals))
    return value, offer.flow != "authorization", offer.method != ""


def _unfit(policy: Policy, offer: Offer) -> str:
    """Why no rule about money even comes into it."""
    if not policy.pays_on(offer.network):
        kind = "a test network" if offer.network.testnet else "a network of real money"
        return f"{offer.network.name} is {kind}; this payer pays on {', '.join(policy.networks)}"
    if policy.assets and not {offer.asset.symbol, offer.asset.id, offer.asset.address} & set(policy.assets):
        return f"{offer.asset.symbol} is not among the allowed assets"
    if Money(1, offer.asset).micros is None:
        return f"{offer.asset.symbol} has no dollar peg, so no budget can count it"
    return ""


def _door(policy: Policy, ask: Ask) -> PolicyDenied | None:
    """Rules about who asks, whatever the price."""
    names = {ask.host, ask.origin, ask.origin.partition("://")[2]}
    if names & set(policy.deny):
        return PolicyDenied(f"{ask.host} is on the deny list", rule=policy.place("deny"), hint="take it off the list")
    if policy.allow and not names & set(policy.allow):
        return PolicyDenied(
            f"{ask.host} is not on the allow list", rule=policy.place("allow"), hint=f'allow = […, "{ask.host}"]'
        )
    if ask.origin.startswith("http://"):
        if not is_loopback(ask.host):
            return PolicyDenied(f"{ask.origin} asks for money over plain http", rule="no payment over http (O3)",
                                hint=f"use {ask.origin.replace('http', 'https', 1)}")  # fmt: skip
        if not policy.loopback and policy.networks != ("testnet",) and not _only_tests(policy):
            return PolicyDenied(
                f"{ask.origin} asks for real money over plain http on this machine",
                rule=policy.place("loopback"),
                hint="X402_AGENT_NETWORKS=testnet, or loopback = true in policy.toml",
            )
    return None


def _only_tests(policy: Policy) -> bool:
    from ..assets import network

    return all(name == "testnet" or ((n := network(name)) and n.testnet) for name in policy.networks)


def _denied(policy: Policy, ask: Ask, offer: Offer) -> PaymentError | None:
    """The rule about money that says no, or None."""
    asked = offer.money.micros or 0
    cap = policy.call_limit(ask)
    if asked <= cap.micros:
        return None
    named = cap.rule.partition(" in ")[0]
    hint = cap.hint.replace("{amount}", dollars(asked)) or policy.wider(
        named, f"--per-call {dollars(asked)}", f" --host {ask.host}" if named.startswith("hosts.") else ""
    )
    return BudgetExceeded(
        f"{ask.host} asks {offer.money}, the limit for one call is {dollars(cap.micros)}", rule=cap.rule, hint=hint
    )


def _asks(policy: Policy, ask: Ask, offer: Offer) -> tuple[Reason, ...]:
    """Why an offer that is allowed still needs a person's yes."""
    above = policy.approve_above
    if above is None or (offer.money.micros or 0) <= above:
        return ()
    what = f"{ask.host} asks {offer.money}, which is above {dollars(above)}"
    return (Reason(what, policy.place("approve_above")),)


def _nothing(
    policy: Policy, ask: Ask, challenge: Challenge, over: list[tuple[Offer, str]], lacking: Offer | None
) -> NoAcceptableOffer:
    reasons = [f"{offer.money}: {why}" for offer, why in over] + list(challenge.passed_over)
    rule, hint = policy.place("networks"), "x402-agent doctor"
    if lacking is not None:
        rule, hint = "an allowance is given by its owner, never for a seller (D3)", lacking.approval
    elif any(not policy.pays_on(offer.network) for offer, _ in over):
        names = sorted({offer.network.name for offer, _ in over if not policy.pays_on(offer.network)})
        hint = f"X402_AGENT_NETWORKS={names[0]} if you mean to pay there"
    elif any("no key" in why for _, why in over):
        hint = "x402-agent wallet new, or export X402_AGENT_EVM_KEY=0x…"
    listed = "".join(f"\n    - {reason}" for reason in reasons[:10])
    return NoAcceptableOffer(f"none of {ask.host}'s offers can be paid from here{listed}",
                             rule=rule, hint=hint)  # fmt: skip


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """localhost, *.localhost (RFC 6761), 127.0.0.0/8 and ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
