"""The agent's side: dialects and transport. Key, policy and ledger are the service's, and its word is final.

The conversation is flow.py's own. The step Hold asks the service for everything at once: it looks for an open payment,
judges, holds, approves, signs and writes down; Approve, Sign and Commit then have nothing left to do. So a payment
costs one local round trip, and what was handed out counts there whatever becomes of this process.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import NoAcceptableOffer, PaymentError, SettingsError
from ..flow import show_again
from ..model import NO_ANCHOR, Ask, Cap, Limit
from ..payer import Payer
from ..payer.kit import Kit, Quote
from ..policy import Policy, micros
from ..recovery import Resumed
from ..steps import Approve, Aside, Call, Commit, Find, Hold, Sign
from ..tasks import Bounds, Task, refusal
from ..wallet import Wallet
from .bought import Bought
from .desk import Desk
from .frames import Fields
from .link import Connection, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from ..model import Anchor, Challenge, Offer, Proof
    from ..model import Hold as HeldBudget
    from ..policy import Budget
    from ..settings import Settings
    from ..steps import Reply, Step, Steps

__all__ = ["AgentPayer", "from_settings"]

log = logging.getLogger("x402_agent")


class AgentKit(Kit):
    """A conversation whose rooms are elsewhere."""

    __slots__ = ("challenge", "proof")
    payer: AgentPayer

    def __init__(self, payer: AgentPayer, ask: Ask, task: Task | None = None) -> None:
        super().__init__(payer, ask, task)
        self.challenge: Challenge | None = None
        self.proof: Proof | None = None

    def choose(self, ask: Ask, challenge: Challenge) -> tuple[Offer, tuple[Limit, ...]]:
        """The service chooses; here it is only seen that there is something to choose from."""
        if (no := refusal(ask, *self.standing)) is not None:
            raise no
        ask.key  # noqa: B018 - a one-shot body is refused here
        self.challenge = challenge
        if not challenge.offers:
            listed = "".join(f"\n    - {reason}" for reason in challenge.passed_over[:10])
            raise NoAcceptableOffer(f"none of {ask.host}'s offers can be paid from here{listed}", rule="the closed table")
        return challenge.offers[0], ()

    def anchor(self, offer: Offer) -> Steps[Anchor]:
        """The service asks the chain, if anybody must."""
        yield from ()
        return NO_ANCHOR

    def fate(self, hold: HeldBudget) -> Steps[str]:
        """The service has asked the chain already."""
        yield from ()
        return "unknown"

    def perform(self, step: Step, milliseconds: int) -> Any:
        """As a Kit, but for the steps that need key, policy or ledger."""
        kind = type(step)
        if kind is Find:
            return None
        if kind is Hold:
            return Aside(self._pay())
        if kind is Sign:
            return self.proof
        if kind is Approve or kind is Commit:
            return step.hold  # type: ignore[union-attr]
        return super().perform(step, milliseconds)

    def _request(self, hold: HeldBudget) -> None:
        """Nothing is kept on this side: there is no key to seal it with."""

    def _pay(self) -> Steps[HeldBudget]:
        """The one question. It may wait for a person over there, which is not the seller's time."""
        challenge = self.challenge
        assert challenge is not None
        line: list[Connection] = []
        try:
            made: tuple[HeldBudget, Proof] = yield Call(lambda: self.payer.desk.pay(self.ask, challenge, line))
        except Exception:
            raise
        except BaseException:
            for connection in line:
                connection.hang_up()
            raise
        hold, self.proof = made
        return hold


class _QuoteKit(AgentKit):
    __slots__ = ("found",)

    def __init__(self, payer: AgentPayer, ask: Ask, found: list[Quote]) -> None:
        super().__init__(payer, ask)
        self.found = found

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        challenge = super().read(reply, ask)
        if challenge is not None:
            self.found.append(self.payer.desk.quote(ask, challenge))
        return None


