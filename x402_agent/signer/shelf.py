"""What an agent bought: credentials for later requests, requests that can be repeated, goods that wait. All of it is sealed
under the signer's key and given to the agent whose payment bought it, to nobody else."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from ..errors import LedgerError, PolicyDenied
from ..ledger.states import UNDER_WAY
from ..model import Credential, Repeat
from ..secret import Secret
from ..steps import Busy, Goods, Return
from ..vault.credentials import sound
from ..vault.keeping import MOST, packed, unpacked
from .frames import MAX_TAIL, Malformed
from .nouns import ask_in, credential_in, credential_out, hold_out, token_out

if TYPE_CHECKING:
    from ..model import Ask
    from .frames import Fields
    from .session import Session

__all__ = ["GOODS", "LARGE", "OPEN", "OPS", "REQUEST", "keep_request", "waits"]

REQUEST = (1 << 20) + (1 << 17)  # bytes: a body of 1 MiB, and its headers
GOODS = MAX_TAIL
LARGE = ("goods", "request")  # whose answers are large
MOST_KEPT = 64 << 20  # bytes of requests and goods that wait for one agent
MOST_TOKENS = 256  # credentials of one agent
_HEADERS = 1 << 17  # bytes of headers, as JSON
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}").fullmatch
_VALUE = re.compile(r"[\t -~\x80-\xff]{0,65536}").fullmatch
OPEN = UNDER_WAY | {"UNKNOWN", "CONFIRMED", "PAID_UNDELIVERED"}  # states in which a proof may be shown again
log = logging.getLogger("x402_agent.signer")


def waits(session: Session, ask: Ask) -> bool:
    """Whether something that was bought earlier serves this Ask: then nothing is paid."""
    return _looked(session.service.bought(session.agent).look(ask)) is not None


def _looked(found: Any) -> Any:
    """-> Goods, Credential or None; a ledger job is done here."""
    return found.run() if hasattr(found, "run") else found


def _shown(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    """The goods that wait for an Ask, by their payment, or a credential to show, with one use of it taken."""
    ask = ask_in(told, session.agent.name, session.agent.group)
    if told.has("payment_id"):  # to look at: nothing of it is used
        kept = _looked(session.service.bought(session.agent).look(ask, told.text("payment_id", 64)))
        return {} if kept is None else {"credential": credential_out(kept)}
    while (found := _looked(session.service.bought(session.agent).look(ask))) is not None:
        if isinstance(found, Goods):
            return {"goods": found.receipt.payment_id}
        taken = found if found.uses_left is None else session.service.bought(session.agent).use(found).run()
        if isinstance(taken, Busy):
            return {"busy": taken.payment_id}
        if taken is not None:
            if taken.serial:
                session.leased[taken.lease] = taken
            return {"credential": credential_out(taken)}
    return {}


def _returned(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    """What came of one that was shown: it can only grow less, but for a use that was leased and never sent."""
    lease = told.whole("lease", 1 << 62)
    serial = session.leased.pop(lease, None) is not None
    shown = Credential("", "", {}, name=told.text("name", 64), lease=lease, serial=serial)
    left = told.whole("left", (1 << 53) - 1) if told.has("left") else None
    step = Return(shown, left, bool(told.flag("refused")), bool(told.flag("unsent")), bool(told.flag("good")))
    session.service.bought(session.agent).returned(step).run()
    return {}


def _keep(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    """A credential that one of this agent's payments bought, for that payment's own origin."""
    credential, ledger = credential_in(told.inner("credential")), session.payer.ledger
    hold = session.own(told)
    if credential.payment_id != hold.payment_id or hold.state not in OPEN:
        raise PolicyDenied("no payment of yours bought this credential", rule="a credential belongs to its payment")
    if not sound(credential, hold.ask):
        return {"kept": False}
    if sum(each.agent == session.agent.name for each in ledger.tokens()) >= MOST_TOKENS:
        raise LedgerError(f"{MOST_TOKENS} credentials are kept for you already", rule="so many for one agent", hint="x402-agent credentials revoke ID")
    job = session.service.bought(session.agent).keep(credential, hold.ask)
    if job is not None:
        job.run()
    return {"kept": job is not None}


def keep_request(session: Session, ask: Ask, tail: bytes) -> None:
    """The request that this Ask is made by, to be sealed together with its payment; forgotten where there is no more room."""
    headers, body = _parsed(tail)
    if session.payer.ledger.kept_bytes(session.agent.name) + len(tail) > MOST_KEPT:
        log.warning("a request of %s is not kept: %d MiB wait already", session.agent.name, MOST_KEPT >> 20)
        return
    repeat = Repeat(headers, body)
    ask.repeat = lambda: repeat


def _request(session: Session, told: Fields, _: bytes) -> tuple[dict[str, Any], bytes]:
    """The request of an open payment, for who made it."""
    hold = session.own(told)
    repeat = session.payer.keeping.repeat(hold, session.payer.ledger.request(hold.payment_id))
    return ({"kept": False}, b"") if repeat is None else ({"kept": True}, packed(repeat.headers, repeat.body).raw)


def _stored(session: Session, told: Fields, tail: bytes) -> dict[str, Any]:
    """Goods that came while nobody waited for them, durable before the payment is closed."""
    hold = session.own(told)
    if hold.state not in OPEN:
        raise PolicyDenied(f"payment {hold.payment_id} is {hold.state}: nothing is expected of it", rule="open payments only")
    ((_, status), *headers), body = _parsed(tail, goods=True)
    if session.payer.ledger.kept_bytes(session.agent.name) + len(tail) > MOST_KEPT:
        raise LedgerError(f"{MOST_KEPT >> 20} MiB of yours wait already", rule="so much for one agent", hint="x402-agent resume ID --output FILE")
    session.payer.ledger.keep_goods(hold, session.payer.keeping.goods(hold, int(status), headers, body)).run()
    return {}


def _goods(session: Session, told: Fields, _: bytes) -> tuple[dict[str, Any], bytes]:
    """Goods that wait, for the agent whose payment brought them."""
    hold = session.own(told)
    waiting = session.payer.ledger.goods(hold.payment_id)
    found = None if waiting is None else session.payer.keeping.opened(waiting, sandbox=session.payer.ledger.sandbox)
    if waiting is None or found is None:
        return {"goods": False}, b""
    ask, plain = hold.ask, packed([("status", str(found.status)), *found.headers], found.body)
    about = {"method": ask.method, "url": ask.url, "host": ask.host, "transaction": waiting.transaction}
    return {"goods": True, "hold": hold_out(waiting.hold), **about}, plain.raw


def _collected(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    session.payer.ledger.collected(session.own(told).payment_id).run()
    session.payer.ledger.flush()
    return {}


def _parsed(tail: bytes, *, goods: bool = False) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and body as an HTTP library could have had them; raises Malformed."""
    if tail.find(b"\n", 0, _HEADERS) < 0:
        raise Malformed("headers are missing, or too long")
    try:
        headers, body = unpacked(Secret(tail))
        good = all(_NAME(name) and _VALUE(value) for name, value in headers)
    except (ValueError, TypeError, RecursionError):
        raise Malformed("headers are not a list of names and values") from None
    if goods:
        name, status = headers[0] if headers else ("", "")
        good = good and name == "status" and re.fullmatch("[1-5][0-9][0-9]", status) is not None and len(body) <= MOST
    if not good:
        raise Malformed("headers that no message has")
    return headers, body


def _tokens(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    """This agent's credentials, without what they send; one is forgotten where its `forget` is named."""
    mine = [each for each in session.payer.ledger.tokens() if each.agent == session.agent.name]
    if forget := told.text("forget", 64):
        return {"forgotten": any(each.name == forget for each in mine) and session.payer.ledger.forget_token(forget)}
    return {"tokens": [token_out(each) for each in mine[:MOST_TOKENS]]}


OPS = {"look": _shown, "returned": _returned, "keep": _keep, "request": _request, "stored": _stored, "goods": _goods,
       "collected": _collected, "tokens": _tokens}  # fmt: skip
