"""A payment of ours that no block takes, at a person's command: the same one at a higher fee, or nothing in its place; never two."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import httpx
import pytest
from typer.testing import CliRunner

import nursery
from first import First, shop
from x402_agent import (
    LedgerError,
    Payer,
    PaymentInDoubt,
    Policy,
    PolicyDenied,
    Settings,
    SettingsError,
    SigningFailed,
    Wallet,
    broadcast,
    replacing,
)
from x402_agent.chains.stacks import Transfer, fate, read, transfer
from x402_agent.chains.stacks import replacing as door
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.transport.fetch import drive

PRICE = 10_000
WAITS = ("UNKNOWN", "SEEN")
DEEP = 5  # blocks that here are taken for final: what the number is, and why, is judged in chains/stacks


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 0.3)
    for each in (fate, door):
        monkeypatch.setattr(each, "BURIED", DEEP)



class Stuck:
    """A payment in a mempool that makes no blocks, its seller, and what a person can do about it."""

    def __init__(self, payer, seller):
        self.payer, self.box, self.seller = payer, payer.box, seller
        self.chain = payer.box.ground.chain
        payer.dialects = (First(),)
        self.url, self.shown = shop(seller, payer.box)
        self.play(automatic=False)
        self.get()
        (self.id,) = [row.payment_id for row in payer.ledger.payments()]
        self.first = self.waiting()

    def play(self, **told):
        return httpx.post(f"{self.box.origin}/sandbox/stacks", json=told, trust_env=False).json()

    def get(self):
        with self.payer.client() as http, pytest.raises(PaymentInDoubt) as caught:
            http.get(self.url, extensions={"payment": {"key": "one"}})
        return caught.value

    def waiting(self):
        (found,) = [each.tx for each in self.chain.history(self.box.payer_address) if each.status == "pending"]
        return found

    def put(self, kind, **more):
        return drive(replacing.send(self.payer, drive(replacing.plan(self.payer, self.id, kind, **more))))[0]

    def resume(self):
        drive(broadcast.resume(self.payer))
        self.payer.resume()
        self.payer.ledger.flush()
        return self.payer.ledger.payment(self.id).state

    def rows(self):
        return [(row.kind, row.state) for row in self.payer.ledger.transactions()]

    def grow(self):
        grow(self.chain)

    @property
    def moved(self):
        return self.box.balance(self.box.pay_to)


@pytest.fixture
def stuck(seller):
    with Payer.sandbox(chain="stacks", serve=True) as payer:
        yield Stuck(payer, seller)


def grow(chain, blocks=DEEP):
    other, elsewhere = Account(b"\x33" * 32), Account(b"\x34" * 32).address
    chain.endow("STX", other.address, 10_000_000)
    for _ in range(blocks):
        chain.submit(other.sign(Transfer(elsewhere, 1), chain.nonce(other.address), 200).wire())


def test_the_same_payment_at_a_higher_fee_settles_once_and_its_own_id_is_shown(stuck):
    row = stuck.put("bump")
    made = stuck.waiting()
    assert (made.txid, made.nonce) == (row.txid, stuck.first.nonce) and made.fee > stuck.first.fee and made.payload == stuck.first.payload
    assert made.conditions == stuck.first.conditions and made.parsed.mode == 2
    assert stuck.chain.entry(stuck.first.txid).status == "dropped_replace_by_fee"
    assert stuck.resume() in WAITS and stuck.shown == [] and stuck.rows() == [("bump", "INFLIGHT")]
    stuck.play(automatic=True, mine=True)
    assert stuck.resume() in ("CLAIMED", "CONFIRMED") and stuck.moved == PRICE and set(stuck.shown) == {row.txid}
    assert stuck.rows() == [("bump", "MINED")]
    stuck.grow()
    stuck.resume()
    assert stuck.rows() == [("bump", "CONFIRMED")] and stuck.moved == PRICE
    assert stuck.payer.ledger.transactions()[0].fee_paid == made.fee


def test_whichever_form_a_block_takes_it_is_one_payment(stuck):
    row = stuck.put("bump")
    stuck.chain.drop(row.txid)
    stuck.chain.submit(stuck.first.raw)  # somebody had kept the first one
    stuck.play(automatic=True, mine=True)
    assert stuck.resume() in ("CLAIMED", "CONFIRMED") and stuck.moved == PRICE and set(stuck.shown) == {stuck.first.txid}
    stuck.grow()
    stuck.resume()
    assert stuck.rows() == [("bump", "DEAD")] and stuck.moved == PRICE


def test_a_cancelled_payment_is_freed_when_the_chain_shows_it_and_not_before(stuck):
    counted = lambda: stuck.payer.ledger.payment(stuck.id).outcome  # noqa: E731
    row = stuck.put("cancel")
    made = read(stuck.waiting().raw)
    assert made.origin.nonce == stuck.first.nonce and made.conditions == () and made.mode == 2
    assert stuck.resume() in WAITS and counted() == "in_doubt"
    assert "being cancelled" in stuck.get().what and stuck.shown == []  # nor is it shown, or broadcast, again
    stuck.play(automatic=True, mine=True)
    assert stuck.chain.entry(row.txid).status == "abort_by_response"
    assert stuck.resume() in WAITS and stuck.rows() == [("cancel", "MINED")]
    stuck.grow()
    assert stuck.resume() == "DEAD" and counted() == "released"
    assert (stuck.moved, stuck.shown, stuck.rows()) == (0, [], [("cancel", "CONFIRMED")])
    with stuck.payer.client() as http:  # free to be bought anew
        assert http.get(stuck.url, extensions={"payment": {"key": "one"}}).status_code == 200
    assert stuck.moved == PRICE and len(stuck.shown) == 1


def test_a_cancel_that_comes_too_late_frees_nothing(stuck):
    stuck.put("cancel")
    stuck.chain.drop(stuck.waiting().txid)
    stuck.chain.submit(stuck.first.raw)
    stuck.play(automatic=True, mine=True)
    assert stuck.resume() in ("CLAIMED", "CONFIRMED") and stuck.moved == PRICE
    stuck.grow()
    stuck.resume()
    assert stuck.rows() == [("cancel", "DEAD")] and stuck.payer.ledger.payment(stuck.id).outcome == "spent"


def test_each_form_offers_more_and_what_is_cancelled_is_not_bumped(stuck):
    fees = [stuck.first.fee, stuck.put("bump").fee_cap, stuck.put("bump").fee_cap, stuck.put("cancel").fee_cap]
    assert fees == sorted(set(fees)) and stuck.chain.waiting(stuck.box.payer_address) == [stuck.first.nonce]
    with pytest.raises(LedgerError, match="being cancelled"):
        stuck.put("bump")
    assert stuck.put("cancel").fee_cap > fees[-1]
    assert stuck.payer.ledger.verify() == []


def test_C8_no_more_is_offered_than_was_allowed(stuck):
    with pytest.raises(PolicyDenied, match="no less than") as caught:
        stuck.put("bump", max_fee=stuck.first.fee)
    assert "--max-fee 0." in caught.value.hint and stuck.rows() == []
    stuck.payer.policy = dataclasses.replace(stuck.payer.policy, chains=stuck.payer.policy.chains._replace(fees={"stacks": stuck.first.fee}))
    with pytest.raises(PolicyDenied):
        stuck.put("cancel")
    assert stuck.put("bump", max_fee=10**6).fee_cap < 10**4


def test_C8_what_a_node_estimates_is_cut_to_the_limit(stuck, monkeypatch):
    def greedy(node, payload, size):
        return 10**12
        yield

    monkeypatch.setattr(door, "fee", greedy)
    assert stuck.put("bump", max_fee=5_000).fee_cap == 5_000 and stuck.put("bump").fee_cap == 100_000


def test_only_what_is_open_is_replaced(stuck):
    stuck.play(automatic=True, mine=True)
    with pytest.raises(LedgerError, match="has its account nonce already"):
        stuck.put("bump")
    stuck.resume()
    for kind in ("bump", "cancel"):
        with pytest.raises(LedgerError, match="not in doubt"):
            stuck.put(kind)
    assert stuck.rows() == []


def test_two_processes_that_replace_at_once_are_told_apart(stuck):
    one, two = (drive(replacing.plan(stuck.payer, stuck.id, kind)) for kind in ("bump", "cancel"))
    drive(replacing.send(stuck.payer, two))
    with pytest.raises(LedgerError, match="meanwhile"):
        drive(replacing.send(stuck.payer, one))
    assert stuck.rows() == [("cancel", "INFLIGHT")]


def test_of_two_bumps_at_once_the_lower_is_never_written_down(stuck):
    lower = drive(replacing.plan(stuck.payer, stuck.id, "bump"))
    drive(replacing.send(stuck.payer, dataclasses.replace(lower, fee=lower.fee + 100)))
    for again in (lower, dataclasses.replace(lower, fee=lower.fee + 100)):
        with pytest.raises(LedgerError, match="meanwhile"):
            drive(replacing.send(stuck.payer, again))
    assert stuck.rows() == [("bump", "INFLIGHT")]


def test_what_a_lying_node_says_frees_nothing(stuck):
    stuck.put("cancel")
    stuck.play(automatic=True, mine=True)
    stuck.grow()
    node = stuck.payer.settings.nodes[stuck.box.network]
    stuck.payer.settings = dataclasses.replace(stuck.payer.settings, nodes={stuck.box.network: f"{node}|http://127.0.0.1:9"})
    assert stuck.resume() in WAITS  # one node of two says it (C2)
    stuck.payer.settings = dataclasses.replace(stuck.payer.settings, nodes={})
    with pytest.raises(SettingsError):
        stuck.put("cancel")


def test_a_payment_that_its_seller_broadcasts_is_cancelled_and_never_bumped(seller):
    with Payer.sandbox(chain="stacks", serve=True) as payer:
        entry = {"scheme": "exact", "network": payer.box.network, "amount": "1000", "asset": payer.box.ground.asset.address, "payTo": payer.box.pay_to,
                 "maxTimeoutSeconds": 60}  # fmt: skip
        asked = seller.packed({"x402Version": 2, "accepts": [entry]})
        url = seller.serves("/keeps", lambda hit: hit.reset() if hit.proof else seller.answer(402, b"{}", payment_required=asked))
        with payer.client() as http, pytest.raises(PaymentInDoubt):
            http.get(url)
        (hold,) = payer.ledger.open_payments()
        with pytest.raises(SigningFailed, match="waits for the very bytes") as caught:
            drive(replacing.plan(payer, hold.payment_id, "bump"))
        assert "--cancel" in caught.value.hint
        drive(replacing.send(payer, drive(replacing.plan(payer, hold.payment_id, "cancel"))))
        before = len(seller.hits)
        (row,) = payer.resume(hold.payment_id)
        assert "being cancelled" in row.note and len(seller.hits) == before  # he is not shown it again
        grow(payer.box.ground.chain)
        (row,) = payer.resume(hold.payment_id)
        assert row.after == "DEAD"




# -- by command, and killed -----------------------------------------------------------------------------------------------


class Home:
    """A ledger file, a key in the environment, and one payment that is stuck."""

    def __init__(self, box, seller, path):
        self.box, self.path = box, path
        self.env = {"X402_AGENT_LEDGER": str(path / "ledger.db"), "X402_AGENT_HOME": str(path), "X402_AGENT_NETWORKS": "testnet",
                    "X402_AGENT_NODES": f"stacks-testnet={box.rpc_url}", "X402_AGENT_STACKS_KEY": box.payer_key.hex()}  # fmt: skip
        url, self.shown = shop(seller, box)
        self.play(automatic=False)
        with self.payer() as payer, payer.client() as http, pytest.raises(PaymentInDoubt):
            http.get(url)
        (self.row,) = self.rows(lambda ledger: ledger.payments())

    def payer(self):
        return Payer(wallet=Wallet.from_key(self.box.payer_key, "stacks"), policy=Policy(networks=("testnet",)), dialects=(First(),),
                     settings=Settings.load(self.env), ledger=SqliteLedger(self.path / "ledger.db", notes=self.path))  # fmt: skip

    def rows(self, read=lambda ledger: [(row.kind, row.state) for row in ledger.transactions()]):
        ledger = SqliteLedger(self.path / "ledger.db", notes=self.path)
        try:
            return read(ledger)
        finally:
            ledger.shut()

    def play(self, **told):
        httpx.post(f"{self.box.origin}/sandbox/stacks", json=told, trust_env=False)

    def run(self, *words):
        return CliRunner().invoke(app, ["resume", *words], env=self.env)


@pytest.fixture
def home(seller, tmp_path):
    with Sandbox(chain="stacks") as box:
        box.serve()
        yield Home(box, seller, tmp_path)


def test_by_command(home):
    name = home.row.payment_id[:8]
    for words in (["--bump"], [name, "--bump", "--cancel"], ["--yes"], [name, "--max-fee", "1"], ["0xabcd", "--cancel"]):
        assert home.run(*words).exit_code == 2, words
    done = home.run(name, "--cancel")
    assert done.exit_code == 2 and "moves nothing" in done.stderr and "--yes" in done.stderr and home.rows() == []
    assert home.run(name, "--bump", "--max-fee", "0.0001", "--yes").exit_code == 3
    done = home.run(name, "--bump", "--yes", "--json")
    (told,) = json.loads(done.stdout)
    assert done.exit_code == 5 and told["after"] in WAITS and home.rows() == [("bump", "INFLIGHT")]
    done = home.run(name, "--cancel", "--yes")
    assert done.exit_code == 5 and "being cancelled by 0x" in done.stdout and "at most one can settle" in done.stderr
    home.play(automatic=True, mine=True)
    grow(home.box.ground.chain)
    done = home.run("--json")
    assert done.exit_code == 0 and {each["after"] for each in json.loads(done.stdout)} == {"DEAD", "CONFIRMED"}
    assert home.shown == [] and home.box.balance(home.box.pay_to) == 0 and home.box.payer_key.hex() not in done.output
    listed = CliRunner().invoke(app, ["wallet", "transactions"], env=home.env).stdout
    assert "cancel" in listed and "bump 0.0100 USDCx" in listed and "fee 0.00" in listed


CHILD = """
import sys
from pathlib import Path
from dying import dying, dying_steps
from x402_agent import Payer, Policy, Settings, Wallet, replacing
from x402_agent.chains.stacks import replacing as door
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.transport.fetch import drive

