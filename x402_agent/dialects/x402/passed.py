"""Why an entry of a challenge is no offer, in words that are safe to show."""

from __future__ import annotations

from ...secret import plain

__all__ = ["Passed", "broken", "show"]


class Passed(Exception):
    """Why an entry is not an offer. `broken` when it breaks the protocol, else it is merely not ours."""

    def __init__(self, reason: str, *, broken: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.broken = broken


def broken(reason: str) -> Passed:
    """An entry that breaks the protocol."""
    return Passed(reason, broken=True)


def show(value: object) -> str:
    """A stranger's value, harmless and at most 48 characters."""
    return plain(repr(value) if len(repr(value)) <= 48 else repr(value)[:44] + "…", 48)
