"""A monitor's word on one invoice: asked before the money moves, and afterwards until the transfer was noticed.

Nothing it says signs or pays anything. Before: what nobody watches, or others have settled, is not paid. After: it is asked ever more rarely,
never more than ten times a second for all invoices of one origin; silence is reported with the transaction and never paid again.
"""

from __future__ import annotations

import threading
import time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ChallengeInvalid, PaymentInDoubt
from ...steps import Fetch, Fetched, Sleep
from .. import strict
from ..x402.passed import show
from .invoice import address

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...model import Hold, Offer
    from ...steps import Steps

__all__ = ["Pace", "Said", "before", "noticed", "said"]

WATCHED = ("pending", "watching")
FIRST, LONGEST, SLOWER = 1.0, 15.0, 1.6  # seconds until the next question, and by how much they grow
PATIENCE = 86_400.0  # seconds that are slept in all, where whoever drives sets no end: as long as monitors watch
EVERY = 0.1  # seconds between two questions of ours at one origin
LOST = 3  # answers in a row, that a monitor does not know an invoice, or calls it failed, until that is believed
_MANY = 1024
_NEAR = Decimal("0.000001")  # within which monitors take an amount for the one they wait for
_RULE = "an invoice is paid once: a monitor that does not notice is asked again, and never paid again"


class Said(NamedTuple):
    """What a status page says: `status` "" for no believable answer, then `why`; `wait`: seconds that it wants to be left alone."""

    status: str
    transaction: str = ""
    received: Decimal | None = None
    why: str = ""
    wait: float = 0.0


class Pace:
    """When each origin may be asked next, for all who wait there; any thread may ask. `clock` in seconds, running on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free: dict[str, float] = {}
        self._turn = threading.Lock()

    def turn(self, origin: str, after: float = 0.0) -> float:
        """Seconds until a question may go to this origin, at least `after`; that turn is taken."""
        with self._turn:
            now = self._clock()
            if len(self._free) >= _MANY:
                self._free = {each: at for each, at in self._free.items() if at > now}
            at = max(now + after, self._free.get(origin, now))
            self._free[origin] = max(self._free.get(origin, now), now) + EVERY
            return at - now

    def rest(self, origin: str, seconds: float) -> None:
        """Nobody asks there for so long: it said that it was asked too often."""
        with self._turn:
            self._free[origin] = max(self._free.get(origin, 0.0), self._clock() + seconds)


def said(got: Fetched, offer: Offer) -> Said:
    """The answer, held against the invoice: another one's status is none."""
    if got.status != 200:
        told = f"answered {got.status}" if got.status else "did not answer"
        return Said("unknown" if got.status == 404 else "", why=told, wait=_retry(got))
    try:
        found = strict.parse(got.content)
    except ChallengeInvalid:
        return Said("", why="answered what is no status")
    fields, number, order = found.fields, offer.wire[2], offer.wire[5]
    wrong = [name for name in ("id", "payment_id") if fields.get(name) not in (None, number)]
    wrong += ["wallet_address"] * (fields.get("wallet_address") != offer.pay_to)
    wrong += ["order_id"] * bool(order and fields.get("order_id") not in (None, order))
    expected = _decimal(found.raw, "expected_amount_usdt")
    if expected is None or abs(expected - Decimal(offer.amount).scaleb(-6)) >= _NEAR / 2:
        wrong.append("expected_amount_usdt")
    if wrong:
        return Said("", why=f"tells of another payment: {', '.join(wrong)}")
    status, hashed = fields.get("status"), fields.get("transaction_hash")
    if not isinstance(status, str):
        return Said("", why="answered what is no status")
    return Said(status, hashed if isinstance(hashed, str) else "", _decimal(found.raw, "received_amount_usdt"), why=f"says {show(status)}")


def before(offer: Offer) -> Steps[str]:
    """Why this invoice is not paid, by its status page, or ""."""
    got: Fetched = yield Fetch("GET", offer.wire[3], retries=2, theirs=True)
    found = said(got, offer)
    if found.status in WATCHED and found.transaction:
        return f"its status page {found.why}, and names a transaction already: a second transfer would buy nothing"
    if found.status in WATCHED:
        return ""
    if found.status == "completed":
        return f"its status page {found.why} before we paid: a second transfer would buy nothing"
    return f"its status page {found.why}: what nobody watches is not paid"


def noticed(hold: Hold, transaction: str, pace: Pace) -> Steps[str]:
    """Until the monitor calls it completed. -> what differs from what we paid, in words, or "". Raises PaymentInDoubt."""
    offer, words = hold.offer, "was not asked yet"
    where = address(offer.wire[3])
    pause = slept = 0.0
    lost = number = 0
    try:
        while slept <= PATIENCE:
            if (wait := pace.turn(where, pause)) > 0:
                yield Sleep(wait)
                slept += wait
            got: Fetched = yield Fetch("GET", offer.wire[3], theirs=True)
            found = said(got, offer)
            if found.status == "completed":
                return _differs(found, offer, transaction)
            words = found.why if got.status or not number else words  # whoever drives may have cut the last question short
            lost = lost + 1 if found.status not in (*WATCHED, "") else 0
            if found.status == "expired" or lost >= LOST:
                break
            if found.wait:
                pace.rest(where, found.wait)
            number += 1
            pause = min(max(FIRST, pause * SLOWER), LONGEST) * _jitter(transaction, number)
    except Exception as cause:  # whoever drives has no more time
        raise _stuck(hold, transaction, words) from cause
    raise _stuck(hold, transaction, words)


def _stuck(hold: Hold, transaction: str, words: str) -> PaymentInDoubt:
    offer, ours = hold.offer, hold.payment_id
    return PaymentInDoubt(f"invoice {offer.wire[2]} was paid: {offer.money} by {transaction}; its monitor {words}", rule=_RULE, payment_id=ours,
                          hint=f"x402-agent resume {ours[:8]} asks chain and monitor again; then ask the seller, with this transaction")  # fmt: skip


def _differs(found: Said, offer: Offer, transaction: str) -> str:
    """What a monitor that is content says otherwise than we know."""
    amount = Decimal(offer.amount).scaleb(-6)
    wrong = ["another transaction than ours"] if found.transaction and found.transaction.lower().removeprefix("0x") != transaction else []
    wrong += [f"{found.received:f} received, {amount:f} paid"] if found.received is not None and abs(found.received - amount) >= _NEAR else []
    return f"the monitor completed it with {', '.join(wrong)}" if wrong else ""


def _decimal(raw: Any, name: str) -> Decimal | None:
    """A number of the page, from its text: never through a float."""
    try:
        made = Decimal(str(raw[name]).strip('"')[:60])
    except (KeyError, InvalidOperation):
        return None
    return made if made.is_finite() and -40 < made.as_tuple().exponent < 12 and abs(made) < 10**12 else None  # type: ignore[operator]


def _jitter(transaction: str, number: int) -> float:
    """0.75 to 1.25, other for each invoice and question, so that many who wait do not ask in step."""
    return 0.75 + int(transaction[number * 2 % 62 :][:2], 16) / 512


def _retry(got: Fetched) -> float:
    """Seconds that an answer 429 or 503 asks for, at most a minute."""
    text = got.headers.get("retry-after", "")
    named = float(text) if text.isascii() and text.isdigit() and len(text) < 4 else LONGEST
    return min(named, 60.0) if got.status in (429, 503) else 0.0
