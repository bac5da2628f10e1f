"""What a node of TRON can make us believe: only `settled` and `dead` on evidence, all else is `unknown`."""

from __future__ import annotations

import json

import pytest

from x402_agent import Settings
from x402_agent.chains.evm.reads import TRANSFER
from x402_agent.chains.tron import fate as fates
from x402_agent.chains.tron import permit, permit2, reads
from x402_agent.chains.tron.addresses import address_bytes
from x402_agent.chains.tron.rpc import Node as Asked
from x402_agent.errors import NodeError
from x402_agent.model import Terms
from x402_agent.primitives import keccak
from x402_agent.steps import Fetched

NILE = "tron:0xcd8690dc"
URL = "https://node.example"
PAYER = "TZ77W2658W9fKNf4TA473YCWFUffPuszbW"
TERMS = Terms("TGneCZXUdubDichAjxttbax7RCXHDwXh2Q", "0x" + "6e" * 32, 1000, 2000)
BIT = 1 << 0x6E
TXID = "ab" * 32
LATE = 2000 + fates.LAG + 1
WAYS = [permit.METHOD, permit2.METHOD]


def said(bits):
    return {"result": {"result": True}, "energy_used": 500, "constant_result": [f"{bits:064x}"], "transaction": {"ret": [{}]}}


def block(seconds, number=100, **more):
    return {"blockID": "00" * 32, "block_header": {"raw_data": {"number": number, "timestamp": seconds * 1000}}, **more}


@pytest.fixture
def fate(tron, offer, node):
    def run(way=permit.METHOD, url=URL, **answers):
        unused = {"wallet_triggerconstantcontract": said(0), "walletsolidity_triggerconstantcontract": said(0),
                  "walletsolidity_getnowblock": block(LATE)}  # fmt: skip
        asked = node(**{**unused, **answers})
        return asked.drive(tron.fate(offer(method=way), TERMS, url)), asked

    return run


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bits", [BIT, (1 << 256) - 1, BIT | 1])
def test_used_now_is_settled(bits, way, fate, offer):
    answer, node = fate(way, wallet_triggerconstantcontract=said(bits))
    assert answer == "settled"
    path, body = node.asked[-1]
    contract = (permit if way == permit.METHOD else permit2).CONTRACTS[NILE]
    assert path == "wallet/triggerconstantcontract"
    assert body == {
        "owner_address": TERMS.payer, "contract_address": contract, "function_selector": "nonceBitmap(address,uint256)",
        "parameter": address_bytes(TERMS.payer).hex().rjust(64, "0") + f"{int('6e' * 31, 16):064x}", "visible": True,
    }  # fmt: skip


def test_the_selector_of_the_bitmap():
    assert keccak(b"nonceBitmap(address,uint256)")[:4].hex() == "4fe02b44"


@pytest.mark.proves("tron", "exact_permit", "fate")
@pytest.mark.parametrize("bits", [0, ((1 << 256) - 1) ^ BIT, BIT >> 1, BIT << 1])
def test_unused_in_the_solid_state_past_its_end_is_dead(bits, fate):
    answer, node = fate(wallet_triggerconstantcontract=said(bits), walletsolidity_triggerconstantcontract=said(bits))
    assert answer == "dead"
    assert [path for path, _ in node.asked] == [
        "wallet/getblockbynum", "wallet/triggerconstantcontract", "walletsolidity/getnowblock",
        "walletsolidity/triggerconstantcontract",
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [0, 2000, 2001, LATE - 1])
def test_T10_a_solid_block_not_well_past_its_end_is_unknown(seconds, fate):
    assert fate(walletsolidity_getnowblock=block(seconds))[0] == "unknown"


def test_used_in_the_solid_state_alone_is_settled(fate):
    assert fate(walletsolidity_triggerconstantcontract=said(BIT))[0] == "settled"


@pytest.mark.parametrize("genesis", ["0" * 16 + "1ebf88508a03865c71d452e25f4d51194196a1d2" + "2b6653dc", "", "cd8690dc", 7,
                                     "1" * 56 + "cd8690dc", None])  # fmt: skip
def test_C3_a_node_of_another_chain_is_not_believed(genesis, fate):
    answer, node = fate(wallet_getblockbynum={"blockID": genesis}, wallet_triggerconstantcontract=said(BIT))
    assert answer == "unknown" and len(node.asked) == 1


def test_a_busy_block_cut_off_in_its_transactions_still_tells_the_time(fate):
    text = json.dumps(block(LATE, transactions=["ab" * 300] * 200))
    assert fate(walletsolidity_getnowblock=Fetched(200, {}, text.encode()[:65536]))[0] == "dead"


