"""The service's ledger, as far as an agent may see it: its own payments, and what is left for it."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import PaymentError, SettingsError
from ..ledger import Event, Sealed, Waiting
from ..ledger.refunds import Refund
from ..ledger.reports import Left
from ..ledger.tokens import Tokens
from ..model import Ask
from ..payer import Quote
from ..secret import Secret
from ..vault.keeping import Bare, harmless, packed
from .frames import Malformed
from .link import Connection, Link
from .nouns import (
    Unasked,
    ask_out,
    bounds_in,
    bounds_out,
    challenge_out,
    error_in,
    hold_in,
    limits_in,
    payment_in,
    proof_in,
    slips_in,
    token_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..ledger import Payment, Token
    from ..model import Challenge, Limit, Proof
    from ..model import Hold as HeldBudget
    from ..steps import Goods
    from ..tasks import Confines
    from .frames import Fields

__all__ = ["Desk", "Waits"]

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


class Waits(Exception):
    """Something that was bought earlier serves this Ask: nothing was paid."""


class Desk:
    """What an AgentPayer has for a ledger. Raises SigningFailed where the service does not answer."""

    sandbox = False
    secret = Secret()

    def __init__(self, link: Link) -> None:
        self.link = link
        self._lender: Connection | None = None  # slips live as long as this conversation
        self.spending: dict[tuple[str, str, str], int] = {}  # of the last quote: scope, window, unit -> spent
        self._held: dict[str, Connection] = {}  # payments under way, each on a connection of its own

    def pay(self, ask: Ask, challenge: Challenge, line: list[Connection], **how: Any) -> tuple[HeldBudget, Proof]:
        """The one proof of this Ask, written down over there; raises what policy, budget, approver or ledger refuse, Waits and Unasked.

        The connection stands in `line` meanwhile: hung up by another thread, the question is taken back.
        """
        repeat = ask.repeat() if ask.has_body else None
        kept = packed(harmless(repeat.headers), repeat.body).raw if repeat else b""
        found, told = self._proof({"op": "pay", **ask_out(ask), **challenge_out(challenge), **how}, ask, line, kept)
        if found is None:
            raise Unasked if told.flag("unasked") else Waits
        return found

    def again(self, payment_id: str, ask: Ask, *, only_ask: bool = False) -> tuple[tuple[HeldBudget, Proof] | None, str]:
        """The proof of an open payment of ours once more, and what the chain says of it: settled, dead or unknown; no proof
        for what is dead, nor with `only_ask`."""
        found, told = self._proof({"op": "again", "payment_id": payment_id, "ask": only_ask}, ask)
        return found, told.text("fate", 16)

    def _proof(
        self, message: dict[str, Any], ask: Ask, line: list[Connection] | None = None, tail: bytes = b""
    ) -> tuple[tuple[HeldBudget, Proof] | None, Fields]:
        connection = self.link.take()
        if line is not None:
            line.append(connection)
        try:
            told = connection.call(message, tail=tail)
            if not told.has("hold"):
                if line is not None:
                    line.clear()  # from now on it may be another conversation's
                self.link.give(connection)
                return None, told
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
        return (hold, proof), told

    def drop(self, payment_id: str) -> None:
        """Nothing was told of a payment whose proof we have: the end of its connection says that it is in doubt."""
        if (connection := self._held.pop(payment_id, None)) is not None:
            connection.close()

    def close(self, hold: HeldBudget, state: str, *, refused: bool = False, status: int = 0, transaction: str = "",
              note: str = "", milliseconds: int = 0, request: Sealed | None = None) -> _Blocking:  # fmt: skip
        """Tell what came of it. Nobody waits for good news; until it is there the payment counts the same."""
        state = "UNKNOWN" if state == "CONFIRMED" else state  # what had settled before is known over there, and no agent's to say
        message = {
            "op": "close", "payment_id": hold.payment_id, "state": state, "refused": refused, "status": status,
            "transaction": transaction[:200], "note": note[:500], "milliseconds": milliseconds, "quiet": state == "CLAIMED",
        }  # fmt: skip
        tail = request.sealed if request else b""
        return (_Told if state == "CLAIMED" else _Blocking)(lambda: self._close(message, tail))

    def _close(self, message: dict[str, Any], tail: bytes) -> None:
        connection = self._held.pop(message["payment_id"], None)
        try:
            connection = connection or self.link.take()
            if message["quiet"]:
                connection.tell(message)
            else:
                connection.call(message, tail=tail)
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

    # -- what was bought ----------------------------------------------------------------------------------------------

    def blocking(self, run: Callable[[], Any]) -> Any:
        """Work that waits for the service."""
        return _Blocking(run)

    def account(self, namespace: str) -> str:
        """Which account pays for us on a family of chains, "" for none; raises SigningFailed."""
        connection = self.link.take()
        self.link.give(connection)
        return str(connection.hello.raw("accounts").get(namespace, ""))

    def forgiving(self, run: Callable[[], Any], what: str) -> Any:
        """The same where what cannot be told is only logged."""

        def forgive() -> None:
            try:
                run()
            except PaymentError as why:
                log.error("the signer could not be told %s: %s", what, why.what)  # noqa: TRY400 - no values

        return _Blocking(forgive)

    def request(self, payment_id: str) -> Sealed | None:
        """The request of an open payment, if it was kept."""
        told, plain = self.link.fetch({"op": "request", "payment_id": payment_id})
        return Sealed("", plain) if told.flag("kept") else None

    def keep_goods(self, hold: HeldBudget, goods: Sealed) -> Any:
        """Have goods written down, durably, before their payment is closed."""
        return _Blocking(lambda: self.link.ask({"op": "stored", "payment_id": hold.payment_id}, tail=goods.sealed))

    def goods(self, payment_id: str) -> Waiting | None:
        """What a payment brought, if it waits over there."""
        told, plain = self.link.fetch({"op": "goods", "payment_id": payment_id})
        if not told.flag("goods"):
            return None
        url = told.text("url", 1 << 16)
        hold = hold_in(told.inner("hold"), Ask(told.text("method"), url, url, told.text("host"), ""))
        return Waiting(Sealed("", plain), hold, told.text("transaction"))

    def waiting(self, payment_id: str) -> Goods | None:
        """The same, to be handed to a caller."""
        found = self.goods(payment_id)
        return None if found is None else Bare().opened(found, sandbox=False)

    def collected(self, payment_id: str) -> Any:
        """Somebody has the goods."""
        return self.forgiving(lambda: self.link.ask({"op": "collected", "payment_id": payment_id}), "that goods were collected")

    def flush(self) -> None:
        """Nothing waits here."""

    def tokens(self) -> list[Token]:
        """Our credentials, without what they send."""
        return [token_in(each) for each in self.link.ask({"op": "tokens"}).each("tokens", 1024)]

    token = Tokens.token

    def clock(self) -> int:
        """Unix seconds, as this side has them: for what is shown."""
        return int(time.time())

    def forget_token(self, name: str) -> bool:
        """Forget one of our credentials for every process."""
        return bool(self.link.ask({"op": "tokens", "forget": name}).flag("forgotten"))

    # -- what is remembered for prepaying stays with whoever was asked ------------------------------------------------

    def remembered(self, _since: float) -> list[Any]:
        """Nothing from before."""
        return []

    def remember(self, *_: object, **__: object) -> None:
        """Another agent must not choose for us whom we pay first, so nothing of it leaves this process."""

    forget = remember

    # -- slips --------------------------------------------------------------------------------------------------------

    def lend(self, within: Confines, budget: str, seconds: int, hosts: Sequence[str], calls: int | None, per_call: str | None) -> str:
        """The token of a new slip. It ends with the connection that this goes over, so with this process."""
        message = {"op": "lend", "within": bounds_out(within), "budget": budget, "seconds": seconds, "names": list(hosts),
                   "calls": calls, "per_call": per_call or ""}  # fmt: skip
        if self._lender is None or self._lender.stale:
            self._lender = self.link.take()
        return self._lender.call(message).text("token")

    def purse(self, token: Secret) -> tuple[str, Confines]:
        """The number of the slip that a token opens, and what it stands for; raises what Slips.slip_of does."""
        told = self.link.ask({"op": "purse", "token": token.text})
        number, bounds = told.text("slip", 64), bounds_in(told)
        return number, bounds._replace(under=bounds.under._replace(slip=",".join(slips_in(told))))

    def end_slips(self, run: str) -> Any:
        """A task of ours is over, and what was lent from under it."""
        return _Blocking(lambda: self.link.ask({"op": "end", "run": run}))

    # -- what a person reads ------------------------------------------------------------------------------------------

    def changed(self, since: float) -> list[Payment]:
        """Our own payments that moved since a unix second, as far as the last 500 go."""
        return [each for each in self.payments() if each.updated_at >= since]

    def payments(self, *, today: bool = False, host: str = "", in_doubt: bool = False, limit: int = 500) -> list[Payment]:
        """Our own payments, newest first."""
        told = self.link.ask({"op": "log", "today": today, "host": host, "in_doubt": in_doubt, "limit": limit})
        return [payment_in(each) for each in told.each("payments", 500)]

    def payment(self, prefix: str) -> Payment:
        """The one whose id begins so; raises LedgerError."""
        return payment_in(self.link.ask({"op": "payment", "payment_id": prefix}).inner("payment"))

    def events(self, payment_id: str) -> list[Event]:
        """Every move of one of ours, oldest first."""
        told = self.link.ask({"op": "events", "payment_id": payment_id})
        return [Event(one.whole("seq", 1 << 62), one.text("from"), one.text("state"), one.whole("at", 1 << 62), one.raw("data"))
                for one in told.each("events", 500)]  # fmt: skip

    def refunds(self, payment_id: str) -> list[Refund]:
        """What came back of one of ours."""
        told = self.link.ask({"op": "events", "payment_id": payment_id})
        return [Refund(one.text("transaction"), one.whole("amount", 1 << 256), one.whole("at", 1 << 62)) for one in told.each("refunds", 500)]

    def namesakes(self, payment: Payment) -> int:
        """Nothing: other agents' payments are not ours to count."""
        return 0

    def shut(self) -> None:
        """End the connections, and with them what was lent."""
        if self._lender is not None:
            self._lender.close()
        self.link.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise SettingsError(f"a signer does not give its agents this ({name})", rule="X402_AGENT_SIGNER",
                            hint="run the command as the signer's own user")  # fmt: skip

    def open_payments(self, prefix: str = "") -> list[Fields]:
        """Our payments that may still settle, or the one whose id begins so."""
        return self.link.ask({"op": "open", "payment_id": prefix}).each("payments", 1000)

    def state(self, payment_id: str) -> str:
        """The ledger's word for one of our payments."""
        return self.link.ask({"op": "state", "payment_id": payment_id}).text("state")

    def quote(self, ask: Ask, challenge: Challenge) -> Quote:
        """What the service's policy makes of a challenge."""
        told = self.link.ask({"op": "quote", **ask_out(ask), **challenge_out(challenge)})
        said = told.each("offers", 64)
        over = [(challenge.offers[each.whole("offer", len(challenge.offers) - 1)], each.text("why", 4096)) for each in said]
        costs = tuple(each.whole("cost", 1 << 256) if each.has("cost") else None for each in said)
        chosen = next((offer for offer, why in over if not why), None)
        limits = limits_in(told)
        for limit, each in zip(limits, told.each("limits", 64), strict=True):
            self.spending[limit.scope, limit.window, limit.unit] = each.whole("spent", 1 << 62)
        reason = error_in(told.inner("reason")) if told.has("reason") else None
        return Quote(402, True, chosen, tuple(over), challenge.passed_over, reason, limits, costs=costs, dialect=challenge.dialect)

    def spent(self, limits: Iterable[Limit], *, realm: str = "") -> list[Left]:
        """What counted against each limit of the last quote."""
        return [Left(each, self.spending.get((each.scope, each.window, each.unit), 0)) for each in limits]
