"""The agent's side: dialects and transport. Key, policy and ledger are the service's, and its word is final.

The conversation is flow.py's own. The step Hold asks the service for everything at once: it looks for an open payment,
judges, holds, approves, signs and writes down; Approve, Sign and Commit then have nothing left to do. So a payment
costs one local round trip, and what was handed out counts there whatever becomes of this process.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import NoAcceptableOffer, PaymentError, SettingsError, SigningFailed
from ..flow import FREES, PAYS_FIRST
from ..model import CALL, NO_ANCHOR, QUOTA, Account, Ask, Cap, Limit
from ..payer import Payer
from ..payer.before import lives
from ..payer.kit import Kit, Quote
from ..policy import Policy, locked, micros
from ..policy.choose import SAYS, SELLER, WHERE, look
from ..recovery import Resumed, in_words, side_by_side
from ..recovery.again import ONLY_THERE, Again, handed, shown
from ..secret import Secret
from ..steps import Approve, Aside, Broadcast, Call, Commit, Find, Hold, Return, Send, Sign
from ..tasks import Confines, Task, refusal
from ..vault.keeping import Bare
from ..wallet import Wallet
from .bought import Bought
from .desk import Desk, Waits
from .frames import Fields
from .link import Connection, Link
from .nouns import Unasked, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..ledger import Sealed
    from ..model import Anchor, Challenge, Offer, Proof
    from ..model import Hold as HeldBudget
    from ..policy import Budget
    from ..settings import Settings
    from ..steps import Collect, Keep, Reply, Step, Steps, Use
    from ..tasks.slips import Token

__all__ = ["AgentPayer", "from_settings"]

log = logging.getLogger("x402_agent")


class AgentKit(Kit):
    """A conversation whose rooms are elsewhere."""

    __slots__ = ("challenge", "looked", "proof", "stands", "unasked")
    payer: AgentPayer

    def __init__(self, payer: AgentPayer, ask: Ask, task: Task | None = None) -> None:
        super().__init__(payer, ask, task)
        self.challenge: Challenge | None = None
        self.proof: Proof | None = None
        self.looked = self.unasked = False
        self.exchanges = ask.again is True  # which transaction bought a credential is known to the service
        self.stands = ""  # the payment of what this very request has bought and is refused, though it lives

    def choose(self, ask: Ask, challenge: Challenge) -> tuple[Offer, tuple[Limit, ...]]:
        """The service chooses; here it is only seen that there is something to choose from."""
        if (no := refusal(ask, *self.standing)) is not None:
            raise no
        ask.key  # noqa: B018 - a one-shot body is refused here
        self.challenge = challenge = locked(ask, challenge, self.payer.facts)
        if not challenge.offers:
            listed = "".join(f"\n    - {reason}" for reason in challenge.passed_over[:10])
            told = any("settings" in reason for reason in challenge.passed_over)  # the agent's own, since it asks the seller's pages
            raise NoAcceptableOffer(f"none of {ask.host}'s offers can be paid from here{listed}", rule=SELLER if told else SAYS,
                                    hint=WHERE if told else look(ask))  # fmt: skip
        return challenge.offers[0], ()

    def buys(self, ask: Ask, challenge: Challenge) -> bool:
        """Whether the service may choose what is asked about first: it says so (an invoice may be paid already), nothing but calls is sold, or several are expected."""
        flows = {offer.flow for offer in challenge.offers} if ask.offer is None else {ask.offer.flow}
        return self.unasked or flows == {QUOTA} or (QUOTA in flows and ask.expect > 1)

    def owned(self, ask: Ask, challenge: Challenge) -> Steps[bool]:
        """Nothing is asked: what was paid is known to the service. Raises PolicyDenied where that lives."""
        if self.stands and ask.again is not True:
            raise lives(self, self.stands)
        return super().owned(ask, challenge)

    def anchor(self, offer: Offer) -> Steps[Anchor]:
        """The service asks the chain, if anybody must."""
        yield from ()
        return NO_ANCHOR

    def fate(self, hold: HeldBudget) -> Steps[str]:
        """The service has asked the chain already."""
        yield from ()
        return "unknown"

    def sign_in(self, namespace: str, account: str, message: str) -> str:
        """Nowhere: over there no agent's words are signed."""
        raise SigningFailed("a signer signs payments, and no messages of its agents", rule="X402_AGENT_SIGNER", hint="run it as the signer's own user")

    def _account(self, namespace: str) -> Any:
        return self.payer.desk.blocking(lambda: Account(self.payer.desk.account(namespace)))

    def perform(self, step: Step, milliseconds: int) -> Any:
        """As a Kit, but for the steps that need key, policy or ledger."""
        kind = type(step)
        if kind is Find or kind is Broadcast:  # what pays first stands on its chain already
            return None
        if kind is Hold:
            return Aside(self._pay())
        if kind is Sign:
            return self.proof
        if kind is Approve or kind is Commit:
            return step.hold  # type: ignore[union-attr]
        return super().perform(step, milliseconds)

    def conversation(self) -> Steps[Reply]:
        """As a Kit's; where something bought earlier turns out to wait, it is fetched instead of paid for."""
        try:
            return (yield from super().conversation())
        except Waits:
            self.looked = True
            self.payer.credentials.waits(self.ask.origin)
            return (yield from super().conversation())

    def _credential(self, step: Use | Return | Keep | Collect) -> Any:
        if not isinstance(step, Return) or not step.refused or not step.credential.payment_id or self.ask.has_body:
            return super()._credential(step)
        one = step.credential
        owned = any(each.name == one.dialect and hasattr(each, "owned") for each in self.payer.dialects)
        if not owned or one.uses_left is not None or (one.expires or 0) <= self.payer.clock():
            return super()._credential(step)
        return self.payer.desk.blocking(lambda: self._refused(step))

    def _refused(self, step: Return) -> None:
        """What this very request has bought and what lives is not forgotten, since it would be bought again: it is shown until it ends."""
        self.stands = step.credential.payment_id
        try:
            paid = self.payer.desk.payment(self.stands)
        except PaymentError:
            return
        if not paid.delivered or (paid.method, paid.url) != (self.ask.method, self.ask.url[:1000]):
            self.stands = ""
            super()._credential(step).run()

    def _request(self, hold: HeldBudget) -> Sealed | None:
        """What is to be kept of the request; one with a body went along with its question."""
        return None if hold.ask.has_body else super()._request(hold)

    def _how(self) -> dict[str, Any]:
        """What the service is told beside Ask and offers."""
        ends = [task.ends - time.monotonic() for task in self.standing[1] if task.ends is not None]
        return {"looked": self.looked, "prepaid": self.prepaid and not self.asked, "consulted": self.consulted or not self.asked,
                "deadline": max(0, int(min(ends) * 1000)) if ends else None}  # fmt: skip

    def _pay(self) -> Steps[HeldBudget]:
        """The one question. It may wait for a person over there, which is not the seller's time."""
        challenge = self.challenge
        assert challenge is not None
        line: list[Connection] = []
        try:
            made = yield from self._question(challenge, line)
            if made is None:
                self.unasked = True
                challenge = yield from self.agreed(self.ask, challenge)
                self.choose(self.ask, challenge)
                made = yield from self._question(challenge, line)
        except Exception:
            raise
        except BaseException:
            for connection in line:
                connection.hang_up()
            raise
        assert made is not None
        hold, self.proof = made
        self.sent = str(self.proof.payload["transaction"]) if hold.offer.method == PAYS_FIRST else ""
        return hold

    def _question(self, challenge: Challenge, line: list[Connection]) -> Steps[tuple[HeldBudget, Proof] | None]:
        """-> None where the seller's own pages are to be asked first."""
        how = self._how()
        try:
            made: tuple[HeldBudget, Proof] = yield Call(lambda: self.payer.desk.pay(self.ask, challenge, line, **how))
        except Unasked:
            if self.unasked:
                raise SigningFailed("the signer asks for the seller's pages again", rule="they were asked") from None
            return None
        return made


