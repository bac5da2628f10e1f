"""A transfer of our own on the pretend TRON: which bytes, what they cost, and what became of them by honest and lying nodes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from trontools import TRX, World, raw
from x402_agent import assets
from x402_agent.chains.tron import Tron, transfer
from x402_agent.chains.tron.transaction import MAX_FEE_LIMIT, read_signed
from x402_agent.errors import NoAcceptableOffer, NodeError, PaymentInDoubt, PolicyDenied, SigningFailed
from x402_agent.model import FOREVER, Anchor, ChainRules, Offer
from x402_agent.primitives import EvmKey
from x402_agent.sandbox.tron.chain import ENERGY_PRICE
from x402_agent.steps import Fetched, Progress, Sleep
from x402_agent.wallet import KeySigner

NILE = "tron:0xcd8690dc"
URL = "https://node.example"
TRON = Tron()
GENESIS = "wallet/getblockbynum"


class Bench:
    """One payer's transfers, and nodes by their host that are honest but for what `lies` says: (host, path) or path -> answer."""

    def __init__(self):
        self.world, self.lies, self.asked, self.told = World(), {}, [], []
        key = bytes.fromhex("22" * 32)
        self.signer, self.key = KeySigner(key, "tron"), EvmKey(key)
        self.account = self.signer.address("tron")
        self.world.chain.endow(raw(self.key), 1_000 * TRX)
        self.world.contracts.mint(raw(self.key), 50_000_000)
        self.usdt, self.trx = (assets.asset_by_id(f"{NILE}/{each}") for each in (f"trc20:{self.world.usdt}", "slip44:195"))

    def drive(self, steps):
        """Every step performed at once: a pause lets the chain's time pass."""
        got = None
        while True:
            try:
                step = steps.send(got)
            except StopIteration as done:
                return done.value
            if isinstance(step, Progress):
                self.told.append((step.state, step.fee))
                continue
            if isinstance(step, Sleep):
                self.world.time += step.seconds
                self.asked.append(("", "pause", {}))
                got = None
                continue
            host, path = step.url.split("/")[2], "/".join(step.url.split("/")[-2:])
            body = json.loads(step.content)
            self.asked.append((host, path, body))
            found = self.lies.get((host, path), self.lies.get(path, ...))
            honest = lambda body=body, path=path: self.world.ask(path.split("/")[1], path.split("/")[0], **body)  # noqa: E731
            found = honest() if found is ... else found(body, honest) if callable(found) else found
            got = found if isinstance(found, Fetched) else Fetched(200, {}, json.dumps(found).encode())

    def offer(self, asset=None, amount=1_000_000, **change):
        return replace(Offer("first", "transfer", asset or self.usdt, amount, self.world.shop, 60, method="transfer"), **change)

    def prepare(self, offer, rules=ChainRules(), url=URL):  # noqa: B008 - frozen
        return self.drive(TRON.prepare(offer, self.account, url, rules))

    def made(self, offer, nonce=bytes(32), anchor=None):
        anchor = anchor or self.prepare(offer)
        terms = TRON.terms(offer, self.account, now=int(self.world.time), nonce=nonce, max_lifetime=600, anchor=anchor)
        return terms, TRON.prove(offer, terms, self.signer)

    def pay(self, offer, url=URL):
        terms, proof = self.made(offer)
        self.drive(TRON.broadcast(offer, terms, proof, url))
        return terms, proof

    def fate(self, offer, terms, url=URL):
        return self.drive(TRON.fate(offer, terms, url))

    @property
    def sent(self):
        return [body["transaction"] for _, path, body in self.asked if path == "wallet/broadcasthex"]

    def got(self):
        return self.world.usdt_of(self.world.seller)


@pytest.fixture
def bench():
    return Bench()


