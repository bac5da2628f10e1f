"""A crawl over loopback: pages, passes, manners, and what hostile catalogues try."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

import nursery
from market import HASTY, row
from x402_agent.discovery.crawler import Caps
from x402_agent.discovery.frontier import Entry, Frontier
from x402_agent.discovery.polite import Manners
from x402_agent.guard import Guard


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_row_once_and_found_again(market, backend):
    market.rows = [row(f"https://a{n}.example/w", 1000 * (n + 1)) for n in range(5)]
    report = market.crawl(backend=backend)
    assert (report.rows, report.changed, report.services, report.whole, report.pages) == (5, 5, 5, True, 4)
    found = market.search("weather city")
    assert {each.url for each in found} == {each["resource"] for each in market.rows}
    assert [each.url for each in market.search("weather", most=2000, limit=9)] == [each.url for each in found if each.micros <= 2000]
    assert market.search("nothing") == []
    assert [event["event"] for event in report.told][-1] == "done"


def test_the_second_pass_reads_nothing_that_has_not_changed(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(5)]
    market.crawl()
    report = market.crawl()
    assert (report.number, report.unchanged, report.pages, report.rows, report.changed) == (2, 4, 4, 5, 0)
    market.rows[2] = row("https://a2.example/w", 77)
    report = market.crawl()
    assert (report.unchanged, report.changed) == (3, 1)
    assert [each.micros for each in market.search("weather") if each.url == "https://a2.example/w"] == [77]


def test_what_a_server_says_has_not_changed_is_not_sent_again(market):
    url = market.seller.url("/x402/discovery/resources")
    body = market.json({"items": [row("https://a.example/w")]}, etag='"v1"')
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.seller.answer(304) if hit.headers.get("if-none-match") == '"v1"' else body
    market.crawl(("bazaar", url))
    report = market.crawl(("bazaar", url))
    assert (report.unchanged, report.rows, report.services) == (1, 1, 1)


def test_gone_after_passes_and_not_after_one(market):
    market.rows = [row("https://a.example/w"), row("https://b.example/w")]
    market.crawl()
    del market.rows[1]
    for missed in range(1, 6):
        market.crawl()
        found = {each.url: each for each in market.search("weather", every=True)}
        if missed < 5:
            assert ("gone" in found["https://b.example/w"].suspicious) == (missed >= 3)
        else:
            assert set(found) == {"https://a.example/w"}
    market.rows.append(row("https://b.example/w"))
    market.crawl()
    assert len(market.search("weather")) == 2


def test_a_pass_that_failed_makes_nothing_missing(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(4)]
    market.crawl()
    route = market.seller.routes["/x402/discovery/resources"]
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.seller.answer(500) if "offset=2" in hit.path else route(hit)
    report = market.crawl(manners=Manners(rate=10_000, tries=1))
    assert not report.whole
    assert all(not each.suspicious for each in market.search("weather", every=True))


def test_two_sources_of_one_thing_are_one_row_that_shows_both(market):
    url = "https://a.example/w"
    market.rows = [row(url, 1000)]
    dearer = {**row(url)["accepts"][0], "amount": "5000"}
    market.text("/.well-known/x402", json.dumps({"products": [{"url": "https://A.example:443/w/", "accepts": [dearer]}]}))
    mirror = market.seller.url("/.well-known/x402").replace("127.0.0.1", "localhost")
    market.crawl(("bazaar", market.seller.url("/x402")), ("well-known", mirror))
    (found,) = market.search("weather", every=True)
    assert len(found.sources) == 2
    assert "prices-differ" in found.suspicious
    assert "listed by 2 sites (+30)" in found.why
    assert len(market.show(found.id[:6])[1]) == 2


def test_what_one_site_says_on_many_pages_counts_once(market):
    """A seller cannot lift itself by pages of its own."""
    market.rows = [row("https://a.example/w")]
    market.text("/.well-known/x402", json.dumps({"products": [{"url": "https://a.example/w"}]}))
    market.text("/list.txt", "https://a.example/w\n")
    market.crawl(("bazaar", market.seller.url("/x402")), *((kind, market.seller.url(path)) for kind, path in (("well-known", "/.well-known/x402"), ("urls", "/list.txt"))))
    (found,) = market.search("weather", every=True)
    assert len(found.sources) == 3
    assert not [each for each in found.why if "sites" in each]


def test_one_source_that_names_two_payees_is_not_believed_either_way(market):
    url = "https://a.example/w"
    market.rows = [row(url), row("https://x.example/"), row(url, accepts=[{**row(url)["accepts"][0], "payTo": "0x" + "cd" * 20}])]
    market.crawl()
    (found,) = [each for each in market.search("weather", every=True) if each.url == url]
    assert {"payees-differ", "listed-twice"} <= set(found.suspicious)


# -- manners -----------------------------------------------------------------------------------------------------------


def test_robots_txt_is_obeyed(market):
    market.rows = [row("https://a.example/w")]
    market.text("/robots.txt", "User-agent: *\nDisallow: /x402/\n")
    report = market.crawl()
    assert report.failed == [f"{market.seller.url('/x402/discovery/resources?limit=100&offset=0')}: its robots.txt says no"]
    assert market.asked("/x402/discovery/resources") == []
    assert len(market.asked("/robots.txt")) == 1


def test_a_rate_is_kept_exactly(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(16)]
    began = time.monotonic()
    market.crawl(manners=Manners(rate=20, at_once=8, jitter=0))
    assert len(market.asked("/x402/discovery/resources")) == 9
    assert time.monotonic() - began >= 8 / 20


def test_retry_after_is_waited_for(market):
    market.rows = [row("https://a.example/w")]
    route, times = market.seller.routes["/x402/discovery/resources"], []

    def busy(hit):
        times.append(time.monotonic())
        return market.seller.answer(429, retry_after="1") if len(times) == 1 else route(hit)

    market.seller.routes["/x402/discovery/resources"] = busy
    report = market.crawl(manners=Manners(rate=10_000, tries=3))
    assert report.whole
    assert times[1] - times[0] >= 0.95


def test_who_refuses_for_ever_is_left_alone(market):
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.seller.answer(429)
    report = market.crawl(manners=Manners(rate=10_000, tries=2))
    assert len(market.asked("/x402/discovery/resources")) == 2
    assert "answered 429" in report.failed[0]


def test_one_that_hangs_holds_nobody_up(market, tmp_path):
    from loopback import Seller

    other = Seller()
    other.routes["/x402/discovery/resources"] = lambda hit: iter([b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n", *_never(other)])
    try:
        market.rows = [row(f"https://a{n}.example/w") for n in range(9)]
        report = market.crawl(("bazaar", market.seller.url("/x402")), ("bazaar", other.url("/x402")), caps=Caps(answer=1.5), manners=Manners(rate=10_000, tries=1))
    finally:
        other.stop.set()
        other.close()
    assert report.services == 9
    assert [each for each in report.failed if "TimeoutError" in each]


def _never(seller):
    while not seller.stop.wait(0.2):
        yield b""


# -- what hostile catalogues try -----------------------------------------------------------------------------------------


def test_a_cycle_of_cursors_ends(market):
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.json({"items": [row("https://a.example/w")], "pagination": {"cursor": "b" if "cursor=a" in hit.path else "a"}})
    report = market.crawl()
    assert report.services == 1
    assert len(market.asked("/x402/discovery/resources")) <= 4


def test_the_same_page_for_ever_ends(market):
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.json({"items": [row("https://a.example/w")], "pagination": {"offset": 0, "total": 9}})
    report = market.crawl()
    assert len(market.asked("/x402/discovery/resources")) == 2
    assert report.services == 1


def test_pages_without_end_are_capped(market):
    market.page, market.rows = 1, [row(f"https://a{n}.example/w") for n in range(50)]
    report = market.crawl(caps=Caps(pages=7))
    assert len(market.asked("/x402/discovery/resources")) == 7
    assert any("more than 7 pages" in each for each in report.failed)
    assert not report.whole


def test_addresses_that_are_not_public_are_never_asked(market):
    inside = market.text("/inside", "{}")
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.seller.answer(302, location=inside)
    report = market.crawl(guard=Guard())
    assert "public addresses alone" in report.failed[0]
    assert market.seller.hits == []


def test_a_redirect_is_fetched_in_its_own_turn_and_not_for_ever(market):
    market.rows = [row("https://a.example/w")]
    there = market.seller.url("/x402/discovery/resources?limit=100&offset=0")
    market.text("/old", "", 301, location=there)
    assert market.crawl(("bazaar", market.seller.url("/old/discovery/resources"))).services == 0
    market.text("/old/discovery/resources", "", 301, location=there)
    assert market.crawl(("bazaar", market.seller.url("/old/discovery/resources"))).services == 1
    market.seller.routes["/round/discovery/resources"] = lambda hit: market.seller.answer(302, location=f"/round/discovery/resources?n={len(market.seller.hits)}")
    report = market.crawl(("bazaar", market.seller.url("/round/discovery/resources")))
    assert "moved more than" in report.failed[0]


@pytest.mark.parametrize("body", [b"<html>", b"\x1f\x8bnot gzip", b'{"items":[' + b'{"resource":"https://a.example/' * 500, b"x" * (17 << 20), b"[" * 100_000])
def test_what_cannot_be_read_is_reported_and_not_fatal(market, body):
    market.rows = [row("https://a.example/w")]
    bad = market.text("/bad/discovery/resources", body, **({"content_encoding": "gzip"} if body[:1] == b"\x1f" else {}))
    report = market.crawl(("bazaar", bad), ("bazaar", market.seller.url("/x402")))
    assert report.services == 1
    assert report.failed or report.skipped


def test_a_bomb_inflates_no_further_than_a_page(market):
    import zlib

    maker = zlib.compressobj(9, wbits=31)
    bomb = maker.compress(b"0" * (200 << 20)) + maker.flush()
    report = market.crawl(("bazaar", market.text("/bomb/discovery/resources", bomb, content_encoding="gzip")))
    assert "MiB" in report.failed[0]


CHILD = """
import os, signal, sys
from market import HASTY
import anyio
from x402_agent.discovery import frontier, listed
from x402_agent.discovery.crawler import Crawler
from x402_agent.discovery.store import Store
from x402_agent.guard import Guard
path, url, point = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = [0]
def dying(function):
    def run(*args, **options):
        count[0] += 1
        if count[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    return run
for room, name in ((listed, "keep"), (frontier.Frontier, "done"), (frontier.Frontier, "add"), (frontier.Frontier, "end")):
    setattr(room, name, dying(getattr(room, name)))
anyio.run(Crawler(Store(path), [("bazaar", url)], guard=Guard(loopback=True), manners=HASTY).run)
print(count[0])
"""


@pytest.mark.full
def test_killed_at_any_write_the_next_run_has_the_same_catalogue(market):
    market.rows = [row(f"https://a{n}.example/w", 1000 + n) for n in range(5)]
    whole = nursery.run(CHILD, market.path, market.seller.url("/x402"), 10**6)
    writes, expected = int(whole.stdout), [(each.id, each.micros) for each in market.search("weather")]
    assert writes > 10
    for point in range(1, writes + 1):
        for each in market.path.parent.glob("catalogue.db*"):
            os.unlink(each)
        assert nursery.run(CHILD, market.path, market.seller.url("/x402"), point).returncode == -signal.SIGKILL
        report = market.crawl()
        assert report.number == 1
        assert [(each.id, each.micros) for each in market.search("weather")] == expected


# -- a look at what is listed ------------------------------------------------------------------------------------------------


def test_probes_say_what_is_live_and_whether_it_agrees(market):
    sold = {"/agrees": 10_000, "/drifts": 99_000, "/free": 0, "/gone": 0, "/gate": 0, "/moved": 0}
    for path, amount in sold.items():
        if amount:
            market.seller.routes[path] = lambda hit, amount=amount, path=path: market.seller.ask(path, amount)
    market.text("/free", "hello")
    market.text("/gone", "", 410)
    market.text("/gate", "", 422)
    market.text("/moved", "", 302, location="https://elsewhere.example/")
    market.rows = [row(market.seller.url(path)) for path in sold]
    market.rows.append(row(market.seller.url("/agrees2"), accepts=[{**row("")["accepts"][0], "amount": "10000", "payTo": "0x" + "cd" * 20}]))
    market.seller.routes["/agrees2"] = lambda hit: market.seller.ask("/agrees2", 10_000)
    report = market.crawl(probes=100)
    assert report.probed == 7
    found = {each.url.removeprefix(market.seller.origin): each for each in market.search("weather", every=True)}
    assert {path: each.verdict for path, each in found.items()} == {
        "/agrees": "live-402", "/drifts": "live-402", "/agrees2": "live-402", "/free": "free", "/gone": "dead", "/gate": "gate-after-validation", "/moved": "redirect"}  # fmt: skip
    assert {path: each.agreement for path, each in found.items() if each.agreement} == {"/agrees": "agreement", "/drifts": "drift", "/agrees2": "conflict"}
    assert found["/drifts"].micros == 99_000
    assert next(iter(found)) == "/agrees"
    assert all("payment" not in hit.headers and "x-payment" not in hit.headers for hit in market.seller.hits)
    again = market.crawl(probes=100)
    assert again.probed == 0


def test_a_listing_that_leads_inside_is_hostile_and_never_asked(market):
    market.rows = [row("http://127.0.0.1:9/x"), row("http://169.254.169.254/latest"), row("http://[::ffff:10.0.0.1]/"), row("https://inside.example/x")]
    report = market.crawl(probes=10, guard=Guard(loopback=True, resolve=lambda host, port: ["10.1.2.3"]), manners=HASTY)
    assert report.verdicts == {"hostile": 4}
    assert not [each for each in market.search("weather") if each.verdict == "hostile"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_what_may_change_something_is_never_probed(market, method):
    market.rows = [row(market.seller.url("/w"), extensions={"bazaar": {"info": {"input": {"type": "http", "method": method}}}})]
    assert market.crawl(probes=10).probed == 0
    assert not market.asked("/w")


def test_a_service_without_words_is_found_by_its_path(market):
    market.text("/list.txt", "https://a.example/v1/joke\n")
    market.crawl(("urls", market.seller.url("/list.txt")))
    assert [each.url for each in market.search("joke")] == ["https://a.example/v1/joke"]


def test_a_page_that_another_crawl_has_done_keeps_what_follows_it(market):
    """Two at once on one catalogue: the one that comes late takes the other's page for a cycle, and the next pass still finds all."""
    market.rows = [row(f"https://s{n}.example/w") for n in range(5)]
    market.crawl()
    store = market.store()
    try:
        with store.writing() as db:
            db.rows("update passes set ended = null")
        late = Frontier(store)
        with store.reading() as db:
            name = db.one("select id from frontier where url like '%offset=0'")["id"]
        entry = Entry(name, "", "bazaar", "", "GET", "", {}, 1)
        with store.writing() as db:
            late.done(db, entry, why="the same page again: nothing new follows it", digest="x")
            late.failed(db, entry, "answered 500")
        late.end(1)
    finally:
        store.close()
    assert (market.crawl().unchanged, {each.why for each in market.search() if any("missing" in words for words in each.why)}) == (4, set())
