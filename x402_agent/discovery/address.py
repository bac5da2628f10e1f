"""URLs of strangers, as identities: one spelling for what is one place, and a reason for what is none (rows Y2, Y13).

What is private or loopback is the business of `guard` when it is fetched; here stands what can be said of the text alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from ..scopes import plain_path
from .nouns import Identity

__all__ = ["METHODS", "Place", "Refused", "anonymous", "identity", "joined", "place"]

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
MAX_URL = 2_048
_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"(?<=/):[A-Za-z_][A-Za-z0-9_\-]*|\{[^{}/]{1,80}\}|(?<=/)\[[A-Za-z_.][A-Za-z0-9_\-.]*\]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_\-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_\-]*[a-z0-9_])?)*\.?|\[[0-9a-f:.]+\]").fullmatch
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch  # what a URL's host ends in, when it is an IPv4 address (WHATWG)
_PATH = re.compile(r"[!-~]*").fullmatch
_ESCAPED_DOTS = re.compile("%2e|%2f|%5c|%25", re.IGNORECASE).search


class Refused(ValueError):
    """A text that is no place to ask: why, in words that are safe to show."""


class Place(NamedTuple):
    """A URL taken apart: `path` has `{}` for each variable; `shown` is it with their names. `credentials`: there were some, and they are gone."""

    origin: str
    path: str
    shown: str
    query: str
    credentials: bool

    @property
    def url(self) -> str:
        """What can be asked; of a template, what people read."""
        return f"{self.origin}{self.shown}{f'?{self.query}' if self.query else ''}"


@lru_cache(maxsize=4096)
def place(url: str) -> Place:
    """The place that a text names. Raises Refused: no http, no host, too long, not ASCII, a path that climbs."""
    if len(url) > MAX_URL:
        raise Refused(f"a URL of {len(url)} characters")
    if not _PATH(url):
        raise Refused("a URL with spaces, control characters or letters outside ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("not a URL") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise Refused("neither http nor https")
    if "\\" in parts.netloc:
        raise Refused("a host that others read otherwise")
    host = _host(parts.hostname or "")
    if port == 0:
        raise Refused("port 0")
    named = f"[{host}]" if ":" in host else host
    origin = f"{scheme}://{named}" + ("" if port in (None, _PORTS[scheme]) else f":{port}")
    shown, path = _path(parts.path)
    return Place(origin, path, shown, parts.query, "@" in parts.netloc)


@lru_cache(maxsize=4096)
def _host(host: str) -> str:
    bare = f"[{host}]" if ":" in host else host
    host = host.rstrip(".")
    if not _HOST(bare) or len(host) > 253 or any(len(each) > 63 for each in host.split(".")):
        raise Refused("no host" if not host else "a host that no resolver knows")
    if ":" not in host and not _NUMBER(host.rpartition(".")[2]):
        return host
    try:  # one address has one spelling: 0177.1 and ::ffff:127.1 would each be a place of its own
        return str(ip_address(host))
    except ValueError:
        raise Refused("an address in an odd spelling") from None


def _path(path: str) -> tuple[str, str]:
    """As shown, and as compared: dots resolved, no slash at the end, `{}` for each variable. Raises Refused."""
    templated = _VARIABLE.search(path) is not None
    if templated and (".." in path or "//" in path or "\\" in path or _ESCAPED_DOTS(path)):
        raise Refused("a template whose path climbs or hides what it says")
    shown = plain_path(path) if path else "/"
    shown = shown if shown == "/" else shown.rstrip("/") or "/"
    return shown, (_VARIABLE.sub("{}", shown) if templated else shown)


def joined(base: str, url: str) -> str:
    """A link as it stands on a page. Raises Refused."""
    try:
        return urljoin(base, url)
    except ValueError:
        raise Refused("not a URL") from None


def anonymous(url: str) -> str:
    """A URL without the user and password that stand in it (Y13). Raises ValueError."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def identity(url: str, method: str = "GET", tool: str = "") -> tuple[Identity, Place]:
    """Who a row is about. Raises Refused."""
    found, verb = place(url), method.upper()
    if verb not in METHODS:
        raise Refused("a method that buys nothing")
    return Identity(found.origin, verb, found.path, tool), found
