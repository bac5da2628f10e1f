"""What sellers asked lately, as the ledger keeps it: enough to build the proof as from a fresh 402, and never more trusted."""

import sqlite3

from x402_agent.ledger.remembered import MOST


def kept(desk, ledger, path="/paid", at=1_000_000.0):
    ask, offer = desk.ask(path), desk.offer()
    desk.pay(ledger, ask)
    ledger.remember(ask, offer, at, since=at - 300)
    ledger.flush()
    return ask, offer


def test_an_offer_comes_back_whole_and_in_another_process(desk, ledger):
    ask, offer = kept(desk, ledger)
    for each in (ledger, desk.open()):
        (found,) = each.remembered(1_000_000 - 300)
        assert (found.method, found.url, found.origin, found.offer, found.seen) == (ask.method, ask.url, ask.origin, offer, 1_000_000)
        assert found.offer.digest == offer.digest
    assert ledger.remembered(1_000_001) == []
    assert ledger.verify() == []


def test_forgotten_refused_and_old_ones_go(desk, ledger):
    ask, offer = kept(desk, ledger)
    ledger.remember(ask, None, 1_000_100, since=0)
    (refused,) = ledger.remembered(0)
    assert (refused.origin, refused.offer) == (ask.origin, None)
    ledger.remember(desk.ask("/new"), offer, 1_000_200, since=1_000_150)
    assert [one.url.rpartition("/")[2] for one in ledger.remembered(0)] == ["new"]
    ledger.forget(desk.ask("/new"))
    assert ledger.remembered(0) == []


def test_what_was_changed_in_the_file_is_not_remembered(desk, ledger):
    kept(desk, ledger)
    with sqlite3.connect(desk.path) as other:
        other.execute("UPDATE x402_offers SET amount = '1'")
    other.close()
    assert ledger.remembered(0) == []


def test_the_newest_thousand_are_read_back(desk, ledger):
    _, offer = kept(desk, ledger)
    for number in range(MOST + 10):
        ledger.remember(desk.ask(f"/{number}"), offer, 1_000_000 + number, since=0)
    found = ledger.remembered(0)
    assert len(found) == MOST and found[0].url.endswith(f"/{MOST + 9}")
