"""What is shown as payment, judged: X-PAYMENT, then x-payment-tx with its chain, then x-payment-token.

A proof that fails gives way to the next; what is left is a 402 that says nothing of why, as this system does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from ..challenge import RECEIPTS, matching
from ..messages import decode64, encode64
from ..refusals import Refused
from .sight import Seen, Unpaid

if TYPE_CHECKING:
    from ..ground import Ground, Settled
    from ..messages import Answer, Request
    from ..routes import Route
    from .asking import Asking
    from .native import Native
    from .quirks import Quirks
    from .store import Bought, Store

__all__ = ["Gate", "Pass", "receipted", "shown"]

PROOFS = ("x-payment", "x-payment-tx", "x-payment-token")


class Pass(NamedTuple):
    """Somebody may come in: for which payment, and with which receipt. `settled` is "" unless a facilitator just took money."""

    payment: int | None
    receipt: str = ""
    settled: str = ""


def shown(request: Request) -> str:
    """The sha256 of every proof in a request, "" when there is none."""
    found = [f"{name}:{request.headers[name]}" for name in PROOFS if name in request.headers]
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""


class Gate:
    """The middleware in front of priced paths."""

    def __init__(self, ground: Ground, store: Store, native: Native, asking: Asking) -> None:
        self._ground, self._store, self._native, self._asking = ground, store, native, asking
        self._owed: dict[str, Settled] = {}  # by digest: what was settled, and could not be booked
        self._settled: dict[str, tuple[Settled, int | None]] = {}  # the same: what a lost answer was for
        self._showings: dict[str, int] = {}

    def judge(self, route: Route, request: Request, quirks: Quirks) -> Pass | None:
        """Who comes in with a request for a priced path; None is a 402."""
        headers = request.headers
        if quirks.bearer and headers.get("authorization", "").startswith("Bearer "):
            return Pass(None)
        if "x-payment" in headers and (found := self._facilitator(route, request, quirks)):
            return found
        if quirks.native_402:
            return None
        if "x-payment-tx" in headers and (bought := self._transaction(request, quirks)):
            return Pass(bought.id)
        if "x-payment-token" in headers and not quirks.refuses_tokens and (bought := self._token(request, quirks)):
            return Pass(bought.id)
        return None

    # -- the facilitator's way ------------------------------------------------------------------------------------------

    def _facilitator(self, route: Route, request: Request, quirks: Quirks) -> Pass | None:
        """One authorisation buys one answer; the same one, where its booking failed. Where a scenario loses answers, it is answered from memory."""
        try:
            payload = decode64(request.headers["x-payment"])
            if not isinstance(payload, dict):
                return None
            requirement = matching(payload, 1, self._asking.entries(route, request, quirks), {})
            digest = f"{route.path}:{shown(request)}"
            if quirks.after != "content" and digest in self._settled:
                settled, payment = self._settled[digest]
            else:
                if digest not in self._owed:
                    self._ground.facilitator.verify(1, payload, requirement)
                    self._owed[digest] = self._ground.facilitator.settle(1, payload, requirement)
                settled = self._owed[digest]
                payment = self._sold(settled, request, quirks)
                self._settled[digest] = settled, payment
                del self._owed[digest]
        except (ValueError, Refused):
            return None
        receipt = encode64(settled.response()) if quirks.receipt else ""
        return Pass(payment, receipt, digest)

    def _sold(self, settled: Settled, request: Request, quirks: Quirks) -> int | None:
        """What the facilitator settled is one request, and used: its transaction buys nothing natively."""
        row = settled.row
        if row is None:
            return None
        seen = Seen(row.tx, row.payer, row.pay_to, row.amount, row.block, self._ground.now(), 0)
        bought = self._store.sold(seen, settled.network, allocated=1, used=1, life=quirks.life, caller=request.client)
        bought = bought or self._store.by_tx(seen.tx)  # its booking may have come through, and its answer not
        return bought.id if bought else None

    def misbehaves(self, found: Pass, quirks: Quirks) -> bool:
        """Whether this showing of a settled proof is answered as the scenario says, and not with the goods."""
        if quirks.after == "content" or not found.settled:
            return False
        count = self._showings[found.settled] = self._showings.get(found.settled, 0) + 1
        return not quirks.times or count <= quirks.times

    # -- the native way -------------------------------------------------------------------------------------------------

    def _transaction(self, request: Request, quirks: Quirks) -> Bought | None:
        chain = request.headers.get("x-payment-chain") or (self._native.chain if quirks.chainless else "")
        if chain != self._native.chain:
            return None
        try:
            bought, _ = self._native.bought(request.headers["x-payment-tx"], request.client, quirks)
        except Unpaid:
            return None
        return self._store.take(bought.id, strictly=not quirks.unlimited)

    def _token(self, request: Request, quirks: Quirks) -> Bought | None:
        token = request.headers["x-payment-token"]
        bought = self._store.by_token(token)
        if bought is None or not (quirks.anyone or bought.claimed_by == request.client):
            return None
        self._store.touched(token)
        return self._store.take(bought.id)


def receipted(answer: Answer, found: Pass) -> Answer:
    """The goods, with the receipt where there is one."""
    lines = [("cache-control", "private")]
    return answer.plus(*lines, *([(RECEIPTS[1], found.receipt)] if found.receipt else []))
