"""Whom a crawl waits for, and whom it does not: robots.txt before all else, one line for each host, and no patience without end."""

from __future__ import annotations

import socket
import time

import pytest

from market import HASTY, row
from x402_agent.discovery.crawler import Caps
from x402_agent.discovery.frontier import Entry, host_of
from x402_agent.discovery.lines import PATIENCE, Lines
from x402_agent.discovery.polite import Manners, retry_after, robots

RESOURCES = "/x402/discovery/resources"


def entries(*urls, due=0.0):
    return [Entry(f"{n}", "r", "urls", url, "GET", host_of(url), {}, 1, due) for n, url in enumerate(urls)]


def played(lines, now):
    """-> what happens at once, each turn over as soon as it has begun: (URL, what)."""
    made = []
    for turn in lines.turns(now, 99):
        made.append((turn.entries[0].url, "robots" if turn.learn else turn.why or "asked"))
        lines.over(turn)
        if turn.learn:
            turn.host.site(turn.entries[0].url).moved(turn.entries[0].url, "")
    return made


def test_Y11_nothing_is_asked_before_robots_txt_is_known(market):
    order = []
    market.rows = [row("https://a.example/w")]
    rows = market.seller.routes[RESOURCES]

    def late(hit):
        time.sleep(0.3)
        order.append("robots told")
        return market.seller.answer(200, b"User-agent: *\nDisallow: /secret\n")

    market.seller.routes["/robots.txt"] = late
    market.seller.routes[RESOURCES] = lambda hit: order.append("page asked") or rows(hit)
    market.text("/secret/discovery/resources", "{}")
    report = market.crawl(("bazaar", market.seller.url("/x402")), ("bazaar", market.seller.url("/secret")))
    assert order[:2] == ["robots told", "page asked"] and order.count("robots told") == 1
    assert market.asked("/secret/discovery/resources") == []
    assert [each for each in report.failed if "robots.txt says no" in each]


def test_Y11_robots_txt_takes_a_turn_of_its_own():
    lines = Lines(Manners(rate=2, jitter=0))
    for each in entries("http://a.example/1", "http://a.example/2"):
        lines.add(each)
    assert played(lines, 100.0) == [("http://a.example/1", "robots")]
    assert played(lines, 100.4) == []
    assert played(lines, 100.5) == [("http://a.example/1", "asked")]
    assert played(lines, 100.9) == []
    assert played(lines, 101.0) == [("http://a.example/2", "asked")]
    assert not lines


def test_Y10_the_ports_of_a_victim_are_one_host():
    urls = [f"http://victim.example:{port}/" for port in range(1000, 1100)] + ["https://Victim.example./", "http://victim.example/"]
    assert {host_of(url) for url in urls} == {"victim.example"}
    lines = Lines(Manners(rate=1, jitter=0))
    for each in entries(*urls, "http://other.example/"):
        lines.add(each)
    assert [url for url, _ in played(lines, 100.0)] == [urls[0], "http://other.example/"]
    assert len(played(lines, 100.9)) == 0
    assert len(played(lines, 101.0)) == 2
    assert host_of("http://127.0.0.1:1/") != host_of("http://127.0.0.1:2/")


def test_a_closed_port_says_nothing_of_its_neighbours(market):
    closed = socket.create_server(("127.0.0.1", 0))
    nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
    closed.close()
    market.rows = [row(nobody), row(market.seller.url("/sold"))]
    market.seller.routes["/sold"] = lambda hit: market.seller.ask("/sold", 1000)
    market.crawl(probes=9)
    assert {each.url: each.verdict for each in market.search("weather", every=True)} == {nobody: "dead", market.seller.url("/sold"): "live-402"}


@pytest.mark.parametrize("said", ["86400", "31536000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_who_wants_to_be_left_alone_for_long_is_left_alone_and_holds_nobody(market, said):
    market.seller.routes[RESOURCES] = lambda hit: market.seller.answer(429, retry_after=said)
    market.text("/list.txt", "https://a.example/v1/joke\n")
    began = time.monotonic()
    report = market.crawl(("bazaar", market.seller.url("/x402")), ("urls", market.seller.url("/list.txt")), manners=Manners(rate=10_000, at_once=1, jitter=0))
    assert time.monotonic() - began < PATIENCE / 2
    assert len(market.asked(RESOURCES)) == 1
    assert any("left alone for" in each and RESOURCES in each for each in report.failed)


@pytest.mark.parametrize(("said", "seconds"), [("-5", None), ("soon", None), ("", None), ("1e9", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("١٢", None), ("3", 3.0), ("Mon, 99 Foo 2026", None),
                                              ("31536000", 3600.0), ("9" * 400, 3600.0), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0)])  # fmt: skip
def test_a_time_to_wait_is_a_number_or_a_date_and_an_hour_at_most(said, seconds):
    assert retry_after({"retry-after": said}, 1_000_000.0) == seconds


def test_a_crawl_delay_of_a_day_costs_its_own_source_alone(market):
    market.text("/robots.txt", "User-agent: *\nCrawl-delay: 86400\n")
    market.rows = [row(f"https://a{n}.example/w") for n in range(9)]
    report = market.crawl()
    assert len(market.asked(RESOURCES)) == 1 and report.services == 2
    assert "left alone for" in report.failed[0]


def test_a_robots_txt_that_hangs_or_fails_forbids_its_own_site_alone(market):
    from loopback import Seller

    other = Seller()
    other.routes["/robots.txt"] = lambda hit: other.answer(503)
    try:
        market.rows = [row("https://a.example/w")]
        report = market.crawl(("bazaar", market.seller.url("/x402")), ("bazaar", other.url("/x402")), manners=HASTY)
    finally:
        other.close()
    assert report.services == 1
    assert [hit.path for hit in other.hits] == ["/robots.txt"] * HASTY.tries
    assert any("its robots.txt: robots.txt answered 503" in each for each in report.failed)


def test_a_gigabyte_of_robots_txt_is_read_as_far_as_it_counts(market):
    sent = []

    def endless(hit):
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nUser-agent: *\nDisallow: /x402/\n"
        for _ in range(4096):
            sent.append(1)
            yield b"# " + b"x" * 262_142

    market.seller.routes["/robots.txt"] = endless
    report = market.crawl()
    assert "robots.txt says no" in report.failed[0]
    assert len(sent) < 100


def test_a_robots_txt_that_has_moved_is_followed_on_its_own_host_only(market):
    market.rows = [row("https://a.example/w")]
    market.text("/rules.txt", "User-agent: *\nDisallow: /x402/\n")
    market.text("/robots.txt", "", 301, location="/rules.txt")
    assert "robots.txt says no" in market.crawl().failed[0]
    market.text("/robots.txt", "", 302, location="http://169.254.169.254/robots.txt")
    assert market.crawl().services == 1
    market.text("/robots.txt", "", 302, location="/robots.txt")
    assert market.crawl().whole


def test_no_rules_exhaust_anything():
    rules = robots(b"User-agent: *\n" + b"Disallow: /x*\xff\x00\n" * 50_000)
    assert rules.can_fetch("x402-agent-discovery", "/y") is True


def test_caps_of_time_end_a_crawl_that_would_wait(market):
    market.seller.routes[RESOURCES] = lambda hit: market.seller.answer(503, retry_after="200")
    report = market.crawl(caps=Caps(seconds=0.5, answer=10.0), manners=Manners(rate=10_000))
    assert any("more than 0.5 seconds" in each for each in report.failed)
