"""What a seller tells others: rows before they are sent, signed, by a thread of its own, so that the seller never waits.

An attempt is counted before it is made, and is nobody else's until its patience is over: of two processes on one database one tells. After
the first one come five more, 1, 2, 4, 8 and 16 seconds of the seller's clock after the one before; then the hook is disabled. Only this
machine is called. Both engines keep the same two tables, `webhooks` and `webhook_deliveries`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from .books import stamp
from .posting import Said, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from ..database import Database

__all__ = ["Outbox"]

RETRIES = 5
PATIENCE = 10.0  # seconds for one attempt, all of it
_TURN = 0.1  # seconds between two looks at the clock, which tests move
_IDLE = 1.0  # seconds between two looks at the table while nothing waits: another process may have written


class Outbox:
    """`lent` gives a connection that is the caller's alone, `away` is what is raised while there is none; `clock` is the seller's, in unix seconds.

    `down` says whether a scenario keeps every receiver from being reached. `prefix` begins the names of the headers.
    """

    prefix: ClassVar[str]

    def __init__(
        self, lent: Callable[[], AbstractContextManager[Database]], away: tuple[type[Exception], ...], clock: Callable[[], float], down: Callable[[], bool]
    ) -> None:
        self._lent, self._away, self._clock, self._down = lent, away, clock, down
        self._stopped, self._wake = False, threading.Event()
        self._thread: threading.Thread | None = None
        if self._waiting():
            self._start()

    def write(self, link: Database, hooks: Iterable[str], event: str, data: dict[str, Any]) -> None:
        """Write down what these hooks are to be told, in whatever transaction is under way; the thread does the rest."""
        now = stamp(self._clock())
        rows = []
        for hook in hooks:
            identity = str(uuid.uuid4())
            body = json.dumps({"id": identity, "type": event, "data": data, "timestamp": int(self._clock())}, separators=(",", ":"))
            rows.append((identity, hook, event, body, now, now))
        if rows:
            link.many("insert into webhook_deliveries (id, webhook_id, event, body, next_at, created_at) values (?, ?, ?, ?, ?, ?)", rows)
            self._start()

    def close(self) -> None:
        """Tell nobody any more; what was not told waits for the next process."""
        self._stopped = True
        self._wake.set()

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
            self._thread.start()

    def _waiting(self) -> bool:
        with self._lent() as link:
            return bool(link.rows("select id from webhook_deliveries where status = 'pending' limit 1"))

    def _work(self) -> None:
        """Until it is told to stop: whatever is due, one after the other; nothing of it holds the seller up."""
        while not self._stopped:
            idle = False
            try:
                self._wake.clear()  # before the look: what is written after it sets it again
                due = self._claimed()
                if due is not None:
                    self._record(due, self._sent(due))
                    continue
                idle = not self._stopped and not self._waiting()
            except self._away:
                pass
            self._wake.wait(_IDLE if idle else _TURN)

    def _claimed(self) -> dict[str, Any] | None:
        """One delivery that is due, its attempt counted."""
        with self._lent() as link:
            if self._stopped:
                return None
            row = link.one(
                "select d.id, d.event, d.body, d.attempts, d.webhook_id, w.url, w.secret, w.enabled from webhook_deliveries d"
                " join webhooks w on w.id = d.webhook_id where d.status = 'pending' and d.next_at <= ? order by d.next_at, d.id limit 1",
                stamp(self._clock()),
            )
            if row is None:
                return None
            now, wait = self._clock(), 2 ** row["attempts"]
            taken = link.rows(
                "update webhook_deliveries set attempts = attempts + 1, next_at = ? where id = ? and attempts = ? and status = 'pending' returning id",
                stamp(now + wait + PATIENCE), row["id"], row["attempts"],
            )  # fmt: skip
            return {**row, "again": stamp(now + wait)} if taken else None

    def _sent(self, due: dict[str, Any]) -> Said:
        if not due["enabled"]:
            return Said(0, "the hook is disabled")
        if self._down():
            return Said(0, "ConnectionRefusedError")
        body = due["body"].encode()
        signature = hmac.new(due["secret"].encode(), body, hashlib.sha256).hexdigest()
        lines = {f"{self.prefix}-Signature": signature, f"{self.prefix}-Event": due["event"], f"{self.prefix}-Delivery": due["id"]}
        return post(due["url"], body, lines, PATIENCE)

    def _record(self, due: dict[str, Any], said: Said) -> None:
        """How it went; after the last attempt that failed the hook is disabled."""
        with self._lent() as link:
            if self._stopped:
                return
            over = due["attempts"] >= RETRIES or not due["enabled"]
            status = "delivered" if said.good else "failed" if over else "pending"
            link.rows(
                "update webhook_deliveries set status = ?, response_status = ?, words = ?, next_at = ? where id = ?",
                status, said.status, said.words[:100], due["again"], due["id"],
            )  # fmt: skip
            if status == "failed" and due["enabled"]:
                link.rows("update webhooks set enabled = 0, disabled_at = ? where id = ? and url = ?", stamp(self._clock()), due["webhook_id"], due["url"])
