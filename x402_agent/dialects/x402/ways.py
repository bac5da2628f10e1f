"""By which way a token is to move: what an entry says of it in `extra`, for each family of chains in its own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .passed import Passed, broken, show
from .solana import solana
from .stacks import stacks
from .told import Told, Way
from .tron import tron

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FAMILIES", "SCHEMES", "Told", "Way"]

SCHEMES = {1: frozenset({"exact"}), 2: frozenset({"exact", "exact_permit", "upto"})}  # of any family; each says which are its own
_METHODS = {"exact": {None: "", "eip3009": "", "permit2": "permit2"}, "upto": {None: "permit2", "permit2": "permit2"}}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}").fullmatch


def _evm(told: Told) -> Way:
    """EIP-3009 or Permit2; raises Passed for any other way, for Permit2 in version 1, and for the network's coin."""
    if told.asset.native:
        raise Passed(f"{told.asset.symbol} is the network's coin, which no authorisation moves (A6)", broken=False)
    method = told.extra.get("assetTransferMethod")
    found = _METHODS.get(told.scheme, {}).get(method) if method is None or isinstance(method, str) else None
    if found is None or (found and told.version == 1):
        raise Passed(f"assetTransferMethod {show(method)} is not one we sign for {told.scheme} (A7)", broken=False)
    return Way(found, _facilitator(told))


def _facilitator(told: Told) -> str:
    """The one account that may settle an `upto` payment, "" for `exact`; raises Passed when it is not an address."""
    if told.scheme != "upto":
        return ""
    found = told.extra.get("facilitatorAddress")
    if not isinstance(found, str) or not _ADDRESS(found):
        raise broken(f"facilitatorAddress {show(found)} is not an address (R2)")
    return found


FAMILIES: Mapping[str, Callable[[Told], Way]] = {"eip155": _evm, "solana": solana, "tron": tron, "stacks": stacks}
