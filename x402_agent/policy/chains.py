"""`[chains]` in policy.toml: what sellers may say of a chain that is believed, which is nothing unless a person writes it, and what a
chain itself may take for one transaction of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..model import ChainRules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_chains"]

_FAMILIES = {"evm": ("eip155", 18), "solana": ("solana", 9), "stacks": ("stacks", 6), "tron": ("tron", 6)}  # namespace, decimals of its coin
_COINS = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,18}))?", re.ASCII).fullmatch


def read_chains(table: Any, place: Callable[..., str]) -> ChainRules:
    """The table as it stands in the file, of which `place` names file and line; raises SettingsError."""
    if not isinstance(table, dict):
        raise SettingsError("chains is a table", rule=place("chains"), hint="[chains] trust_blockhash = true")
    for name, value in table.items():
        line = place("chains", name)
        if name not in ("trust_blockhash", "fees"):
            raise SettingsError(f"chains has no rule {name!r}", rule=line, hint="trust_blockhash, fees")
        if name == "trust_blockhash" and type(value) is not bool:
            raise SettingsError("trust_blockhash is true or false", rule=line, hint="trust_blockhash = true")
    return ChainRules(trusting=table.get("trust_blockhash", False), fees=_fees(table.get("fees", {}), place))


def _fees(table: Any, place: Callable[..., str]) -> dict[str, int]:
    """`[chains.fees] solana = "0.0022"`: whole coins by family -> atomic units by namespace; raises SettingsError."""
    if not isinstance(table, dict):
        raise SettingsError("chains.fees is a table", rule=place("chains", "fees"), hint='[chains.fees] solana = "0.0022"')
    made = {}
    for name, text in table.items():
        line = place("chains", "fees", name)
        if name not in _FAMILIES:
            raise SettingsError(f"{name!r:.40} is no family of chains", rule=line, hint=", ".join(_FAMILIES))
        namespace, decimals = _FAMILIES[name]
        parts = _COINS(text) if isinstance(text, str) else None
        if parts is None or len(parts[2] or "") > decimals:
            raise SettingsError(f"{name} = {text!r:.40} is no amount of coins", rule=line, hint=f'{name} = "0.0022", in whole coins, {decimals} decimals')
        made[namespace] = int(parts[1] + (parts[2] or "").ljust(decimals, "0"))
    return made
