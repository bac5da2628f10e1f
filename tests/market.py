"""A catalogue on loopback, and crawls of it."""

from __future__ import annotations

import json

import anyio

from x402_agent.discovery.crawler import Caps, Crawler
from x402_agent.discovery.polite import Manners
from x402_agent.discovery.search import Catalogue
from x402_agent.discovery.store import Store
from x402_agent.guard import Guard

__all__ = ["HASTY", "Market", "row"]

BASE = {"scheme": "exact", "network": "eip155:84532", "payTo": "0x" + "ab" * 20, "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "maxTimeoutSeconds": 60}
HASTY = Manners(rate=10_000, at_once=8, tries=2)


def row(url, amount=10_000, **changes):
    """One of Bazaar v2's rows."""
    made = {"resource": url, "type": "http", "x402Version": 2, "accepts": [{**BASE, "amount": str(amount)}], "description": "weather of a city", "serviceName": "Weather",
            "extensions": {"bazaar": {"info": {"input": {"type": "http", "method": "GET"}}}}, "tags": ["weather"]}  # fmt: skip
    return {**made, **changes}


class Market:
    """A seller of tests/loopback.py that lists `rows`, in pages of `page`."""

    def __init__(self, seller, tmp_path):
        self.seller, self.rows, self.page = seller, [], 2
        self.path = tmp_path / "catalogue.db"
        self.now = None
        seller.routes["/x402/discovery/resources"] = self._resources

    def _resources(self, hit):
        offset = int(dict(each.split("=") for each in hit.path.partition("?")[2].split("&"))["offset"])
        items = self.rows[offset : offset + self.page]
        return self.json({"x402Version": 2, "items": items, "pagination": {"limit": self.page, "offset": offset, "total": 10**6}})

    def json(self, document, **headers):
        return self.seller.answer(200, json.dumps(document).encode(), content_type="application/json", **headers)

    def text(self, path, text, status=200, **headers):
        self.seller.routes[path] = lambda hit: self.seller.answer(status, text.encode() if isinstance(text, str) else text, **headers)
        return self.seller.url(path)

    def store(self):
        return Store(str(self.path), **({"clock": self.now} if self.now else {}))

    def crawl(self, *roots, backend="asyncio", guard=None, **options):
        """-> the report. Without roots, of this market's Bazaar."""
        options = {"manners": HASTY, "caps": Caps(answer=10.0), **options}
        told = []
        store = self.store()
        try:
            crawler = Crawler(store, roots or [("bazaar", self.seller.url("/x402"))], guard=guard or Guard(loopback=True), tell=told.append, **options)
            report = anyio.run(crawler.run, backend=backend)
        finally:
            store.close()
        report.told = told
        return report

    def search(self, *args, **options):
        store = self.store()
        try:
            return Catalogue(store).search(*args, **options)
        finally:
            store.close()

    def show(self, name):
        store = self.store()
        try:
            return Catalogue(store).show(name)
        finally:
            store.close()

    def asked(self, path):
        return [hit for hit in self.seller.hits if hit.path.partition("?")[0] == path]