ODD = [
    pytest.param(None, id="null"),
    pytest.param({}, id="empty"),
    pytest.param([], id="array"),
    pytest.param({"Error": "class java.lang.NullPointerException : null"}, id="error"),
    pytest.param({"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": "4e6f"}}, id="no-contract"),
    pytest.param({**said(0), "result": {"result": True, "message": "REVERT opcode executed"}}, id="revert"),
    pytest.param({**said(0), "transaction": {"ret": [{"ret": "FAILED"}]}}, id="failed"),
    pytest.param({**said(0), "transaction": {"ret": []}}, id="no-ret"),
    pytest.param({**said(0), "constant_result": [""]}, id="no-word"),
    pytest.param({**said(0), "constant_result": ["0" * 63]}, id="short"),
    pytest.param({**said(0), "constant_result": ["0" * 64] * 2}, id="two-words"),
    pytest.param({**said(0), "constant_result": ["0x" + "0" * 64]}, id="0x"),
    pytest.param({**said(0), "result": {"result": "true"}}, id="truth-as-text"),
    pytest.param(Fetched(0, {}, b""), id="no-answer"),
    pytest.param(Fetched(500, {}, b"oops"), id="500"),
    pytest.param(Fetched(200, {}, b"<html>"), id="html"),
    pytest.param(Fetched(200, {}, b'{"a":' * 2000), id="S5-deep"),
    pytest.param(Fetched(200, {}, b"\xff\xfe"), id="not-text"),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("path", ["wallet_triggerconstantcontract", "walletsolidity_triggerconstantcontract"])
def test_odd_answers_are_unknown(path, odd, fate):
    assert fate(**{path: odd})[0] == "unknown"


@pytest.mark.parametrize(
    "odd",
    [*ODD, {"block_header": {}}, block(-1), block(LATE, number="1"), {"block_header": {"raw_data": {"number": 1, "timestamp": "9" * 20}}},
     {"block_header": {"raw_data": {"number": 1, "timestamp": 1e15}}}, {"block_header": {"raw_data": {"number": True, "timestamp": 10**15}}}],
)  # fmt: skip
def test_odd_blocks_are_unknown(odd, fate):
    assert fate(walletsolidity_getnowblock=odd)[0] == "unknown"


@pytest.mark.parametrize("one, two, both", [(False, False, "dead"), (True, False, "settled"), (False, True, "settled"),
                                            (None, False, "unknown"), (False, None, "unknown"), (None, True, "settled")])  # fmt: skip
def test_C2_all_must_say_dead_and_one_may_say_settled(one, two, both, tron, offer, node):
    asked = node(walletsolidity_getnowblock=block(LATE))

    def answer(body):
        used = one if "//one." in asked.steps[-1].url else two
        return Fetched(500, {}, b"") if used is None else said(BIT if used else 0)

    asked.answers |= {"wallet_triggerconstantcontract": answer, "walletsolidity_triggerconstantcontract": answer}
    assert asked.drive(tron.fate(offer(), TERMS, "https://one.example|https://two.example")) == both


@pytest.mark.parametrize("url", ["http://node.example", "https://[", ""])
def test_C20_other_urls_are_not_asked(url, fate):
    answer, node = fate(url=url, wallet_triggerconstantcontract=said(BIT))
    assert answer == "unknown" and not node.asked


KEYED = [
    "https://needle1@node.example/base",
    "https://user:needle1@node.example/base",
    "https://node.example/base?TRON-PRO-API-KEY=needle1",
    "https://node.example/base/?tron-pro-api-key=needle1",
]


@pytest.mark.parametrize("url", KEYED)
def test_C19_a_key_travels_in_the_header_alone(url, fate):
    answer, node = fate(url=url, wallet_triggerconstantcontract=said(BIT))
    assert answer == "settled"
    for step in node.steps:
        assert step.url.startswith("https://node.example/base/wallet/")
        assert "needle1" not in step.url + repr(step) + repr(step.headers)
        assert step.headers["TRON-PRO-API-KEY"] == "needle1"


@pytest.mark.parametrize("url", KEYED)
def test_C19_and_stands_in_no_error(url, node, offer):
    asked = node(wallet_triggerconstantcontract={"Error": "needle1 is over its limit"})
    with pytest.raises(NodeError) as caught:
        asked.drive(reads.balance(Asked(offer().network, url), offer().asset.address, TERMS.payer))
    assert "over its limit" in str(caught.value) and "needle1" not in str(caught.value)
    assert Settings.load({"X402_AGENT_NODES": f"tron-nile={url}"}).nodes[NILE] == url


def test_without_a_key_no_header(fate):
    _, node = fate(wallet_triggerconstantcontract=said(BIT))
    assert all("TRON-PRO-API-KEY" not in step.headers for step in node.steps)


