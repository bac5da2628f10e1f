"""The scopes that a payment counts in: what policy may limit and the ledger counts. One place says which they are."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Ask, Offer, Under

__all__ = ["DEEPEST", "plain_path", "scopes_of"]

DEEPEST = 16  # segments of a path or task that are scopes of their own
_ESCAPED = re.compile("%([0-9a-fA-F]{2})")


def scopes_of(ask: Ask, offer: Offer) -> tuple[str, ...]:
    """Every scope that paying this offer for this Ask would count in: what policy may limit and the ledger counts.

    `all`, `group:`, `agent:`, `task:` (each name path down to its own), `run:`, `tool:`, `category:`, `host:`,
    `origin:`, `path:ORIGIN/SEGMENTS` (whole segments, the whole path last), `payee:NETWORK/ADDRESS`, `asset:CAIP-19`;
    on all networks together `payee:ADDRESS`, `asset:SYMBOL`.
    """
    asset = offer.asset
    return _scopes(ask.under, ask.host, ask.origin, ask.path, asset.id, asset.symbol, asset.network.id, offer.pay_to)


@lru_cache(maxsize=512)
def _scopes(under: Under, host: str, origin: str, path: str, asset: str, symbol: str, network: str, pay_to: str) -> tuple[str, ...]:
    payee = pay_to.lower() if network.startswith("eip155:") else pay_to
    found = ["all", f"host:{host}", f"origin:{origin}", f"asset:{asset}", f"asset:{symbol}", f"payee:{network}/{payee}", f"payee:{payee}"]
    named = (("group", under.group), ("agent", under.agent), ("tool", under.tool), ("category", under.category))
    found += [f"{kind}:{name}" for kind, names in named if names for name in names.split(",")]
    if under.task:
        found += [f"task:{name}" for name in _prefixes(under.task)]
    found += [f"run:{run}" for run in under.runs]
    found += [f"path:{origin}/{prefix}" for prefix in _prefixes(path.strip("/")) if prefix]
    return tuple(dict.fromkeys(found))


def plain_path(path: str) -> str:
    """A path as servers read it: `/a/../v1//%41` is `/v1/A` (RFC 3986, 6.2.2). Else a budget of a path could be walked around."""
    if "%" in path:
        path = _ESCAPED.sub(_unescaped, path)
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    tail = "/" if kept and parts[-1] in ("", ".", "..") else ""
    return f"/{'/'.join(kept)}{tail}"


def _unescaped(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char.isascii() and (char.isalnum() or char in "-._~") else found[0].upper()


def _prefixes(path: str) -> list[str]:
    """`a/b/c` -> `a`, `a/b`, `a/b/c`; at most the first 16 of them."""
    parts = path.split("/")[:DEEPEST]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
