"""After a transfer of ours: its id buys a token by the seller's API, access by the gateway, or is shown itself.

Money has moved by now, so no answer here is a price: "pending" is waiting, an ended nonce or challenge is exchanged for a fresh one with the
same id, and what fails leaves that id to be shown. Waiting is bounded by attempts, and by the deadline of whoever drives.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ...encodings import c32_address, unc32_address
from ...errors import ChallengeInvalid
from ...model import Credential
from ...secret import Secret, Veiled
from ...steps import Fetch, Fetched, Look, Presented, Sleep
from .. import strict
from ..desks import pause
from .desk import fields_of
from .shapes import PROOF, nonce_of, token_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Ask, Hold, Network, Proof
    from ...steps import Steps
    from .desk import Desk

__all__ = ["access", "expires", "itself", "ours", "present", "shown", "token_for", "token_in"]

NONCE, AGENT = "x-payment-nonce", "x-agent-id"
PAUSE = 6.0  # seconds between two questions: ten payments a minute are answered
TRIES = 12
FRESH = 3  # nonces or challenges that one showing may ask for
LIFE = 86_400  # seconds: no token is believed to live longer
LEAST = 60  # seconds that one is shown in any case
SIMPLE = 3_600  # seconds that a token lives which does not say it
_TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]{8,4096}").fullmatch
_WAITS = ("pending", "confirmation", "not found on stacks")
_ENDED = ("nonce", "expired", "challenge token")
_BUSY = (0, 429, 500, 502, 503, 504)
_LOST = "its seller says that a token was given for it already, and gives no second one"


def present(hold: Hold, proof: Proof, desk: Desk) -> Steps[Presented]:
    """The token that the id bought, or what else opens the door."""
    if (kept := (yield from _kept(hold))) is not None:
        return Presented(kept)
    spelling, txid, note = hold.offer.wire[0], _id(proof), ""
    if spelling == "gateway":
        return (yield from _granted(hold, txid))
    if spelling == "bearer":
        bought, note = yield from _exchanged(hold, txid)
    elif desk.api and hold.offer.wire[1]:
        bought = yield from token_for(hold.ask, hold.offer.wire[1], hold.offer.wire[2], txid, desk, hold.terms.valid_after)
    else:
        bought = None
    if bought is not None:
        return Presented(bought.headers, bought)
    return Presented(_itself(txid, ""), note=note) if spelling == "bearer" else (yield from itself(hold, proof, desk))


def itself(hold: Hold, proof: Proof, desk: Desk) -> Steps[Presented]:
    """The id, with a nonce that has just begun to live where somebody gives one."""
    return Presented(_itself(_id(proof), (yield from _fresh(hold.ask, hold.offer.wire[1], desk)) or hold.offer.wire[2]))


def _id(proof: Proof) -> str:
    return str(proof.payload["transaction"]).lower()


def shown(payment_id: str, txid: str, nonce: str, now: int) -> Credential:
    """An id that was shown before, worth one try with a nonce that has just been given: it may be used up."""
    return Credential("", "", _itself(txid.lower(), nonce), payment_id, uses_left=1, expires=float(now + LEAST))


def _itself(txid: str, nonce: str) -> Veiled:
    return Veiled({PROOF: txid, **({NONCE: nonce} if nonce else {})})


def ours(account: str, where: Network) -> str:
    """Our account as a network writes it: the same key has an address of each."""
    return c32_address(26 if where.testnet else 22, unc32_address(account)[1])


def _kept(hold: Hold) -> Steps[Mapping[str, str] | None]:
    """The token that this very payment bought before a crash."""
    if not hold.resumed:
        return None
    found = yield Look(hold.ask)
    return found.headers if isinstance(found, Credential) and found.payment_id == hold.payment_id else None


# -- the API: an id becomes a token -------------------------------------------------------------------------------------


def token_for(ask: Ask, content: str, nonce: str, txid: str, desk: Desk, since: int, tries: int = TRIES) -> Steps[Credential | None]:
    """/payments/verify; None when it gives no token, whatever its reason. `since`: unix seconds, from which its life counts at most."""
    fresh = 0
    for left in range(tries, 0, -1):
        got = yield from desk.ask("POST", "/payments/verify", {"txId": txid, "contentId": content, "nonce": nonce})
        fields = fields_of(got)
        if got.status == 200:
            return _token(fields, content, txid, since)
        said = _said(fields)
        if got.status in _BUSY or any(word in said for word in _WAITS):
            if left > 1:
                yield Sleep(pause(got, PAUSE))
        elif any(word in said for word in _ENDED) and fresh < FRESH:
            fresh += 1
            nonce = yield from _fresh(ask, content, desk)
            if not nonce:
                return None
        else:
            return None
    return None


def _said(fields: Mapping[str, Any]) -> str:
    """An error's words and codes, together."""
    return " ".join(str(fields.get(name, "")) for name in ("error", "message", "code", "details", "tx_status")).lower().replace("_", " ")[:1000]


