"""Where a crawl stops whatever it is told (Y3), and what each host is spared, measured where it hurts: in the servers."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from loopback import Seller
from market import HASTY, row
from x402_agent.discovery import fetch, lines
from x402_agent.discovery.crawler import Caps
from x402_agent.discovery.frontier import Entry, host_of
from x402_agent.discovery.polite import Manners

RESOURCES = "/x402/discovery/resources"
LIMITS = Manners(rate=50, at_once=3, jitter=0, in_all=24)


@pytest.fixture
def sellers():
    made = [Seller() for _ in range(10)]
    yield made
    for each in made:
        each.close()


def test_two_hundred_targets_of_ten_hosts_are_asked_within_the_limits_of_each(market, sellers, monkeypatch):
    lock, busy, most = threading.Lock(), Counter(), Counter()
    begun = defaultdict(list)
    slow = {each.origin for each in sellers[:5]}  # the others are held by the rate alone
    get, here, told = fetch.get, threading.get_ident(), [0.0]

    def clock():
        now = time.time()
        if threading.get_ident() == here:
            told[0] = now
        return now

    async def noted(clients, url, *args, **options):
        begun[host_of(url)].append(told[0])  # what the crawler took for the time
        return await get(clients, url, *args, **options)

    def sold(hit, name):
        with lock:
            busy[name] += 1
            busy["all"] += 1
            most[name], most["all"] = max(most[name], busy[name]), max(most["all"], busy["all"])
        if name in slow:
            time.sleep(0.1)  # five would begin meanwhile if the rate alone held them
        with lock:
            busy[name] -= 1
            busy["all"] -= 1
        return each.ask("/sold", 1000)

    for each in sellers:
        each.routes.update({f"/{n}": lambda hit, name=each.origin: sold(hit, name) for n in range(20)})
    market.page, market.rows = 200, [row(each.url(f"/{n}")) for n in range(20) for each in sellers]
    monkeypatch.setattr(fetch, "get", noted)
    market.now = clock
    report = market.crawl(probes=1000, manners=LIMITS)
    assert report.verdicts == {"live-402": 200}
    assert {most[name] for name in slow} == {LIMITS.at_once}
    assert max(most[each.origin] for each in sellers) == LIMITS.at_once and most["all"] <= LIMITS.in_all
    for each in sellers:
        times = begun[host_of(each.origin)]
        assert len(times) == 21 == len(each.hits)  # robots.txt is one of them
        assert min(later - before for before, later in pairwise(times)) >= 1 / LIMITS.rate - 1e-6


def test_a_host_that_waits_is_not_looked_at_for_the_sake_of_others(monkeypatch):
    """Ten thousand hosts: what happens at one of them costs the same as if it were alone."""
    waiting = lines.Lines(Manners(rate=1, jitter=0, in_all=10**9))
    for n in range(10_000):
        waiting.add(Entry(f"{n}", "r", "urls", f"http://h{n}.example/", "GET", f"h{n}.example", {}, 1, 500.0))
    assert list(waiting.turns(400.0, 99)) == []
    looked = []
    turn = waiting._turn
    monkeypatch.setattr(waiting, "_turn", lambda host, line, now: looked.append(host.name) or turn(host, line, now))
    waiting.add(Entry("x", "r", "urls", "http://h7.example/x", "GET", "h7.example", {}, 1, 0.0))
    waiting.add(Entry("y", "r", "urls", "http://new.example/", "GET", "new.example", {}, 1, 0.0))
    (made,) = waiting.turns(450.0, 99)
    assert made.host.name == "new.example" and set(looked) == {"h7.example", "new.example"}
    assert waiting.wait(499.0) == 1.0
    assert len(list(waiting.turns(500.0, 99))) == 99
    assert len(looked) < 300


@pytest.mark.parametrize(("caps", "word"), [(Caps(rows=5), "rows"), (Caps(bytes=1500), "bytes")])
def test_Y3_caps_of_rows_and_bytes_end_a_crawl_and_the_next_one_goes_on(market, caps, word):
    market.rows = [row(f"https://a{n}.example/w") for n in range(20)]
    report = market.crawl(caps=caps, manners=HASTY)
    assert any(f"cap of {word} is reached" in each for each in report.failed) and not report.whole
    assert 5 <= report.rows <= 8 if word == "rows" else len(market.asked(RESOURCES)) <= 4
    rest = market.crawl()
    assert (rest.number, rest.services, rest.whole) == (report.number, 20, True)


def test_Y3_a_page_is_read_no_further_than_its_cap(market):
    sent = []

    def endless(hit):
        yield b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n"
        for _ in range(200):
            sent.append(1)
            yield b" " * (1 << 20)

    market.seller.routes[RESOURCES] = endless
    report = market.crawl()
    assert "more than" in report.failed[0] and "MiB" in report.failed[0]
    assert len(sent) < 100 and report.bytes < 20 << 20
