"""Workers that share a frontier: one is killed, nothing is lost, and no host is asked more often than one process alone would ask it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import anyio
import pytest

from loopback import Seller
from market import HASTY, Market, row
from pgserver import postgres
from x402_agent import SettingsError
from x402_agent.database import connect
from x402_agent.discovery import Catalogue, Crawler, Fleet, Guard, Manners, Store

INTERVAL = 0.2
WORKER = """
import sys, anyio, json
from x402_agent.discovery import Fleet, Guard, Manners, Store
store = Store(sys.argv[1])
made = Fleet(store, [("bazaar", each) for each in sys.argv[3:]], guard=Guard(loopback=True), manners=Manners(rate=float(sys.argv[2]), at_once=1, tries=2), probes=500, beat=1.0)
print(json.dumps(anyio.run(made.run).as_dict()))
"""
WATCHED = """
create table granted (host text, at double precision, free double precision);
create function note() returns trigger language plpgsql as $$ begin
  insert into x402_catalogue.granted values (new.host, extract(epoch from clock_timestamp()), new.free); return new; end $$;
create trigger noted after insert or update on hosts for each row execute function note()
"""


class Town:
    """Sellers that note when each URL was asked for, and catalogues that list each other's endpoints."""

    def __init__(self, tmp_path, count=3, each=6):
        self.sellers = [Seller() for _ in range(count)]
        self.asked, self.lock, self.many = [], threading.Lock(), {}
        for number, seller in enumerate(self.sellers):
            market = Market(seller, tmp_path)
            market.rows = [row(other.url(f"/s{n}"), 1000 * (n + 1)) for n in range(each) for other in (seller, self.sellers[number - 1])]
            for n in range(each):
                seller.routes[f"/s{n}"] = lambda hit, n=n, seller=seller: seller.ask(f"/s{n}", 1000 * (n + 1))
            for path, route in list(seller.routes.items()):
                seller.routes[path] = lambda hit, route=route, seller=seller: self._note(hit, route, seller)
            seller.routes["/robots.txt"] = lambda hit, seller=seller: self._note(hit, lambda _: seller.answer(404), seller)

    def _note(self, hit, route, seller):
        with self.lock:
            self.asked.append((f"127.0.0.1:{seller.port}", time.time(), hit.path))
            if (then := self.many.pop(len(self.asked), None)) is not None:
                then()
        return route(hit)

    def roots(self):
        return [seller.url("/x402") for seller in self.sellers]

    def close(self):
        for seller in self.sellers:
            seller.close()


@pytest.fixture
def town(tmp_path):
    made = Town(tmp_path)
    yield made
    made.close()


def worker(url, rate, town):
    return subprocess.Popen([sys.executable, "-c", WORKER, url, str(rate), *town.roots()], stdout=subprocess.PIPE, text=True)


def catalogue(store):
    """All that is to be the same whoever crawled."""
    return sorted((each.id, each.url, each.micros, each.verdict, each.agreement, len(each.sources)) for each in Catalogue(store).every())


@pytest.mark.full
@pytest.mark.parametrize("point", [4, 25])
def test_one_of_two_workers_is_killed_and_nothing_is_lost_or_asked_too_soon(town, tmp_path, point):
    with postgres() as url:
        Store(url).close()
        watched = connect(url, "x402_catalogue")
        watched.script(WATCHED)
        first, second = worker(url, 1 / INTERVAL, town), worker(url, 1 / INTERVAL, town)
        town.many[point] = lambda: os.kill(first.pid, signal.SIGKILL)
        first.communicate(timeout=120)
        assert first.returncode == -signal.SIGKILL
        told, _ = second.communicate(timeout=120)
        assert second.returncode == 0 and json.loads(told)["whole"], told
        store = Store(url)
        found, passes = catalogue(store), watched.rows("select number, ended from passes")
        store.close()
        granted = watched.rows("select host, at, free from granted order by at")
        watched.close()
    assert [each["number"] for each in passes] == [1] and passes[0]["ended"]
    asked = list(town.asked)
    alone = Store(str(tmp_path / "alone.db"))
    anyio.run(Crawler(alone, [("bazaar", root) for root in town.roots()], guard=Guard(loopback=True), manners=HASTY, probes=500).run)
    assert found == catalogue(alone)
    alone.close()
    assert len(found) == 18 and {each[3] for each in found} == {"live-402"}
    for host in {each for each, _, _ in asked}:
        grants = [each["at"] for each in granted if each["host"] == host]
        assert all(later - one >= INTERVAL - 0.001 for one, later in pairwise(grants)), grants
        times = sorted(at for each, at, _ in asked if each == host)
        assert len(times) <= len(grants) and all(at >= grant for at, grant in zip(times, grants, strict=False))
    for one in {(host, path) for host, _, path in asked}:
        assert len([0 for host, _, path in asked if (host, path) == one]) <= 2 + (one[1] == "/robots.txt") * 4


def test_a_crawl_is_shared_in_postgresql_alone(tmp_path):
    store = Store(str(tmp_path / "one.db"))
    with pytest.raises(SettingsError, match="shared by a catalogue in PostgreSQL"):
        Fleet(store, [])
    store.close()


def test_who_wants_to_be_left_alone_is_left_alone_by_the_next_run_too(market):
    market.seller.routes["/x402/discovery/resources"] = lambda hit: market.seller.answer(429, retry_after="3000")
    for _ in range(2):
        report = market.crawl(manners=Manners(rate=10_000, at_once=1))
        assert any("left alone for" in each for each in report.failed)
    assert len(market.asked("/x402/discovery/resources")) == 1