point, path, payment, kind = sys.argv[1:]

moment, _, name = point.partition("-")
if name == "again":
    door.again = dying_steps(door.again)
else:
    setattr(SqliteLedger, name, dying(getattr(SqliteLedger, name), moment == "before"))
payer = Payer(wallet=Wallet.from_key(sys.stdin.read(), "stacks"), policy=Policy(networks=("testnet",)), settings=Settings.load(),
              ledger=SqliteLedger(Path(path) / "ledger.db", notes=Path(path)))
drive(replacing.send(payer, drive(replacing.plan(payer, payment, kind))))
"""
POINTS = {"before-replace": None, "after-replace": "RELEASED", "before-launch": "RELEASED", "after-launch": "INFLIGHT", "after-again": "INFLIGHT"}


@pytest.mark.full
@pytest.mark.parametrize("kind", ["bump", "cancel"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_step_what_was_not_launched_never_left_and_what_was_goes_out_again(home, point, kind):
    done = nursery.run(CHILD, point, home.path, home.row.payment_id, kind, input=home.box.payer_key.hex(), env={**os.environ, **home.env})
    assert done.returncode == -signal.SIGKILL, done.stderr
    chain, who = home.box.ground.chain, home.box.payer_address
    txids = {each.tx.txid for each in chain.history(who)}
    assert len(txids) == (2 if point == "after-again" else 1)
    home.run()
    state = POINTS[point]
    assert home.rows() == ([(kind, state)] if state else [])
    left = {each.tx.txid for each in chain.history(who)}
    assert len(left) == (2 if state == "INFLIGHT" else 1) and txids <= left
    home.play(automatic=True, mine=True)
    grow(chain)
    home.run()
    moved = 0 if (kind, state) == ("cancel", "INFLIGHT") else 10_000
    assert home.box.balance(home.box.pay_to) == moved
    (row,) = home.rows(lambda ledger: ledger.payments())
    assert row.outcome == ("spent" if moved else "released") and home.rows(lambda ledger: ledger.verify()) == []
