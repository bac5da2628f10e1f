"""Discovery: what is for sale, from every catalogue, in one local one. It has no signer, and cannot import one (row Y9).

`sources` read catalogues, `crawler` fetches them politely, `probe` asks what they list without paying, `merge` and `rank` make one
service of all that is said of it, `search` answers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .nouns import Fetch, Found, Identity, Listing, Page, Priced, Skip, Source

if TYPE_CHECKING:
    from ..guard import Guard
    from .crawler import Crawler
    from .fleet import Fleet
    from .polite import Caps, Manners
    from .report import Report
    from .search import Came, Catalogue, Past, Result
    from .sources import PUBLIC, known, resolved
    from .store import Store

__all__ = [
    "PUBLIC", "Came", "Caps", "Catalogue", "Crawler", "Fetch", "Fleet", "Found", "Guard", "Identity", "Listing", "Manners", "Page", "Past", "Priced", "Report", "Result", "Skip", "Source",
    "Store", "known", "resolved",
]  # fmt: skip

_WHERE = {
    "Came": ".search", "Caps": ".polite", "Catalogue": ".search", "Crawler": ".crawler", "Fleet": ".fleet", "Guard": "..guard", "Manners": ".polite", "PUBLIC": ".sources", "Past": ".search", "Report": ".report",
    "Result": ".search", "Store": ".store", "known": ".sources", "resolved": ".sources",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What fetches, and what has a database, is loaded when it is used: a question needs no HTTP library."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name], __name__), name)
