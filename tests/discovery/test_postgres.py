"""The same catalogue on PostgreSQL: the same answers, row for row."""

from __future__ import annotations

import anyio
import pytest

from market import HASTY, row
from pgserver import postgres
from x402_agent.discovery import Came, Catalogue, Crawler, Guard, Past, Store

pytestmark = pytest.mark.full


def answers(url, market):
    store = Store(url)
    try:
        made = []
        for _ in range(2):
            anyio.run(Crawler(store, [("bazaar", market.seller.url("/x402"))], guard=Guard(loopback=True), manners=HASTY, probes=9).run)
        catalogue = Catalogue(store)
        found = catalogue.search("weather city", every=True)
        for each in (found, catalogue.search("weath", most=2000), catalogue.search(live=True), catalogue.search("weather", network="eip155:84532", limit=2)):
            made.append([(one.id, one.micros, one.verdict, one.agreement, one.points, one.why, one.suspicious) for one in each])
        catalogue.past = (Past("ours", lambda since: [Came("p1", found[0].method, found[0].url, "spent", 5, 1.0)]),)
        shown, listings, probes = catalogue.show(found[0].id)
        made.append((shown.points, shown.why, len(listings), len(probes)))
        made.append([one.id for one in catalogue.every()])
        made.append({name: value for name, value in catalogue.facts().items() if name in ("services", "verdicts")})
        return made
    finally:
        store.close()


def test_both_databases_answer_alike(market, tmp_path):
    for n in range(4):
        market.seller.routes[f"/s{n}"] = lambda hit, n=n: market.seller.ask(f"/s{n}", 1000 * (n + 1))
    market.rows = [row(market.seller.url(f"/s{n}"), 1000 * (n + 1), description=f"weather of city {n}; it's 100% %s {{}}") for n in range(4)]
    market.rows += [row("https://c.example/{id}/w"), row(market.seller.url("/s1"), 9000), row(market.seller.url("/gone")), 5]
    with postgres() as url:
        there = answers(url, market)
    assert there == answers(str(tmp_path / "one.db"), market)
    assert len(there[0]) == 6
