"""What one process remembers of its ledger, so that a payment with room to spare reads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .states import NO_GOODS

if TYPE_CHECKING:
    from ..steps import Busy
    from .counters import Counter
    from .tokens import Live

__all__ = ["Cache"]


class Cache:
    """What memory knows of the file. Exact while the batch number in the lock file is the one we wrote."""

    __slots__ = ("ahead", "allowances", "bad", "bad_until", "counters", "dirty", "frozen", "generation", "live", "looked", "offers",
                 "open_keys", "pins", "quiet", "signing", "whole")  # fmt: skip

    def __init__(self) -> None:
        self.generation = -1
        self.open_keys: dict[str, int] = {}
        self.counters: dict[str, dict[str, Counter]] = {}  # scope -> window -> what is counted, as the file has it
        self.ahead: dict[str, dict[str, Counter]] = {}  # of windows in which nothing was paid yet
        self.dirty: dict[tuple[str, str], Counter] = {}  # to be written with this batch
        self.whole: bool | None = None  # whether `counters` holds all there are; None: not looked yet
        self.offers: set[str] = set()
        self.quiet: dict[str, set[str]] = {}  # ask.key -> those of our open rows that no other call need care about
        self.pins: dict[tuple[str, str], str] = {}
        self.allowances: dict[tuple[str, str, str, str], int] = {}  # (network, token, owner, spender) -> units left
        self.frozen: dict[tuple[str, str], tuple[int, str]] | None = None  # (kind, name) -> since, note; None: to be read
        self.bad: dict[str, list[int]] | None = None  # origin or payee -> its open payments without goods; None: to be read
        self.bad_until = 0.0  # monotonic seconds: another process may end, and tells nobody
        self.looked = -1  # the batch in which files called `freeze` were looked for
        self.live: Live | None = None  # credentials, and goods that wait; None: to be read
        self.signing: dict[tuple[str, str, str], tuple[int, float, Busy]] = {}  # numbers.py: in which batch that was read, until when it holds

    def forget(self) -> None:
        """The file may have changed behind our back: know nothing."""
        self.generation, self.whole = -1, None
        for each in (self.open_keys, self.counters, self.ahead, self.dirty, self.pins, self.quiet, self.offers, self.allowances):
            each.clear()
        self.live = self.frozen = self.bad = None

    def moved(self, before: str, state: str) -> None:
        """A payment went from one state to another: what is known of sellers may be wrong now."""
        if before == state or before in NO_GOODS or state in NO_GOODS:
            self.bad = None

    def alone(self, ask_key: str) -> bool:
        """Whether every open row of this purchase is a call of ours that is under way or has just gone well."""
        return self.open_keys.get(ask_key, 0) == len(self.quiet.get(ask_key, ()))

    def loud(self, ask_key: str, payment_id: str) -> None:
        """From now on every call must look at this row."""
        rows = self.quiet.get(ask_key)
        if rows is not None:
            rows.discard(payment_id)

    def opened(self, ask_key: str, by: int) -> None:
        """One more (or one fewer) open row for this purchase."""
        left = self.open_keys.get(ask_key, 0) + by
        if left > 0:
            self.open_keys[ask_key] = left
        else:
            self.open_keys.pop(ask_key, None)
            self.quiet.pop(ask_key, None)
