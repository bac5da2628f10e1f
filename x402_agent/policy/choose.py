"""The cheapest offer that every rule allows, on whatever chain, never the first; and why each other one was passed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BudgetExceeded, NoAcceptableOffer, PaymentError, PolicyDenied
from ..model import Limit, Money, Offer
from ..secret import plain
from .approval import Reason
from .budget import dollars
from .evidence import unproven
from .facts import NOTHING
from .fees import over
from .identity import is_loopback, look_alike
from .ranking import Turn, cheapest_first, preferred_first, why_not
from .reasons import drifted, reasons
from .value import doubt, valued

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Challenge
    from .bounds import Rule
    from .facts import Facts
    from .rules import Policy

__all__ = ["SAYS", "SELLER", "WHERE", "Choice", "choose", "look", "refusal"]

SELLER, WHERE = "what settings.toml says of this seller", "x402-agent doctor   (it says where settings.toml lies)"
SAYS = "what the seller's own answer says"
_HAS = "the account has only"
_UNPRICED = "nobody knows what "  # as value.py begins
_LIST = "this page lists"  # dialects/x402: what a site sells elsewhere
_LATE = "it is too late to pay it"
_NO_KEY = "no key for"  # how it begins that a wallet has no account of a family


@dataclass(frozen=True)
class Choice:
    """What policy makes of a challenge: allow, ask or deny. `error` says why nothing was chosen; `asks`, why a person must agree;
    `turns` holds what each offer costs, the cheapest first."""  # fmt: skip

    offer: Offer | None
    limits: tuple[Limit, ...]
    passed_over: tuple[tuple[Offer, str], ...] = ()
    unread: tuple[str, ...] = ()
    error: PaymentError | None = None
    asks: tuple[Reason, ...] = ()
    turns: tuple[Turn, ...] = ()

    def micros(self, offer: Offer) -> int | None:
        """What an offer costs all told, in millionths of a dollar; None where nobody knows."""
        return next((turn.micros for turn in self.turns if turn.offer is offer), None)


def choose(
    policy: Policy,
    ask: Ask,
    challenge: Challenge,
    refuses: Callable[[Offer], str],
    lacks: Callable[[Offer], str] = lambda _: "",
    door: PolicyDenied | None = None,
    facts: Facts = NOTHING,
) -> Choice:
    """Judge every offer. `refuses` is the chain's and wallet's word: "" when it can be paid from here.

    `lacks` says what only the wallet's owner can still provide for an offer that is otherwise allowed: an allowance.
    `door` is why nobody is paid just now, whoever asks: the task at hand is over. `facts` is what rules need to know.
    What nobody must be asked about comes before what is cheaper; what a person prefers, before what is a little cheaper.
    """
    policy.sort(ask)
    door = door or _door(policy, ask)
    over: list[tuple[Offer, str]] = []
    denied: list[tuple[Offer, PaymentError]] = []
    payable: list[Turn] = []
    turns = cheapest_first([valued(policy, each, facts) for each in challenge.offers], facts, max(1, ask.expect))
    for turn in turns:
        offer = turn.offer
        if unfit := _unfit(policy, offer, facts) or refuses(offer):
            over.append((offer, unfit))
        elif (error := door or judged(policy, ask, offer, facts) or _stranger(policy, ask, offer, facts)) is not None:
            denied.append((offer, error))
            over.append((offer, error.what))
        elif short := _short(offer, facts):
            over.append((offer, short))
        else:
            payable.append(turn)
    fit: list[tuple[Turn, tuple[Reason, ...]]] = []
    lacking: Offer | None = None
    for turn in preferred_first(policy, payable):
        if not (fit and not fit[-1][1]) and (lack := lacks(turn.offer)):
            lacking = lacking or turn.offer
            over.append((turn.offer, lack))
        else:
            fit.append((turn, reasons(policy, ask, turn.offer, facts) if not fit or fit[-1][1] else ()))
    if fit:
        chosen, asks = next((each for each in fit if not each[1]), fit[0])
        over += [(turn.offer, f"a person would be asked: {own[0].what}" if own and not asks else why_not(policy, turn, chosen, ask.expect))
                 for turn, own in fit if turn is not chosen]  # fmt: skip
        return Choice(chosen.offer, policy.limits(ask, chosen.offer), tuple(over), challenge.passed_over, asks=asks, turns=tuple(turns))
    error = denied[0][1] if denied and lacking is None else _nothing(policy, ask, challenge, over, lacking)
    return Choice(None, (), tuple(over), challenge.passed_over, error, turns=tuple(turns))


def refusal(policy: Policy, ask: Ask, offer: Offer, facts: Facts) -> PaymentError | None:
    """Why this offer would be denied, whatever was paid before and whoever may be asked; None when it would not."""
    policy.sort(ask)
    if unfit := _unfit(policy, offer, facts):
        return NoAcceptableOffer(f"{ask.host} asks {offer.money}: {unfit}", rule=policy.place("networks"))
    return _door(policy, ask) or judged(policy, ask, offer, facts)


def _short(offer: Offer, facts: Facts) -> str:
    """Why the account's money on that chain is too little for it, as far as a node has said so."""
    have = facts.balance(offer)
    if have is None or have >= offer.money.amount:
        return ""
    return f"{_HAS} {Money(have, offer.asset)}"


