"""Webhooks: the `webhook_url` of a service's configuration is told what became of its sessions, payments and credits, as `outbox` tells it.

A service has one hook, made when there is first something to tell it; its secret is its operator's to read (`Seller.keys`). Whoever
changes the URL has it told again.
"""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any

from ..books import stamp
from ..outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...database import Database
    from .books import LilyBooks
    from .quirks import Quirks

__all__ = ["EVENTS", "Hooks"]

EVENTS = ("session.created", "session.depleted", "payment.completed", "payment.failed", "credit.low")
_HOOK = "select id, url, secret, enabled from webhooks where service_id = ? and service_type = ?"


class Hooks(Outbox):
    """`clock` is the seller's, in unix seconds; `quirks` gives the scenario of the moment."""

    prefix = "X-402"

    def __init__(self, books: LilyBooks, clock: Callable[[], float], quirks: Callable[[], Quirks]) -> None:
        super().__init__(books.pool.lent, books.database.away, clock, lambda: quirks().hooks_down)

    def tell(self, link: Database, service: tuple[str, str], event: str, data: dict[str, Any]) -> None:
        """Write down what a service (its id and type) is to be told, in the transaction that is under way; nothing where it names no URL."""
        found = link.one("select webhook_url as url from x402_service_configs where service_id = ? and service_type = ?", *service)
        if not found or not found["url"]:
            return
        hook = self._hook(link, service, found["url"])
        if hook["enabled"]:
            self.write(link, [hook["id"]], event, {"serviceId": service[0], "serviceType": service[1], **data})

    def secret(self, link: Database, service: tuple[str, str]) -> str:
        """What the HMAC of a service's deliveries is made with."""
        return str(self._hook(link, service, "")["secret"])

    def _hook(self, link: Database, service: tuple[str, str], url: str) -> dict[str, Any]:
        """The hook of a service, made or turned to another `url` where there is one."""
        hook = link.one(_HOOK, *service)
        if hook is None:
            link.rows(
                "insert into webhooks (id, service_id, service_type, url, secret, created_at) values (?, ?, ?, ?, ?, ?) on conflict (service_id, service_type) do nothing",
                str(uuid.uuid4()), *service, url, secrets.token_hex(32), stamp(self._clock()),
            )  # fmt: skip
        elif url and hook["url"] != url:
            link.rows("update webhooks set url = ?, enabled = 1, disabled_at = null where id = ?", url, hook["id"])
        else:
            return hook
        return link.rows(_HOOK, *service)[0]