def test_a_transfer_of_usdt_is_shown_once_it_is_solid(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    assert bench.fate(offer, terms) == "unknown" and terms.valid_before == proof.expires == FOREVER
    bench.drive(TRON.broadcast(offer, terms, proof, URL))
    assert bench.got() == 1_000_000 and bench.fate(offer, terms) == "settled"
    mined = bench.world.chain.mined(proof.txid)
    assert proof.payload["transaction"] == proof.txid == mined.envelope.txid
    assert mined.block <= bench.world.chain.solid().number
    assert mined.fee <= mined.envelope.fee_limit and mined.envelope.fee_limit == int(terms.anchor.text.split(",")[2])
    assert mined.envelope.fee_limit < mined.energy * ENERGY_PRICE * 13 // 10
    assert bench.told == [("SEEN", None), ("MINED", mined.fee)]
    bench.drive(TRON.broadcast(offer, terms, proof, URL))  # again it only looks
    assert bench.got() == 1_000_000 and set(bench.sent) == {proof.payload["raw"]}
    assert proof.payload["raw"] not in repr(proof)


def test_and_one_of_trx(bench):
    offer = bench.offer(bench.trx, 5 * TRX)
    before = bench.world.chain.sun(raw(bench.world.seller))
    terms, proof = bench.pay(offer)
    assert bench.world.chain.sun(raw(bench.world.seller)) - before == 5 * TRX
    assert bench.fate(offer, terms) == "settled"
    assert bench.drive(TRON.lookup(offer, terms, proof.txid, URL)) == "paid"
    assert bench.drive(TRON.balance(bench.trx, bench.account, URL)) == 995 * TRX  # its bandwidth was free


def test_what_is_signed_lives_for_a_minute_and_nothing_but_the_transfer_is_in_it(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer, nonce=b"\xff" * 32)
    made, _ = read_signed(bytes.fromhex(proof.payload["raw"]))
    head = bench.world.chain.head()
    assert head.timestamp + 59_000 <= made.expiration <= head.timestamp + 60_000
    assert made.ref == (head.id[6:8], head.id[8:16]) and not made.memo and not made.permission and not made.what.value
    assert (made.what.owner, made.what.contract) == (bench.account, bench.world.usdt)
    assert TRON.prove(offer, terms, bench.signer).payload == proof.payload


def test_two_equal_transfers_at_once_are_two_transactions(bench):
    offer = bench.offer()
    anchor = bench.prepare(offer)
    found = {bench.made(offer, nonce=index.to_bytes(32, "big"), anchor=anchor)[1].txid for index in (*range(100), *range(0, 100_000, 1000))}
    assert len(found) == 199


# -- before anything is signed ------------------------------------------------------------------------------------------


def test_without_a_node_nothing(bench):
    with pytest.raises(NoAcceptableOffer, match="needs a node"):
        bench.prepare(bench.offer(), url="")


def test_C3_a_node_of_another_chain_is_asked_nothing(bench):
    bench.lies[GENESIS] = {"blockID": "0" * 56 + "2b6653dc"}
    with pytest.raises(NodeError, match="C3"):
        bench.prepare(bench.offer())
    assert [path for _, path, _ in bench.asked] == [GENESIS]


def test_too_little_of_what_is_paid(bench):
    with pytest.raises(NoAcceptableOffer, match=r"only 50\.0000 USDT"):
        bench.prepare(bench.offer(amount=50_000_001))
    with pytest.raises(NoAcceptableOffer, match=r"only 1000\.0000 TRX"):
        bench.prepare(bench.offer(bench.trx, 1_001 * TRX))


@pytest.mark.parametrize("sun", [0, 1, 1_000_000])
def test_C9_too_little_trx_for_the_energy_is_refused_with_what_to_send(bench, sun):
    bench.world.chain.endow(raw(bench.key), sun)
    with pytest.raises(NoAcceptableOffer, match="energy and bandwidth may burn") as caught:
        bench.prepare(bench.offer())
    assert bench.account in caught.value.hint and "stake" in caught.value.hint and not bench.sent


def test_staked_energy_needs_no_trx_and_the_fee_limit_stays(bench):
    bench.world.chain.endow(raw(bench.key), 1)
    bench.lies["wallet/getaccountresource"] = {"freeNetLimit": 600, "EnergyLimit": 500_000, "EnergyUsed": 1}
    assert int(bench.prepare(bench.offer()).text.split(",")[2]) > 1_000_000


def test_C9_a_fee_above_what_policy_lets_the_network_take(bench):
    with pytest.raises(PolicyDenied, match="C9") as caught:
        bench.prepare(bench.offer(), ChainRules(fees={"tron": 1_000}))
    assert "[chains.fees]" in caught.value.hint
    assert TRON.fee(bench.offer(), ChainRules(fees={"tron": 10**12})).amount == MAX_FEE_LIMIT
    assert TRON.fee(bench.offer(), ChainRules()).amount == transfer.CEILING
    assert TRON.fee(bench.offer(), ChainRules(fees={"tron": 7})).amount == 7


def test_C8_a_price_of_energy_that_a_node_makes_up_stops_at_the_cap(bench):
    bench.lies["wallet/getchainparameters"] = lambda body, honest: {
        "chainParameter": [{**each, "value": 10**9} if each["key"] == "getEnergyFee" else each for each in honest()["chainParameter"]]
    }
    with pytest.raises(PolicyDenied, match="C9"):
        bench.prepare(bench.offer())


def test_a_transfer_that_would_revert_is_not_signed(bench):
    bench.lies["wallet/triggerconstantcontract"] = lambda body, honest: (
        honest() if body["function_selector"] != "transfer(address,uint256)" else {**honest(), "result": {"result": True, "message": "52"}}
    )
    with pytest.raises(NodeError):
        bench.prepare(bench.offer())


def test_no_trx_is_sent_to_a_contract_and_a_new_account_costs_what_it_costs(bench):
    with pytest.raises(NoAcceptableOffer, match="contract"):
        bench.prepare(bench.offer(bench.trx, TRX, pay_to=bench.world.usdt))
    stranger = "TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"
    bench.world.chain.endow(raw(bench.key), 2 * TRX)
    with pytest.raises(NoAcceptableOffer, match="may burn 1100000"):
        bench.prepare(bench.offer(bench.trx, TRX, pay_to=stranger))
    bench.world.chain.endow(raw(bench.key), 3 * TRX)
    bench.pay(bench.offer(bench.trx, TRX, pay_to=stranger))
    assert bench.world.chain.sun(raw(bench.key)) == 3 * TRX - TRX - 1_100_000


ODD = [{}, {"Error": "x"}, {"blockID": "zz"}, Fetched(500, {}, b""), Fetched(200, {}, b"<html>"), Fetched(0, {}, b"")]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("path", ["getnowblock", "getchainparameters", "triggerconstantcontract"])
def test_odd_answers_sign_nothing(path, odd, bench):
    bench.lies[f"wallet/{path}"] = odd
    with pytest.raises(NodeError):
        bench.prepare(bench.offer())


def test_a_block_whose_id_is_not_its_own_signs_nothing(bench):
    bench.lies["wallet/getnowblock"] = lambda body, honest: {**honest(), "blockID": "00" * 32}
    with pytest.raises(NodeError):
        bench.prepare(bench.offer())


@pytest.mark.parametrize("seconds", [-transfer.APART - 1, transfer.APART + 1, 10**9, -(10**9)])
def test_C1_a_node_far_from_our_clock_signs_nothing(bench, seconds):
    offer = bench.offer()
    anchor = bench.prepare(offer)
    bench.world.time -= seconds
    with pytest.raises(SigningFailed, match="C1"):
        bench.made(offer, anchor=anchor)


@pytest.mark.parametrize("text", ["", "ab,1800000000000,5", f"{'ab' * 10},0,5", f"{'ab' * 10},1800000000000,", f"{'ab' * 10},1800000000000,5\n",
                                  f"{'AB' * 10},1800000000000,5", f"{'ab' * 10},1800000000000,9999999999"])  # fmt: skip
def test_terms_without_block_and_fee_limit_are_none(bench, text):
    offer = bench.offer()
    with pytest.raises(SigningFailed):
        bench.made(offer, anchor=Anchor(text))
    terms, _ = bench.made(offer)
    assert bench.fate(offer, replace(terms, anchor=Anchor(text))) == "unknown"


@pytest.mark.parametrize("change", [{"scheme": "exact"}, {"method": "permit2"}, {"facilitator": "TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"}, {"fee_cap": 1},
                                    {"pay_to": "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"}, {"amount": 0}, {"amount": 1 << 128}])  # fmt: skip
def test_nothing_else_is_signed_by_this_way(bench, change):
    for asset in (bench.usdt, bench.trx):
        offer = bench.offer(asset)
        terms, _ = bench.made(offer)
        with pytest.raises(SigningFailed):
            TRON.prove(replace(offer, **change), terms, bench.signer)


@pytest.mark.parametrize("scheme, method", [("exact_permit", "payment-permit"), ("exact", "permit2")])
def test_TRX_is_paid_by_a_transfer_alone(bench, scheme, method):
    assert "A7" in TRON.refuses(bench.offer(bench.trx, scheme=scheme, method=method), bench.account)


# -- what became of it --------------------------------------------------------------------------------------------------


@pytest.mark.proves("tron", "transfer", "fate")
def test_C10_what_is_in_no_block_is_dead_a_minute_past_its_end_by_the_chains_clock(bench):
    offer = bench.offer()
    terms, _ = bench.made(offer)
    for seconds, word in ((0, "unknown"), (61, "unknown"), (100, "unknown"), (40, "dead")):
        bench.world.time += seconds
        assert bench.fate(offer, terms) == word, seconds
    assert bench.fate(offer, terms, f"{URL}|https://two.example") == "dead"
    bench.lies["two.example", "walletsolidity/getnowblock"] = {"block_header": {"raw_data": {"number": 1, "timestamp": 1}}}
    assert bench.fate(offer, terms, f"{URL}|https://two.example") == "unknown"


def test_one_that_waits_in_a_block_is_not_dead_before_it_is_solid(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    bench.world.ask("broadcasthex", transaction=proof.payload["raw"])
    assert bench.fate(offer, terms) == "unknown" and bench.got() == 1_000_000
    assert bench.drive(TRON.lookup(offer, terms, "", URL)) == "pending"
    bench.world.time += 60
    assert bench.fate(offer, terms) == "settled" and bench.drive(TRON.lookup(offer, terms, "", URL)) == "paid"


@pytest.mark.parametrize("asset", ["usdt", "trx"])
def test_V9_a_node_that_forgets_the_newest_state_frees_nothing_that_is_not_solid(bench, asset):
    offer = bench.offer(getattr(bench, asset))
    terms, proof = bench.made(offer)
    bench.world.ask("broadcasthex", transaction=proof.payload["raw"])
    bench.world.time += 200
    for path in ("gettransactioninfobyid", "gettransactionbyid"):
        bench.lies[f"walletsolidity/{path}"] = {}
    assert bench.fate(offer, terms) == "unknown"  # the newest state still shows it


def drained(bench, offer):
    """Somebody has emptied the account between the dry run and the block."""
    terms, proof = bench.made(offer)
    bench.world.contracts.transfer(bench.key, raw(bench.world.operator), 50_000_000)
    return terms, proof


def test_C4_a_revert_pays_nobody_and_has_failed_once_solid(bench):
    offer = bench.offer()
    terms, proof = drained(bench, offer)
    with pytest.raises(NodeError, match="failed"):
        bench.drive(TRON.broadcast(offer, terms, proof, URL))
    assert bench.world.chain.mined(proof.txid).result == "REVERT"
    assert bench.fate(offer, terms) == "unknown"
    bench.world.time += 60
    assert bench.fate(offer, terms) == "failed"


def test_C9_out_of_energy_burns_the_limit_and_has_failed_once_solid(bench):
    offer = bench.offer()
    anchor = bench.prepare(offer)
    ref, stamp, limit = anchor.text.split(",")
    terms, proof = bench.made(offer, anchor=Anchor(f"{ref},{stamp},{int(limit) // 4}"))
    with pytest.raises(NodeError, match="failed"):
        bench.drive(TRON.broadcast(offer, terms, proof, URL))
    mined = bench.world.chain.mined(proof.txid)
    assert mined.result == "OUT_OF_ENERGY" and 0 < mined.energy_fee <= int(limit) // 4 and bench.got() == 0
    bench.world.time += 60
    assert bench.fate(offer, terms) == "failed"


def failed(body, honest):
    return {"id": body["value"], "blockNumber": 1, "fee": 1, "result": "FAILED", "receipt": {"result": "REVERT"}}


def test_C2_one_liar_frees_nothing_and_one_honest_word_settles(bench):
    offer = bench.offer()
    terms, _ = bench.pay(offer)
    two = f"{URL}|https://two.example"
    for lie in (failed, {}):
        bench.lies = {("two.example", f"{room}/gettransactioninfobyid"): lie for room in ("wallet", "walletsolidity")}
        assert bench.fate(offer, terms, two) == "settled"
        bench.lies |= {("node.example", "walletsolidity/gettransactioninfobyid"): Fetched(500, {}, b"")}
        bench.world.time += 300
        assert bench.fate(offer, terms, two) == "unknown"


NOTHING = [
    lambda body, honest: {**honest(), "log": []},
    lambda body, honest: {**honest(), "id": "ab" * 32},
    lambda body, honest: {**honest(), "receipt": {}},
    lambda body, honest: {**honest(), "result": "FAILED"},
    lambda body, honest: {**honest(), "receipt": {"result": "REVERT"}},
    lambda body, honest: {**honest(), "log": [{**each, "data": f"{999_999:064x}"} for each in honest()["log"]]},
    lambda body, honest: {**honest(), "log": [{**each, "address": "ab" * 20} for each in honest()["log"]]},
    {"Error": "no"},
    Fetched(200, {}, b"[]"),
]


@pytest.mark.parametrize("lie", NOTHING)
def test_C4_half_an_answer_is_neither_paid_nor_dead(bench, lie):
    offer = bench.offer()
    terms, _ = bench.pay(offer)
    bench.lies["walletsolidity/gettransactioninfobyid"] = lie
    bench.world.time += 300
    assert bench.fate(offer, terms) == "unknown"


@pytest.mark.parametrize("change", [{"raw_data_hex": "00"}, {"txID": "ab" * 32}, {"ret": []}, {"ret": [{}]}, {"ret": [{"contractRet": "DEFAULT"}]}])
def test_C4_the_same_for_trx(bench, change):
    offer = bench.offer(bench.trx)
    terms, _ = bench.pay(offer)
    bench.lies["walletsolidity/gettransactionbyid"] = lambda body, honest: {**honest(), **change}
    bench.world.time += 300
    assert bench.fate(offer, terms) == "unknown"


# -- broadcasting to liars ----------------------------------------------------------------------------------------------


SAID = [
    {"result": True, "txid": "ab" * 32},
    {"code": "SUCCESS", "txid": "cd" * 32},
    {"code": "DUP_TRANSACTION_ERROR", "message": "44"},
    {"code": "TRANSACTION_EXPIRATION_ERROR"},
    {"Error": "class java.lang.NullPointerException"},
    {},
    Fetched(0, {}, b""),
]


@pytest.mark.parametrize("said", SAID)
def test_C5_what_a_node_says_of_a_broadcast_is_believed_by_nobody(bench, said):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    bench.lies["wallet/broadcasthex"] = said
    with pytest.raises(PaymentInDoubt, match=f"{proof.txid} is in no solid block"):
        bench.drive(TRON.broadcast(offer, terms, proof, URL))
    assert len(bench.sent) > 5 and set(bench.sent) == {proof.payload["raw"]} and "ab" * 32 not in proof.txid
    assert bench.fate(offer, terms) == "dead"  # three minutes on it can be in no block any more


@pytest.mark.parametrize("said", SAID)
def test_and_a_node_that_says_no_and_takes_it_has_taken_it(bench, said):
    def lie(body, honest):
        honest()
        return said

    bench.lies["wallet/broadcasthex"] = lie
    terms, _ = bench.pay(offer := bench.offer())
    assert bench.fate(offer, terms) == "settled"


def test_of_two_nodes_the_honest_one_is_enough(bench):
    bench.lies = {("node.example", "wallet/broadcasthex"): {"result": True}}
    bench.lies |= {("node.example", f"{room}/gettransactioninfobyid"): {} for room in ("wallet", "walletsolidity")}
    terms, _ = bench.pay(offer := bench.offer(), f"{URL}|https://two.example")
    assert bench.got() == 1_000_000
    assert bench.fate(offer, terms, f"{URL}|https://two.example") == "settled"
    first = [path for _, path, _ in bench.asked].index("pause")
    sent = [host for host, path, _ in bench.asked[:first] if path == "wallet/broadcasthex"]
    assert sent == ["node.example", "two.example"]  # both at once: nobody waits until the first has been found out


def test_what_producers_pass_over_goes_out_again_and_again_until_it_expires(bench):
    bench.world.chain.mining = False
    offer = bench.offer()
    terms, proof = bench.made(offer)
    with pytest.raises(PaymentInDoubt):
        bench.drive(TRON.broadcast(offer, terms, proof, URL))
    assert len(bench.sent) > 5 and set(bench.sent) == {proof.payload["raw"]}
    bench.world.chain.mining = True
    assert bench.fate(offer, terms) == "dead" and bench.got() == 0
    bench.world.ask("broadcasthex", transaction=proof.payload["raw"])
    assert bench.got() == 0