def _unfit(policy: Policy, offer: Offer, facts: Facts) -> str:
    """Why no rule about money even comes into it."""
    if not policy.pays_on(offer.network):
        kind = "a test network" if offer.network.testnet else "a network of real money"
        return f"{offer.network.name} is {kind}; this payer pays on {', '.join(policy.networks)}"
    if offer.ends and facts.now() > offer.ends:
        return f"{_LATE}: what comes in its last minutes is kept and not noticed (D6)"
    if policy.assets and not {offer.asset.symbol, offer.asset.id, offer.asset.address} & set(policy.assets):
        return f"{offer.asset.symbol} is not among the allowed assets"
    if policy.unknown_price == "deny" and offer.asset.peg != "USD" and (unsure := doubt(policy, offer, facts)[0]):
        return f"{unsure}, so no budget can count it"
    return ""


def _door(policy: Policy, ask: Ask) -> PolicyDenied | None:
    """Rules about who asks, whatever the price."""
    names = {ask.host, ask.origin, ask.origin.partition("://")[2]}
    if names & set(policy.deny):
        return PolicyDenied(f"{ask.host} is on the deny list", rule=policy.place("deny"), hint="take it off the list")
    allowed = names & set(policy.allow)
    if policy.allow and not allowed:
        return PolicyDenied(
            f"{ask.host} is not on the allow list", rule=policy.place("allow"), hint=f'allow = […, "{ask.host}"]'
        )
    if not allowed and (why := look_alike(ask.host)):
        return PolicyDenied(f"{ask.host} may pass for another: {why}", rule="no look-alike names (O8)",
                            hint=f'allow = ["{ask.host}"] in policy.toml, if you know it')  # fmt: skip
    if ask.origin.startswith("http://"):
        if not is_loopback(ask.host):
            return PolicyDenied(f"{ask.origin} asks for money over plain http", rule="no payment over http (O3)",
                                hint=f"use {ask.origin.replace('http', 'https', 1)}")  # fmt: skip
        if not policy.loopback and not policy.only_tests():
            return PolicyDenied(
                f"{ask.origin} asks for real money over plain http on this machine",
                rule=policy.place("loopback"),
                hint="X402_AGENT_NETWORKS=testnet, or loopback = true in policy.toml",
            )
    return None


def judged(policy: Policy, ask: Ask, offer: Offer, facts: Facts = NOTHING) -> PaymentError | None:
    """The rule that denies this offer whatever was paid before, or None. Limits over time are the ledger's."""
    caps, counted = list(ask.caps), False
    for scope, rule in policy.rules(ask, offer):
        if (rule.state != "active" or rule.end is not None) and (shut := _shut(policy, scope, rule, facts)):
            return shut
        if rule.cap is not None:
            caps.append(rule.cap)
        if rule.unit_cap is not None and offer.money.amount > rule.unit_cap.micros:
            most = Money(rule.unit_cap.micros, offer.asset)
            return BudgetExceeded(f"{_asks(ask, offer)} {most}", rule=rule.unit_cap.rule,
                                  hint=rule.unit_cap.hint.replace("{amount}", offer.money.text))  # fmt: skip
        counted = counted or any(limit.unit == "units" for limit in rule.limits)
    asked = offer.micros
    if asked is None:
        return None if counted and not ask.caps else _uncounted(policy, ask, offer)
    cap = min(caps)
    if asked > cap.micros:
        return BudgetExceeded(
            f"{_asks(ask, offer)} {dollars(cap.micros)}",
            rule=cap.rule, hint=cap.hint.replace("{amount}", dollars(asked)),
        )  # fmt: skip
    if (fees := over(policy, ask, offer, asked)) is not None:
        return fees
    if policy.on_drift == "deny" and (drift := drifted(policy, ask, offer, facts)) is not None:
        return PolicyDenied(drift.what, rule=drift.rule, hint=drift.hint)
    return None


