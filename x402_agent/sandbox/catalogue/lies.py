"""How a catalogue may lie of what a shop sells, and how it may keep a crawler busy."""

from __future__ import annotations

from dataclasses import dataclass

from ..scenario import Scenario

__all__ = ["HONEST", "Lies"]


@dataclass(frozen=True, slots=True)
class Lies(Scenario):
    """Of the row for the path `about`: it is listed at the price divided by `cheaper`, with another `payee`, at a path where nobody answers
    (`dead`), `twice` with two prices and payees, or in the `words` of somebody who wants to be obeyed. The rest is of all pages: `page` rows
    on each at most, a total that `drifts`, cursors that go round (`cycle`), 429 for ever (`refuses`), or no answer for `hangs` seconds.
    """  # fmt: skip

    about: str = "/joke"
    cheaper: int = 1
    payee: bool = False
    dead: bool = False
    twice: bool = False
    words: str = ""
    page: int = 100
    drifts: bool = False
    cycle: bool = False
    refuses: bool = False
    hangs: float = 0.0

    def __post_init__(self) -> None:
        Scenario.__post_init__(self)
        self.bound(cheaper=(1, 1_000_000), page=(1, 1_000), hangs=(0, 86_400))


HONEST = Lies("honest", "lists what the shop sells, as it sells it")
