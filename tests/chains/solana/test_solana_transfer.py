"""Paying first on Solana: which bytes, what is asked before, and what became of it by the word of nodes that may lie."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from chains.solana.bench import CHAIN, RENT, SOL, Bench, bends, bent, says, unlooked
from x402_agent import NoAcceptableOffer, Payer, PaymentInDoubt, PolicyDenied, SigningFailed, assets
from x402_agent.chains.solana import reads, transfer
from x402_agent.chains.solana.message import Anchored, anchored
from x402_agent.errors import NodeError
from x402_agent.model import Anchor, ChainRules, Terms
from x402_agent.steps import Fetched, Progress
from x402_agent.transport.fetch import drive


@pytest.fixture
def bench():
    with Payer.sandbox(chain="solana", serve=True) as payer:
        yield Bench(payer)


@pytest.fixture(scope="module")
def calm():
    """One for all tests that send nothing."""
    with Payer.sandbox(chain="solana", serve=True) as payer:
        yield Bench(payer)


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 0.6)


def test_the_same_terms_give_the_same_bytes_and_the_id_is_the_chains_own(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    assert CHAIN.prove(offer, terms, bench.signer).payload == proof.payload and proof.payload["raw"] not in repr(proof)
    sent = VersionedTransaction.from_bytes(b64decode(proof.payload["raw"]))
    assert str(sent.signatures[0]) == proof.payload["transaction"] and str(sent.message.account_keys[0]) == bench.account
    assert bench.fate(offer, terms) == "unknown"
    assert bench.send(offer, terms, proof) == ["SEEN", "MINED"]
    assert bench.box.balance(bench.box.pay_to) == 10_000 and bench.fate(offer, terms) == "settled"
    assert bench.box.transaction(proof.payload["transaction"]).tried.err is None
    assert bench.send(offer, terms, proof, sendTransaction=says(None)) == ["MINED"]  # again it only looks
    assert bench.box.balance(bench.box.pay_to) == 10_000
    assert drive(CHAIN.lookup(offer, terms, proof.payload["transaction"], bench.node)) == "paid"


@pytest.mark.proves("solana", "transfer", "judge", by="LiteSVM")
def test_SOL_moves_from_account_to_account_and_comes_back_by_the_chains_word(bench):
    offer = bench.offer(5_000_000, bench.sol)
    before, ours = bench.lamports(bench.box.pay_to), bench.lamports(bench.account)
    terms, proof = bench.made(offer)
    bench.send(offer, terms, proof)
    assert bench.lamports(bench.box.pay_to) == before + 5_000_000 and bench.fate(offer, terms) == "settled"
    assert bench.lamports(bench.account) == ours - 5_000_000 - 5_001 and bench.took == 5_001
    assert drive(CHAIN.lookup(offer, terms, proof.payload["transaction"], bench.node)) == "paid"
    back = bench.offer(3_000_000, bench.sol, pay_to=bench.account)
    theirs = bench.ground.seller
    anchor = drive(CHAIN.prepare(back, str(theirs.pubkey()), bench.node, ChainRules()))
    fixed = Terms(str(theirs.pubkey()), "0x" + "ab" * 32, 0, 1, anchor)
    refund = CHAIN.prove(back, fixed, Signing(theirs))
    bench.send(back, fixed, refund)
    assert drive(CHAIN.returned(offer, terms, refund.payload["transaction"], bench.node)) == 3_000_000
    assert drive(CHAIN.returned(offer, terms, proof.payload["transaction"], bench.node)) is None


class Signing:
    def __init__(self, pair):
        self.pair = pair

    def sign_message(self, namespace, message):
        return bytes(self.pair.sign_message(message))


@pytest.mark.parametrize("coin", [False, True])
def test_two_equal_payments_under_one_blockhash_are_two_transactions(bench, coin):
    offer = bench.offer(2_000_000, bench.sol if coin else None)
    first, one = bench.made(offer)
    second, two = bench.made(offer, first.anchor)
    assert one.payload["transaction"] != two.payload["transaction"]
    bench.send(offer, first, one)
    assert (bench.fate(offer, first), bench.fate(offer, second)) == ("settled", "unknown")
    bench.send(offer, second, two)
    assert bench.fate(offer, second) == "settled"


@pytest.mark.proves("solana", "transfer", "fate")
def test_after_its_last_block_and_no_sooner_what_never_arrived_is_dead_if_every_node_says_so(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    bench.box.warp(61)  # the blockhash has ended, and the margin has not
    assert bench.fate(offer, terms) == "unknown"
    bench.box.warp(20)
    assert bench.fate(offer, terms) == "dead"
    assert bench.fate(offer, terms, f"{bench.node}|http://127.0.0.1:9") == "unknown"
    with pytest.raises(PaymentInDoubt, match="its blockhash has ended"):
        bench.send(offer, terms, proof)
    assert bench.box.balance(bench.box.pay_to) == 0


def test_what_arrived_in_time_is_never_dead(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    bench.send(offer, terms, proof)
    bench.box.warp(10_000)
    assert bench.fate(offer, terms) == "settled"
    bench.send(offer, terms, proof)  # and is still shown


def test_C5_a_node_that_swallows_what_it_takes_is_handed_the_same_bytes_again(bench, monkeypatch):
    monkeypatch.setattr(transfer, "_AGAIN", 0.02)
    offer = bench.offer()
    terms, proof = bench.made(offer)
    taken = []

    def swallow(step):
        sent = json.loads(step.content)
        taken.append(json.dumps(sent["params"]))
        if len(taken) < 3:
            return Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": sent["id"], "result": proof.payload["transaction"]}).encode())
        return (yield step)

    bench.send(offer, terms, proof, sendTransaction=swallow)
    assert len(taken) >= 3 and len(set(taken)) == 1 and bench.box.balance(bench.box.pay_to) == 10_000


def test_one_node_of_two_is_enough_to_send_and_to_see(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    bench.send(offer, terms, proof, f"http://127.0.0.1:9|{bench.node}")
    assert bench.fate(offer, terms) == "settled"


def test_a_replay_by_anybody_moves_nothing_in_time_or_later(bench):
    offer = bench.offer(1_000_000, bench.sol)
    terms, proof = bench.made(offer)
    bench.send(offer, terms, proof)
    ours, theirs = bench.lamports(bench.account), bench.lamports(bench.box.pay_to)
    for seconds in (0, 30, 600):
        bench.box.warp(seconds)
        with pytest.raises(NodeError, match=r"already been processed|Blockhash not found"):
            drive(reads.send(transfer.node_of(offer, bench.node, ""), proof.payload["raw"]))
        assert (bench.lamports(bench.account), bench.lamports(bench.box.pay_to)) == (ours, theirs)


def behind(lie):
    """A lie of the node under its other name alone."""

    def only(step):
        return (yield from lie(step)) if step.url.startswith("http://localhost") else (yield step)

    return only


def test_C1_a_stale_node_beside_an_honest_one_neither_stops_nor_frees_anything(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    both = bench.node.replace("127.0.0.1", "localhost") + "|" + bench.node
    nothing = {"context": {"slot": 1}, "value": [None]}
    stale = {"getSignatureStatuses": behind(says(nothing)), "getTransaction": behind(says(None)), "getSignaturesForAddress": behind(says([])),
             "sendTransaction": behind(says("5" * 88))}  # fmt: skip
    assert bench.send(offer, terms, proof, both, **stale) == ["SEEN", "MINED"]
    assert bench.fate(offer, terms, both, **stale) == "settled"
    lost, _ = bench.made(offer)
    bench.box.warp(100)
    old = behind(says({"absoluteSlot": anchored(lost.anchor).slot, "blockHeight": 1}))
    assert bench.fate(offer, lost, both, getEpochInfo=old) == "unknown" and bench.fate(offer, lost, both) == "dead"


def test_C4_a_status_without_the_transaction_is_a_word(bench, hasty):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    final = {"context": {"slot": 1}, "value": [{"slot": 1, "confirmations": None, "err": None, "confirmationStatus": "finalized"}]}
    with pytest.raises(PaymentInDoubt):
        bench.send(offer, terms, proof, getSignatureStatuses=says(final), sendTransaction=says("5" * 88))
    assert bench.fate(offer, terms) == "unknown"


@pytest.mark.parametrize("forged", [False, True])
def test_another_transaction_under_our_id_is_not_believed(bench, hasty, forged):
    offer, other = bench.offer(), bench.offer(20_000)
    terms, proof = bench.made(offer)
    theirs, sent = bench.made(other)
    bench.send(other, theirs, sent)

    def named(step):
        return step._replace(content=step.content.replace(proof.payload["transaction"].encode(), sent.payload["transaction"].encode()))

    def lie(step):
        return (yield named(step))

    def signed(answer):
        """Their message with our signature before it."""
        raw, ours = (b64decode(each) for each in (answer["result"]["transaction"][0], proof.payload["raw"]))
        answer["result"]["transaction"][0] = b64encode(ours[:65] + raw[65:] if forged else raw).decode()

    shown = {"getSignatureStatuses": lie, "getTransaction": lambda step: bends(signed)(named(step)), "sendTransaction": says("5" * 88)}

    with pytest.raises(PaymentInDoubt):
        bench.send(offer, terms, proof, **shown)
    assert bench.fate(offer, terms) == "unknown"


@pytest.fixture
def lost(bench):
    """A transfer that failed in a block: the money was gone before it landed."""
    offer, other = bench.offer(100_000_000), bench.offer(60_000_000)
    terms, proof = bench.made(offer)
    bench.send(other, *bench.made(other))
    with pytest.raises(NodeError, match=r"stands in slot [0-9]+ and failed"):
        bench.send(offer, terms, proof, sendTransaction=unlooked)
    return offer, terms, proof


def test_one_that_failed_in_a_final_block_is_told_with_its_fee_and_moves_nothing_any_more(bench, lost):
    offer, terms, proof = lost
    assert bench.fate(offer, terms) == "failed"
    assert bench.fate(offer, terms, f"{bench.node}|http://127.0.0.1:9") == "unknown"
    told = []
    with pytest.raises(NodeError, match="failed"):
        drive(bent(CHAIN.broadcast(offer, terms, proof, bench.node), told))
    (mined,) = (each for each in told if isinstance(each, Progress))
    assert (mined.state, mined.fee) == ("MINED", 5_001) and "where it failed" in mined.words
    assert drive(CHAIN.lookup(offer, terms, proof.payload["transaction"], bench.node)) == "another"


@pytest.mark.parametrize(("after", "told"), [(0, SOL + 1), (SOL + 1, 5_001), (None, None)])
def test_what_it_cost_is_what_a_block_shows_and_never_less_than_Solana_takes(bench, after, told):
    offer = bench.offer()
    terms, proof = bench.made(offer)

    def balances(answer):
        if answer["result"] is not None:
            answer["result"]["meta"]["preBalances"][0] = SOL + 1
            answer["result"]["meta"]["postBalances"] = [] if after is None else [after]

    bench.send(offer, terms, proof, getTransaction=bends(balances))
    assert bench.took == told


def test_one_that_failed_in_a_block_that_is_not_final_may_still_come(bench, lost):
    offer, terms, _ = lost

    def younger(answer):
        for row in answer["result"]:
            row["slot"] += 10**6

    assert bench.fate(offer, terms, getSignaturesForAddress=bends(younger)) == "unknown"

    def fine(answer):
        for row in answer["result"]:
            row["err"] = None

    assert bench.fate(offer, terms, getSignaturesForAddress=bends(fine)) == "unknown"  # a history that says otherwise


def test_a_block_that_is_taken_back_is_told_and_the_same_bytes_go_out_again(bench, monkeypatch):
    monkeypatch.setattr(transfer, "_AGAIN", 0.02)
    made = bench.offer()
    terms, proof = bench.made(made)
    offer = replace(made, asset=replace(made.asset, network=replace(made.network, confirmations=32)))
    looks, sent = [], []

    def status(answer):
        looks.append(0)
        (row,) = answer["result"]["value"]
        if row is not None and len(looks) < 5:  # voted for, then on a fork that lost, then final
            row.update(confirmationStatus="confirmed" if len(looks) < 4 else "processed", confirmations=1)

    def counted(step):
        sent.append(json.dumps(json.loads(step.content)["params"]))
        return (yield step)

    told = bench.send(offer, terms, proof, getSignatureStatuses=bends(status), sendTransaction=counted)
    assert told == ["SEEN", "MINED", "INFLIGHT", "MINED"] and len(set(sent)) == 1 < len(sent)


@pytest.mark.parametrize(("level", "confirmations", "wanted", "enough"), [
    ("processed", 0, 1, False), ("confirmed", 0, 1, True), ("confirmed", 5, 32, False), ("confirmed", 31, 32, True), ("finalized", None, 32, True)])  # fmt: skip
def test_as_deep_as_the_networks_row_wants(bench, hasty, level, confirmations, wanted, enough):
    made = bench.offer()
    terms, proof = bench.made(made)
    network = replace(made.network, confirmations=wanted)
    offer = replace(made, asset=replace(made.asset, network=network))

    def shallow(answer):
        for row in answer["result"]["value"]:
            if row is not None:
                row.update(confirmationStatus=level, confirmations=confirmations)

    if enough:
        bench.send(offer, terms, proof, getSignatureStatuses=bends(shallow))
    else:
        with pytest.raises(PaymentInDoubt, match="in no block"):
            bench.send(offer, terms, proof, getSignatureStatuses=bends(shallow))
    assert assets.network("solana").confirmations == 32 and assets.network("solana-devnet").confirmations == 1


# -- before anything is signed ----------------------------------------------------------------------------------------


def stranger(bench, lamports=SOL):
    pair = Keypair()
    if lamports:
        bench.ground.chain.endow(pair.pubkey(), lamports)
    return str(pair.pubkey())


def test_R9_a_payee_without_an_account_is_paid_only_where_policy_allows_its_rent(bench):
    offer = bench.offer(pay_to=stranger(bench, 0))
    with pytest.raises(PolicyDenied, match="opens the payee's account of USDC") as caught:
        bench.prepared(offer)
    assert "[chains.fees]" in caught.value.hint and "C8" in caught.value.rule and str(RENT) not in caught.value.hint
    before = bench.lamports(bench.account)
    terms, proof = bench.made(offer, fees={"solana": 2_200_000})
    assert anchored(terms.anchor).opens == 1
    bench.send(offer, terms, proof)
    assert bench.box.balance(offer.pay_to) == 10_000 and bench.fate(offer, terms) == "settled"
    assert bench.lamports(bench.account) == before - RENT - 5_001 and bench.took == RENT + 5_001 == terms.anchor.cost
    again, second = bench.made(offer, terms.anchor)  # it is there by now: nothing is paid for it twice
    bench.send(offer, again, second)
    assert bench.lamports(bench.account) == before - RENT - 2 * 5_001 and bench.box.balance(offer.pay_to) == 20_000


@pytest.mark.parametrize(("lamports", "amount", "fine"), [(0, 890_880, True), (0, 890_879, False), (SOL, 1, True)])
def test_SOL_goes_only_where_it_is_kept(bench, lamports, amount, fine):
    offer = bench.offer(amount, bench.sol, pay_to=stranger(bench, lamports))
    if fine:
        terms, proof = bench.made(offer)
        bench.send(offer, terms, proof)
        assert bench.lamports(offer.pay_to) == lamports + amount
    else:
        with pytest.raises(NoAcceptableOffer, match="is not kept"):
            bench.prepared(offer)


def test_R1_SOL_goes_to_no_programs_account_and_to_none_with_data(bench):
    nonce = stranger(bench, 0)
    for owner, data in ((str(Keypair().pubkey()), b""), ("1" * 32, bytes(80))):
        bench.ground.chain.install(Pubkey.from_string(nonce), Account(SOL, data, Pubkey.from_string(owner), False, 0))
        with pytest.raises(NoAcceptableOffer, match="program's account, or holds data"):
            bench.prepared(bench.offer(SOL // 2, bench.sol, pay_to=nonce))


def test_C8_a_node_that_says_the_network_is_dear_gets_no_more_than_a_bound_of_ours(calm):
    offer = calm.offer()
    dear = says([{"slot": 1, "prioritizationFee": 10**15}] * 3)
    made = anchored(calm.prepared(offer, getRecentPrioritizationFees=dear))
    assert made.price * 20_000 == 50_000 * 1_000_000
    made = anchored(calm.prepared(offer, ChainRules(fees={"solana": 10**9}), getRecentPrioritizationFees=dear))
    assert made.price * 20_000 == 50_000 * 1_000_000
    made = anchored(calm.prepared(offer, ChainRules(fees={"solana": 5_500}), getRecentPrioritizationFees=dear))
    assert made.price * 20_000 == 500 * 1_000_000
    usual = says([{"slot": 1, "prioritizationFee": each} for each in (0, 0, 10, 20)])
    assert anchored(calm.prepared(offer, getRecentPrioritizationFees=usual)).price == 20
    assert anchored(calm.prepared(offer, getRecentPrioritizationFees=says([]))).price == 1
    with pytest.raises(PolicyDenied, match="at most 5000 are paid"):
        calm.prepared(offer, ChainRules(fees={"solana": 5_000}))


def test_what_the_account_cannot_pay_is_not_signed(calm):
    poor = says({"context": {"slot": 1}, "value": 890_880 + 5_000})
    with pytest.raises(NoAcceptableOffer, match="keep the account there"):
        calm.prepared(calm.offer(), getBalance=poor)
    with pytest.raises(NoAcceptableOffer, match="keep the account there"):
        calm.prepared(calm.offer(SOL, calm.sol))
    with pytest.raises(NoAcceptableOffer, match=r"we have 100\.0000 USDC"):
        calm.prepared(calm.offer(100_000_001))
    with pytest.raises(NoAcceptableOffer, match="no node") as caught:
        drive(CHAIN.prepare(calm.offer(), calm.account, "", ChainRules(trusting=True)))
    assert "trust" not in caught.value.hint
    assert CHAIN.unset(calm.offer(), "", ChainRules(trusting=True)) and not CHAIN.unset(calm.offer(), calm.node, ChainRules())


@pytest.mark.parametrize("change", [
    {"scheme": "exact"}, {"facilitator": "9aE476sH92Vz7DMPyq5WLPkrKWivxeuTKEFKd2sZZcde"}, {"fee_cap": 1}, {"details": '{"memo":"x"}'}, {"amount": 0},
    {"amount": 1 << 64}, {"pay_to": "1" * 32}, {"method": ""}, {"method": "permit2"}])  # fmt: skip
@pytest.mark.parametrize("coin", [False, True])
def test_nothing_else_is_signed_by_this_way(calm, change, coin):
    offer = calm.offer(5_000_000, calm.sol if coin else None)
    terms, _ = calm.made(offer)
    with pytest.raises(SigningFailed):
        CHAIN.prove(replace(offer, **change), terms, calm.signer)


def test_R9_neither_ourselves_nor_what_nobody_has_the_key_of_is_paid(calm):
    for coin in (None, calm.sol):
        assert "own account" in CHAIN.refuses(calm.offer(asset=coin, pay_to=calm.account), calm.account)
        token = str(Pubkey.find_program_address([b"x"], Pubkey.from_string(calm.account))[0])
        assert "not on the curve" in CHAIN.refuses(calm.offer(asset=coin, pay_to=token), calm.account)


HASH = Anchored(bytes(range(32)), 1000, 700)


@pytest.mark.parametrize("anchor", [HASH, HASH._replace(last=0, price=1), HASH._replace(slot=0, price=1)])
def test_terms_without_a_blockhash_of_our_own_and_a_fee_are_none(calm, anchor):
    with pytest.raises(SigningFailed):
        CHAIN.terms(calm.offer(), calm.account, now=1, nonce=bytes(32), max_lifetime=60, anchor=Anchor(anchor.text))
    exact = calm.offer(scheme="exact", method="", facilitator=calm.box.facilitator_address)
    with pytest.raises(SigningFailed):
        CHAIN.terms(exact, calm.account, now=1, nonce=bytes(32), max_lifetime=60, anchor=Anchor(HASH._replace(price=1).text))


def test_what_it_may_cost_is_told_in_SOL(calm):
    assert CHAIN.fee(calm.offer(), ChainRules()).amount == transfer.CEILING
    assert CHAIN.fee(calm.offer(), ChainRules(fees={"solana": 7_000})).amount == 7_000
    assert CHAIN.fee(calm.offer(scheme="exact", method=""), ChainRules()) is None
