"""Webhooks: others are told what was paid and published, signed, from a thread of their own, so that the seller never waits.

An attempt is counted before it is made. After the first one come five more, 1, 2, 4, 8 and 16 seconds of the seller's clock after the
one before; then the hook is disabled. Only this machine is called.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import uuid
from typing import TYPE_CHECKING, Any

from ..books import stamp
from ..posting import Said, loopback, post
from .desk import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .books import X402PayBooks
    from .quirks import Quirks

__all__ = ["EVENTS", "RETRIES", "Hooks"]

EVENTS = ("payment.verified", "content.created")
RETRIES = 5
PATIENCE = 10.0  # seconds for one attempt, all of it
MOST = 20  # hooks of one account
_TURN = 0.1  # seconds between two looks at the clock, which tests move


class Hooks:
    """`clock` is the seller's, in unix seconds; `lock` guards its database; `quirks` gives the scenario of the moment."""

    def __init__(self, books: X402PayBooks, clock: Callable[[], float], lock: Any, quirks: Callable[[], Quirks]) -> None:
        self._database, self._clock, self._lock, self._quirks = books.database, clock, lock, quirks
        self._stopped, self._wake = False, threading.Event()
        self._thread: threading.Thread | None = None
        if self._waiting():
            self._start()

    # -- subscriptions --------------------------------------------------------------------------------------------------

    def subscribe(self, user: str, body: dict[str, Any]) -> dict[str, Any]:
        """A new hook with its secret, which is shown this once; raises Refusal."""
        url, events = body.get("url"), body.get("events", list(EVENTS))
        if not isinstance(url, str) or len(url) > 500 or loopback(url) is None:
            raise Refusal(400, "INVALID_URL", "url is http on this machine: http://127.0.0.1:PORT/path")
        if not isinstance(events, list) or not events or any(each not in EVENTS for each in events):
            raise Refusal(400, "BAD_REQUEST", f"events are some of {', '.join(EVENTS)}")
        if len(self.listed(user)) >= MOST:
            raise Refusal(400, "TOO_MANY", f"{MOST} webhooks are allowed")
        identity, secret = str(uuid.uuid4()), secrets.token_hex(32)
        self._database.rows(
            "insert into webhooks (id, user_id, url, events, secret, created_at) values (?, ?, ?, ?, ?, ?)",
            identity, user, url, json.dumps(sorted(set(events))), secret, stamp(self._clock()),
        )  # fmt: skip
        return {"id": identity, "url": url, "events": sorted(set(events)), "secret": secret, "enabled": True}

    def listed(self, user: str) -> list[dict[str, Any]]:
        """The hooks of an account, without their secrets."""
        rows = self._database.rows("select id, url, events, enabled from webhooks where user_id = ? order by created_at, id", user)
        return [{"id": row["id"], "url": row["url"], "events": json.loads(row["events"]), "enabled": bool(row["enabled"])} for row in rows]

    def removed(self, user: str, identity: str) -> bool:
        """Whether there was such a hook of this account, which now is gone."""
        return bool(self._database.rows("delete from webhooks where id = ? and user_id = ? returning id", identity, user))

    def enabled(self, user: str, identity: str) -> bool:
        """Whether there is such a hook of this account, which from here on is told again."""
        return bool(self._database.rows("update webhooks set enabled = 1, disabled_at = null where id = ? and user_id = ? returning id", identity, user))

    def deliveries(self, user: str, identity: str) -> list[dict[str, Any]]:
        """What a hook was told, newest first, and how that went."""
        rows = self._database.rows(
            "select d.id, d.event, d.status, d.attempts, d.response_status, d.words from webhook_deliveries d join webhooks w on w.id = d.webhook_id"
            " where w.id = ? and w.user_id = ? order by d.created_at desc, d.id limit 100",
            identity, user,
        )  # fmt: skip
        return [
            {"id": row["id"], "event": row["event"], "status": row["status"], "attempts": row["attempts"], "responseStatus": row["response_status"], "words": row["words"]}
            for row in rows
        ]  # fmt: skip

    # -- telling --------------------------------------------------------------------------------------------------------

    def tell(self, user: str, event: str, data: dict[str, Any]) -> None:
        """Write down what is to be told, in whatever transaction is under way; the thread does the rest."""
        now = stamp(self._clock())
        hooks = self._database.rows("select id, events from webhooks where user_id = ? and enabled = 1", user)
        told = [each["id"] for each in hooks if event in json.loads(each["events"])]
        for hook in told:
            identity = str(uuid.uuid4())
            body = json.dumps({"id": identity, "type": event, "data": data, "timestamp": int(self._clock())}, separators=(",", ":"))
            self._database.rows(
                "insert into webhook_deliveries (id, webhook_id, event, body, next_at, created_at) values (?, ?, ?, ?, ?, ?)", identity, hook, event, body, now, now,
            )  # fmt: skip
        if told:
            self._start()

    def close(self) -> None:
        """Tell nobody any more; what was not told waits for the next process."""
        self._stopped = True
        self._wake.set()

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="x402pay-webhooks", daemon=True)
            self._thread.start()

    def _waiting(self) -> bool:
        return bool(self._database.rows("select id from webhook_deliveries where status = 'pending' limit 1"))

    def _work(self) -> None:
        """Until it is told to stop: whatever is due, one after the other; nothing of it holds the seller up."""
        while not self._stopped:
            try:
                due = self._claimed()
                if due is not None:
                    self._record(due, self._sent(due))
                    continue
                with self._lock:
                    self._wake.clear()  # whoever tells something holds the lock, and sets it again
                    idle = not self._stopped and not self._waiting()
            except self._database.away:
                self._wake.clear()
                idle = False
            self._wake.wait(None if idle else _TURN)

    def _claimed(self) -> dict[str, Any] | None:
        """One delivery that is due, its attempt counted."""
        with self._lock:
            if self._stopped:
                return None
            now = stamp(self._clock())
            row = self._database.one(
                "select d.id, d.event, d.body, d.attempts, d.webhook_id, w.url, w.secret, w.enabled from webhook_deliveries d"
                " join webhooks w on w.id = d.webhook_id where d.status = 'pending' and d.next_at <= ? order by d.next_at, d.id limit 1",
                now,
            )
            if row is None:
                return None
            later = stamp(self._clock() + 2 ** row["attempts"])
            taken = self._database.rows(
                "update webhook_deliveries set attempts = attempts + 1, next_at = ? where id = ? and attempts = ? returning id", later, row["id"], row["attempts"],
            )  # fmt: skip
            return row if taken else None

    def _sent(self, due: dict[str, Any]) -> Said:
        if not due["enabled"]:
            return Said(0, "the hook is disabled")
        if self._quirks().hooks_down:
            return Said(0, "ConnectionRefusedError")
        body = due["body"].encode()
        signature = hmac.new(due["secret"].encode(), body, hashlib.sha256).hexdigest()
        lines = {"X-x402Pay-Signature": signature, "X-x402Pay-Event": due["event"], "X-x402Pay-Delivery": due["id"]}
        return post(due["url"], body, lines, PATIENCE)

    def _record(self, due: dict[str, Any], said: Said) -> None:
        """How it went; after the last attempt that failed the hook is disabled."""
        with self._lock:
            if self._stopped:
                return
            over = due["attempts"] >= RETRIES or not due["enabled"]
            status = "delivered" if said.good else "failed" if over else "pending"
            self._database.rows(
                "update webhook_deliveries set status = ?, response_status = ?, words = ? where id = ?", status, said.status, said.words[:100], due["id"],
            )  # fmt: skip
            if status == "failed" and due["enabled"]:
                self._database.rows("update webhooks set enabled = 0, disabled_at = ? where id = ?", stamp(self._clock()), due["webhook_id"])