def _token(fields: Mapping[str, Any], content: str, txid: str, since: int) -> Credential | None:
    """The token, unless it says itself that it is for other content, or its answer that it is for another transaction."""
    token, about = token_in(fields.get("accessToken")), fields.get("transaction")
    named = about.get("txId", txid) if isinstance(about, dict) else about if isinstance(about, str) else txid
    if not token or str(named).lower() != txid:
        return None
    claims = _claims(token)
    if claims.get("contentId") not in (None, content):
        return None
    return Credential("", "", {PROOF: token}, expires=float(expires(claims, since)))


def token_in(said: object) -> str:
    """A token that a header can carry, "" for what is none."""
    return said if isinstance(said, str) and _TOKEN(said) else ""


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself, which nobody here can verify; {} where it says nothing."""
    parts = token.split(".")
    try:
        text = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)) if len(parts) == 3 else b""
        return strict.parse(text).fields
    except (ChallengeInvalid, ValueError):
        return {}


def expires(claims: Mapping[str, Any], since: int) -> int:
    """When a token ends, in unix seconds: a day after `since` at most, an hour where it does not say, and never at once: clocks
    differ, and a token that is dead when it comes would be a reason to pay again."""  # fmt: skip
    found = claims.get("exp")
    return min(max(found, since + LEAST), since + LIFE) if type(found) is int else since + SIMPLE


def _fresh(ask: Ask, content: str, desk: Desk) -> Steps[str]:
    """A nonce that has just begun to live, by the API or from the seller's own 402; "" where nobody gives one."""
    found = ""
    if desk.api and len(desk.key) and content:
        found = nonce_of(fields_of((yield from desk.ask("POST", "/payments/initiate", {"contentId": content}))), content)
    if not found and ask.method in ("GET", "HEAD"):
        got: Fetched = yield Fetch("GET", ask.url, theirs=True)
        found = nonce_of(fields_of(got), content) if got.status == 402 else ""
    return found


# -- the gateway: access for our account --------------------------------------------------------------------------------


def _granted(hold: Hold, txid: str) -> Steps[Presented]:
    """The gateway is told of the id until it gives access, which it then knows by our address."""
    offer, url = hold.offer, hold.ask.url
    key, address = offer.wire[2], ours(hold.terms.payer, offer.network)
    fresh = 0
    if hold.resumed:
        key = yield from _challenged(url, address)
    for left in range(TRIES, 0, -1):
        if not key:
            break
        got = yield from _told(url, offer.network.id, txid, key)
        fields = fields_of(got)
        if got.status == 200:  # whatever it says: the content itself is asked for next
            break
        if got.status in _BUSY or any(word in _said(fields) for word in _WAITS):
            if left > 1:
                yield Sleep(pause(got, PAUSE))
        elif got.status in (404, 410) and fresh < FRESH:
            fresh += 1
            key = yield from _challenged(url, address)
        else:
            break
    door = access(address, offer.network, hold.terms.valid_after)
    return Presented(door.headers, good=door)


def access(account: str, where: Network, now: int) -> Credential:
    """Our address, by which the gateway knows what it has granted; for a day, since a path may stand for much content."""
    return Credential("", "", {AGENT: ours(account, where)}, expires=float(now + LIFE))


def _told(url: str, network: str, txid: str, key: str) -> Steps[Fetched]:
    place = urlunsplit(urlsplit(url)._replace(query="", fragment=""))
    signed = strict.encode64(strict.compact({"scheme": "exact", "network": network, "payload": {"txId": txid, "token": key}}))
    body = json.dumps({"token": key, "txId": txid}).encode()
    got: Fetched = yield Fetch("POST", place, body, Veiled({"content-type": "application/json", "payment-signature": signed}), timeout=20.0, theirs=True)
    return got


def _challenged(url: str, address: str) -> Steps[str]:
    """A fresh challenge for our account; "" where access is there already, or nobody gives one."""
    got: Fetched = yield Fetch("GET", url, headers=Veiled({AGENT: address}), theirs=True)
    return token_of(fields_of(got)) or "" if got.status == 402 else ""


# -- the bearer variant -------------------------------------------------------------------------------------------------


def _exchanged(hold: Hold, txid: str) -> Steps[tuple[Credential | None, str]]:
    """A token for the id, without 0x, at the seller's own address; and why there is none, where that is known."""
    _, _, _, path, amount = hold.offer.wire
    body = Secret(json.dumps({"txHash": txid[2:], "walletAddress": ours(hold.terms.payer, hold.offer.network), "amount": json.loads(amount)}))
    for left in range(TRIES, 0, -1):
        got: Fetched = yield Fetch("POST", hold.ask.origin + path, body.raw, {"content-type": "application/json"}, timeout=20.0, theirs=True)
        fields = fields_of(got)
        token = token_in(fields.get("accessToken"))
        if got.status == 200:
            good = fields.get("success") is True and token
            made = Credential("", "", {"authorization": f"Bearer {token}"}, expires=float(hold.terms.valid_after + SIMPLE)) if good else None
            return made, ""
        if got.status not in _BUSY and not any(word in _said(fields) for word in _WAITS):
            return None, _LOST if "already used" in _said(fields) else ""
        if left > 1:
            yield Sleep(pause(got, PAUSE))
    return None, ""
