"""What serves one call at a time: its calls wait for each other wherever they are made, and for nobody who is gone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import anyio
import pytest

import nursery
from loopback import Till
from meter import Counter, Meter
from x402_agent import PolicyDenied, Wallet

KEY = "0x" + "5a" * 32


@pytest.fixture
def buyer(till: Till):
    return made(till)


def made(till, **options):
    payer = till.payer(dialects=[Meter(serial=True)], **options)
    payer.wallet = Wallet.from_key(KEY)
    return payer


def lax(seller, uses=20):
    meter = Counter(seller, uses=uses)
    seller.serves("/m", meter)
    return meter, seller.url("/m")


def together(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    [each.start() for each in threads]
    [each.join() for each in threads]


def test_threads_of_two_payers_take_turns_and_a_seller_who_does_not_lock_counts_right(seller, till, buyer):
    meter, url = lax(seller)
    other = made(till)
    with buyer.client() as http, other.client() as second:
        http.get(url)
        meter.slow = 0.01
        clients = [http, second] * 4
        together(lambda: clients.pop().get(url), 8)
    assert list(meter.left.values()) == [12] and len(seller.nonces) == 1
    assert [each.uses_left for each in buyer.ledger.tokens()] == [12]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_of_an_event_loop_take_turns(seller, buyer, backend):
    meter, url = lax(seller)

    async def go():
        async with buyer.async_client() as http:
            await http.get(url)
            meter.slow = 0.01
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(http.get, url)

    anyio.run(go, backend=backend)
    assert list(meter.left.values()) == [15] and [each.uses_left for each in buyer.ledger.tokens()] == [15]


def test_who_has_no_more_time_is_told_and_has_sent_nothing(seller, till, buyer):
    meter, url = lax(seller)
    other = made(till, deadline=0.4)
    with buyer.client() as http, other.client(timeout=0.4) as second:
        http.get(url)
        second.get(seller.serves("/free", seller.answer(200)))
        buyer.ledger.flush()
        meter.slow = 1.0
        first = threading.Thread(target=http.get, args=(url,))
        first.start()
        while not meter.shown:
            time.sleep(0.005)
        with pytest.raises(PolicyDenied, match="serves one at a time; this call paid nothing") as caught:
            second.get(url)
        assert "one call at a time" in caught.value.rule and len(meter.shown) == 1
        first.join()
        meter.slow = 0.01
        assert second.get(url).content == b"metered"


def test_the_call_that_buys_it_has_the_first_turn(seller, till):
    """Known before the paid leg, it is kept and could be shown beside it: others wait until that leg is answered."""
    shown = []

    def route(hit):
        shown.append(bool(hit.proof))
        if hit.proof:
            bought.set()
            time.sleep(0.1)
            shown.append(None)
            return seller.ok()
        return seller.answer(200, b"metered") if hit.headers.get("x-token") else seller.ask("/m")

    bought = threading.Event()
    buyer = till.payer(dialects=[Meter(early="early", serial=True)], answer_timeout=5.0)
    url = seller.serves("/m", route)
    with buyer.client() as http:
        first = threading.Thread(target=http.get, args=(url,))
        first.start()
        bought.wait(5)
        assert http.get(url).content == b"metered"
        first.join()
    assert shown == [False, True, None, False]


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from meter import Meter
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.steps import Use
settings = Settings.load({"X402_AGENT_HOME": sys.argv[2]})
def die(ask, step, value):
    if isinstance(step, Use): os.kill(os.getpid(), signal.SIGKILL)
payer = Payer(wallet=Wallet.from_key("0x" + "5a" * 32), policy=Policy(networks=("testnet",)), settings=settings,
              ledger=SqliteLedger(settings.ledger_path), dialects=[Meter(serial=True)], trace=die)
payer.client().get(sys.argv[1])
"""


def test_killed_with_the_turn_in_its_hand_it_holds_up_nobody(seller, buyer, till):
    meter, url = lax(seller)
    with buyer.client() as http:
        http.get(url)
        buyer.ledger.flush()
        assert nursery.run(CHILD, url, till.settings.ledger_path.parent, Path(__file__).parent.parent).returncode == -9
        start = time.monotonic()
        assert http.get(url).content == b"metered" and time.monotonic() - start < 2
    assert [each.uses_left for each in buyer.ledger.tokens()] == [18] and list(meter.left.values()) == [19]
