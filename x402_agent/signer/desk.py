"""The service's ledger, as far as an agent may see it: its own payments, and what is left for it."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import PaymentError, SettingsError
from ..ledger import Event
from ..ledger.refunds import Refund
from ..ledger.reports import Left
from ..payer import Quote
from .frames import Malformed
from .link import Connection, Link
from .nouns import ask_out, challenge_out, error_in, hold_in, limits_in, payment_in, proof_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..ledger import Payment
    from ..model import Ask, Challenge, Limit, Proof
    from ..model import Hold as HeldBudget
    from .frames import Fields

__all__ = ["Desk"]

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
    """What an AgentPayer has for a ledger. Raises SigningFailed where the service does not answer."""

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

    # -- what a person reads ------------------------------------------------------------------------------------------

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
        """End the connections."""
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
