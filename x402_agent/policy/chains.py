"""`[chains]` in policy.toml: what sellers may say of a chain that is believed, which is nothing unless a person writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..model import ChainRules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_chains"]


def read_chains(table: Any, place: Callable[..., str]) -> ChainRules:
    """The table as it stands in the file, of which `place` names file and line; raises SettingsError."""
    if not isinstance(table, dict):
        raise SettingsError("chains is a table", rule=place("chains"), hint="[chains] trust_blockhash = true")
    for name, value in table.items():
        line = place("chains", name)
        if name != "trust_blockhash":
            raise SettingsError(f"chains has no rule {name!r}", rule=line, hint="trust_blockhash")
        if type(value) is not bool:
            raise SettingsError("trust_blockhash is true or false", rule=line)
    return ChainRules(trusting=table.get("trust_blockhash", False))
