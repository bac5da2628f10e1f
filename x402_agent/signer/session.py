"""One agent's connection to the service: its thread, what it may ask for, and what was handed out to it.

A connection carries one conversation at a time, so a slow or silent agent holds up nobody else. What was handed out over
one that ends is in doubt: it stays counted, and the same purchase gets the same proof. An agent can free nothing: of
what it says about a payment only moves between counted states are taken.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import LedgerError, PaymentError, PolicyDenied, SettingsError, SigningFailed
from ..flow import prove, prove_hold
from ..steps import Aside, Fetch, Sleep, Walk
from ..transport.fetch import drive, fetch
from .frames import PROTOCOL, Fields, Malformed, frame, receive
from .nouns import ask_in, challenge_in, error_out, hold_out, limits_out, own_scope, payment_out, proof_out
from .peers import gone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Ask, Hold, Proof
    from ..payer import Payer
    from ..payer.kit import Kit
    from ..steps import Steps
    from .peers import Peer

__all__ = ["Agent", "Session"]

IDLE = 3600.0  # seconds between two messages: a paid answer may take long
HELLO = 5.0
ANSWER = 20.0  # seconds in which an agent must take its answer
_CLAIMS = {"CLAIMED": "CLAIMED", "PAID_UNDELIVERED": "PAID_UNDELIVERED", "UNKNOWN": "UNKNOWN", "RELEASED": "UNKNOWN"}
log = logging.getLogger("x402_agent.signer")


class Desk(Protocol):
    """The service, as a session needs it."""

    payer: Payer
    paid: int

    def left(self, session: Session) -> None:
        """This connection has ended."""

    def settle(self, agent: Agent) -> None:
        """Let what this agent's ended connections left be written down first."""

    @property
    def connected(self) -> int:
        """How many agents are connected."""


class Agent(NamedTuple):
    """Whom a user id pays for. No name: the operator, who may look and not pay."""

    name: str
    group: str = ""


