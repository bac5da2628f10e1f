"""What an agent bought and may show again. It lies over there, sealed; from here it is asked for by the Ask that it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PaymentError
from ..steps import Busy
from .nouns import ask_out, credential_in, credential_out

if TYPE_CHECKING:
    from ..model import Ask, Credential
    from ..steps import Goods, Return
    from .desk import Desk
    from .link import Connection

__all__ = ["Bought"]


class Bought:
    """As credentials.Credentials, through the service. Where there was nothing lately nobody asks: when an Ask is to be
    paid for, the service looks before it pays (`Waits`)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._origins: set[str] = set()
        self._turns: dict[int, Connection] = {}  # uses of what serves one call at a time, each on a connection of its own

    def keeps(self, origin: str) -> bool:
        """Whether there may be something for this origin, from memory."""
        return origin in self._origins

    def waits(self, origin: str) -> None:
        """Something has come for this origin: look there before anything is sent."""
        if len(self._origins) > 1024:
            self._origins.clear()
        self._origins.add(origin)

    def look(self, ask: Ask, payment_id: str = "") -> Any:
        """The goods that wait for this Ask, else the credential to show, one use of it taken, else None; Busy while one that serves
        one call at a time is in use. `payment_id`: what that payment bought, to look at."""  # fmt: skip
        if ask.origin not in self._origins and not payment_id:
            return None
        try:
            message = ask_out(ask)
        except PaymentError:  # a body that can be read only once: nothing was bought with it
            return None
        about = {"payment_id": payment_id} if payment_id else {}
        return self._desk.blocking(lambda: self._look({"op": "look", **message, **about}, ask))

    def _look(self, message: dict[str, Any], ask: Ask) -> Goods | Credential | Busy | None:
        found = None
        try:
            connection = self._desk.link.take()
        except PaymentError:  # no service: the seller is asked as if nothing had been bought, and nothing can be paid
            return None
        try:
            told = connection.call(message)
            found = credential_in(told.inner("credential")) if told.has("credential") else None
        except PaymentError:
            return None
        finally:
            if found is None or not (found.serial and found.lease):
                self._desk.link.give(connection)
            else:
                self._turns[found.lease] = connection  # its end tells the service that nobody uses it any more
        if told.has("goods"):
            return self._desk.waiting(told.text("goods", 64))
        if told.has("busy"):
            return Busy(told.text("busy", 64), how="shows")
        if found is None and "payment_id" not in message:
            self._origins.discard(ask.origin)
        return found

    def use(self, credential: Credential) -> Credential | None:
        """The use was taken when it was handed out."""
        return credential

    def returned(self, step: Return) -> Any:
        """Tell what came of one that was shown."""
        one = step.credential
        message = {"op": "returned", "name": one.name, "lease": one.lease, "left": step.left, "refused": step.refused,
                   "unsent": step.unsent, "good": step.good}  # fmt: skip
        return self._desk.forgiving(lambda: self._tell(message, one.lease), "what became of a credential")

    def _tell(self, message: dict[str, Any], lease: int) -> None:
        connection = self._turns.pop(lease, None)
        if connection is None:
            self._desk.link.ask(message)
            return
        try:
            connection.call(message)
        finally:
            self._desk.link.give(connection)

    def keep(self, credential: Credential, ask: Ask) -> Any:
        """Have one written down that was just bought."""
        message = {"op": "keep", "payment_id": credential.payment_id, "credential": credential_out(credential)}

        def keep() -> None:
            if self._desk.link.ask(message).flag("kept"):
                self.waits(ask.origin)

        return self._desk.blocking(keep)
