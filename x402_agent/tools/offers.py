"""Offers that a quote has made: each may be bought once, soon, by the client that asked, and by nobody else."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import PolicyDenied

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Offer
    from .wanted import Wanted

__all__ = ["LIFE", "Offered", "Offers"]

LIFE = 300.0  # seconds
_MANY = 256


@dataclass(frozen=True, slots=True)
class Offered:
    """What an offer_id stands for: this request, on these terms. `asks` are the rules by which a person must say yes first."""

    wanted: Wanted
    identity: str
    offer: Offer
    asks: tuple[str, ...]
    ends: float

    @property
    def money(self) -> str:
        """The most that is paid, with asset and network."""
        return f"{'at most ' if self.offer.scheme == 'upto' else ''}{self.offer.money}"


class Offers:
    """In memory alone: what another process was offered is asked for anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._open: dict[str, Offered] = {}
        self._used: dict[str, None] = {}

    def add(self, wanted: Wanted, identity: str, offer: Offer, asks: tuple[str, ...]) -> str:
        """Remember one. -> its id, which nobody can guess."""
        offer_id = f"offer_{secrets.token_urlsafe(18)}"
        if len(self._open) >= _MANY:
            del self._open[next(iter(self._open))]
        self._open[offer_id] = Offered(wanted, identity, offer, asks, self.clock() + LIFE)
        return offer_id

    def get(self, offer_id: object) -> Offered:
        """One that may be bought; raises PolicyDenied with the reason where it may not."""
        found = self._open.get(offer_id) if isinstance(offer_id, str) else None
        if isinstance(offer_id, str) and offer_id in self._used:
            raise PolicyDenied("this offer was bought already, or is being bought", rule="an offer_id is used once",
                               hint="fetch the same URL: within ten minutes it gives what was bought, and pays nothing")  # fmt: skip
        if found is None:
            raise PolicyDenied("there is no such offer of yours", rule="an offer_id is good for the client and session that it was made for", hint="quote")
        if self.clock() >= found.ends:
            raise PolicyDenied("this offer is too old", rule=f"an offer_id is good for {LIFE:.0f} seconds", hint="quote")
        return found

    def take(self, offer_id: object) -> Offered:
        """The same, once."""
        found = self.get(offer_id)
        assert isinstance(offer_id, str)
        del self._open[offer_id]
        if len(self._used) >= _MANY:
            del self._used[next(iter(self._used))]
        self._used[offer_id] = None
        return found
