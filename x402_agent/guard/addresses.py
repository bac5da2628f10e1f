"""Which addresses are the public internet: all that IANA's special-purpose registries name otherwise is refused (RFC 6890).

A table of our own: Python's `is_global` has changed between versions, and a guard that differs by interpreter is none.
"""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LOOPBACK", "address", "refusal"]

LOOPBACK = "loopback"
_V4 = (
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", LOOPBACK),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
    ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
    ("168.63.129.16/32", "a cloud's own host"),
    ("192.0.0.0/24", "kept for protocols"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "a relay of 6to4"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
_V6 = (
    ("::/128", "unspecified"),
    ("::1/128", LOOPBACK),
    ("::/96", "an IPv4 address inside (IPv4-compatible)"),
    ("::ffff:0:0/96", "an IPv4 address inside (IPv4-mapped)"),
    ("::ffff:0:0:0/96", "an IPv4 address inside (IPv4-translated)"),
    ("64:ff9b::/96", "an IPv4 address inside (NAT64)"),
    ("64:ff9b:1::/48", "an IPv4 address inside (NAT64)"),
    ("2001::/32", "an IPv4 address inside (Teredo)"),
    ("2002::/16", "an IPv4 address inside (6to4)"),
    ("2001::/23", "kept for protocols"),
    ("2001:db8::/32", "documentation"),
    ("3ffe::/16", "given back"),
    ("3fff::/20", "documentation"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_GLOBAL = IPv6Network("2000::/3")  # all that was ever given out (RFC 4291, IANA): the rest is reserved
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # the upper half of an interface id that ends in an IPv4 address (RFC 5214)


@cache
def _table(version: int) -> tuple[tuple[IPv4Network | IPv6Network, str], ...]:
    rows: Iterable[tuple[str, str]] = _V4 if version == 4 else _V6
    return tuple((ip_network(text), rule) for text, rule in rows)


def address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that is written here plainly, None for any other text: short, octal and hexadecimal forms are no address."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def refusal(found: IPv4Address | IPv6Address) -> str:
    """Why this address is not the public internet, "" where it is. `LOOPBACK` begins the answer for this machine itself."""
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        return "it names an interface (a zone id)"
    for network, rule in _table(found.version):
        if found in network:
            return f"{rule} ({network})"
    if isinstance(found, IPv6Address):
        if found not in _GLOBAL:
            return "reserved"
        if (int(found) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "an IPv4 address inside (ISATAP)"
    return ""
