"""What a person is asked: frozen, about one offer for one Ask, and named by the hash of all that it says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..secret import plain

if TYPE_CHECKING:
    from ..model import Ask, Hold, Offer
    from ..policy import Reason

__all__ = ["Request"]

MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One question, about the very offer that would be signed. Times in unix seconds.

    `left` says in words what each limit still allows after this payment; `nonce` is fresh, so no two requests are
    the same one. `digest` stands for all of it: an answer that names another digest answers something else.
    """

    ask: Ask
    offer: Offer
    payment_id: str
    reasons: tuple[Reason, ...]
    left: tuple[str, ...]
    created: float
    expires: float
    nonce: str

    @classmethod
    def about(
        cls, hold: Hold, reasons: tuple[Reason, ...], left: tuple[str, ...], *, now: float, seconds: float, nonce: bytes
    ) -> Request:
        """The question about a Hold: asked `now`, answered within `seconds`, with 16 or more fresh random bytes."""
        return cls(hold.ask, hold.offer, hold.payment_id, reasons, left, now, now + seconds, nonce.hex())

    @property
    def money(self) -> str:
        """The most that would be paid, with asset and network: `0.2500 USDC (base)`."""
        return f"{'at most ' if self.offer.scheme == 'upto' else ''}{self.offer.money}"

    @property
    def what(self) -> str:
        """What is bought, without the query, which may hold a secret of the caller's: `GET https://a.example/report`."""
        return plain(f"{self.ask.method} {self.ask.origin}{self.ask.path}", 300)

    @property
    def description(self) -> str:
        """The seller's own words: untrusted, one line, at most 200 characters."""
        return plain(self.offer.description, MAX_WORDS)

    @property
    def digest(self) -> str:
        """sha256 over `facts`, as canonical JSON: payment, Ask, offer, payee, reasons, time and nonce."""
        return digest(self.facts)

    @property
    def id(self) -> str:
        """Sixteen characters of the digest: what people type."""
        return self.digest[:16]

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as JSON; amounts as text in atomic units. What stands in a file, and in a webhook's body."""
        offer, under = self.offer, self.ask.under
        return {
            "payment_id": self.payment_id, "ask": self.ask.key, "offer": offer.digest, "nonce": self.nonce,
            "what": self.what, "origin": self.ask.origin, "money": self.money, "amount": str(offer.money.amount),
            "asset": offer.asset.id, "network": offer.network.id, "pay_to": offer.pay_to,
            "reasons": [{"what": plain(each.what, 300), "rule": each.rule} for each in self.reasons],
            "left": list(self.left), "description": self.description,
            "agent": under.agent, "task": under.task, "tool": under.tool,
            "created": int(self.created), "expires": int(self.expires),
        }  # fmt: skip


def digest(facts: dict[str, Any]) -> str:
    """sha256 of a request's facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def lines(facts: dict[str, Any]) -> list[str]:
    """A request as people read it, each line harmless for a terminal whatever the file says."""
    rows = [("pay", facts["money"]), ("to", facts["pay_to"]), ("for", facts["what"])]
    rows += [("because", f"{each['what']}   [{each['rule']}]") for each in facts["reasons"]]
    rows += [("left after", each) for each in facts["left"]]
    rows += [(name, facts[name]) for name in ("agent", "task", "tool") if facts[name]]
    if facts["description"]:
        rows.append(("they say", f'"{facts["description"]}"'))
    return [f"  {name:<11}{plain(str(text), 500)}" for name, text in rows]