class AgentPayer(Payer):
    """A Payer without key, policy or ledger: it asks the signer service at `settings.signer` for each proof.

    A `budget` given in code only tightens: it limits what this agent pays, beside the service's own rules.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        budget: Budget | None = None,
        trace: Callable[[Ask, Step, Any], None] | None = None,
    ) -> None:
        super().__init__(wallet=Wallet(), policy=Policy(), settings=settings, trace=trace)
        assert settings.signer is not None
        self.desk = Desk(Link(settings.signer))
        self.credentials = Bought(self.clock)  # type: ignore[assignment]  # the same, without a ledger
        self.bounds = _tighter(self.bounds, budget)

    @property
    def ledger(self) -> Any:
        """The service's, as far as this agent may see it."""
        return self.desk

    def _journal(self) -> Any:
        return self.desk

    def talk(self, ask: Ask, task: Task | None = None) -> Kit:
        """The kit of one conversation."""
        return AgentKit(self, ask, task)

    def slip(self, *_: object, **__: object) -> Any:
        """Raises SettingsError: under one user a child could speak to the service itself."""
        raise SettingsError("slips are not lent through a signer", rule="a slip binds processes of the payer's own user",
                            hint="a user of its own for the child, and a line in [signer.agents]")  # fmt: skip

    under = slip

    def quote_kit(self, ask: Ask, found: list[Quote]) -> Kit:
        """The kit of a quote."""
        return _QuoteKit(self, ask, found)

    def resume(self, payment_id: str | None = None, *, output: Path | None = None) -> list[Resumed]:
        """Settle what is open of this agent's: the service asks the chain, and the same proof is shown again from here.

        Raises SettingsError for `output`: goods are not kept on this side.
        """
        if output is not None:
            raise SettingsError("goods are not kept through a signer", rule="--output", hint="repeat the request: the same proof is shown")
        return [self._one(each) for each in self.desk.open_payments(payment_id or "")]

    def _one(self, told: Fields) -> Resumed:
        payment_id, before = told.text("payment_id"), told.text("state")

        def after(note: str) -> Resumed:
            return Resumed(payment_id, before, self.desk.state(payment_id), note)

        if told.flag("has_body"):
            return after("waits until you repeat the request: its body is not kept")
        method, url = told.text("method"), told.text("url", 1 << 16)
        found = self.desk.again(payment_id, Ask(method, url, url, told.text("host"), ""))
        if found is None:
            return after("never arrived; the hold is released")
        hold, proof = found

        class Again(AgentKit):
            __slots__ = ()

            def conversation(self) -> Generator[Step, Any, Reply]:
                self.proof = proof
                return show_again(hold, self)

        with suppress(PaymentError), self.talking(lambda ask: Again(self, ask)) as client:
            status = client.request(method, url, follow_redirects=False).status_code
            return after("spent, receipt found" if status < 400 else f"the seller answered {status} to the same proof")
        return after("no answer to the same proof")

    def close(self) -> None:
        """End the connections."""
        self.desk.link.close()

    def __repr__(self) -> str:
        return f"Payer(signer {self.desk.link.path})"


def _tighter(bounds: Bounds, own: Budget | None) -> Bounds:
    """A budget given in code: what this agent may pay at most, beside what the service allows."""
    if own is None:
        return bounds
    where, hint = "Budget(…) in code", "a larger Budget(…) in code"
    caps = () if own.per_call is None else (Cap(micros(own.per_call, "Budget"), f"per_call in {where}", hint),)
    return Bounds(limits=(Limit("all", own.window, own.micros, where, hint),), caps=caps).within(bounds)


def from_settings(settings: Settings, budget: Budget | None, trace: Any, approve: object, *, key: bool) -> AgentPayer:
    """What `Payer.from_env` makes where X402_AGENT_SIGNER is set; raises SettingsError for what would undo the boundary."""
    if key:
        raise SettingsError("a key and a signer are both set", rule="X402_AGENT_EVM_KEY beside X402_AGENT_SIGNER",
                            hint="a key in the agent's environment is the agent's: unset one of them")  # fmt: skip
    if len(settings.slip):
        raise SettingsError("a slip and a signer are both set", rule="X402_AGENT_SLIP beside X402_AGENT_SIGNER", hint="unset one of them")
    if approve is not None:
        raise SettingsError("approvals are the signer's, not the agent's", rule="approve= beside X402_AGENT_SIGNER",
                            hint="configure them where `x402-agent signer run` runs")  # fmt: skip
    return AgentPayer(settings, budget=budget, trace=trace)
