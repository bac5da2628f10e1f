"""Who an origin really is. Names are compared whole and in punycode; one made to look like another is not paid (O8)."""

from __future__ import annotations

import ipaddress
import unicodedata
from functools import lru_cache

__all__ = ["is_loopback", "look_alike"]

_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "GEORGIAN", "HEBREW", "ARABIC", "THAI")
_TWINS = frozenset("асԁеһіјӏорԗԛѕԝхуъьҽпгѵѡαικνρυωηοτοսօհոցզ")  # drawn like Latin letters


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """localhost, *.localhost (RFC 6761), 127.0.0.0/8 and ::1."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def look_alike(host: str) -> str:
    """Why a host name may pass for another one, or "": letters of several scripts, or none but twins of Latin ones."""
    for label in host.split(".") if "xn--" in host else ():
        if not label.startswith("xn--"):
            continue
        try:
            shown = label[4:].encode("ascii").decode("punycode")
        except UnicodeError:
            return f"{label} is no name that can be read"
        if unicodedata.normalize("NFKC", shown) != shown or not all(map(_is_plain, shown)):
            return f"{label} has letters that no domain name may have"
        scripts = {script for char in shown for script in _SCRIPTS if unicodedata.name(char, "").startswith(script)}
        if len(scripts) > 1:
            return f"{label} mixes letters of {' and '.join(sorted(each.title() for each in scripts))}"
        native = host.rpartition(".")[2].startswith("xn--")
        if scripts and scripts != {"LATIN"} and not native and all(char in _TWINS for char in shown if char.isalpha()):
            return f"{label} has only letters that look like Latin ones"
    return ""


def _is_plain(char: str) -> bool:
    return unicodedata.category(char) in ("Ll", "Lo", "Lm", "Mn", "Mc", "Nd") or char == "-"
