"""What is open at several sellers is settled side by side; to each goes one request at a time, and a failure is its own."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from crowd import Crowd
from loopback import Seller, Till
from x402_agent import PaymentInDoubt, Policy
from x402_agent.recovery import side_by_side


@pytest.fixture
def sellers():
    made = [Seller(), Seller()]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def buyer(tmp_path):
    till = Till(tmp_path)
    yield till.payer(answer_timeout=20.0, policy=Policy(networks=("testnet",), stop_after=0))
    for payer in till.made:
        payer.close()


class Street:
    """Sellers that lose their answers, until they are mended: then none of them answers before another one was asked, too."""

    def __init__(self, sellers):
        self.mended, self.together, self.lock = False, threading.Barrier(len(sellers), timeout=20), threading.Lock()
        self.now, self.most = Counter(), Counter()
        self.urls = [self.sold(each, path) for path in ("/a", "/breaks", "/c") for each in sellers]

    def sold(self, seller, path):
        def answer(hit):
            if not self.mended:
                return hit.reset()
            with self.lock:
                self.now[seller.port] += 1
                self.most[seller.port] = max(self.most[seller.port], self.now[seller.port])
            self.together.wait()
            with self.lock:
                self.now[seller.port] -= 1
            return hit.reset() if path == "/breaks" and seller.port == min(self.most) else seller.ok()

        return seller.sells(path, answer)


def test_sellers_side_by_side_and_each_asked_one_thing_at_a_time(sellers, buyer):
    street = Street(sellers)
    with buyer.client() as http:
        for url in street.urls:
            with pytest.raises(PaymentInDoubt):
                http.post(url, content=b"x")
    bought = [each.payment_id for each in buyer.ledger.payments()][::-1]
    street.mended = True
    found = buyer.resume()
    assert [each.payment_id for each in found] == bought
    broken = [index for index, url in enumerate(street.urls) if url.endswith("/breaks") and f":{min(street.most)}/" in url]
    assert [index for index, each in enumerate(found) if each.after != "CLAIMED"] == broken and len(broken) == 1
    assert set(street.most.values()) == {1} and len(street.most) == 2
    assert all(len(seller.nonces) == 3 for seller in sellers) and buyer.ledger.verify() == []


def test_the_order_stays_and_no_more_than_eight_run():
    crowd = Crowd()

    def work(number):
        with crowd:
            time.sleep(0.002 * (number % 3))
        return -number

    assert side_by_side(work, range(60), lambda number: str(number % 20)) == [-number for number in range(60)]
    assert 1 < crowd.most <= 8
    here = threading.get_ident()
    assert side_by_side(lambda _: threading.get_ident(), range(3), lambda _: "one") == [here] * 3
    assert side_by_side(work, [], str) == []


def test_what_cannot_go_on_is_raised_and_nothing_more_is_begun():
    begun = []

    def work(one):
        begun.append(one)
        if one[0] == "full":
            raise OSError("full")
        time.sleep(0.001)

    rows = [("slow", number) for number in range(5_000)] + [("full", 0)]
    with pytest.raises(OSError, match="full"):
        side_by_side(work, rows, lambda row: row[0])
    assert ("full", 0) in begun and len(begun) < len(rows)
    ended = len(begun)
    time.sleep(0.02)
    assert len(begun) == ended
