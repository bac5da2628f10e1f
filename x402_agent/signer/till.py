"""Proofs: the one question, the same proof again, what came of it, and what it would cost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from .. import tasks
from ..errors import PolicyDenied
from ..flow import FREES, prove, prove_hold
from ..ledger.quotas import ONE
from ..payer.paying import Paying
from ..transport.fetch import drive
from . import purses, shelf
from .nouns import Unasked, ask_in, challenge_in, error_out, hold_out, limits_out, proof_out, slips_in

if TYPE_CHECKING:
    from ..model import Ask, Hold, Proof
    from ..payer.kit import Kit
    from .frames import Fields
    from .session import Session

__all__ = ["OPS"]

_CLAIMS = {"CLAIMED": "CLAIMED", "PAID_UNDELIVERED": "PAID_UNDELIVERED", "UNKNOWN": "UNKNOWN", "RELEASED": "UNKNOWN", "PROVING": "UNKNOWN"}
_MONTH = 31 * 86400 * 1000  # milliseconds
log = logging.getLogger("x402_agent.signer")


class _Until:
    """The deadline of an agent's task, which a person's answer may outlast."""

    _kind = "task"

    def __init__(self, ask: Ask, seconds: float) -> None:
        self.name, self._ends = ask.under.task, time.monotonic() + seconds

    @property
    def over(self) -> str:
        return "is past its deadline" if time.monotonic() >= self._ends else ""


def _asked(session: Session, told: Fields) -> tuple[Ask, Kit]:
    """The Ask of this agent, under the slips that it names, and the kit of its conversation."""
    agent = session.agent
    ask = ask_in(told, agent.name, agent.group)
    found = purses.standing(session, slips_in(told))
    if found.under.slip:
        tasks.place(ask, found._replace(limits=tuple(dict.fromkeys((*found.limits, *ask.limits)))))
    kit = session.kit(ask)
    lineage: Any = (_Until(ask, told.whole("deadline", _MONTH) / 1000),) if told.has("deadline") else ()
    kit.standing = found, lineage
    kit.prepaid, kit.consulted = bool(told.flag("prepaid")), bool(told.flag("consulted"))
    return ask, kit


def _pay(session: Session, told: Fields, tail: bytes) -> dict[str, Any]:
    ask, kit = _asked(session, told)
    challenge = challenge_in(told, ask)
    if kit.prepaid and not session.payer.policy.prepays(ask):
        raise PolicyDenied(f"{ask.host} is asked first", rule=session.payer.policy.place("prepay"))
    session.service.settle(session.agent)  # who was killed and comes back at once meets his own proof
    if not told.flag("looked") and shelf.waits(session, ask):
        return {"waits": True}
    if ask.has_body and tail:
        shelf.keep_request(session, ask, tail)
    try:
        made = session.drive(kit, prove(ask, challenge, kit))
    except Unasked:
        return {"unasked": True}
    if made is None and told.flag("looked"):
        raise PolicyDenied(f"calls at {ask.host} are being bought by another call just now", rule=ONE, hint="repeat the request")
    if made is None:
        return {"waits": True}
    hold, proof = made
    if kit.signed:
        session.payer.ledger.testify(hold.payment_id, "offer", kit.signed).run()
    return _hand_out(session, hold, proof)


def _again(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    hold = session.own(told)
    if hold.state not in shelf.OPEN:
        raise PolicyDenied(f"payment {hold.payment_id} is {hold.state}: there is nothing to show again", rule="open payments only", hint=f"x402-agent why {hold.payment_id[:8]}")
    kit = session.kit(hold.ask)
    fate = "unknown" if hold.state in ("CONFIRMED", "PAID_UNDELIVERED") else drive(kit.fate(hold))
    if fate in FREES:
        state, note = FREES[fate]
        session.payer.ledger.close(hold, state, note=note).run()
        return {"fate": fate}
    if fate == "settled":
        session.payer.ledger.close(hold, "CONFIRMED", note="found on chain").run()
        hold = session.own(told)
    if told.flag("ask"):
        return {"fate": fate}
    committed = session.drive(kit, prove_hold(hold))
    if committed is None:
        raise PolicyDenied(f"payment {hold.payment_id} is being shown right now", rule="one proof, one conversation at a time", hint="repeat it later")
    return {**_hand_out(session, *committed), "fate": fate}


def _hand_out(session: Session, hold: Hold, proof: Proof) -> dict[str, Any]:
    session.handed[hold.payment_id] = hold
    session.service.paid += 1
    session.payer.facts.learn(hold)
    log.info("%s %s %s %s %s", "again" if hold.resumed else "proof", session.agent.name, hold.offer.money, hold.ask.host, hold.payment_id)
    return {"hold": hold_out(hold), "proof": proof_out(proof)}


def _close(session: Session, told: Fields, tail: bytes) -> dict[str, Any] | None:
    state = _CLAIMS.get(told.text("state", 32))
    payment_id, quiet = told.text("payment_id", 64), told.flag("quiet")
    if state is None:
        raise PolicyDenied("an agent reports CLAIMED, PAID_UNDELIVERED or UNKNOWN", rule="nothing is freed by an agent's word", payment_id=payment_id)
    hold, request = session.own(told), None
    if tail and state != "CLAIMED":
        shelf.keep_request(session, hold.ask, tail)
        request = session.payer.keeping.request(hold)
    job = session.payer.ledger.close(
        hold, state, refused=bool(told.flag("refused")), status=told.whole("status", 999), request=request,
        transaction=told.text("transaction", 200), note=told.text("note", 500),
        milliseconds=told.whole("milliseconds", 1 << 40),
    )  # fmt: skip
    job.run()
    session.handed.pop(payment_id, None)
    log.info("%s %s %s", state, session.agent.name, payment_id)
    return None if quiet else {"state": state}


def _quote(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    ask, kit = _asked(session, told)
    challenge = challenge_in(told, ask)
    payer = session.payer
    session.drive(kit, payer.balances.ask(challenge.offers, Paying(payer, ask).wallet))
    made = kit.judge(ask, challenge)
    chosen = [(made.offer, "")] if made.offer else []
    realm = "test" if made.offer and made.offer.network.testnet else "real"
    spent = payer.ledger.spent(made.limits, realm="sandbox" if payer.sandboxed else realm)
    limits = [{**row, "spent": str(one.spent)} for row, one in zip(limits_out(made.limits), spent, strict=True)]
    offers = [{"offer": challenge.offers.index(offer), "why": why, **({} if (cost := made.micros(offer)) is None else {"cost": str(cost)})}
              for offer, why in (*chosen, *made.passed_over)]  # fmt: skip
    return {"offers": offers, "limits": limits, "reason": error_out(made.error) if made.error else None}


OPS = {"pay": _pay, "again": _again, "close": _close, "quote": _quote}
