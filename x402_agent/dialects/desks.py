"""What settings say of one origin, where a 402 does not say enough: what x402Pay's desk and Lily's share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..steps import Fetched

__all__ = ["TIMEOUT", "keyed", "pause"]

TIMEOUT = 20.0
LONGEST = 30.0  # seconds that a seller may ask us to wait


class _Keyed(Protocol):
    @property
    def lacks(self) -> str: ...


D = TypeVar("D", bound=_Keyed)


def keyed(desks: Mapping[str, D], origin: str, nobody: D) -> D:
    """The desk of an origin. Raises SettingsError where it asks with a key and the variable that holds it is not set: before anything is paid."""
    found = desks.get(origin, nobody)
    if found.lacks:
        raise SettingsError(f"{found.lacks} is not in the environment", rule=f"settings.toml: {origin}", hint=f"export {found.lacks}=…")
    return found


def pause(got: Fetched, usual: float) -> float:
    """Seconds until the next question: what Retry-After says, within reason, else the usual ones."""
    text = got.headers.get("retry-after", "")
    asked = float(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0.0
    return min(max(asked, usual), max(LONGEST, usual))
