"""Webhooks: creators are told what was paid and published, as `outbox` tells it."""

from __future__ import annotations

import json
import secrets
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..books import stamp
from ..outbox import Outbox
from ..posting import loopback
from .desk import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...database import Database
    from .books import X402PayBooks
    from .quirks import Quirks

__all__ = ["EVENTS", "Hooks"]

EVENTS = ("payment.verified", "content.created")
MOST = 20  # hooks of one account


class Hooks(Outbox):
    """`clock` is the seller's, in unix seconds; `lock` guards its database; `quirks` gives the scenario of the moment."""

    prefix = "X-x402Pay"

    def __init__(self, books: X402PayBooks, clock: Callable[[], float], lock: Any, quirks: Callable[[], Quirks]) -> None:
        self._database = books.database

        @contextmanager
        def lent() -> Iterator[Database]:
            with lock:
                yield books.database

        super().__init__(lent, books.database.away, clock, lambda: quirks().hooks_down)

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

    def tell(self, user: str, event: str, data: dict[str, Any]) -> None:
        """Write down what the hooks of an account are to be told, in whatever transaction is under way."""
        hooks = self._database.rows("select id, events from webhooks where user_id = ? and enabled = 1", user)
        self.write(self._database, [each["id"] for each in hooks if event in json.loads(each["events"])], event, data)
