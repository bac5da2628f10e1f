"""How a URL may be spelt: http or https, nobody's password, a host that every reader reads alike, a port that serves HTTP."""

from __future__ import annotations

import re
from typing import Any

from ..errors import AddressRefused
from .addresses import address

__all__ = ["checked", "refused", "shown"]

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z", re.IGNORECASE)
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
# Above 1023 whatever speaks another protocol there (WHATWG Fetch, "bad port"), and databases and daemons that would take a request for commands.
_OTHERS = frozenset(
    {1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5672, 5900, 5984, 6000, 6379, 6566, 6665,
     6666, 6667, 6668, 6669, 6679, 6697, 9042, 9200, 9300, 10080, 10250, 11211, 27017, 27018}
)  # fmt: skip


def shown(text: str) -> str:
    """Somebody else's name in words of ours: ASCII, one line, at most 100 characters."""
    return ascii(text[:100])[1:-1]


def refused(what: str, rule: str, hint: str = "ask for a public http or https address by its name") -> AddressRefused:
    """The error for an address that is not asked."""
    return AddressRefused(what, rule=rule, hint=hint)


def checked(url: Any) -> None:
    """Judge a URL of httpx or httpx2, without looking up its name. Raises AddressRefused."""
    scheme, host = url.raw_scheme.decode("latin-1"), url.raw_host.decode("latin-1")
    if scheme not in _PORTS:
        raise refused(f"{shown(scheme) or 'a URL without a scheme'} is not asked", "the scheme is http or https")
    if url.userinfo:
        raise refused(f"{shown(host)} was not asked: its URL names a user", "no user or password in a URL", "leave out what stands before the @")
    _host(host)
    port = _PORTS[scheme] if url.port is None else url.port
    if port not in (80, 443) and not (1023 < port < 65536 and port not in _OTHERS):
        raise refused(f"{shown(host)}:{port} was not asked", "ports are 80, 443, and those above 1023 that no other protocol has")


def _host(host: str) -> None:
    """An address written plainly, or labels of letters that do not end in a number, which resolvers read as an address."""
    if address(host) is not None:
        return
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise refused(f"{shown(host) or 'a URL without a host'} was not asked", "a host is a name of letters, digits and hyphens, or a plain address")
    if _NUMBER.match(labels[-1]):
        raise refused(f"{shown(host)} was not asked", "a host that ends in a number is a plain address: four decimals, no other spelling")
