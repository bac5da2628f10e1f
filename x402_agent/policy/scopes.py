"""What a budget may be about, as people write it and as `model.scopes_of` names it. A name no request could match is refused."""

from __future__ import annotations

import re
import shlex

from .. import assets
from ..errors import SettingsError
from ..scopes import DEEPEST, plain_path

__all__ = ["EACH", "KINDS", "flag", "host", "scope"]

KINDS = ("all", "group", "agent", "task", "tool", "category", "host", "origin", "path", "payee", "asset")
EACH = ("host", "origin", "payee", "asset", "agent", "group", "task", "tool", "category")
_HOST = re.compile(r"(?:(?:https?|mcp)://)?(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?|[0-9a-f:.]+").fullmatch
_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f,](?:[^\x00-\x1f\x7f-\x9f,]{0,98}[^\x00-\x20\x7f-\x9f,])?").fullmatch
_ACCOUNT = re.compile(r"[A-Za-z0-9.-]{3,128}", re.ASCII).fullmatch
_EVM = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII).fullmatch


def host(name: str, place: str, *, alone: bool = False) -> str:
    """A host as requests have it: lower case, no final dot or slash, no port that goes without saying; raises SettingsError.

    An origin (`https://a.example`) is one too, unless it must stand `alone`.
    """
    found = name.lower().removesuffix("/")
    found = re.sub(r"^(http://.*):80$|^(https://.*):443$|^([^:]+):443$", r"\1\2\3", found).rstrip(".")
    if not _HOST(found) or (alone and ("/" in found or found.count(":") == 1 or "[" in found)):
        raise SettingsError(f"no request goes to a host called {name[:80]!r}", rule=place,
                            hint="a.example, in ASCII (xn--…), without path or *")  # fmt: skip
    return found


def scope(text: str, place: str = "") -> str:
    """The scope that people mean by `host:API.example.com`, `payee:0x…`, `asset:USDC`, `each:host`; raises SettingsError."""
    kind, colon, name = text.strip().partition(":")
    if kind == "all" and not colon:
        return "all"
    if kind == "each" and name in EACH:
        return f"each:{name}"
    made = None
    if kind == "host":
        made = host(name, place, alone=True)
    elif kind == "origin":
        made = _origin(name, place)
    elif kind == "path":
        made = _path(name, place)
    elif kind == "payee":
        made = _payee(name)
    elif kind == "asset":
        made = _asset(name)
    elif kind in KINDS[1:]:
        made = name if _NAME(name) and not (kind == "task" and (name.count("/") >= DEEPEST or "" in name.split("/"))) else None
    if made is None:
        raise SettingsError(f"no payment belongs to {text[:120]!r}", rule=place, hint=_HINTS.get(kind) or f'"{_EXAMPLES}"')
    return f"{kind}:{made}"


_EXAMPLES = "all, agent:research, host:api.example.com, payee:0x…, asset:USDC, each:host"
_HINTS = {
    "each": f"each:{', each:'.join(EACH)}",
    "payee": "payee:0x…, or on one network payee:base/0x…",
    "asset": "asset:USDC, or asset:eip155:8453/erc20:0x…, as in assets.toml",
    "path": "path:https://api.example.com/v1",
    "origin": "origin:https://api.example.com",
}


def flag(scope: str) -> str:
    """The option of `x402-agent budget set` that means this scope, "" for all."""
    kind, _, name = scope.partition(":")
    return "" if kind == "all" else f" --{kind} {shlex.quote(name)}"


def _origin(name: str, place: str) -> str | None:
    return host(name, place) if name.lower().startswith(("https://", "http://", "mcp://")) else None


def _path(name: str, place: str) -> str | None:
    """An origin and whole segments below it, spelt as `scopes_of` spells them."""
    scheme, _, rest = name.partition("://")
    where, _, path = rest.partition("/")
    origin = _origin(f"{scheme}://{where}", place)
    plain = plain_path("/" + path.partition("?")[0]).strip("/")
    if origin is None or not plain or plain.count("/") >= DEEPEST or not plain.isascii() or "#" in path or "?" in path:
        return None
    return f"{origin}/{plain}"


def _payee(name: str) -> str | None:
    where, slash, account = name.rpartition("/")
    if not _ACCOUNT(account):
        return None
    if not slash:
        return account.lower() if _EVM(account) else None if account.startswith("0x") else account
    network = assets.network(where)
    if network is None or (network.namespace == "eip155" and not _EVM(account)):
        return None
    return f"{network.id}/{account.lower() if network.namespace == 'eip155' else account}"


def _asset(name: str) -> str | None:
    return name if assets.asset_by_id(name) or any(each.symbol == name for each in assets.assets()) else None
