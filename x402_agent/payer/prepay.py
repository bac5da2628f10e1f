"""Prepay: the proof on the first send, where a person allowed it and the seller took the same terms a moment ago.

Only what was asked in a 402, paid, and answered with a receipt of success is remembered. Policy judges it anew each
time. A proof that is refused stays the one proof of its Ask, and its origin is asked first for an hour.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import PaymentInDoubt
from ..ledger.remembered import MOST
from ..model import Challenge

if TYPE_CHECKING:
    from ..model import Ask, Hold, Offer
    from .payer import Payer

__all__ = ["LIFETIME", "REST", "Prepay", "same_terms"]

LIFETIME = 60  # seconds that a proof on the first send is good for: refused, it is dead so much sooner
REST = 3600  # seconds that an origin is asked first after it refused a proof on the first send


@dataclass(slots=True)
class _Known:
    offer: Offer
    seen: float
    uses: int = 0


class Prepay:
    """What one payer remembers, in memory and in its ledger. The count of uses is this process's own."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self._known: dict[tuple[str, str], _Known] | None = None
        self._resting: dict[str, float] = {}
        self._lock = threading.Lock()

    def challenge(self, ask: Ask) -> Challenge | None:
        """What this URL asked lately, as the only offer of a challenge; None: ask first."""
        policy = self._payer.policy
        if ask.paid or not policy.prepays(ask):
            return None
        known = self._all().get((ask.method, ask.url))
        now = self._payer.clock()
        if known is None or self._rests(ask.origin, now):
            return None
        if not 0 <= now - known.seen < policy.prepay_age or known.uses >= policy.prepay_uses:
            return None
        known.uses += 1
        return Challenge(known.offer.dialect, (known.offer,))

    def remember(self, ask: Ask, offer: Offer, seen: float) -> None:
        """The seller asked for this in a 402 at `seen` (unix seconds), and gave a receipt for it."""
        policy = self._payer.policy
        fit = offer.scheme in ("exact", "upto") and offer.flow == "authorization"
        dated = policy.chains.trusting and "recentBlockhash" in offer.details  # a seller's blockhash is dead in a minute
        if not fit or dated or not policy.prepays(ask) or self._rests(ask.origin, seen):
            return
        known = self._all()
        with self._lock:
            known[ask.method, ask.url] = _Known(offer, seen)
            if len(known) > MOST:
                known.pop(min(known, key=lambda each: known[each].seen), None)
        self._payer.ledger.remember(ask, offer, seen, since=seen - max(REST, policy.prepay_age))

    def forget(self, ask: Ask) -> None:
        """The answer to a prepaid proof was not what was bought: the next call asks first."""
        if self._payer.policy.prepays(ask) and self._pop(ask):
            self._payer.ledger.forget(ask)

    def refused(self, hold: Hold) -> None:
        """A prepaid proof was answered 402: this origin is asked first for a while."""
        ask, now = hold.ask, self._payer.clock()
        self._pop(ask)
        self._resting[ask.origin] = now + REST
        self._payer.ledger.remember(ask, None, now, since=now - max(REST, self._payer.policy.prepay_age))

    def reason(self, hold: Hold) -> PaymentInDoubt:
        """What the caller is told of a prepaid proof that was refused."""
        return PaymentInDoubt(
            f"{hold.ask.host} asks for other terms than it did, and refused the proof for {hold.offer.money} that went first",
            rule=f"one Ask, one proof: it may still settle; {self._payer.policy.place('prepay')}",
            hint=f"x402-agent resume {hold.payment_id[:8]}   (once it has expired, and with a node in X402_AGENT_NODES)",
            payment_id=hold.payment_id,
        )

    def _pop(self, ask: Ask) -> bool:
        known = self._all()
        with self._lock:
            return known.pop((ask.method, ask.url), None) is not None

    def _rests(self, origin: str, now: float) -> bool:
        return now < self._resting.get(origin, 0.0)

    def _all(self) -> dict[tuple[str, str], _Known]:
        if self._known is None:
            payer, known = self._payer, {}
            exists = "ledger" in payer.__dict__ or payer.settings.ledger_path.exists()
            since = payer.clock() - max(REST, payer.policy.prepay_age)
            for asked in reversed(payer.ledger.remembered(since) if exists else ()):
                if asked.offer is None:
                    self._resting[asked.origin] = asked.seen + REST
                else:
                    known[asked.method, asked.url] = _Known(asked.offer, asked.seen)
            self._known = known
        return self._known


def same_terms(signed: Offer, asked: Offer) -> bool:
    """Whether a proof made for one offer is what the other asks for: only the envelope around it may differ."""
    envelope = replace(asked, wire=signed.wire, lifetime=signed.lifetime, description=signed.description)
    return envelope == signed
