"""The pretend TRON, rule by rule: what a node takes, what runs, and what it costs."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from trontools import TRX, Call, Send, World, approve, raw, transfer
from x402_agent.primitives import ORDER, EvmKey
from x402_agent.sandbox.tron.chain import BANDWIDTH_PRICE, ENERGY_PRICE, show
from x402_agent.sandbox.tron.envelope import Malformed, decode

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tron" / "vectors.json").read_text())["transactions"]


@pytest.fixture
def world():
    return World()


@pytest.fixture(params=["pyrevm", "py-evm"])
def each_world(request):
    return World(request.param)


def test_tronwebs_transactions_are_read(world):
    for vector in VECTORS:
        data = bytes.fromhex(vector["raw_data_hex"])
        signature = bytes.fromhex(vector["signature"])
        size = len(data)
        head = b"\x0a" + (bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7)))
        found = decode(head + data + b"\x12\x41" + signature)
        assert found.txid == vector["txID"]
        assert (found.expiration, found.timestamp) == (vector["expiration"], vector["timestamp"])
        assert show(found.owner) == vector["owner"]
        assert found.ref_block.hex() + found.ref_hash.hex() == vector["ref_block_bytes"] + vector["ref_block_hash"]


def test_a_transfer_of_tokens_moves_them_and_says_false(each_world):
    made = each_world.build()
    answer = each_world.send(made)
    assert answer == {"result": True, "txid": made.txid}
    assert each_world.usdt_of(each_world.seller) == 1_000_000
    info = each_world.info(made.txid)
    assert info["receipt"]["result"] == "SUCCESS"
    assert int(info["contractResult"][0], 16) == 0, "USDT on TRON says false of a transfer that has happened"
    assert [int(entry["data"], 16) for entry in info["log"]] == [1_000_000]
    assert info["log"][0]["address"] == each_world.contracts.token.hex()


def test_energy_is_paid_in_trx_and_bandwidth_is_free_at_first(each_world):
    before = each_world.chain.sun(raw(each_world.payer))
    made = each_world.build()
    each_world.send(made)
    info = each_world.info(made.txid)
    energy = info["receipt"]["energy_usage_total"]
    assert 10_000 < energy < 130_000
    assert info["receipt"]["energy_fee"] == energy * ENERGY_PRICE == info["fee"]
    assert each_world.chain.sun(raw(each_world.payer)) == before - info["fee"]
    assert info["receipt"]["net_usage"] == len(each_world.wire(made)) + 64


def test_bandwidth_beyond_the_free_bytes_is_paid_for_and_comes_back_in_a_day(world):
    for _ in range(2):
        made = world.build()
        world.send(made)
    assert world.info(made.txid)["receipt"]["net_fee"] == (len(world.wire(made)) + 64) * BANDWIDTH_PRICE
    world.chain.warp(86_400)
    made = world.build(timestamp=0, expiration=world.chain.head().timestamp + 60_000)
    world.send(made)
    assert "net_fee" not in world.info(made.txid)["receipt"]


def test_a_transfer_of_trx(world):
    made = world.build(Send(world.me, world.shop, 5 * TRX))
    world.send(made)
    assert world.chain.sun(raw(world.payer)) == 995 * TRX
    assert world.chain.sun(raw(world.seller)) == 1_005 * TRX
    info = world.info(made.txid)
    assert "result" not in info["receipt"]
    assert info["fee"] == 0


def test_an_address_nobody_used_costs_more_and_then_exists(world):
    fresh = EvmKey(b"\x07" * 32)
    assert world.ask("getaccount", address=show(raw(fresh)), visible=True) == {}
    made = world.build(Send(world.me, show(raw(fresh)), TRX))
    world.send(made)
    assert world.info(made.txid)["fee"] == 1_100_000
    assert world.ask("getaccount", address=show(raw(fresh)), visible=True)["balance"] == TRX


def test_a_memo_costs_one_trx(world):
    made = world.build(Send(world.me, world.shop, TRX), memo=b"invoice 7")
    world.send(made)
    assert world.info(made.txid)["fee"] == TRX


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_another_key_is_SIGERROR(world):
    code, words = world.refused(world.build(), signer=world.seller)
    assert code == "SIGERROR"
    assert world.shop in words


def test_a_changed_byte_is_SIGERROR(world):
    made = world.build()
    changed = replace(made, what=Call(world.me, world.usdt, transfer(world.shop, 2_000_000)))
    wire = world.wire(made).replace(made.data, changed.data)
    assert world.refused(wire)[0] == "SIGERROR"


@pytest.mark.parametrize("signature", [b"", bytes(65), b"\xff" * 65, b"\x01" * 64])
def test_what_is_no_signature_is_SIGERROR(world, signature):
    made = world.build()
    whole = world.wire(made)
    wire = whole[:-67] + (b"\x12" + bytes((len(signature),)) + signature if signature else b"")
    assert world.refused(wire)[0] == "SIGERROR"


def test_two_signatures_are_SIGERROR(world):
    whole = world.wire(world.build())
    assert world.refused(whole + whole[-67:])[0] == "SIGERROR"


@pytest.mark.parametrize("permission", [1, 3])
def test_a_permission_that_the_account_has_not_is_SIGERROR(world, permission):
    assert world.refused(world.build(permission=permission))[0] == "SIGERROR"


def test_the_active_permission_of_an_account_may_sign(world):
    assert world.send(world.build(permission=2))["result"] is True


def test_the_other_form_of_a_signature_is_the_same_transaction(world):
    made = world.build()
    whole = world.wire(made)
    r, s, v = whole[-65:-33], int.from_bytes(whole[-33:-1]), whole[-1]
    twin = whole[:-65] + r + (ORDER - s).to_bytes(32, "big") + bytes((55 - v,))
    assert world.ask("broadcasthex", transaction=twin.hex())["txid"] == made.txid
    assert world.refused(whole) == ("DUP_TRANSACTION_ERROR", "Dup transaction.")


@pytest.mark.parametrize("change", [{"ref": (b"\x00\x00", b"\x01" * 8)}, {"ref": (b"\xff\xff", bytes(8))}])
def test_a_block_of_another_chain_is_TAPOS_ERROR(world, change):
    assert world.refused(world.build(**change))[0] == "TAPOS_ERROR"


def test_the_hash_of_the_block_counts(world):
    number, name = world.build().ref
    assert world.refused(world.build(ref=(number, name[:-1] + bytes((name[-1] ^ 1,)))))[0] == "TAPOS_ERROR"


def test_an_old_block_is_good_enough(world):
    made = world.build()
    world.chain.warp(40)
    assert world.send(made)["result"] is True


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
def test_expiration_is_between_the_head_and_a_day(world, seconds):
    made = world.build(expiration=world.chain.head().timestamp + seconds * 1000)
    assert world.refused(made) == ("TRANSACTION_EXPIRATION_ERROR", "Transaction expired")


def test_what_waited_too_long_is_refused(world):
    made = world.build()
    world.chain.warp(61)
    assert world.refused(made)[0] == "TRANSACTION_EXPIRATION_ERROR"


def test_the_same_transaction_twice_is_DUP(world):
    made = world.build()
    world.send(made)
    assert world.refused(made)[0] == "DUP_TRANSACTION_ERROR"
    assert world.usdt_of(world.seller) == 1_000_000


def test_an_account_that_nobody_used_signs_nothing(world):
    fresh = EvmKey(b"\x09" * 32)
    made = world.build(Send(show(raw(fresh)), world.shop, 1))
    code, words = world.refused(made, signer=fresh)
    assert code == "CONTRACT_VALIDATE_ERROR"
    assert "does not exist" in words


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda w: Send(w.me, w.me, 1), "yourself"),
        (lambda w: Send(w.me, w.shop, 0), "greater than 0"),
        (lambda w: Send(w.me, w.shop, 1_000 * TRX + 1), "balance is not sufficient"),
        (lambda w: Send(w.me, w.usdt, 1), "smartContract"),
        (lambda w: Call(w.me, w.shop, transfer(w.shop, 1)), "not a valid smart contract"),
        (lambda w: Call(w.me, w.usdt, transfer(w.shop, 1), 2_000 * TRX), "balance is not sufficient"),
    ],
)
def test_contracts_are_validated(world, what, words):
    code, said = world.refused(world.build(what(world)))
    assert code == "CONTRACT_VALIDATE_ERROR"
    assert words in said


def test_a_fee_limit_beyond_the_chains_is_refused(world):
    assert "feeLimit" in world.refused(world.build(fee_limit=15_000_000_001))[1]


def test_without_trx_for_bandwidth_it_is_BANDWITH_ERROR(world):
    world.send(world.build())
    world.chain.endow(raw(world.payer), 1_000)
    assert world.refused(world.build())[0] == "BANDWITH_ERROR"


@pytest.mark.parametrize("extra", [b"\x1a\x01\x00", b"\x08\x01", b"\x0a"])
def test_bytes_that_are_no_transaction(world, extra):
    assert world.refused(world.wire(world.build()) + extra)[0] == "OTHER_ERROR"


def test_an_address_without_the_prefix_is_malformed(world):
    whole = world.wire(world.build())
    with pytest.raises(Malformed, match="0x41"):
        decode(whole.replace(b"\x41" + raw(world.payer), b"\x42" + raw(world.payer)))


# -- what fails in a block ---------------------------------------------------------------------------------------------


def test_a_revert_costs_the_energy_it_used_and_moves_nothing(each_world):
    before = each_world.chain.sun(raw(each_world.payer))
    made = each_world.build(Call(each_world.me, each_world.usdt, transfer(each_world.shop, 10**12)))
    assert each_world.send(made)["result"] is True, "a node takes what will fail"
    info = each_world.info(made.txid)
    assert (info["result"], info["receipt"]["result"]) == ("FAILED", "REVERT")
    assert bytes.fromhex(info["resMessage"]) == b"REVERT opcode executed"
    assert "log" not in info
    assert 0 < info["fee"] == before - each_world.chain.sun(raw(each_world.payer)) < 10 * TRX
    assert each_world.usdt_of(each_world.seller) == 0


def test_too_little_fee_limit_is_OUT_OF_ENERGY_and_takes_all_of_it(each_world):
    made = each_world.build(fee_limit=2 * TRX)
    each_world.send(made)
    info = each_world.info(made.txid)
    assert info["receipt"]["result"] == "OUT_OF_ENERGY"
    assert info["receipt"]["energy_fee"] == 2 * TRX // ENERGY_PRICE * ENERGY_PRICE
    assert each_world.usdt_of(each_world.seller) == 0


def test_too_little_trx_is_OUT_OF_ENERGY(world):
    world.chain.endow(raw(world.payer), TRX)
    made = world.build()
    world.send(made)
    assert world.info(made.txid)["receipt"]["result"] == "OUT_OF_ENERGY"
    assert world.chain.sun(raw(world.payer)) < ENERGY_PRICE


def test_a_fee_that_the_token_takes_shows_in_what_arrives(world):
    world.contracts.send(world.operator, "setParams(uint256,uint256)", (10).to_bytes(32, "big") + (5).to_bytes(32, "big"))
    world.send(world.build())
    assert world.usdt_of(world.seller) == 999_000


def test_a_blacklisted_account_reverts(world):
    world.contracts.send(world.operator, "addBlackList(address)", raw(world.payer).rjust(32, b"\0"))
    made = world.build()
    world.send(made)
    assert world.info(made.txid)["receipt"]["result"] == "REVERT"


def test_an_approval_is_what_was_signed(world):
    world.send(world.build(Call(world.me, world.usdt, approve(world.shop, 777))))
    assert world.contracts.allowance(raw(world.payer), raw(world.seller)) == 777


# -- blocks and time ---------------------------------------------------------------------------------------------------


def test_a_transaction_is_solid_nineteen_blocks_later(world):
    made = world.build()
    world.send(made)
    assert world.info(made.txid)["id"] == made.txid
    assert world.info(made.txid, "walletsolidity") == {}
    world.chain.warp(54)
    assert world.info(made.txid, "walletsolidity") == {}
    world.chain.warp(3)
    assert world.info(made.txid, "walletsolidity")["id"] == made.txid
    assert world.ask("gettransactionbyid", "walletsolidity", value=made.txid)["txID"] == made.txid


def test_what_producers_pass_over_waits_and_expires(world):
    world.chain.mining = False
    first, second = world.build(), world.build(expiration=int(world.time * 1000) + 600_000)
    for made in (first, second):
        assert world.send(made)["result"] is True
        assert world.info(made.txid) == {}
    assert world.refused(first)[0] == "DUP_TRANSACTION_ERROR"
    world.chain.warp(61)
    world.chain.mining = True
    assert world.info(first.txid) == {}
    assert world.info(second.txid)["receipt"]["result"] == "SUCCESS"
    assert world.usdt_of(world.seller) == 1_000_000


def test_what_can_no_longer_be_paid_when_its_turn_comes_is_never_mined(world):
    world.chain.mining = False
    made = world.build(Send(world.me, world.shop, 900 * TRX))
    world.send(made)
    world.chain.endow(raw(world.payer), 1)
    world.chain.mining = True
    assert world.info(made.txid) == {}


def test_a_block_names_its_number_and_its_parent(world):
    made = world.build()
    world.send(made)
    block = world.ask("getblockbynum", num=world.info(made.txid)["blockNumber"])
    number = block["block_header"]["raw_data"]["number"]
    assert int(block["blockID"][:16], 16) == number
    assert [each["txID"] for each in block["transactions"]] == [made.txid]
    assert world.ask("getblockbynum", num=number - 1)["blockID"] == block["block_header"]["raw_data"]["parentHash"]
    assert world.ask("getblockbynum", num=number + 1000) == {}


def test_the_first_block_of_all_says_which_chain_it_is(world):
    assert world.ask("getblockbynum", num=0)["blockID"].endswith("cd8690dc")


def test_the_id_is_the_hash_of_what_was_signed(world):
    made = world.build()
    world.send(made)
    found = world.ask("gettransactionbyid", value=made.txid)
    assert sha256(bytes.fromhex(found["raw_data_hex"])).hexdigest() == made.txid
    assert found["ret"] == [{"contractRet": "SUCCESS"}]
