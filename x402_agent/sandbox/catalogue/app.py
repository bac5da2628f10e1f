"""The shop once more, under a catalogue that lies about it: the goods are honest, what is listed is the scenario's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..paywall import Paywall

if TYPE_CHECKING:
    from .lies import Lies

__all__ = ["Listed"]


class Listed(Paywall):
    """A shop whose scenarios are lies of its catalogue."""

    name = "catalogue"
    sells = "the shop, with a catalogue that lies as its scenario says"
    scenario: Lies
