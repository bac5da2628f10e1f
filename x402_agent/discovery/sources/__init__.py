"""How catalogues are read: one plug-in for each kind, without I/O. Others' come by the entry points `x402_agent.sources`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import SettingsError
from .bazaar import Bazaar
from .openapi import OpenApi
from .paywall import AnyUrl, Paywall
from .plain import LlmsTxt, Urls, X402Pay
from .registries import Mpp, Satring
from .wellknown import WellKnown

if TYPE_CHECKING:
    from ..nouns import Source

__all__ = ["DOORS", "GROUP", "PUBLIC", "builtin", "known", "resolved"]

GROUP = "x402_agent.sources"
DOORS = ("well-known", "openapi", "bazaar", "llms", "402")  # where a site may say what it sells
_BAZAAR = ("/x402", "/discovery", "/discovery/resources", "/discovery/search", "/discovery/merchant")
PUBLIC = (  # free and without a key, as their documentation said in 2026
    "bazaar=https://api.cdp.coinbase.com/platform/v2/x402",
    "bazaar=https://facilitator.payai.network",
    "mpp=https://mpp.dev",
    "satring=https://satring.com",
)


def builtin() -> dict[str, Source]:
    """Our own, by name."""
    return {each.name: each for each in (Bazaar(), WellKnown(), OpenApi(), Mpp(), Satring(), LlmsTxt(), X402Pay(), Urls(), Paywall(), AnyUrl())}


def known() -> dict[str, Source]:
    """Our own and those that are installed. Raises SettingsError for one that cannot be loaded, or takes a name of ours."""
    found = builtin()
    for each in entry_points(group=GROUP):
        try:
            made = each.load()()
        except Exception as why:
            raise SettingsError(f"the source {each.name!r} cannot be loaded: {type(why).__name__}", rule=f"entry point {GROUP}", hint="uninstall it, or mend it") from why
        if each.name in found:
            raise SettingsError(f"two sources are called {each.name!r}", rule=f"entry point {GROUP}", hint="uninstall one of them")
        found[each.name] = made
    return found


def resolved(said: str) -> list[tuple[str, str]]:
    """`name=URL` or a URL alone, as `crawl --source` takes them: -> the source's name and where it is; of a site that is given alone, each of DOORS.

    What a URL alone is, its ending says, else its answer. Raises SettingsError.
    """
    name, equals, where = said.partition("=")
    try:
        named = "@" in urlsplit(where if equals and "://" not in name else said).netloc
    except ValueError:
        raise SettingsError("what --source names is no URL", rule="--source NAME=URL", hint="--source https://host/path") from None
    if named:
        raise SettingsError("a catalogue is asked without user and password", rule="--source", hint="the same URL without what stands before the @")
    explicit = bool(equals) and "://" not in name and "/" not in name
    if not (where if explicit else said).lower().startswith(("http://", "https://")) and (not explicit or name in known()):
        raise SettingsError("what --source names is no URL of http or https", rule="--source NAME=URL", hint="--source https://host/path")
    if explicit:
        if name not in (names := known()):
            raise SettingsError(f"no source is called {name!r}", rule="--source NAME=URL", hint=f"one of {', '.join(names)}")
        return [(name, where)]
    path = urlsplit(said).path.rstrip("/")
    if not path and not urlsplit(said).query:
        return [(kind, said) for kind in DOORS]
    for ending, kind in (("/llms.txt", "llms"), ("/api/services", "mpp"), ("openapi.json", "openapi"), ("/discovery/items", "x402pay")):
        if path.endswith(ending):
            return [(kind, said)]
    if "/.well-known/" in path:
        return [("well-known", said)]
    return [("bazaar" if path.endswith(_BAZAAR) else "url", said)]
