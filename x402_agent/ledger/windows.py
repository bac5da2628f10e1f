"""The windows that limits count in: those of the UTC calendar, and `total`, which never ends."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["began"]


def began(seconds: float) -> Mapping[str, int]:
    """The unix second at which each window of this unix time began; 0 for `total`."""
    return _began(int(seconds) // 60)


@lru_cache(maxsize=8)
def _began(minute: int) -> Mapping[str, int]:
    at = minute * 60
    month = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0)
    return {
        "minute": at, "hour": at - at % 3600, "day": at - at % 86400, "month": int(month.timestamp()), "total": 0,
    }  # fmt: skip
