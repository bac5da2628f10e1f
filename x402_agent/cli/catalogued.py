"""`get ID`: a service of your catalogue, bought at its URL."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .. import Settings, SettingsError
from ..policy import dollars
from .discover import catalogue, unknown

__all__ = ["Place", "place"]

_ID = re.compile(r"[0-9a-f]{6,16}").fullmatch


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is, how it is asked, and what its catalogue says it costs: dollars as text, "" where nobody knows."""

    id: str
    url: str
    method: str
    listed: str


def place(text: str) -> Place | None:
    """The service that an ID (six letters of it, at least) names, None for a text that is none. Raises SettingsError where it cannot be bought."""
    if not _ID(text):
        return None
    where = os.environ.get("X402_AGENT_CATALOGUE", "")
    if not where and not Settings.load().catalogue_path.exists():
        raise SettingsError(f"{text!r} is not a URL, and there is no catalogue that could have such an ID", rule="URL or ID", hint="x402-agent discover crawl")
    with catalogue(where) as found:
        shown = found.show(text)
    if shown is None:
        raise unknown(text)
    one = shown[0]
    if one.template or one.tool:
        why = "its URL has places to fill in" if one.template else "it is a tool of an MCP server"
        raise SettingsError(f"{one.id} cannot be fetched as it stands: {why}", rule="ID", hint=f"x402-agent discover show {one.id}")
    if not one.payable and one.prices:
        raise SettingsError(f"{one.id} takes no payment that we can make", rule="ID", hint=f"x402-agent discover show {one.id}")
    return Place(one.id, one.url, one.method, dollars(one.micros) if one.micros is not None else "")
