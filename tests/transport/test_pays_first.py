"""Payments that stand on the chain before the seller is shown anything but their id: the same bytes, never others."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from first import First, moved, shop, states
from x402_agent import NoAcceptableOffer, Payer, PaymentInDoubt, PolicyDenied, SigningFailed
from x402_agent.chains.evm import transfer
from x402_agent.model import Anchor, ChainRules
from x402_agent.steps import Progress

PRICE = 10_000


CHAINS = ["evm", "solana", "tron"]  # Stacks has its own: its blocks come at command


@pytest.fixture(params=["evm"])
def payer(request):
    with Payer.sandbox(chain=request.param, serve=True) as made:
        made.dialects = (First(),)
        made.box.fund(made.box.payer_address, 10 * PRICE)
        yield made


everywhere = pytest.mark.parametrize("payer", CHAINS, indirect=True)


def named(payer):
    """The transactions that `log` and `why` tell, oldest first."""
    payer.ledger.flush()
    return [row.transaction for row in payer.ledger.payments()][::-1]


@pytest.mark.proves("evm", "transfer", "pays")
@pytest.mark.proves("solana", "transfer", "pays")
@pytest.mark.proves("tron", "transfer", "pays")
@everywhere
def test_it_is_on_the_chain_before_its_id_is_shown(payer, seller):
    url, shown = shop(seller, payer.box)
    with payer.client() as http:
        for number in (1, 2):
            reply = http.get(url)
            assert reply.status_code == 200 and reply.extensions["payment"].outcome == "spent"
            assert moved(payer) == number * PRICE
    assert len(set(shown)) == 2 and states(payer) == ["CLAIMED", "CLAIMED"] and named(payer) == shown


@everywhere
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_for_event_loops(payer, seller, backend):
    url, _ = shop(seller, payer.box)

    async def main():
        async with payer.async_client() as http:
            assert (await http.get(url)).content == b"goods"

    anyio.run(main, backend=backend)
    assert moved(payer) == PRICE


@everywhere
def test_a_seller_who_wants_more_after_it_gets_the_same_id_again(payer, seller):
    url, shown = shop(seller, payer.box, paid=lambda hit: seller.answer(500))
    with payer.client() as http:
        for _ in range(3):
            assert http.get(url, extensions={"payment": {"key": "one"}}).status_code == 500
    assert len(set(shown)) == 1 and len(shown) >= 3 and moved(payer) == PRICE and len(states(payer)) == 1


def test_what_was_not_handed_over_goes_out_later_byte_for_byte(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    sent, honest = [], transfer.reads.send_raw

    def stopped(node, raw):
        sent.append(raw)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(transfer.reads, "send_raw", stopped)
    with payer.client() as http, pytest.raises(KeyboardInterrupt):
        http.get(url, extensions={"payment": {"key": "one"}})
    assert shown == [] and moved(payer) == 0 and states(payer) == ["UNKNOWN"]  # nothing says that a node has it

    def spoken(node, raw):
        sent.append(raw)
        return (yield from honest(node, raw))

    monkeypatch.setattr(transfer.reads, "send_raw", spoken)
    with payer.client() as http:
        assert http.get(url, extensions={"payment": {"key": "one"}}).status_code == 200
    assert len(sent) == 2 and sent[0] == sent[1] and moved(payer) == PRICE and states(payer) == ["CLAIMED"]


def test_one_that_stays_out_of_every_block_is_in_doubt_and_resume_ends_it(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)

    def lost(node, raw):
        return
        yield

    honest = transfer.reads.send_raw
    monkeypatch.setattr(transfer.reads, "send_raw", lost)
    with payer.client() as http, pytest.raises(PaymentInDoubt) as caught:
        http.get(url)
    assert "without a final block" in caught.value.what and "x402-agent resume" in caught.value.hint and shown == []
    monkeypatch.setattr(transfer.reads, "send_raw", honest)
    monkeypatch.setattr(transfer, "PATIENCE", 20)
    payer.resume()
    assert moved(payer) == PRICE and len(shown) == 1 and set(states(payer)) <= {"CLAIMED", "CONFIRMED"}


@everywhere
def test_how_far_it_has_come_is_told_and_written_down_as_it_comes(payer, seller):
    url, _ = shop(seller, payer.box)
    seen = []

    def look(_ask, step, hold):
        if isinstance(step, Progress):
            payer.ledger.flush()
            seen.append((step.state, payer.ledger.payment(hold.payment_id).state))

    payer.trace = look
    with payer.client() as http:
        assert http.get(url).status_code == 200
    assert seen == [("SEEN", "SEEN"), ("MINED", "MINED"), ("PROVING", "PROVING")] and states(payer) == ["CLAIMED"]


@pytest.mark.parametrize("status", [402, 403, 404, 500])
def test_after_the_money_has_moved_any_answer_is_a_question_about_the_same_proof(payer, seller, status):
    """Never a second payment: not for the same call, not for one without a key, and not after a restart."""
    url, shown = shop(seller, payer.box, paid=lambda hit: seller.answer(status))
    with payer.client() as http:
        reply = http.get(url)
        assert reply.status_code == status and reply.extensions["payment"].outcome == "in_doubt" and states(payer) == ["PROVING"]
        (row,) = payer.ledger.payments()
        assert [each.state for each in payer.ledger.events(row.payment_id)][:5] == ["RESERVED", "INFLIGHT", "SEEN", "MINED", "PROVING"]
        for _ in range(2):  # asked for the second time, the chain shows it
            reply = http.get(url)
            assert reply.status_code == status and reply.extensions["payment"].outcome == "spent"
    payer.resume()
    assert len(set(shown)) == 1 and moved(payer) == PRICE and states(payer) == ["CONFIRMED"] and payer.ledger.verify() == []


@everywhere
@pytest.mark.parametrize("state", ["SEEN", "MINED", "PROVING"])
def test_whoever_stops_there_is_resumed_from_there_and_nothing_is_paid_twice(payer, seller, state):
    url, shown = shop(seller, payer.box)

    def stop(_ask, step, _hold):
        if isinstance(step, Progress) and step.state == state:
            raise KeyboardInterrupt

    payer.trace = stop
    with payer.client() as http, pytest.raises(KeyboardInterrupt):
        http.get(url)
    assert states(payer) == [state] and shown == []
    payer.trace = None
    (done,) = payer.resume()
    assert done.before == state and set(states(payer)) <= {"CLAIMED", "CONFIRMED"} and len(shown) == 1 and moved(payer) == PRICE
    with payer.client() as http:  # the goods waited for the same request
        assert http.get(url).content == b"goods"
    assert len(states(payer)) == 1 and moved(payer) == PRICE and payer.ledger.verify() == []


def test_a_block_that_is_taken_back_is_seen_and_the_same_bytes_go_out_again(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    honest, looks, told = transfer.reads.receipt, [], []

    def shaky(node, txid):
        looks.append(txid)
        mined = yield from honest(node, txid)
        return None if len(looks) == 3 else mined

    def low(node):
        return 0 if len(looks) < 4 else (yield from high(node))
        yield

    high = transfer.reads.height
    monkeypatch.setattr(transfer.reads, "receipt", shaky)
    monkeypatch.setattr(transfer.reads, "height", low)
    payer.trace = lambda _ask, step, _hold: told.append(step.state) if isinstance(step, Progress) else None
    with payer.client() as http:
        assert http.get(url).status_code == 200
    assert told == ["SEEN", "MINED", "INFLIGHT", "MINED", "PROVING"] and len(set(shown)) == 1 and moved(payer) == PRICE


def test_one_that_failed_in_a_final_block_gives_its_price_back_and_only_then_is_another_made(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    honest = transfer.reads.receipt

    def failed(node, txid):
        mined = yield from honest(node, txid)
        return mined and dataclasses.replace(mined, ok=False, logs=())

    def no_logs(node, token, **_):
        return []
        yield

    monkeypatch.setattr(transfer.reads, "receipt", failed)
    with payer.client() as http, pytest.raises(PaymentInDoubt, match="and failed"):
        http.get(url, extensions={"payment": {"key": "one"}})
    assert states(payer) == ["MINED"] and shown == []
    monkeypatch.setattr(transfer.reads, "transfer_logs", no_logs)
    (done,) = payer.resume()
    assert done.after == "REVERTED" and "its fee stays counted" in done.note and payer.ledger.verify() == []
    monkeypatch.undo()
    with payer.client() as http:
        assert http.get(url, extensions={"payment": {"key": "one"}}).status_code == 200
    assert states(payer) == ["CLAIMED", "REVERTED"]


@everywhere
def test_two_at_once_are_two_transactions(payer, seller):
    url, shown = shop(seller, payer.box)
    with payer.client() as http, ThreadPoolExecutor(4) as pool:
        assert [each.status_code for each in pool.map(lambda _: http.get(url), range(4))] == [200] * 4
    assert len(set(shown)) == 4 and moved(payer) == 4 * PRICE


def test_without_a_node_or_beyond_the_fee_that_policy_lets_a_network_take_nothing_is_signed(payer, seller):
    url, shown = shop(seller, payer.box)
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules(fees={"eip155": 1}))
    with payer.client() as http, pytest.raises(PolicyDenied, match="C8"):
        http.get(url)
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules())
    payer.settings = dataclasses.replace(payer.settings, nodes={})
    with payer.client() as http, pytest.raises(NoAcceptableOffer, match="needs a node"):
        http.get(url)
    assert shown == [] and states(payer) == []


@pytest.mark.parametrize("text", ["", "1", "0,1,1,1", "1,0,,1", "1,1,,", "1,1,1,1\n", "99999999,1,,1", "1,1,x,1"])
def test_terms_without_gas_fees_and_height_are_none(text):
    with pytest.raises(SigningFailed):
        transfer.terms("0x" + "ab" * 20, 1, bytes(32), Anchor(text, 0))
