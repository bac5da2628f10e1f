"""A balance is known before a Hold where a node is set: read at most once in a while, never believed without a word from it."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from x402_agent import NoAcceptableOffer, Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.payer import balances
from x402_agent.sandbox import Sandbox
from x402_agent.secret import Veiled
from x402_agent.steps import Commit, Fetch

POOR = b"\x51" * 32


@pytest.fixture
def box():
    with Sandbox() as one:
        one.serve()
        yield one


@pytest.fixture
def make(box, tmp_path):
    opened = []

    def payer(key=None, node=None, **rules):
        asked = []
        settings = replace(Settings.load(), nodes=Veiled({"eip155:84532": node or box.rpc_url}))
        made = Payer(wallet=Wallet.from_key(key or box.payer_key), policy=Policy(networks=("base-sepolia",), **rules), settings=settings,
                     ledger=SqliteLedger(tmp_path / f"{len(opened)}.db", sandbox=True),
                     trace=lambda _, step, __: asked.append(type(step)) if isinstance(step, Fetch | Commit) else None)  # fmt: skip
        opened.append(made)
        return made, asked

    yield payer
    for each in opened:
        each.close()


def test_an_account_that_cannot_pay_signs_nothing(make, box):
    payer, asked = make(POOR)
    with payer.client() as http, pytest.raises(NoAcceptableOffer) as found:
        http.get(box.url("/joke"))
    assert "has only 0.0000" in str(found.value) and "know_balance" in found.value.rule and "wallet fund" in found.value.hint
    assert Commit not in asked and payer.ledger.payments() == []


def test_the_same_for_an_event_loop(make, box):
    async def get(payer):
        async with payer.async_client() as http:
            await http.get(box.url("/joke"))

    for backend in ("asyncio", "trio"):
        with pytest.raises(NoAcceptableOffer):
            anyio.run(get, make(POOR)[0], backend=backend)


def test_the_node_is_asked_once_for_many_payments(make, box):
    payer, asked = make()
    with payer.client() as http:
        for number in range(3):
            assert http.get(box.url(f"/joke?{number}")).status_code == 200
    assert asked.count(Commit) == 3 and asked.count(Fetch) == 2  # which chain it is on, then the balance
    assert asked.index(Fetch) < asked.index(Commit)


def test_what_was_signed_away_is_not_there_for_the_next(make, box):
    payer, _ = make(POOR)
    box.fund(payer.wallet.address("eip155"), 15_000)
    with payer.client() as http:
        assert http.get(box.url("/joke?1")).status_code == 200
        with pytest.raises(NoAcceptableOffer):
            http.get(box.url("/joke?2"))


def test_money_that_has_come_is_seen_after_a_while(make, box, monkeypatch):
    payer, _ = make(POOR)
    with payer.client() as http:
        with pytest.raises(NoAcceptableOffer):
            http.get(box.url("/joke"))
        box.fund(payer.wallet.address("eip155"), 15_000)
        clock = balances.time.monotonic
        monkeypatch.setattr(balances.time, "monotonic", lambda: clock() + 31)  # a clock that stands still would hold every wait up
        assert http.get(box.url("/joke")).status_code == 200


def test_a_node_that_does_not_answer_hinders_nothing_and_is_not_asked_each_time(make, box):
    payer, asked = make(node="http://127.0.0.1:9/rpc")
    with payer.client() as http:
        for number in range(2):
            assert http.get(box.url(f"/joke?{number}")).status_code == 200
    assert asked.count(Fetch) == 1


def test_the_switch(make, box):
    payer, asked = make(know_balance=False)
    with payer.client() as http:
        assert http.get(box.url("/joke")).status_code == 200
    assert asked.count(Fetch) == 0
