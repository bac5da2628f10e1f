"""A verification service, asked in a thread or by an event loop. It holds no key that signs, and nothing it says pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..dialects.kamiyo.service import BASE, Service
from ..errors import SettingsError
from ..transport.fetch import drive, drive_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..dialects.kamiyo.service import Analytics, Health, Usage, Verified

__all__ = ["AsyncVerifier", "Verifier", "service"]


def service(name: str, key: str, base: str, clock: Callable[[], float], *, loopback: bool) -> Service:
    """The service of this name; raises SettingsError for one that there is not, or a key or address that is none."""
    if name != "kamiyo":
        raise SettingsError(f"no verification service is called {name!r:.40}", rule="verifier", hint='payer.verifier("kamiyo", key=…)')
    return Service(key, base=base or BASE, loopback=loopback, clock=clock)


class Verifier:
    """See dialects.kamiyo.service.Service for what each call says and raises."""

    def __init__(self, asked: Service) -> None:
        self._asked = asked

    def verify(self, transaction: str, chain: str, *, expected: str = "", to: str = "") -> Verified:
        """Is it a payment? `success` None: nothing was decided."""
        return drive(self._asked.verify(transaction, chain, expected=expected, to=to))

    def usage(self) -> Usage:
        """This key's month."""
        return drive(self._asked.usage())

    def supported_chains(self) -> tuple[str, ...]:
        """Chains by their names."""
        return drive(self._asked.supported_chains())

    def analytics(self, days: int = 30) -> Analytics:
        """The last days of this key."""
        return drive(self._asked.analytics(days))

    def health(self) -> Health:
        """Whether it works."""
        return drive(self._asked.health())


class AsyncVerifier:
    """The same for asyncio and trio."""

    def __init__(self, asked: Service) -> None:
        self._asked = asked

    async def verify(self, transaction: str, chain: str, *, expected: str = "", to: str = "") -> Verified:
        """Is it a payment? `success` None: nothing was decided."""
        return await drive_async(self._asked.verify(transaction, chain, expected=expected, to=to))

    async def usage(self) -> Usage:
        """This key's month."""
        return await drive_async(self._asked.usage())

    async def supported_chains(self) -> tuple[str, ...]:
        """Chains by their names."""
        return await drive_async(self._asked.supported_chains())

    async def analytics(self, days: int = 30) -> Analytics:
        """The last days of this key."""
        return await drive_async(self._asked.analytics(days))

    async def health(self) -> Health:
        """Whether it works."""
        return await drive_async(self._asked.health())
