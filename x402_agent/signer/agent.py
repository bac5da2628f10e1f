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
from ..kit import Kit, Quote
from ..ledger.reports import Left
from ..model import Ask, Cap, Limit
from ..payer import Payer
from ..policy import Policy, micros
from ..recovery import Resumed
from ..steps import Approve, Aside, Call, Commit, Find, Hold, Sign
from ..tasks import Bounds, Task, refusal
from ..wallet import Wallet
from .bought import Bought
from .frames import Fields, Malformed
from .link import Connection, Link
from .nouns import ask_out, challenge_out, error_in, hold_in, limits_in, proof_in

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from ..model import Challenge, Offer, Proof
    from ..model import Hold as HeldBudget
    from ..policy import Budget
    from ..settings import Settings
    from ..steps import Reply, Step, Steps

__all__ = ["AgentPayer", "from_settings"]

log = logging.getLogger("x402_agent")


class _Blocking:
    """Work that waits for the service: never on an event loop."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run


class _Told(_Blocking):
    """A message that nobody waits for: a few microseconds, done in place."""

    ready = True

    def start(self, done: Callable[[], object], _via: object) -> None:
        """Send it and go on."""
        self.run()
        done()


class Desk:
    """The service's ledger, as far as an agent may see it: its own payments, and what is left for it."""

    sandbox = False

    def __init__(self, link: Link) -> None:
        self.link = link
        self.spending: dict[tuple[str, str, str], int] = {}  # of the last quote: scope, window, unit -> spent
        self._held: dict[str, Connection] = {}  # payments under way, each on a connection of its own

    def pay(self, ask: Ask, challenge: Challenge, line: list[Connection]) -> tuple[HeldBudget, Proof]:
        """The one proof of this Ask, written down over there; raises what policy, budget, approver or ledger refuse.

        The connection stands in `line` meanwhile: hung up by another thread, the question is taken back.
        """
        found = self._proof({"op": "pay", **ask_out(ask), **challenge_out(challenge)}, ask, line)
        assert found is not None
        return found

    def again(self, payment_id: str, ask: Ask) -> tuple[HeldBudget, Proof] | None:
        """The proof of an open payment of ours once more, None when the chain shows that it can never settle."""
        return self._proof({"op": "again", "payment_id": payment_id}, ask)

    def _proof(self, message: dict[str, Any], ask: Ask, line: list[Connection] | None = None) -> tuple[HeldBudget, Proof] | None:
        connection = self.link.take()
        if line is not None:
            line.append(connection)
        try:
            told = connection.call(message)
            if not told.has("hold"):
                self.link.give(connection)
                return None
            hold, proof = hold_in(told.inner("hold"), ask), proof_in(told.inner("proof"))
        except PaymentError:
            if line is not None:
                line.clear()
            self.link.give(connection)  # a refusal; were it broken, it is closed, and the next one sees that
            raise
        except BaseException:
            connection.close()  # over there the payment is in doubt from now on
            raise
        self._held[hold.payment_id] = connection
        return hold, proof

    def close(self, hold: HeldBudget, state: str, *, refused: bool = False, status: int = 0, transaction: str = "",
              note: str = "", milliseconds: int = 0, request: None = None) -> _Blocking:  # fmt: skip
        """Tell what came of it. Nobody waits for good news; until it is there the payment counts the same."""
        message = {
            "op": "close", "payment_id": hold.payment_id, "state": state, "refused": refused, "status": status,
            "transaction": transaction[:200], "note": note[:500], "milliseconds": milliseconds, "quiet": state == "CLAIMED",
        }  # fmt: skip
        return (_Told if state == "CLAIMED" else _Blocking)(lambda: self._close(message))

    def _close(self, message: dict[str, Any]) -> None:
        connection = self._held.pop(message["payment_id"], None)
        try:
            connection = connection or self.link.take()
            if message["quiet"]:
                connection.tell(message)
            else:
                connection.call(message)
        except Exception as why:
            log.error("the signer could not be told what became of %s; it stays counted: %s",  # noqa: TRY400 - no values
                      message["payment_id"], why.what if isinstance(why, PaymentError) else type(why).__name__)  # fmt: skip
            if connection is not None:
                connection.close()
        else:
            self.link.give(connection)

    def testify(self, payment_id: str, kind: str, text: str) -> _Blocking:
        """Send what the seller signed; the offer's signature was judged and kept over there."""
        message = {"op": "receipt", "payment_id": payment_id, "text": text}
        connection = self._held.get(payment_id)

        def tell() -> None:
            if kind == "receipt" and connection is not None:
                with suppress(OSError, Malformed):  # evidence only: the Close that follows says whether it broke
                    connection.tell(message)

        return _Told(tell)

    def counted(self, scope: str) -> int:
        """Micro-dollars that count for one of our tasks."""
        return self.link.ask({"op": "counted", "scope": scope}).whole("micros", 1 << 62)

    def open_payments(self, prefix: str = "") -> list[Fields]:
        """Our payments that may still settle, or the one whose id begins so."""
        return self.link.ask({"op": "open", "payment_id": prefix}).each("payments", 1000)

    def state(self, payment_id: str) -> str:
        """The ledger's word for one of our payments."""
        return self.link.ask({"op": "state", "payment_id": payment_id}).text("state")

    def quote(self, ask: Ask, challenge: Challenge) -> Quote:
        """What the service's policy makes of a challenge."""
        told = self.link.ask({"op": "quote", **ask_out(ask), **challenge_out(challenge)})
        over = [(challenge.offers[each.whole("offer", len(challenge.offers) - 1)], each.text("why", 4096))
                for each in told.each("offers", 64)]  # fmt: skip
        chosen = next((offer for offer, why in over if not why), None)
        limits = limits_in(told)
        for limit, each in zip(limits, told.each("limits", 64), strict=True):
            self.spending[limit.scope, limit.window, limit.unit] = each.whole("spent", 1 << 62)
        reason = error_in(told.inner("reason")) if told.has("reason") else None
        return Quote(402, True, chosen, tuple(over), challenge.passed_over, reason, limits)

    def spent(self, limits: Iterable[Limit], *, realm: str = "") -> list[Left]:
        """What counted against each limit of the last quote."""
        return [Left(each, self.spending.get((each.scope, each.window, each.unit), 0)) for each in limits]


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