class _QuoteKit(AgentKit):
    __slots__ = ("found",)

    def __init__(self, payer: AgentPayer, ask: Ask, found: list[Quote]) -> None:
        super().__init__(payer, ask)
        self.found = found

    def conversation(self) -> Steps[Reply]:
        reply: Reply = yield Send()
        if reply.status == 402 and (challenge := self.read(reply, self.ask)) is not None:
            challenge = yield from self.agreed(self.ask, challenge)
            self.found.append(self.payer.desk.quote(self.ask, challenge))
        return reply


class _AgentAgain(Again, AgentKit):
    """Shows a proof once more that the service gave us."""

    def __init__(self, payer: AgentPayer, ask: Ask, found: tuple[HeldBudget, Proof]) -> None:
        super().__init__(payer, ask, found[0])
        self.proof = found[1]


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
        super().__init__(wallet=Wallet(), policy=Policy(), settings=replace(settings, slip=Secret()), trace=trace)
        assert settings.signer is not None
        self.desk = Desk(Link(settings.signer, self._heard))
        self.keeping = Bare()  # type: ignore[assignment]  # the same, without a key
        self.credentials = Bought(self.desk)  # type: ignore[assignment]  # the same, through the service
        self.bounds = _tighter(self.bounds, budget)
        if len(settings.slip):
            self.bounds = self.desk.purse(settings.slip)[1].within(self.bounds)

    @property
    def ledger(self) -> Any:
        """The service's, as far as this agent may see it."""
        return self.desk

    def _journal(self) -> Any:
        return self.desk

    def _heard(self, hello: Fields) -> None:
        """What the service's policy lets go first, and how many calls it expects, for agents who read what is asked; it is judged over there."""
        said = Policy(prepay=hello.texts("prepay", 1024), prepay_age=hello.whole("prepay_age", 1 << 40), prepay_uses=hello.whole("prepay_uses", 1 << 40),
                      expect_calls=hello.whole("expect_calls", 1_000_000, 1), source="the signer's policy.toml")  # fmt: skip
        if said != self.policy:
            self.policy = said

    def talk(self, ask: Ask, task: Task | None = None) -> Kit:
        """The kit of one conversation."""
        return AgentKit(self, ask, task)

    def slip(
        self, budget: str, *, minutes: float = 10, hosts: Sequence[str] = (), calls: int | None = None,
        per_call: str | None = None,
    ) -> Token:  # fmt: skip
        """As Payer.slip, written down by the service: it ends with this process. For processes of this same user."""
        from ..tasks import slips

        def lend(outer: Confines, seconds: float) -> Token:
            return slips.Token(self.desk.lend(outer, budget, max(1, int(seconds)), hosts, calls, per_call))

        return slips.given(self, minutes, lend)

    def under(self, token: str) -> Task:
        """As Payer.under; raises SettingsError for no slip of this agent's, PolicyDenied for a dead one."""
        number, bounds = self.desk.purse(Secret(token))
        return Task(self, number, bounds, kind="slip")

    def quote_kit(self, ask: Ask, found: list[Quote]) -> Kit:
        """The kit of a quote."""
        return _QuoteKit(self, ask, found)

    def resume(self, payment_id: str | None = None, *, output: Path | None = None) -> list[Resumed]:
        """Settle what is open of this agent's: the service asks the chain, and the same proof is shown again from here.

        Goods go to the new file `output`, else they wait over there for the next identical Ask.
        """
        if output is not None and output.exists():
            raise SettingsError(f"{output} exists and is never overwritten", rule="--output", hint="another name")
        whole = self.desk.payment(payment_id).payment_id if payment_id else ""
        kept = [] if output is None else handed(self, whole, output)
        found = [each for each in self.desk.open_payments() if whole in ("", each.text("payment_id"))]
        return [Resumed(*each) for each in kept] + side_by_side(lambda each: self._one(each, output), found, lambda each: place(each)[1])

    def _one(self, told: Fields, output: Path | None) -> Resumed:
        payment_id, before = told.text("payment_id"), told.text("state")
        ask = Ask(told.text("method"), *place(told), has_body=bool(told.flag("has_body")))
        try:
            words = self._shown(payment_id, ask, output, waits=bool(told.flag("goods")))
        except Exception as why:
            words = in_words(why)
        finally:
            self.desk.drop(payment_id)
        return Resumed(payment_id, before, self.desk.state(payment_id), words)

    def _shown(self, payment_id: str, ask: Ask, output: Path | None, *, waits: bool) -> str:
        kept = self.desk.request(payment_id)
        only_there = ask.method == CALL
        lost = only_there or (ask.has_body and kept is None)
        found, fate = self.desk.again(payment_id, ask, only_ask=lost or waits)
        seen = "settled on chain; " if fate == "settled" else ""
        if fate in FREES:
            return "never arrived; the hold is released" if fate == "dead" else f"{FREES[fate][1]}; only its fee stays counted"
        if waits:
            return f"{seen}its goods wait for the same request; x402-agent resume {payment_id[:8]} --output FILE writes them"
        if found is None and only_there:
            return seen + ONLY_THERE
        if found is None:
            return f"{seen}waits until you repeat the request: its body was not kept: it is larger than 1 MiB, or could be read only once"
        made = found
        repeat = self.keeping.repeat(made[0], kept)
        return seen + shown(self, made[0], repeat, output, lambda _payer, asked, _hold: _AgentAgain(self, asked, made))

    def close(self) -> None:
        """End the connections, and with them the slips that were given."""
        self.desk.shut()

    def __repr__(self) -> str:
        return f"Payer(signer {self.desk.link.path})"


def _tighter(bounds: Confines, own: Budget | None) -> Confines:
    """A budget given in code: what this agent may pay at most, beside what the service allows."""
    if own is None:
        return bounds
    where, hint = "Budget(…) in code", "a larger Budget(…) in code"
    caps = () if own.per_call is None else (Cap(micros(own.per_call, "Budget"), f"per_call in {where}", hint),)
    return Confines(limits=(Limit("all", own.window, own.micros, where, hint),), caps=caps).within(bounds)


def from_settings(settings: Settings, budget: Budget | None, trace: Any, approve: object, *, key: str) -> AgentPayer:
    """What `Payer.from_env` makes where X402_AGENT_SIGNER is set; raises SettingsError for what would undo the boundary."""
    if key:
        raise SettingsError("a key and a signer are both set", rule=f"{key} beside X402_AGENT_SIGNER",
                            hint="a key in the agent's environment is the agent's: unset one of them")  # fmt: skip
    if approve is not None:
        raise SettingsError("approvals are the signer's, not the agent's", rule="approve= beside X402_AGENT_SIGNER",
                            hint="configure them where `x402-agent signer run` runs")  # fmt: skip
    return AgentPayer(settings, budget=budget, trace=trace)
