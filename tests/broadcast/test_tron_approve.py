"""approve and revoke on the pretend TRON: at a person's word, to pinned contracts, exactly so much, and only once the chain shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from first import at_once
from x402_agent import (
    NoAcceptableOffer,
    Payer,
    PaymentInDoubt,
    PaymentRefused,
    PolicyDenied,
    SigningFailed,
    assets,
    transfers,
)
from x402_agent.broadcast import resume
from x402_agent.chains.tron import permit, permit2, reads, transfer
from x402_agent.errors import BudgetExceeded
from x402_agent.model import Offer
from x402_agent.policy.fees import Gas
from x402_agent.transport.fetch import drive

FEE = 50_000_000


class Bench:
    def __init__(self, payer):
        self.payer, self.ground, self.said = payer, payer.box.ground, []
        self.token, self.owner = self.ground.asset, payer.wallet.address("tron")
        self.where = self.token.network
        self.spender = permit2.CONTRACTS[self.where.id]

    def plan(self, amount, asset=None, spender="", max_fee=FEE):
        return drive(transfers.plan_allowance(self.payer, asset or self.token, spender or self.spender, amount, max_fee=max_fee))

    def allow(self, amount, patience=60.0, **change):
        return drive(transfers.allow(self.payer, self.plan(amount, **change), patience=patience, say=self.said.append))

    def shown(self):
        offer = Offer("own", "approve", self.token, 1, self.spender, 60, method="approve")
        return drive(self.payer.chains["tron"].allowing().allowed(offer, self.owner, self.payer.settings.nodes[self.where.id]))

    def counted(self):
        return self.payer.ledger.allowance(self.where.id, self.token.address, self.owner, self.spender)

    def rows(self):
        return [(row.kind, row.state) for row in self.payer.ledger.transactions()]


@pytest.fixture
def bench():
    with Payer.sandbox(chain="tron", serve=True) as payer:
        at_once(payer.box.ground)
        yield Bench(payer)


def test_taken_back_and_given_anew_exactly_so_much_and_then_it_pays(bench):
    assert bench.shown() > 0 and bench.counted() > 0
    row = bench.allow(0)
    assert (row.kind, row.state) == ("revoke", "CONFIRMED") and (bench.shown(), bench.counted()) == (0, 0)
    with bench.payer.client() as http, pytest.raises(NoAcceptableOffer):
        http.get(bench.payer.box.url("/permit2"))
    row = bench.allow(25_000)
    assert (row.kind, row.state, row.party, row.amount) == ("approve", "CONFIRMED", bench.spender, 25_000)
    assert (bench.shown(), bench.counted()) == (25_000, 25_000) and row.fee_paid > 0 and row.account_nonce < 0
    with bench.payer.client() as http:
        for left in (15_000, 5_000):
            assert http.get(bench.payer.box.url("/permit2"), extensions={"payment": {"key": str(left)}}).status_code == 200
            assert bench.counted() == left
        with pytest.raises(NoAcceptableOffer):
            http.get(bench.payer.box.url("/permit2"), extensions={"payment": {"key": "third"}})


def test_what_the_chain_shows_already_is_counted_and_nothing_is_sent(bench):
    assert bench.allow(1_000) is None and bench.counted() == 1_000 and bench.rows() == []
    bench.allow(0)
    assert bench.allow(0) is None and len(bench.rows()) == 1


@pytest.mark.parametrize("change", [{"spender": "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"}, {"spender": permit.CONTRACTS["tron:0x2b6653dc"]},
                                    {"asset": "TRX"}, {"amount": 1 << 128}, {"amount": -1}])  # fmt: skip
def test_D3_nobody_else_and_never_unlimited(bench, change):
    if "asset" in change:
        change = {"asset": assets.asset(bench.where, "TRX")}
    with pytest.raises(SigningFailed, match="nothing is allowed"):
        bench.plan(**{"amount": 1, **change})


def test_C18_the_door_that_pays_refuses_it(bench):
    offer = Offer("own", "approve", bench.token, 1, bench.spender, 60, method="approve")
    door = bench.payer.chains["tron"]
    assert door.refuses(offer, bench.owner) and not bench.payer.chains["tron"].allowing().refuses(offer, bench.owner)
    anchor = drive(door.allowing().prepare(offer, bench.owner, bench.payer.settings.nodes[bench.where.id], bench.payer.policy.chains))
    terms = door.allowing().terms(offer, bench.owner, now=int(bench.payer.clock()), nonce=bytes(32), max_lifetime=60, anchor=anchor)
    with pytest.raises(SigningFailed):
        door.prove(offer, terms, bench.payer.signer("tron"))


def test_what_died_before_it_left_or_after_goes_out_again_as_it_is(bench, monkeypatch):
    honest, sent = reads.send_raw, []

    def stopped(node, wire):
        sent.append(wire)
        if len(sent) == 2:
            yield from honest(node, wire)
        raise KeyboardInterrupt
        yield

    bench.allow(0)
    monkeypatch.setattr(reads, "send_raw", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench.allow(7_000)
    assert bench.rows()[-1] == ("approve", "INFLIGHT") and bench.shown() == 0
    with pytest.raises(PaymentInDoubt, match="nothing new was signed"):
        bench.allow(8_000)
    with pytest.raises(KeyboardInterrupt):
        drive(resume(bench.payer))
    assert (bench.shown(), bench.counted()) == (7_000, 0)
    monkeypatch.setattr(reads, "send_raw", honest)
    ((before, after, words),) = drive(resume(bench.payer))
    assert (before.state, after.state, words) == ("INFLIGHT", "CONFIRMED", "approve of 0.0070 USDT (tron-nile): final")
    assert bench.counted() == 7_000 and len(set(sent)) == 1


def test_C4_a_success_without_the_tokens_own_log_counts_for_nothing(bench, monkeypatch):
    bench.allow(0)
    honest = reads.transaction

    def bare(node, txid, **options):
        mined = yield from honest(node, txid, **options)
        return mined and replace(mined, logs=tuple(replace_topic(log) for log in mined.logs))

    def replace_topic(log):
        return log._replace(topics=(reads.TRANSFER, *log.topics[1:]))

    monkeypatch.setattr(reads, "transaction", bare)
    with pytest.raises(PaymentInDoubt, match="no receipt"):
        bench.allow(7_000, patience=1.0)
    assert bench.counted() == 0 and bench.rows()[-1] == ("approve", "INFLIGHT")


def test_one_that_expires_is_dead_and_the_next_is_another(bench):
    bench.allow(0)
    bench.ground.chain.mining = False
    with pytest.raises(PaymentInDoubt):
        bench.allow(7_000, patience=0.5)
    bench.ground.chain.warp(60 + 60 + 10)
    bench.ground.chain.mining = True
    ((_, after, _),) = drive(resume(bench.payer, patience=0.5))
    assert after.state == "DEAD" and bench.counted() == 0
    assert bench.allow(7_000).state == "CONFIRMED" and bench.shown() == 7_000


def test_what_runs_out_of_energy_has_failed_and_counts_its_fee_alone(bench, monkeypatch):
    bench.allow(0)
    honest = transfer._cost

    def too_little(asked, offer, payer):
        limit, cost, burnt = yield from honest(asked, offer, payer)
        return limit // 4, cost, burnt

    monkeypatch.setattr(transfer, "_cost", too_little)
    with pytest.raises(PaymentRefused, match="moved nothing"):
        bench.allow(7_000)
    (_, newest) = bench.payer.ledger.transactions()
    assert newest.state == "REVERTED" and newest.fee_paid > 0 and bench.counted() == bench.shown() == 0


def test_C9_too_dear_too_little_trx_or_beyond_the_gas_budget_is_not_signed(bench):
    with pytest.raises(PolicyDenied, match="C9"):
        bench.plan(2 * 10**9, max_fee=1_000)
    bench.payer.policy = replace(bench.payer.policy, gas={bench.where.id: Gas(None, (("day", 1_000),))})
    with pytest.raises(BudgetExceeded):
        bench.plan(2 * 10**9)
    bench.payer.policy = replace(bench.payer.policy, gas={})
    bench.ground.chain.endow(bytes.fromhex(bench.ground.payer.address[2:]), 5)
    with pytest.raises(NoAcceptableOffer, match="energy and bandwidth may burn"):
        bench.plan(2 * 10**9)
    assert bench.rows() == []
