"""The signer service: key, policy and ledger under a user of their own. Offers come in, a proof or a refusal goes out.

Who asks is said by the kernel; each connection has a session and a thread of its own (session.py).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import PaymentError, PolicyDenied, SettingsError, SigningFailed
from ..vault.credentials import Credentials
from .frames import Malformed, frame
from .nouns import error_out
from .peers import peer
from .session import Agent, Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..ledger import Slip
    from ..payer import Payer

__all__ = ["Service"]

MAX_PEERS = 512
MAX_PER_USER = 128
MAX_LARGE = 4
log = logging.getLogger("x402_agent.signer")


class Service:
    """Listens at `path` and pays with `payer` for the `agents`, by user id (`team/research`: a group and a name).

    With `gid` that group alone may connect; without `agents` each of its users is the agent `uid-N`. Raises
    SettingsError when the path is taken, or when nobody could be told from anybody.
    """

    def __init__(
        self, payer: Payer, path: Path, agents: Mapping[int, str], *, gid: int = -1
    ) -> None:
        self.payer, self.path, self.gid = payer, path, gid
        self.agents = {uid: Agent(name, group) for uid, (group, _, name) in
                       ((uid, text.rpartition("/")) for uid, text in agents.items())}  # fmt: skip
        if not agents and gid < 0:
            raise SettingsError("nobody may use this signer", rule="[signer.agents] in policy.toml, or --group",
                                hint='[signer.agents] 1001 = "research" in policy.toml')  # fmt: skip
        self.paid = 0
        self.slips: dict[str, Slip] = {}  # terms of slips that agents named
        self._bought: dict[Agent, Credentials] = {}
        self._large: dict[Agent, threading.Semaphore] = {}
        self._users: dict[int, int] = {}
        self._open: set[Session] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self.path.is_socket():
                self._refuse_second()
                self.path.unlink()
            before = os.umask(0o177)
            try:
                made.bind(os.fspath(self.path))
            finally:
                os.umask(before)
            if self.gid >= 0:
                os.chown(self.path, -1, self.gid)
            os.chmod(self.path, 0o660 if self.gid >= 0 else 0o666)
            made.listen(MAX_PER_USER)
        except OSError as why:
            made.close()
            raise SettingsError(f"no socket can be made at {self.path}: {why.strerror or why}", rule="--socket", hint="--socket PATH, in a folder of yours") from None
        return made

    def _refuse_second(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(self.path))
            except OSError:
                return  # left behind by a service that is gone
        raise SettingsError(f"a signer already listens at {self.path}", rule="one service, one socket", hint="x402-agent signer status")

    def serve(self) -> None:
        """Take connections until `stop`; then end them all. What agents were shown and did not report is in doubt."""
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError as why:
                if not self._stopping:  # too many files: wait for some to be closed
                    log.error("no connection can be taken: %s", why.strerror)  # noqa: TRY400 - no values
                    time.sleep(0.1)
                continue
            try:
                self._welcome(sock)
            except (OSError, RuntimeError, PaymentError) as why:  # no thread to be had, or no word of who it is
                log.error("a connection was dropped: %s", type(why).__name__)  # noqa: TRY400 - no values
                sock.close()
        for session in list(self._open):
            session.end()
        for session in list(self._open):
            session.thread.join(5)

    def stop(self) -> None:
        """Make `serve` return, from another thread or a signal handler."""
        if not self._stopping:
            self._stopping = True
            with suppress(OSError):
                self.path.unlink()
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _welcome(self, sock: socket.socket) -> None:
        who = peer(sock)
        agent = self._agent(who.uid)
        with self._lock:
            busy = len(self._open) >= MAX_PEERS or self._users.get(who.uid, 0) >= MAX_PER_USER
            if agent is not None and not busy:
                self._users[who.uid] = self._users.get(who.uid, 0) + 1
                session = Session(self, sock, who, agent)
                self._open.add(session)
        if agent is not None and not busy:
            try:
                session.thread.start()
            except RuntimeError:  # the system gives no more threads
                self.left(session)
                raise
            return
        log.warning("user %d was turned away: %s", who.uid, "too many connections" if busy else "no agent of the policy")
        with sock, suppress(OSError, Malformed):
            sock.settimeout(0)
            sock.sendall(frame(error_out(
                SigningFailed(f"the signer has too many connections of user {who.uid}", rule=f"at most {MAX_PER_USER} of one user, {MAX_PEERS} in all", hint="repeat it later")
                if busy else
                PolicyDenied(f"user {who.uid} is no agent of this signer", rule=self.payer.policy.place("signer.agents"),
                             hint=f'[signer.agents] {who.uid} = "name" in policy.toml'))))  # fmt: skip

    def _agent(self, uid: int) -> Agent | None:
        if uid in self.agents:
            return self.agents[uid]
        if uid in (0, os.geteuid()):
            return Agent("")
        return None if self.agents else Agent(f"uid-{uid}")

    @property
    def connected(self) -> int:
        """How many agents are connected."""
        return len(self._open)

    def bought(self, agent: Agent) -> Credentials:
        """What this agent bought for later requests."""
        payer = self.payer
        with self._lock:
            if agent not in self._bought:
                self._bought[agent] = Credentials(lambda: payer.ledger, payer.keeping, lambda: payer.vault, payer.clock, agent.name)
            return self._bought[agent]

    def large(self, agent: Agent) -> threading.Semaphore:
        """How many large messages of one agent are in memory at once."""
        with self._lock:
            return self._large.setdefault(agent, threading.Semaphore(MAX_LARGE))

    def settle(self, agent: Agent) -> None:
        """Let what this agent's ended connections left be written down first."""
        with self._lock:
            mine = [session for session in self._open if session.agent == agent]
        for session in mine:
            session.wait_if_gone()

    def left(self, session: Session) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.discard(session)
            self._users[session.who.uid] -= 1
            if not self._users[session.who.uid]:
                del self._users[session.who.uid]
