"""Money as people write it: decimal text in dollars, never a float."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from ..errors import SettingsError
from ..model import Window

__all__ = ["WINDOWS", "Budget", "dollars", "expected", "micros", "window"]

WINDOWS: tuple[Window, ...] = get_args(Window)
_AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?", re.ASCII)


def micros(text: str | int, rule: str = "") -> int:
    """Millionths of a dollar from text like `0.10`; raises SettingsError for anything else, floats included."""
    match = None if isinstance(text, (float, bool)) else _AMOUNT.fullmatch(str(text).strip().removeprefix("$"))
    if match is None:
        raise SettingsError(f"{text!r} is not an amount of money", rule=rule, hint='write it as text: "0.10"')
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def dollars(amount: int) -> str:
    """Millionths of a dollar as people read them: at least two decimals, `5.00`, `0.0005`."""
    whole, part = divmod(amount, 1_000_000)
    digits = f"{part:06d}".rstrip("0")
    return f"{whole}.{digits.ljust(2, '0')}"


def window(word: str, rule: str = "") -> Window:
    """The window called so; raises SettingsError for another word."""
    for known in WINDOWS:
        if word == known:
            return known
    raise SettingsError(f"nothing is counted per {word[:40]!r}", rule=rule, hint=f"5.00/day: {', '.join(WINDOWS)}")


@dataclass(frozen=True)
class Budget:
    """`Budget("5.00/day", per_call="0.10")`: dollars per minute, hour, day or month (UTC) or in `total`, and for one call."""

    amount: str
    per_call: str | None = None

    @property
    def window(self) -> Window:
        """The window named behind the slash, `total` without one; raises SettingsError when there is none of that name."""
        return window(self.amount.partition("/")[2].strip() or "total", "Budget")

    @property
    def micros(self) -> int:
        """The amount in millionths of a dollar."""
        return micros(self.amount.partition("/")[0], "Budget")


def expected(value: object, place: str) -> int:
    """How many calls a seller will be asked for: 1 to a million. Raises SettingsError."""
    if type(value) is not int or not 0 < value <= 1_000_000:
        raise SettingsError("calls are expected in whole numbers, 1 to a million", rule=place, hint=f"{place} 200" if place.startswith("--") else "expect_calls=200")
    return value
