"""After a transfer of ours: the seller verifies its id, gives a token for it, and either opens the door.

Money has moved by now, so every answer here is about the proof and never a price. What fails leaves the id itself to be shown; waiting
is bounded by attempts, and by the deadline of whoever drives. Sellers count calls from the first one, so a token that a
crash left behind is used before another is asked for.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...errors import ChallengeInvalid
from ...model import BUY, Credential
from ...secret import Secret, Veiled
from ...steps import Fetch, Fetched, Look, Presented, Sleep, Use
from .. import strict
from .shapes import LIFE, most, same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Hold, Proof
    from ...steps import Steps

__all__ = ["present"]

TOKEN = "x-payment-token"
PAUSE = 12.5  # seconds between two questions: five a minute are answered
TRIES = 6
BLOCK = {"ethereum": 12.0, "solana": 0.4, "solana-devnet": 0.4}  # seconds; others take two
LONGEST = 30.0  # seconds that a seller may ask us to wait
LEAST = 3_600  # seconds: an end sooner than that is not believed, since a dead token would be a reason to pay again
LATEST = 30 * 86_400
_TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]{8,512}").fullmatch
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_COOKIE = re.compile(r"(?:^|[;,\s])csrftoken=([A-Za-z0-9_.~+/=-]{1,512})").search
_DEPTH = re.compile(r"Insufficient confirmations: ([0-9]{1,4})/([0-9]{1,4})").match
_WAITS = ("Insufficient confirmations", "Transaction not found")


def present(hold: Hold, proof: Proof) -> Steps[Presented]:
    """The token, and beside it the transaction: a seller tries one proof after the other."""
    offer, chain = hold.offer, hold.offer.wire[1]
    shown = {"x-payment-tx": proof.payload["transaction"], "x-payment-chain": chain}
    if hold.resumed and hold.ask.method == BUY and isinstance(found := (yield Look(hold.ask, hold.payment_id)), Credential):
        return Presented({}, found)  # calls for later are there already
    if hold.resumed and hold.ask.method != BUY and (kept := (yield from _kept(hold))) is not None:
        return Presented(Veiled({**shown, TOKEN: kept.text}))
    desk = _Desk(hold.ask.origin)
    number = yield from _verified(desk, proof.payload["transaction"], chain)
    bought = None if number is None else (yield from _token(desk, number, hold))
    if bought is None:
        left = Credential("", "/", shown, uses_left=most(offer) - _now(hold), expires=float(hold.terms.valid_after + LIFE))
        return Presented(Veiled(shown), good=left)
    headers = Veiled({**shown, **bought.headers})
    return Presented(headers, bought if bought.uses_left is None or bought.uses_left > 0 else None)


def _now(hold: Hold) -> int:
    """How many of the calls go to the request that bought them: none where it only buys for later."""
    return int(hold.ask.method != BUY)


def _kept(hold: Hold) -> Steps[Secret | None]:
    """The token that this very payment bought before a crash; one use of it is taken."""
    found = yield Look(hold.ask)
    if not isinstance(found, Credential) or found.payment_id != hold.payment_id or TOKEN not in found.headers:
        return None
    taken: Credential | None = yield Use(found)
    return None if taken is None else Secret(taken.headers[TOKEN])


class _Desk:
    """One seller's routes. Behind some of them a POST needs a word that another route gives, fetched once."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.guard: Mapping[str, str] = {}
        self.asked = False

    def post(self, path: str, body: bytes = b"") -> Steps[Fetched]:
        got = yield from self._post(path, body)
        if got.status != 403 or self.asked or b"csrf" not in got.content.lower():
            return got
        self.asked = True
        word: Fetched = yield Fetch("GET", f"{self.origin}/api/csrf-token", theirs=True)
        self.guard = _guard(word)
        return (yield from self._post(path, body)) if self.guard else got

    def _post(self, path: str, body: bytes) -> Steps[Fetched]:
        headers = {"content-type": "application/json", **self.guard} if body else self.guard
        got: Fetched = yield Fetch("POST", self.origin + path, body, Veiled(headers), theirs=True)
        return got


