"""What a payment by our own transaction takes of its network's coin counts from the hold on, and ends as what a block shows (C8)."""

from __future__ import annotations

import dataclasses
import sqlite3

import pytest

from first import First, shop
from x402_agent import BudgetExceeded, Payer, PaymentInDoubt
from x402_agent.chains.evm import transfer
from x402_agent.policy.fees import Gas
from x402_agent.sandbox.token import raw_address

PRICE = 10_000
NETWORK = "eip155:84532"


@pytest.fixture
def payer():
    with Payer.sandbox(serve=True) as made:
        made.dialects = (First(),)
        made.box.fund(made.box.payer_address, 10 * PRICE)
        yield made


def limited(payer, **gas):
    own = Gas(gas.pop("per_call", None), tuple(gas.items()))
    where = {f"gas.base-sepolia.{key}": f"policy.toml:{line}" for line, key in enumerate(("per_call", "day"), 1)}
    payer.policy = dataclasses.replace(payer.policy, gas={NETWORK: own}, where=where)


def wei(payer):
    return payer.box.ground.chain.wei(raw_address(payer.box.payer_address))


def only(payer):
    payer.ledger.flush()
    (row,) = payer.ledger.payments()
    return row


def get(payer, url, **options):
    with payer.client() as http:
        return http.get(url, extensions={"payment": options})


def lost(node, raw):
    return
    yield


def test_what_was_paid_counts_and_the_next_one_must_fit_with_its_most(payer, seller):
    url, shown = shop(seller, payer.box)
    before = wei(payer)
    assert get(payer, url).status_code == 200
    row = only(payer)
    assert row.gas_paid == before - wei(payer) == payer.ledger.fees(NETWORK, "day") and 0 < row.gas_paid <= row.gas
    assert get(payer, url).status_code == 200
    payer.ledger.flush()
    row = payer.ledger.payments()[0]  # of the newest: the payee's first balance cost more
    limited(payer, day=payer.ledger.fees(NETWORK, "day") + row.gas)
    assert get(payer, url).status_code == 200  # by a hair
    with pytest.raises(BudgetExceeded, match="is left for gas") as why:
        get(payer, url)
    assert why.value.rule == "gas.base-sepolia.day in policy.toml:2" and len(shown) == 3
    assert len(payer.ledger.payments()) == 3 and payer.ledger.verify() == []


def test_one_that_costs_too_much_by_itself_is_not_signed(payer, seller):
    url, shown = shop(seller, payer.box)
    limited(payer, per_call=1)
    with pytest.raises(BudgetExceeded, match="the limit for one is"):
        get(payer, url)
    assert shown == [] and payer.ledger.payments() == []


def test_what_is_under_way_counts_its_most_until_it_ends(payer, seller, monkeypatch):
    url, _ = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    monkeypatch.setattr(transfer.reads, "send_raw", lost)
    with pytest.raises(PaymentInDoubt):
        get(payer, url)
    row = only(payer)
    assert row.gas_paid is None and payer.ledger.fees(NETWORK, "day") == row.gas > 0
    limited(payer, day=row.gas * 3 // 2)
    with pytest.raises(BudgetExceeded):
        get(payer, url, key="another purchase")
    monkeypatch.undo()
    payer.resume()
    row = only(payer)
    assert payer.ledger.fees(NETWORK, "day") == row.gas_paid < row.gas and payer.ledger.verify() == []


@pytest.mark.parametrize(("word", "state"), [("dead", "DEAD"), ("failed", "REVERTED")])
def test_one_that_never_was_in_a_block_took_nothing_and_one_that_failed_there_its_fee(payer, seller, monkeypatch, word, state):
    url, _ = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    monkeypatch.setattr(transfer.reads, "send_raw", lost)
    with pytest.raises(PaymentInDoubt):
        get(payer, url)

    def fate(*_):
        return word
        yield

    monkeypatch.setattr(transfer, "fate", fate)
    payer.resume()
    row = only(payer)
    assert row.state == state and payer.ledger.fees(NETWORK, "day") == (row.gas if word == "failed" else 0)
    assert payer.ledger.fees(NETWORK, "total") == payer.ledger.fees(NETWORK, "minute") and payer.ledger.verify() == []


@pytest.mark.parametrize("change", ["gas = '1'", "gas = ''", "gas_paid = '1'", "gas_paid = ''"])
def test_a_row_that_counts_other_gas_than_its_journal_says_is_not_trusted(payer, seller, change):
    url, _ = shop(seller, payer.box)
    assert get(payer, url).status_code == 200 and only(payer).gas_paid
    payer.ledger.shut()
    db = sqlite3.connect(payer.ledger.path)
    db.execute(f"UPDATE x402_payments SET {change}")
    db.commit()
    db.close()
    from x402_agent.ledger import SqliteLedger

    ledger = SqliteLedger(payer.ledger.path, sandbox=True)
    assert any("payment" in each for each in ledger.verify())
    ledger.shut()


def test_a_fee_that_rose_while_a_person_was_asked_is_judged_again(payer, seller):
    """The yes came under other rules: what the network takes by itself, and what is left for it, are those of now."""
    url, shown = shop(seller, payer.box)
    payer.policy = dataclasses.replace(payer.policy, approve_above=0)

    def yes(_offer, _ask):
        limited(payer, per_call=1)
        return True

    payer.approve = yes
    with pytest.raises(BudgetExceeded, match="the limit for one is"):
        get(payer, url)
    payer.ledger.flush()
    assert shown == [] and [each.state for each in payer.ledger.payments()] == ["RELEASED"] and payer.ledger.fees(NETWORK, "day") == 0
