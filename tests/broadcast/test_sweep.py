"""Money of our own that leaves at a person's word, on every chain of the sandbox by the same doors, and once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from first import COIN, First, shop
from loopback import Seller
from x402_agent import Payer, PaymentInDoubt, PolicyDenied, SettingsError, SigningFailed, assets, transfers
from x402_agent.broadcast import resume
from x402_agent.errors import BudgetExceeded, NoAcceptableOffer, PaymentRefused
from x402_agent.policy.fees import Gas
from x402_agent.transport.fetch import drive

COINS = {"evm": "ETH", "solana": "SOL", "stacks": "STX", "tron": "TRX"}
FEE = {"evm": 10**16, "solana": 3_000_000, "stacks": 100_000, "tron": 60_000_000}
CHAINS = list(COINS)


class Bench:
    def __init__(self, payer, chain):
        self.payer, self.box, self.fee, self.said = payer, payer.box, FEE[chain], []
        self.token = self.box.ground.asset
        self.coin = assets.asset(self.token.network, COINS[chain])
        self.door = payer.chains[self.token.network.namespace]
        self.owner, self.to = payer.wallet.address(self.token.network.namespace), self.box.pay_to

    def has(self, asset, who):
        return drive(self.door.balance(asset, who, self.payer.settings.nodes[asset.network.id]))

    def plan(self, asset, **change):
        return drive(transfers.everything(self.payer, asset, self.to, **{"max_fee": self.fee, **change}))

    def send(self, made, patience=60.0):
        return drive(transfers.send(self.payer, made, patience=patience, say=self.said.append))

    def cut_off(self):
        """From now on no node answers; -> what puts them back."""
        before = self.payer.settings
        self.payer.settings = replace(before, nodes={self.token.network.id: "http://127.0.0.1:9"})
        return lambda: setattr(self.payer, "settings", before)


@pytest.fixture(params=CHAINS)
def bench(request):
    with Payer.sandbox(chain=request.param, serve=True) as payer:
        payer.box.fund(payer.box.payer_address, 1_000_000)
        COIN.get(request.param, lambda _: None)(payer.box)
        yield Bench(payer, request.param)


evm = pytest.mark.parametrize("bench", ["evm"], indirect=True)


def test_all_of_a_token_goes_and_its_fee_is_what_the_ledger_counts(bench):
    had, before, coins = bench.has(bench.token, bench.owner), bench.has(bench.token, bench.to), bench.has(bench.coin, bench.owner)
    made = bench.plan(bench.token)
    assert (made.offer.amount, made.had, made.kept) == (had, had, 0) and 0 < made.cost <= bench.fee
    row = bench.send(made)
    assert row.state in ("MINED", "CONFIRMED") and row.kind == "transfer" and row.txid in bench.said[0]
    assert bench.has(bench.token, bench.owner) == 0 and bench.has(bench.token, bench.to) == before + had
    paid = coins - bench.has(bench.coin, bench.owner)
    assert bench.payer.ledger.fees(bench.token.network.id, "day") == (row.fee_paid if row.fee_paid is not None else row.fee_cap) >= paid
    assert bench.payer.ledger.verify() == [] and bench.payer.ledger.transaction(row.txid[:14]).txid == row.txid
    with pytest.raises(PolicyDenied, match="payments in doubt may take"):
        bench.plan(bench.token)
    drive(resume(bench.payer))
    assert bench.payer.ledger.transactions()[0].state == "CONFIRMED"


def test_all_of_a_coin_but_what_fees_and_the_account_itself_need(bench):
    had, before = bench.has(bench.coin, bench.owner), bench.has(bench.coin, bench.to)
    made = bench.plan(bench.coin)
    assert had - made.kept - 20 * made.cost <= made.offer.amount < had - made.kept - made.cost and made.offer.asset is bench.coin
    assert bench.send(made).state in ("MINED", "CONFIRMED")
    assert bench.has(bench.coin, bench.to) == before + made.offer.amount
    left = bench.has(bench.coin, bench.owner)
    assert made.kept <= left < had - made.offer.amount


def test_b1_what_was_written_down_and_not_heard_of_goes_out_again_and_never_twice(bench):
    had, before, made = bench.has(bench.token, bench.owner), bench.has(bench.token, bench.to), bench.plan(bench.token)
    back = bench.cut_off()
    with pytest.raises(PaymentInDoubt, match="no receipt of"):
        bench.send(made, patience=1.0)
    (row,) = bench.payer.ledger.transactions()
    assert row.state == "INFLIGHT" and bench.has.__self__.box.balance(bench.to) == before
    back()
    with pytest.raises(PaymentInDoubt, match="nothing new was signed"):
        bench.send(made)
    for _ in range(2):
        drive(resume(bench.payer, patience=60.0))
    assert bench.has(bench.token, bench.to) == before + had
    assert [each.state for each in bench.payer.ledger.transactions()] == ["CONFIRMED"] and bench.payer.ledger.verify() == []


def test_what_a_payment_in_doubt_may_take_stays_and_of_a_coin_its_fee_too(bench):
    seller, price = Seller(), 10_000
    bench.payer.dialects = (First(),)
    url, _ = shop(seller, bench.box, amount=price, paid=lambda hit: seller.answer(500))
    try:
        with bench.payer.client() as http:
            http.get(url)
    finally:
        seller.close()
    (hold,) = bench.payer.ledger.open_payments()
    assert bench.plan(bench.token).kept == price
    assert bench.plan(bench.coin).kept >= hold.terms.anchor.cost > 0


@pytest.mark.parametrize("to", ["", "0x" + "0" * 40, "nobody.eth"])
def test_R1_R2_nobody_is_no_recipient(bench, to):
    for each in (to, bench.owner):
        bench.to = each
        with pytest.raises(SigningFailed, match="nothing is sent"):
            bench.plan(bench.token)
    assert bench.payer.ledger.transactions() == []


def test_C8_what_it_may_cost_is_a_persons_to_say_and_counts_in_the_limits_of_gas(bench):
    where = bench.token.network
    with pytest.raises((PolicyDenied, NoAcceptableOffer)):
        bench.plan(bench.token, max_fee=1)
    bench.payer.policy = replace(bench.payer.policy, gas={where.id: Gas(None, (("day", 1),))})
    with pytest.raises(BudgetExceeded, match="is left for gas"):
        bench.plan(bench.token)
    assert bench.payer.ledger.transactions() == []


@evm
def test_a_fate_of_dead_or_failed_ends_it_by_its_name(bench, monkeypatch):
    for word, state in (("dead", "DEAD"), ("failed", "REVERTED")):
        made, back = bench.plan(bench.token), bench.cut_off()

        def fate(*_, word=word):
            return word
            yield

        monkeypatch.setattr(type(bench.door), "fate", fate)
        with pytest.raises(PaymentRefused):
            bench.send(made, patience=0.3)
        back()
        monkeypatch.undo()
        assert bench.payer.ledger.transactions()[-1].state == state
    assert bench.payer.ledger.verify() == []


@pytest.mark.parametrize("bench", ["tron"], indirect=True)
def test_in_a_block_that_is_not_deep_enough_is_mined_and_resume_goes_on(bench):
    before, made, depth = bench.has(bench.token, bench.to), bench.plan(bench.token), bench.box.ground.chain.depth
    bench.box.ground.chain.depth = 10**6
    assert bench.send(made, patience=1.5).state == "MINED"
    bench.box.ground.chain.depth = depth
    ((was, now, words),) = drive(resume(bench.payer))
    assert (was.state, now.state) == ("MINED", "CONFIRMED") and "final" in words and bench.has(bench.token, bench.to) == before + made.offer.amount


@evm
def test_without_a_node_nothing_is_asked(bench):
    bench.payer.settings = replace(bench.payer.settings, nodes={})
    with pytest.raises(SettingsError, match="no node of"):
        bench.plan(bench.token)