def _asks(ask: Ask, offer: Offer) -> str:
    """What is asked at once, and whose limit it meets: calls that are bought together are one payment."""
    whole = f" for {offer.serves} calls, the limit for one payment" if offer.serves > 1 else ", the limit for one call"
    return f"{ask.host} asks {offer.money}{whole} is"


def _stranger(policy: Policy, ask: Ask, offer: Offer, facts: Facts) -> PolicyDenied | None:
    """A first payment without the evidence that policy demands; of payments that were made nobody asks it."""
    if policy.evidence is None or policy.evidence.otherwise != "deny" or (short := unproven(policy, ask, offer, facts)) is None:
        return None
    return PolicyDenied(short.what, rule=short.rule, hint=short.hint)


def _shut(policy: Policy, scope: str, rule: Rule, facts: Facts) -> PolicyDenied | None:
    """A budget that a person has paused or revoked, or that has ended."""
    whose = "the budget of all payments" if scope == "all" else f"the budget of {scope}"
    if rule.state != "active":
        hint = f"x402-agent budget resume {scope}" if rule.state == "paused" else "that line, by hand: revoked is for good"
        return PolicyDenied(f"{whose} is {rule.state}", rule=policy.place("state", scope), hint=hint)
    if rule.end is not None and facts.now() >= rule.end:
        hint = policy.wider(scope, "until", "--until YYYY-MM-DD")
        return PolicyDenied(f"{whose} has expired", rule=policy.place("until", scope), hint=hint)
    return None


def _uncounted(policy: Policy, ask: Ask, offer: Offer) -> BudgetExceeded:
    """An asset of unknown value is paid only where a budget counts its own units."""
    return BudgetExceeded(
        f"{ask.host} asks {offer.money}, and no budget counts {offer.asset.symbol}", rule=policy.place("unknown_price"),
        hint=f"x402-agent budget set --units 10/day --asset {offer.asset.id}",
    )  # fmt: skip


def look(ask: Ask) -> str:
    """What to type to see each offer and why it is passed over."""
    return f"x402-agent get --dry-run {plain(ask.origin + ask.path)}"


def _nothing(
    policy: Policy, ask: Ask, challenge: Challenge, over: list[tuple[Offer, str]], lacking: Offer | None
) -> NoAcceptableOffer:
    reasons = [f"{offer.money}: {why}" for offer, why in over] + list(challenge.passed_over)
    rule, hint = SAYS if not over else "what this wallet and the offers' chains can pay", look(ask)
    if lacking is not None:
        rule, hint = "an allowance is given by its owner, never for a seller (D3)", lacking.approval
    elif not over and any("settings" in why for why in challenge.passed_over):  # of a seller who names nobody that is paid
        rule, hint = SELLER, WHERE
    elif not over and any(why.startswith(_LIST) for why in challenge.passed_over):
        rule, hint = "a list of pages is not sold", f"x402-agent discover crawl --source {ask.origin}; or get a page that it names"
    elif any(not policy.pays_on(offer.network) for offer, _ in over):
        rule = policy.place("networks")
        names = sorted({offer.network.name for offer, _ in over if not policy.pays_on(offer.network)})
        hint = f"X402_AGENT_NETWORKS={names[0]} if you mean to pay there"
    elif any(why.startswith(_LATE) for _, why in over):
        rule, hint = "nothing is paid in an invoice's last ten minutes, or after (D6)", "ask its seller for a new one"
    elif keyless := dict.fromkeys(offer.network.family for offer, why in over if why.startswith(_NO_KEY)):
        hint = "x402-agent wallet new, or export " + " or ".join(f"X402_AGENT_{family.upper()}_KEY=…" for family in keyless)
    elif any(why.startswith(_HAS) for _, why in over):
        rule, hint = "balance on chain", "x402-agent wallet show names the accounts to send it to"
    elif unpriced := next((offer.asset for offer, why in over if why.startswith(_UNPRICED)), None):
        rule = policy.place("unknown_price")
        hint = f'Payer(prices=…); or unknown_price = "ask", and x402-agent budget set --units 10/day --asset {unpriced.id}'
    listed = "".join(f"\n    - {reason}" for reason in reasons[:10])
    taken = list(dict.fromkeys(f"{offer.asset.symbol} on {offer.network.name}" for offer, why in over if not why.startswith(_LATE)))
    swap = f": it takes {' or '.join(taken[:6])}, and nothing is ever swapped" if taken else ""
    return NoAcceptableOffer(f"none of {ask.host}'s offers can be paid from here{swap}{listed}", rule=rule, hint=hint)
