"""One agent's connection to the service: its thread, and what was handed out to it. What may be asked is in four rooms
beside this one: till (proofs), shelf (what was bought), purses (slips), reading (what an agent may know).

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
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import PaymentError, PolicyDenied, SettingsError, SigningFailed
from ..guard import Guard
from ..model import ASKED_FIRST
from ..steps import ON_CHAIN, Aside, Fetch, Return, Sleep, Walk
from ..steps import Hold as BudgetHeld
from ..transport.fetch import drive, fetch
from ..transport.lines import Lines
from . import purses, reading, shelf, till
from .frames import PROTOCOL, Fields, Malformed, frame, receive, receive_tail
from .nouns import Unasked, error_out
from .peers import gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ledger import Slip
    from ..model import Ask, Credential, Hold
    from ..payer import Payer
    from ..payer.kit import Kit
    from ..steps import Steps
    from ..vault.credentials import Credentials
    from .peers import Peer

__all__ = ["Agent", "Session"]

IDLE = 3600.0  # seconds between two messages: a paid answer may take long
HELLO = 5.0
ANSWER = 20.0  # seconds in which an agent must take its answer
LARGE = 1 << 16  # bytes behind a message that any number of an agent's connections may carry at once
LARGE_WAIT = 5.0  # seconds until a large one has its turn
log = logging.getLogger("x402_agent.signer")

WORK = {**till.OPS, **shelf.OPS, **purses.OPS, **reading.OPS}


class Desk(Protocol):
    """The service, as a session needs it."""

    payer: Payer
    paid: int
    slips: dict[str, Slip]

    def left(self, session: Session) -> None:
        """This connection has ended."""

    def settle(self, agent: Agent) -> None:
        """Let what this agent's ended connections left be written down first."""

    def bought(self, agent: Agent) -> Credentials:
        """What this agent bought for later requests."""

    def large(self, agent: Agent) -> threading.Semaphore:
        """How many large messages of one agent are in memory at once."""

    @property
    def connected(self) -> int:
        """How many agents are connected."""


class Agent(NamedTuple):
    """Whom a user id pays for. No name: the operator, who may look and not pay."""

    name: str
    group: str = ""


