"""Discovery: what is for sale, from every catalogue, in one local one. It has no signer, and cannot import one (row Y9)."""

from __future__ import annotations

from .nouns import Fetch, Found, Identity, Listing, Page, Priced, Skip, Source

__all__ = ["Fetch", "Found", "Identity", "Listing", "Page", "Priced", "Skip", "Source"]