def transfer(token, sender, to, value, **more):
    topics = [TRANSFER[2:], *(address_bytes(each).hex().rjust(64, "0") for each in (sender, to))]
    return {"address": address_bytes(token).hex(), "topics": topics, "data": f"{value:064x}", **more}


def info(*logs, **changes):
    return {"id": TXID, "blockNumber": 7, "fee": 345000, "receipt": {"result": "SUCCESS"}, "log": list(logs),
            "contractResult": ["0" * 64], **changes}  # fmt: skip


@pytest.fixture
def look(tron, offer, node):
    """What `lookup` says of a transaction; the contract's word for `transfer` is false, as USDT's is."""

    def run(now, final=..., bits=BIT, named=TXID, way=permit.METHOD):
        asked = node(
            wallet_gettransactioninfobyid=now,
            walletsolidity_gettransactioninfobyid=now if final is ... else final,
            wallet_triggerconstantcontract=said(bits),
        )
        return asked.drive(tron.lookup(offer(method=way), TERMS, named, URL))

    return run


@pytest.fixture
def paid(offer):
    return transfer(offer().asset.address, TERMS.payer, offer().pay_to, 1000)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("named", [TXID, "0x" + TXID, TXID.upper()])
def test_paid_by_the_log_though_the_contract_returned_false(named, way, look, paid):
    assert look(info(paid), named=named, way=way) == "paid"


def test_V9_not_solid_yet_is_pending(look, paid):
    assert look(info(paid), final={}) == "pending"
    assert look(info(paid), final=info()) == "pending"


def test_V1_missing_and_unnamed(look, paid):
    assert look({}) == "missing"
    assert look(info(paid), named="0x12") == "unnamed"


def test_V8_another_s_payment_is_not_ours(look, paid, offer):
    token, payee = offer().asset.address, offer().pay_to
    for log in (
        transfer(token, TERMS.payer, payee, 999), transfer(token, PAYER, payee, 1000), transfer(token, TERMS.payer, PAYER, 1000),
        transfer(PAYER, TERMS.payer, payee, 1000), {**paid, "topics": paid["topics"][:2]},
    ):  # fmt: skip
        assert look(info(log)) == "another"
    assert look(info(paid), bits=0) == "another"


@pytest.mark.parametrize("failed", [{"result": "FAILED"}, {"receipt": {"result": "OUT_OF_ENERGY"}}, {"receipt": {}},
                                    {"receipt": {"result": "REVERT"}, "result": "FAILED"}])  # fmt: skip
def test_C4_what_failed_paid_nobody(failed, look, paid):
    assert look(info(paid, **failed)) == "another"


@pytest.mark.parametrize("odd", [{"id": "cd" * 32}, {"blockNumber": "7"}, {"log": [{}]}, {"log": 7}, {"receipt": None}, {"fee": -1}])
def test_odd_transactions_are_unknown(odd, look, paid):
    assert look(info(paid, **odd)) == "unknown"


def test_V11_what_came_back(tron, offer, node):
    token, payee = offer().asset.address, offer().pay_to
    back = transfer(token, payee, TERMS.payer, 400)

    def run(answer, named=TXID, url=URL):
        asked = node(walletsolidity_gettransactioninfobyid=answer)
        return asked.drive(tron.returned(offer(), TERMS, named, url))

    assert run(info(back)) == 400
    assert run(info(back, back)) == 800
    assert run(info(transfer(token, payee, PAYER, 400))) is None
    assert run(info(back, result="FAILED")) is None
    assert run({}) is None
    assert run(info(back), named="?") is None
    assert run({"Error": "x"}) is None
    several = iter([info(back), info(back, back)])
    assert run(lambda _: next(several), url="https://one.example|https://two.example") is None


def test_balances_and_allowances(offer, node):
    where, token = offer().network, offer().asset.address
    asked = node(wallet_triggerconstantcontract=said(77), wallet_getaccount={"balance": 5_000_000})
    drive = asked.drive
    assert drive(reads.balance(Asked(where, URL), token, PAYER)) == 77
    assert asked.asked[-1][1]["function_selector"] == "balanceOf(address)"
    assert drive(reads.allowance(Asked(where, URL), token, PAYER, TERMS.payer)) == 77
    assert asked.asked[-1][1]["parameter"] == "".join(address_bytes(each).hex().rjust(64, "0") for each in (PAYER, TERMS.payer))
    assert drive(reads.native(Asked(where, URL), PAYER)) == 5_000_000
    asked.answers["wallet_getaccount"] = {}
    assert drive(reads.native(Asked(where, URL), PAYER)) == 0