class Session:
    """One connection, its thread, and what was handed out over it."""

    guard = Guard(loopback=True)  # an agent names the seller's address: the service asks no private one for it

    def __init__(self, service: Desk, sock: socket.socket, who: Peer, agent: Agent) -> None:
        self.service, self.payer, self.who, self.agent = service, service.payer, who, agent
        self._sock = sock
        self.handed: dict[str, Hold] = {}
        self.leased: dict[int, Credential] = {}  # what serves one call at a time, while such a call is under way
        self.driving = False  # a payment of its agent is being made, and may wait for a block
        self.purses: list[str] = []  # runs of the slips that end with this connection
        self.patience = IDLE
        self.thread = threading.Thread(target=self._run, name=f"x402-signer-{who.uid}", daemon=True)

    def wait_if_gone(self) -> None:
        """Let its thread write down what an agent left that has hung up, shown or on its way to a block; at once for one that is there.

        Raises SigningFailed where a node holds it up for longer: until it is written down, nobody knows whose proof would be shown again.
        """
        if (self.handed or self.driving) and self.thread is not threading.current_thread():
            poll, gone = select.poll(), True  # so is one that its thread has closed, and is writing down
            with suppress(OSError, ValueError):
                poll.register(self._sock, 0)  # hanging up is always told
                gone = bool(poll.poll(0))
            if gone:
                self.thread.join(ANSWER)
                if self.thread.is_alive():
                    raise SigningFailed("what a connection of yours left that has ended is not written down yet",
                                        rule=f"nothing is paid beside it; waited for {ANSWER:.0f} s", hint="repeat the call")  # fmt: skip

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
            try:
                self._abandon()
            finally:
                self.service.left(self)

    def _abandon(self) -> None:
        """The agent is gone: what it was shown may be on its way, and what it lent is over."""
        for hold in self.handed.values():
            self.payer.ledger.close(hold, "UNKNOWN", note="its agent went away without a word").run()
            log.warning("in_doubt %s %s %s: its agent went away", hold.offer.money, hold.ask.host, hold.payment_id)
        self.handed.clear()
        for credential in self.leased.values():  # used, since it may have left; the next one need not wait
            self.service.bought(self.agent).returned(Return(credential)).run()
        self.leased.clear()
        for run in self.purses:
            self.payer.ledger.end_slips(run).run()

    def _converse(self) -> None:
        told = receive(self._sock, HELLO)
        if told is None:
            return
        if told.text("op") != "hello" or told.whole("protocol", 1 << 31) != PROTOCOL:
            self._answer(error_out(SettingsError("the signer speaks another protocol", rule=f"protocol {PROTOCOL}", hint="the same release on both sides")))
            return
        self._answer(self._hello())
        while (told := receive(self._sock, self.patience)) is not None:
            self._serve(told)

    def _serve(self, told: Fields) -> None:
        """One message and its answer. Large ones wait for each other, so that an agent cannot fill the service's memory."""
        op = told.text("op", 16)
        if op not in WORK:
            raise Malformed("an operation that does not exist")
        most = {"pay": shelf.REQUEST, "close": shelf.REQUEST, "stored": shelf.GOODS}.get(op, 0)
        size = told.whole("tail", most) if told.has("tail") else 0
        with self._turn(large=size > LARGE or op in shelf.LARGE) as mine:
            tail = receive_tail(self._sock, told, most, keep=mine)
            if op in ("stored", *shelf.LARGE) and not mine:
                self._answer(error_out(SigningFailed("the signer has too many large messages of yours", rule="four at once", hint="repeat it later")))
                return
            reply = self._perform(op, told, tail)
            self.driving = False  # what was handed out says the rest
            if isinstance(reply, tuple):
                self._answer(*reply)
            elif reply is not None:
                self._answer(reply)

    @contextmanager
    def _turn(self, *, large: bool) -> Iterator[bool]:
        """-> whether it is our turn; a small message needs none."""
        turns = self.service.large(self.agent)
        mine = not large or turns.acquire(timeout=LARGE_WAIT)
        try:
            yield mine
        finally:
            if large and mine:
                turns.release()

    def _answer(self, message: dict[str, Any], tail: bytes = b"") -> None:
        self._sock.settimeout(ANSWER)
        self._sock.sendall(frame(message, tail))

    def _hello(self) -> dict[str, Any]:
        payer, policy = self.payer, self.payer.policy
        wallet = payer.wallet.named(policy.account(self.agent.name, self.agent.group)[0])
        accounts = {name: found for name in payer.chains if (found := wallet.address(name))}
        return {"protocol": PROTOCOL, "agent": self.agent.name, "group": self.agent.group, "accounts": accounts,
                "networks": list(policy.networks), "paid": self.service.paid, "connected": self.service.connected,
                "prepay": list(policy.prepay), "prepay_age": policy.prepay_age, "prepay_uses": policy.prepay_uses, "expect_calls": policy.expect_calls,
                "patience": int(policy.approval.seconds + payer.deadline + ON_CHAIN + ANSWER)}  # fmt: skip

    def _perform(self, op: str, told: Fields, tail: bytes) -> Any:
        try:
            if not self.agent.name:
                raise PolicyDenied("the operator of a signer pays nothing through it", rule=self.payer.policy.place("signer.agents"), hint="as an agent's user; or unset X402_AGENT_SIGNER")
            return WORK[op](self, told, tail)
        except PaymentError as why:
            if op in ("pay", "again"):
                log.info("refused %s %s: %s", self.agent.name, type(why).__name__, why.rule or why.what)
            return error_out(why)
        except (Malformed, OSError):
            raise
        except Exception as why:
            log.error("%s of %s failed: %s", op, self.agent.name, type(why).__name__)  # noqa: TRY400 - no values
            return error_out(SigningFailed(f"the signer failed ({type(why).__name__})", rule="an error of its own", hint="its log says more"))

    # -- what the rooms beside this one need --------------------------------------------------------------------------

    def kit(self, ask: Ask) -> Kit:
        """The kit of a conversation; whose it is says the socket, not this process's environment."""
        under = ask.under
        kit = self.payer.talk(ask)
        ask.under = under
        return kit

    def own(self, told: Fields) -> Hold:
        """One of this agent's own payments; another's does not exist for it."""
        payment_id = told.text("payment_id", 64)
        if payment_id in self.handed:
            return self.handed[payment_id]
        for hold in self.payer.ledger.of_agent(self.agent.name, payment_id, closed=True):
            if hold.payment_id == payment_id:
                return hold
        raise reading.nothing(payment_id)

    def drive(self, kit: Kit, steps: Steps[Any]) -> Any:
        """Perform every step of a conversation that sends nothing; -> what it returns."""
        until = time.monotonic() + self.payer.deadline
        walk, lines, self.driving = Walk(steps), Lines(), True
        try:
            for step in walk:
                try:
                    walk.got = self._step(kit, step, until, lines)
                except BaseException as why:
                    walk.failed = why
            return walk.result
        finally:
            lines.close()

    def _step(self, kit: Kit, step: Any, until: float, lines: Lines) -> Any:
        if isinstance(step, Fetch):
            return fetch(step, lines, self)
        if isinstance(step, Sleep):
            if time.monotonic() > until or gone(self._sock):
                raise SigningFailed("the signer waits no longer", rule=f"{self.payer.deadline:.0f} seconds", hint="repeat the call")
            time.sleep(step.seconds)
            return None
        if isinstance(step, BudgetHeld) and step.offer.flow in ASKED_FIRST and not kit.consulted:
            raise Unasked
        value = kit.perform(step, 0)
        if isinstance(value, Aside):
            return drive(self._heeded(value.steps), lines)
        return value.run() if hasattr(value, "run") else value

    def _heeded(self, steps: Steps[Any]) -> Steps[Any]:
        """The same steps, given up once the agent who waits has gone: nobody is asked for a payment that nobody makes."""
        walk = Walk(steps)
        for step in walk:
            try:
                if isinstance(step, (Sleep, Fetch)) and gone(self._sock):
                    raise ConnectionResetError("the agent has gone")
                walk.got = yield step
            except BaseException as why:
                walk.failed = why
        return walk.result
