"""How a person changes policy.toml from the command line: one key at a time, atomically, and every other line stays."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from ..errors import SettingsError
from . import scopes
from .file import load, parse
from .lines import Lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["change", "tables"]


def change(path: Path, scope: str, values: Mapping[str, str]) -> dict[str, str]:
    """Set keys of one budget to values in TOML's spelling; -> key: `policy.toml:7`. Raises SettingsError and changes nothing.

    A policy that could not be read afterwards, or would say anything else differently, is not written.
    """
    path = path.resolve()  # a link to a file kept elsewhere stays a link
    load(path)
    text = path.read_text("utf-8") if path.exists() else ""
    lines = Lines(text)
    for key, value in values.items():
        lines.put(tables(lines, scope, key), key, value)
    made = lines.text(str(path))
    parse(made, str(path))
    _replace(path, made)
    at = lines.at()
    return {key: f"{path}:{at[*tables(lines, scope, key), key].first + 1}" for key in values}


def tables(lines: Lines, scope: str, key: str) -> tuple[str, ...]:
    """The table that this key of a scope stands in, or is to stand in."""
    at = lines.at()
    for kind, prefix in (("budgets", ""), ("hosts", "host:")):
        for names in at:
            if len(names) == 2 and names[0] == kind and scopes.scope(prefix + names[1]) == scope:
                if (*names, key) in at or scope != "all":
                    return names
                if (key,) not in at:
                    return names
    return () if scope == "all" and key in ("per_call", "day", "total") else ("budgets", scope)


def _replace(path: Path, text: str) -> None:
    fresh = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, fresh = tempfile.mkstemp(dir=path.parent, prefix=".policy-")  # 0600
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as why:
        if fresh:
            os.unlink(fresh)
        raise SettingsError(f"policy.toml cannot be written: {why.strerror}", rule=str(path),
                            hint="another folder: export X402_AGENT_HOME=/path, or X402_AGENT_POLICY=/path/policy.toml") from None  # fmt: skip