class Session:
    """One connection, its thread, and what was handed out over it."""

    def __init__(self, service: Desk, sock: socket.socket, who: Peer, agent: Agent) -> None:
        self.service, self.payer, self.who, self.agent = service, service.payer, who, agent
        self._sock = sock
        self._handed: dict[str, Hold] = {}
        self.thread = threading.Thread(target=self._run, name=f"x402-signer-{who.uid}", daemon=True)

    def wait_if_gone(self) -> None:
        """Let its thread write down what an agent left that has hung up; at once for one that is there."""
        if self._handed and self.thread is not threading.current_thread():
            poll = select.poll()
            with suppress(OSError, ValueError):  # closed meanwhile
                poll.register(self._sock, 0)  # hanging up is always told
                if poll.poll(0):
                    self.thread.join(ANSWER)

    def end(self) -> None:
        """Cut it off."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            self._converse()
        except (Malformed, OSError) as why:
            said = why if isinstance(why, Malformed) else type(why).__name__
            log.warning("%s (user %d) was cut off: %s", self.agent.name, self.who.uid, said)
        except Exception as why:  # the thread ends, the service goes on
            log.error("a conversation with %s failed: %s", self.agent.name, type(why).__name__)  # noqa: TRY400 - no values
        finally:
            self._sock.close()
            self._abandon()
            self.service.left(self)

    def _abandon(self) -> None:
        """The agent is gone: what it was shown may be on its way."""
        for hold in self._handed.values():
            self.payer.ledger.close(hold, "UNKNOWN", note="its agent went away without a word").run()
            log.warning("in_doubt %s %s %s: its agent went away", hold.offer.money, hold.ask.host, hold.payment_id)
        self._handed.clear()

    def _converse(self) -> None:
        told = receive(self._sock, HELLO)
        if told is None:
            return
        if told.text("op") != "hello" or told.whole("protocol", 1 << 31) != PROTOCOL:
            self._answer(error_out(SettingsError("the signer speaks another protocol", rule=f"protocol {PROTOCOL}", hint="the same release on both sides")))
            return
        self._answer(self._hello())
        while (told := receive(self._sock, IDLE)) is not None:
            reply = self._perform(told)
            if reply is not None:
                self._answer(reply)

    def _answer(self, message: Mapping[str, Any]) -> None:
        self._sock.settimeout(ANSWER)
        self._sock.sendall(frame(message))

    def _hello(self) -> dict[str, Any]:
        wallet = self.payer.wallet
        accounts = {name: found for name in self.payer.chains if (found := wallet.address(name))}
        return {"protocol": PROTOCOL, "agent": self.agent.name, "group": self.agent.group, "accounts": accounts,
                "networks": list(self.payer.policy.networks), "paid": self.service.paid, "connected": self.service.connected,
                "patience": int(self.payer.policy.approval.seconds + self.payer.deadline + ANSWER)}  # fmt: skip

    def _perform(self, told: Fields) -> dict[str, Any] | None:
        op = told.text("op", 16)
        work = {"pay": self._pay, "again": self._again, "close": self._close, "quote": self._quote,
                "open": self._list, "state": self._state, "counted": self._counted, "receipt": self._receipt,
                "log": self._log, "payment": self._payment, "events": self._events}.get(op)  # fmt: skip
        if work is None:
            raise Malformed("an operation that does not exist")
        try:
            if not self.agent.name:
                raise PolicyDenied("the operator of a signer pays nothing through it", rule=self.payer.policy.place("signer.agents"))
            return work(told)
        except PaymentError as why:
            if op in ("pay", "again"):
                log.info("refused %s %s: %s", self.agent.name, type(why).__name__, why.rule or why.what)
            return error_out(why)
        except (Malformed, OSError):
            raise
        except Exception as why:
            log.error("%s of %s failed: %s", op, self.agent.name, type(why).__name__)  # noqa: TRY400 - no values
            return error_out(SigningFailed(f"the signer failed ({type(why).__name__})", rule="its log says more"))

    # -- what an agent may ask for --------------------------------------------------------------------------------

    def _kit(self, ask: Ask) -> Kit:
        under = ask.under
        kit = self.payer.talk(ask)
        ask.under = under  # whose it is says the socket, not this process's environment
        return kit

    def _pay(self, told: Fields) -> dict[str, Any]:
        ask = ask_in(told, self.agent.name, self.agent.group)
        challenge = challenge_in(told, ask)
        kit = self._kit(ask)
        self.service.settle(self.agent)  # who was killed and comes back at once meets his own proof
        hold, proof = self._drive(kit, prove(ask, challenge, kit))
        if kit.signed:
            self.payer.ledger.testify(hold.payment_id, "offer", kit.signed).run()
        return self._hand_out(hold, proof)

    def _again(self, told: Fields) -> dict[str, Any]:
        hold = self._own(told)
        if hold.state not in ("INFLIGHT", "UNKNOWN", "CONFIRMED", "PAID_UNDELIVERED"):
            raise PolicyDenied(f"payment {hold.payment_id} is {hold.state}: there is nothing to show again", rule="open payments only")
        kit = self._kit(hold.ask)
        fate = "unknown" if hold.state in ("CONFIRMED", "PAID_UNDELIVERED") else drive(kit.fate(hold))
        if fate == "dead":
            self.payer.ledger.close(hold, "DEAD", note="unused on chain past its expiry").run()
            return {"fate": "dead"}
        committed = self._drive(kit, prove_hold(hold))
        if committed is None:
            raise PolicyDenied(f"payment {hold.payment_id} is being shown right now", rule="one proof, one conversation at a time")
        return self._hand_out(*committed)

    def _hand_out(self, hold: Hold, proof: Proof) -> dict[str, Any]:
        self._handed[hold.payment_id] = hold
        self.service.paid += 1
        self.payer.facts.learn(hold)
        log.info("%s %s %s %s %s", "again" if hold.resumed else "proof", self.agent.name, hold.offer.money, hold.ask.host, hold.payment_id)
        return {"hold": hold_out(hold), "proof": proof_out(proof)}

    def _close(self, told: Fields) -> dict[str, Any] | None:
        state = _CLAIMS.get(told.text("state", 32))
        payment_id, quiet = told.text("payment_id", 64), told.flag("quiet")
        if state is None:
            raise PolicyDenied("an agent reports CLAIMED, PAID_UNDELIVERED or UNKNOWN", rule="nothing is freed by an agent's word", payment_id=payment_id)
        hold = self._own(told)
        job = self.payer.ledger.close(
            hold, state, refused=bool(told.flag("refused")), status=told.whole("status", 999),
            transaction=told.text("transaction", 200), note=told.text("note", 500),
            milliseconds=told.whole("milliseconds", 1 << 40),
        )  # fmt: skip
        job.run()
        self._handed.pop(payment_id, None)
        log.info("%s %s %s", state, self.agent.name, payment_id)
        return None if quiet else {"state": state}

    def _quote(self, told: Fields) -> dict[str, Any]:
        ask = ask_in(told, self.agent.name, self.agent.group)
        challenge = challenge_in(told, ask)
        payer, made = self.payer, self._kit(ask).judge(ask, challenge)
        chosen = [(made.offer, "")] if made.offer else []
        realm = "test" if made.offer and made.offer.network.testnet else "real"
        spent = payer.ledger.spent(made.limits, realm="sandbox" if payer.sandboxed else realm)
        limits = [{**row, "spent": str(one.spent)} for row, one in zip(limits_out(made.limits), spent, strict=True)]
        offers = [{"offer": challenge.offers.index(offer), "why": why} for offer, why in (*chosen, *made.passed_over)]
        return {"offers": offers, "limits": limits, "reason": error_out(made.error) if made.error else None}

    def _list(self, told: Fields) -> dict[str, Any]:
        prefix = told.text("payment_id", 64)
        found = [hold for hold in self.payer.ledger.of_agent(self.agent.name, prefix) if hold.state != "RESERVED"]
        if prefix and not found:
            raise _nothing(prefix)
        return {"payments": [{
            "payment_id": hold.payment_id, "state": hold.state, "method": hold.ask.method, "url": hold.ask.url,
            "host": hold.ask.host, "has_body": hold.ask.has_body,
        } for hold in found[:1000]]}  # fmt: skip

    def _state(self, told: Fields) -> dict[str, Any]:
        return {"state": self.payer.ledger.payment(self._own(told).payment_id).state}

    def _counted(self, told: Fields) -> dict[str, Any]:
        scope = own_scope(told.text("scope", 256), self.agent.name)
        return {"micros": str(self.payer.ledger.counted(scope))}

    def _receipt(self, told: Fields) -> None:
        """What the seller signed for it: kept as evidence, judged when somebody looks."""
        self.payer.ledger.testify(self._own(told).payment_id, "receipt", told.text("text", 8 * 1024)).run()

    def _log(self, told: Fields) -> dict[str, Any]:
        found = self.payer.ledger.payments(
            agent=self.agent.name, today=bool(told.flag("today")), host=told.text("host"),
            in_doubt=bool(told.flag("in_doubt")), limit=told.whole("limit", 500),
        )  # fmt: skip
        return {"payments": [payment_out(one) for one in found]}

    def _payment(self, told: Fields) -> dict[str, Any]:
        prefix = told.text("payment_id", 64)
        found = self.payer.ledger.of_agent(self.agent.name, prefix, closed=True) if len(prefix) >= 4 else []
        if len(found) != 1:
            raise _nothing(prefix)
        return {"payment": payment_out(self.payer.ledger.payment(found[0].payment_id))}

    def _events(self, told: Fields) -> dict[str, Any]:
        payment_id = self._own(told).payment_id
        found = self.payer.ledger.events(payment_id)[-500:]
        back = [{"transaction": one.transaction, "amount": str(one.amount), "at": one.at} for one in self.payer.ledger.refunds(payment_id)]
        return {"events": [{"seq": one.seq, "from": one.from_state, "state": one.state, "at": one.at, "data": one.data} for one in found],
                "refunds": back[-500:]}  # fmt: skip

    def _own(self, told: Fields) -> Hold:
        """One of this agent's own payments; another's does not exist for it."""
        payment_id = told.text("payment_id", 64)
        if payment_id in self._handed:
            return self._handed[payment_id]
        for hold in self.payer.ledger.of_agent(self.agent.name, payment_id, closed=True):
            if hold.payment_id == payment_id:
                return hold
        raise _nothing(payment_id)

    # -- the conversation's own steps, performed here -------------------------------------------------------------

    def _drive(self, kit: Kit, steps: Steps[Any]) -> Any:
        """Perform every step of a conversation that sends nothing; -> what it returns."""
        until = time.monotonic() + self.payer.deadline
        walk = Walk(steps)
        for step in walk:
            try:
                walk.got = self._step(kit, step, until)
            except BaseException as why:
                walk.failed = why
        return walk.result

    def _step(self, kit: Kit, step: Any, until: float) -> Any:
        if isinstance(step, Fetch):
            return fetch(step)
        if isinstance(step, Sleep):
            if time.monotonic() > until:
                raise SigningFailed("another call under this key has not ended", rule=f"{self.payer.deadline:.0f} seconds")
            time.sleep(step.seconds)
            return None
        value = kit.perform(step, 0)
        if isinstance(value, Aside):
            return drive(self._heeded(value.steps))
        return value.run() if hasattr(value, "run") else value

    def _heeded(self, steps: Steps[Any]) -> Steps[Any]:
        """The same steps, given up once the agent who waits has gone: nobody is asked for a payment that nobody makes."""
        walk = Walk(steps)
        for step in walk:
            try:
                if isinstance(step, Sleep) and gone(self._sock):
                    raise ConnectionResetError("the agent has gone")
                walk.got = yield step
            except BaseException as why:
                walk.failed = why
        return walk.result


def _nothing(payment_id: str) -> LedgerError:
    shown = payment_id[:16] if payment_id.isalnum() else "?"
    return LedgerError(f"no payment of yours begins with {shown}", rule="an agent sees its own payments only")
