"""Purchases at once under one account, on chains that count its transactions: whose signer fails, or whose person thinks, holds up nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import anyio
import pytest

from first import First, moved, shop, states
from x402_agent import Payer, PolicyDenied, SigningFailed
from x402_agent.ledger.writer import done_job
from x402_agent.steps import Busy

PRICE = 10_000


@pytest.fixture(params=["evm", "stacks"])
def payer(request):
    with Payer.sandbox(chain=request.param, serve=True) as made:
        made.dialects = (First(),)
        if request.param == "evm":
            made.box.fund(made.box.payer_address, 10 * PRICE)
        yield made


on_evm = pytest.mark.parametrize("payer", ["evm"], indirect=True)


class Fails:
    """A key whose first signature takes until somebody else waits for it, and then is none."""

    def __init__(self, payer):
        self.found, self.first, self.waits = payer.signer, True, threading.Event()
        payer.signer, payer.trace = self.signer, self.look

    def signer(self, *which):
        self.key = self.found(*which)
        return self

    def look(self, _ask, _step, value):
        if isinstance(value, Busy):
            assert value.how == "signs"
            self.waits.set()

    def __getattr__(self, name):
        return getattr(self.key, name)

    def sign_digest(self, *what):
        first, self.first = self.first, False
        if not first:
            return self.key.sign_digest(*what)
        assert self.waits.wait(20), "the other one signs meanwhile"
        raise SigningFailed("the device is gone")


def test_whose_signer_fails_leaves_no_gap_before_the_other(payer, seller):
    url, shown = shop(seller, payer.box)
    Fails(payer)

    def buy(_):
        try:
            return http.get(url).status_code
        except SigningFailed:
            return 0

    with payer.client() as http, ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(buy, range(2))) == [0, 200]
    assert sorted(states(payer)) == ["CLAIMED", "RELEASED"] and moved(payer) == PRICE and len(shown) == 1
    assert payer.ledger.verify() == []


@on_evm
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_who_waits_is_cancelled_at_once_and_keeps_no_budget(payer, seller, backend, monkeypatch):
    url, _ = shop(seller, payer.box)
    monkeypatch.setattr(payer.ledger, "hold", lambda *_, **__: done_job(Busy("", how="signs")))

    async def main():
        waits = anyio.Event()
        payer.trace = lambda _ask, _step, value: waits.set() if isinstance(value, Busy) else None
        async with payer.async_client() as http, anyio.create_task_group() as group:
            group.start_soon(http.get, url)
            await waits.wait()
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    assert states(payer) == []


def test_while_a_person_thinks_others_pay_and_the_yes_takes_the_next_number(payer, seller):
    url, _ = shop(seller, payer.box)
    dear, _ = shop(seller, payer.box, "/dear", amount=2 * PRICE)

    def yes(request):
        with payer.client() as other:
            assert other.get(url).status_code == 200
        return True

    payer.policy, payer.approve = replace(payer.policy, approve_above=PRICE), yes
    with payer.client() as http:
        reply = http.get(dear)
    assert reply.status_code == 200 and moved(payer) == 3 * PRICE
    assert sorted(states(payer)) == ["CLAIMED", "CLAIMED", "RELEASED"]
    (asked,) = [row for row in payer.ledger.payments() if row.state == "RELEASED"]
    assert asked.anew == reply.extensions["payment"].payment_id and payer.ledger.verify() == []


@on_evm
def test_a_yes_whose_number_never_comes_ends_with_the_deadline_and_keeps_no_budget(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    payer.policy, payer.approve, payer.deadline = replace(payer.policy, approve_above=0), lambda *_: True, 1.0
    monkeypatch.setattr(payer.ledger, "approve", lambda *_: done_job(Busy("", how="signs")))
    with payer.client() as http, pytest.raises(PolicyDenied, match="is signing another payment"):
        http.get(url)
    assert states(payer) == ["RELEASED"] and shown == []
