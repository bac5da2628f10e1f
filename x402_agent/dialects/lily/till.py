"""After a transfer of ours: its id shown itself, or a session opened with it, which is a row that we write into the seller's table.

The token of a session is ours, and is kept before the row leaves: what was written and not answered is asked for by the payment's
id, and written again with the same token and id. Nothing here pays; what fails leaves the payment open for `resume`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from ...errors import PaymentInDoubt
from ...model import BUY, NOTES, QUOTA, Ask, Credential
from ...secret import Secret, Veiled, plain
from ...steps import Keep, Look, Presented, Sleep
from ..desks import pause
from .credits import KIND, booked
from .desk import SESSIONS, amount_in, rows_of, text_in, time_in
from .header import EXACT, HEADER, calls, number, parts, written
from .shapes import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...model import Hold, Offer, Proof
    from ...steps import Fetched, Steps
    from .. import strict
    from .desk import Desk

__all__ = ["present", "revoked", "session_in"]

ASIDE = f"{NOTES}a-session-that-is-being-opened"  # its token is kept there until the row is written
TRIES = 5
PAUSE = 0.5  # seconds after the first failure; then twice as many each time
LEAST = 3_600  # seconds: an end sooner than that is believed only of sessions that were to be as short
EARLY = 30  # seconds before its end that a session is shown no more: clocks differ
_BUSY = (0, 429, 500, 502, 503, 504)
_TOKEN = re.compile(r"[0-9A-Za-z_-]{16,128}").fullmatch
_RULE = "paid once: the same row goes in with the same payment, never a second payment"


class _Sold(NamedTuple):
    """What an offer's `wire` says of it; dollars."""

    price: Decimal
    usd: Decimal
    currency: str
    rate: Decimal | None
    service_id: str
    service_type: str
    hours: int


def sold(offer: Offer) -> _Sold:
    """The terms of an offer of ours."""
    price, usd, currency, rate, service_id, service_type, hours = offer.wire[:7]
    return _Sold(Decimal(price), Decimal(usd), currency, number(rate), service_id, service_type, int(hours))


def present(hold: Hold, proof: Proof, desk: Desk, chance: Callable[[], Secret], now: float) -> Steps[Presented]:
    """The transaction's id, or the session that it has paid for; `now` in unix seconds. Raises PaymentInDoubt where that cannot be opened just now."""
    txid = str(proof.payload["transaction"])
    if hold.offer.flow != QUOTA:
        return Presented(_shown(hold, "proof", Secret(txid), hold.terms.valid_after))
    if not desk.serves:
        raise _stuck(hold, "settings name no tables of this seller any more: rest_url, service_id")
    if hold.offer.wire[-1] == KIND:
        return (yield from booked(hold, proof, desk))
    row, token, had = yield from _opened(hold, txid, desk, chance, now)
    kept = _credential(hold, token, row, now, had)
    over = _over(hold, row)
    return Presented(_shown(hold, "session", token, now), kept if kept.uses_left and not over else None, note=over)


def _shown(hold: Hold, kind: str, value: Secret, at: float) -> Veiled:
    """The header `at` a time: a proof's and what is kept of a session at the payment's own, the same bytes each time; a session is shown at the time it is
    shown, since sellers refuse an old header."""  # fmt: skip
    said = sold(hold.offer)
    return Veiled({HEADER: written({kind: value.text, "wallet": hold.terms.payer, "amount": hold.offer.wire[0] if kind == "session" else hold.offer.wire[1],
                                    "currency": said.currency, "timestamp": str(int(at * 1000))})})  # fmt: skip


def _opened(hold: Hold, txid: str, desk: Desk, chance: Callable[[], Secret], now: float) -> Steps[tuple[strict.Document | None, Secret, Credential | None]]:
    """The session of this payment: its row, where the seller shows it, its token, and what was kept of it for calls. Raises PaymentInDoubt."""
    token, noted, had = chance(), None, None
    if hold.resumed:
        noted, had = (yield from _kept(hold, ASIDE)), (yield from _kept(hold, hold.ask.path))
        token = token if noted is None else Secret(session_in(noted))
        rows = yield from _rows(hold, txid, desk)
        if rows:
            return rows[0], Secret(text_in(rows[0], "session_token")), had
        if rows == [] and (hold.state == "CLAIMED" or had is not None):
            raise _stuck(hold, "its seller has no row of it any more")
        if rows is None and noted is None:  # it may be open already: written a second time it would be two for one payment
            if had is not None:
                return None, Secret(session_in(had)), had
            raise _stuck(hold, f"its table cannot be read ({SESSIONS})")
    note = _credential(hold, token, None, now)  # without an end, and of a use that nobody takes: it is there until the row is
    yield Keep(replace(note, origin=hold.ask.origin, path=ASIDE, payment_id=hold.payment_id, uses_left=1, expires=None, dialect=NAME))
    got = yield from _written(hold, token, txid, desk, now)
    found = _ours(rows_of(got) or [], hold, txid) if got.status in (200, 201) else []
    rows = found or (yield from _rows(hold, txid, desk))
    if rows:
        return rows[0], Secret(text_in(rows[0], "session_token")), had
    if got.status in (200, 201, 204) or (got.status == 409 and noted is not None and rows is None):
        return None, token, had
    raise _stuck(hold, f"its session's row could not be written ({_why(got)})")