def _guard(got: Fetched) -> Mapping[str, str]:
    """The header and cookie against forged requests; {} when the answer has no word for them."""
    fields = _fields(got)
    word = next((fields[name] for name in ("csrf_token", "csrfToken", "token") if isinstance(fields.get(name), str)), "")
    if not _TOKEN(word):
        return {}
    cookie = _COOKIE(got.headers.get("set-cookie", ""))
    return Veiled({"x-csrf-token": word, "cookie": f"csrftoken={cookie[1] if cookie else word}"})


def _fields(got: Fetched) -> dict[str, Any]:
    """The JSON object of a good answer, {} for any other."""
    if got.status != 200:
        return {}
    try:
        return strict.parse(got.content).fields
    except ChallengeInvalid:
        return {}


def _verified(desk: _Desk, transaction: str, chain: str) -> Steps[str | None]:
    """The seller's number of our payment; None when it verifies nothing, whatever its reason."""
    body = json.dumps({"tx_hash": transaction, "chain": chain}).encode()
    for left in range(TRIES, 0, -1):
        got = yield from desk.post("/x402/verify-payment", body)
        fields = _fields(got)
        ours = same(str(fields.get("tx_hash", transaction)), transaction)
        if fields.get("is_valid") is True:
            number = fields.get("payment_id")
            text = str(number) if type(number) is int or isinstance(number, str) else ""
            return text if ours and _ID(text) else None
        if (got.status == 200 and not _waits(fields)) or got.status not in (0, 200, 429, 502, 503, 504) or left == 1:
            return None
        yield Sleep(_blocks(fields, chain) if left > TRIES - 2 else _pause(got))
    return None


def _blocks(fields: Mapping[str, Any], chain: str) -> float:
    """Seconds until it is as deep as the seller said it must be: asked so soon at most twice, five a minute are answered."""
    found = _DEPTH(str(fields.get("error_message")))
    missing = int(found[2]) - int(found[1]) if found else 0
    return min(missing * BLOCK.get(chain, 2.0), LONGEST) if missing > 0 else PAUSE


def _waits(fields: Mapping[str, Any]) -> bool:
    """Whether the seller has only not seen it deep enough."""
    said = fields.get("error_message")
    return isinstance(said, str) and said.startswith(_WAITS)


def _pause(got: Fetched) -> float:
    """Seconds until the next question: what Retry-After says, else as many as five a minute leave."""
    text = got.headers.get("retry-after", "")
    asked = float(text) if got.status == 429 and text.isascii() and text.isdigit() and len(text) < 4 else 0.0
    return min(max(asked, PAUSE), max(LONGEST, PAUSE))


def _token(desk: _Desk, number: str, hold: Hold) -> Steps[Credential | None]:
    """The token with its calls and its end; None when the seller gives none."""
    got = yield from desk.post(f"/x402/generate-token/{number}")
    if got.status == 429:
        yield Sleep(_pause(got))
        got = yield from desk.post(f"/x402/generate-token/{number}")
    fields = _fields(got)
    value, of = fields.get("payment_token"), fields.get("payment_id", number)
    if not isinstance(value, str) or not _TOKEN(value) or str(of) != number:
        return None
    calls = fields.get("requests_remaining")
    sold = most(hold.offer)
    calls = min(calls, sold) if type(calls) is int and calls >= 0 else sold
    since = hold.terms.valid_after
    return Credential("", "/", {TOKEN: value}, uses_left=max(0, calls - _now(hold)), expires=float(_ends(fields.get("expires_at"), since)))


def _ends(said: object, since: int) -> int:
    """When a token ends, in unix seconds: what is said in naive UTC, a month after the payment at most; a day where that is not believed."""
    try:
        at = datetime.fromisoformat(said) if isinstance(said, str) and len(said) <= 40 else None
        seconds = since + LIFE if at is None else int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        seconds = since + LIFE
    return since + LIFE if seconds < since + LEAST else min(seconds, since + LATEST)
