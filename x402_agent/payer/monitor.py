"""A monitor, asked in a thread or by an event loop, by who sells. It holds no key, and nothing it says pays."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ..dialects.tron_invoice.service import Service
from ..transport.fetch import drive, drive_async

if TYPE_CHECKING:
    from ..dialects.tron_invoice.service import Callback, Created, Status

__all__ = ["AsyncMonitor", "Monitor"]


class Monitor:
    """See dialects.tron_invoice.service.Service for what each call says and raises."""

    def __init__(self, base: str, *, loopback: bool = False) -> None:
        self._asked = Service(base, loopback=loopback)

    def create_payment(self, wallet_address: str, amount: str, *, order_id: str = "", callback_url: str = "") -> Created:
        """A new invoice; `amount` is decimal text, and gets a random tail below a cent unless it has one."""
        return drive(self._asked.create_payment(wallet_address, amount, order_id=order_id, callback_url=callback_url, chance=secrets.randbits(64)))

    def payment_status(self, payment_id: str) -> Status:
        """What the monitor says of it."""
        return drive(self._asked.payment_status(payment_id))

    def callback(self, body: bytes) -> Callback:
        """What was posted, if the status page says the same. Raises ChallengeInvalid for a forgery."""
        return drive(self._asked.believed(body))


class AsyncMonitor:
    """The same for asyncio and trio."""

    def __init__(self, base: str, *, loopback: bool = False) -> None:
        self._asked = Service(base, loopback=loopback)

    async def create_payment(self, wallet_address: str, amount: str, *, order_id: str = "", callback_url: str = "") -> Created:
        """A new invoice."""
        return await drive_async(self._asked.create_payment(wallet_address, amount, order_id=order_id, callback_url=callback_url, chance=secrets.randbits(64)))

    async def payment_status(self, payment_id: str) -> Status:
        """What the monitor says of it."""
        return await drive_async(self._asked.payment_status(payment_id))

    async def callback(self, body: bytes) -> Callback:
        """What was posted, if the status page says the same."""
        return await drive_async(self._asked.believed(body))
