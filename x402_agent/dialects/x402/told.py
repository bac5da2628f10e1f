"""What a family of chains is told of an entry, and what it makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Asset

__all__ = ["Told", "Way"]


class Told(NamedTuple):
    """An entry as far as it is read: its scheme, the protocol's version, `extra`, the challenge's extensions, the asset."""

    scheme: str
    version: int
    extra: Mapping[str, Any]
    extensions: Mapping[str, Any]
    asset: Asset


class Way(NamedTuple):
    """What model.Offer calls `method`, `facilitator`, `fee_cap`, `details` and `fees`."""

    method: str = ""
    facilitator: str = ""
    fee: int = 0
    details: str = ""
    fees: tuple[tuple[str, int], ...] = ()