def _kept(hold: Hold, path: str) -> Steps[Credential | None]:
    """What this very payment was given before: while its row was being written (ASIDE), or for calls."""
    ask = hold.ask
    found = yield Look(Ask("GET", ask.origin + path, ask.origin, ask.host, path), hold.payment_id)
    return found if isinstance(found, Credential) and (found.path == ASIDE) == (path == ASIDE) and session_in(found) else None


def session_in(credential: Credential) -> str:
    """The token that a credential of ours shows, "" where it shows none."""
    return parts(credential.headers.get(HEADER, "")).get("session", "")


def revoked(credential: Credential, desk: Desk) -> Steps[str]:
    """The row of a session says from now on that it is revoked. -> in words, "" for what is no session."""
    token = Secret(session_in(credential))
    if not len(token):
        return ""
    if not desk.serves:
        return "its seller was not told: settings name no tables of it"
    got = yield from desk.ask("PATCH", SESSIONS, {"session_token": token}, {"status": "revoked"})
    said = [text_in(each, "status") for each in rows_of(got) or ()] if got.status == 200 else []
    if said == ["revoked"]:
        return "its seller's row says revoked, too; what was left of it is not paid back"
    return f"its seller was told, and his row does not show it ({_why(got)})"


def _rows(hold: Hold, txid: str, desk: Desk) -> Steps[list[strict.Document] | None]:
    """The row that this payment has opened, if it has; None where the seller shows none. Raises PaymentInDoubt for one that is another's."""
    found = yield from desk.rows(SESSIONS, {"initial_payment_signature": txid})
    if found and not _ours(found, hold, txid):
        raise _stuck(hold, "its seller has a row for it that is not ours")
    return None if found is None else _ours(found, hold, txid)


def _ours(rows: list[strict.Document], hold: Hold, txid: str) -> list[strict.Document]:
    """Rows that name our account, our payment and a token; what names others is nothing to us."""
    mine = {"wallet_address": hold.terms.payer, "initial_payment_signature": txid}
    return [each for each in rows if all(text_in(each, name) == value for name, value in mine.items()) and _TOKEN(text_in(each, "session_token"))]


def _written(hold: Hold, token: Secret, txid: str, desk: Desk, now: float) -> Steps[Fetched]:
    """The row, written until somebody answers; the same one each time. -> the last answer."""
    said, offer = sold(hold.offer), hold.offer
    ends = datetime.fromtimestamp(_last(hold, now), UTC)
    document: dict[str, object] = {
        "wallet_address": hold.terms.payer, "session_token": token, "authorized_amount": said.usd, "remaining_amount": said.usd,
        "currency": said.currency, "resource_pattern": f"agent/{said.service_id}/*", "service_id": said.service_id, "service_type": said.service_type,
        "expires_at": ends.isoformat().replace("+00:00", "Z"), "auto_renew": False, "status": "active", "initial_payment_signature": txid, "usd_amount": said.usd,
        **({"sol_amount": Decimal(offer.amount).scaleb(-offer.asset.decimals, EXACT), "conversion_rate": said.rate} if said.rate else {}),
    }  # fmt: skip
    wait = PAUSE
    for left in range(TRIES, 0, -1):
        got = yield from desk.ask("POST", SESSIONS, document=document)
        if got.status not in _BUSY or left == 1:
            break
        yield Sleep(pause(got, wait))
        wait *= 2
    return got


def _credential(hold: Hold, token: Secret, row: strict.Document | None, now: float, had: Credential | None = None) -> Credential:
    """The session, for the calls after this one: of their count and ours the lower, and an end that both can live with. `had` is what is kept of it already."""
    said, last = sold(hold.offer), _last(hold, now)
    remaining = None if row is None else amount_in(row, "remaining_amount")
    told = None if row is None else time_in(row, "expires_at")
    left = calls(said.usd, said.price)
    left = max(0, (left if remaining is None else min(left, calls(remaining, said.price))) - (hold.ask.method != BUY))
    ends = float((last if told is None else min(max(told, hold.terms.valid_after + min(LEAST, said.hours * 3600)), last)) - EARLY)
    if had is not None:
        left, ends = min(left, had.uses_left or 0), ends if row is not None or had.expires is None else had.expires
    return Credential("", "/", _shown(hold, "session", token, hold.terms.valid_after), uses_left=left, expires=ends, serial=True)


def _last(hold: Hold, now: float) -> int:
    """When a session ends that is opened now: however late that is, its hours are those that were paid for."""
    return max(hold.terms.valid_after, int(now)) + sold(hold.offer).hours * 3600


def _over(hold: Hold, row: strict.Document | None) -> str:
    """Why a session that is there opens nothing any more, in words; "" where it may."""
    if row is None:
        return ""
    status, remaining = text_in(row, "status"), amount_in(row, "remaining_amount")
    if status not in ("", "active"):
        return f"its seller's row says that the session is {plain(status, 20)}"
    if remaining is not None and remaining < sold(hold.offer).price:
        return "its seller's row says that the session is used up"
    return ""


def _why(got: Fetched) -> str:
    return f"status {got.status}" if got.status else "no answer"


def _stuck(hold: Hold, why: str) -> PaymentInDoubt:
    return PaymentInDoubt(f"{hold.offer.money} for {hold.ask.host} is paid, and no session is open for it: {why}", rule=_RULE,
                          hint=f"x402-agent resume {hold.payment_id[:8]}   (or repeat the call)", payment_id=hold.payment_id)  # fmt: skip
