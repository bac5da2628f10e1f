"""The HTTP APIs over the pretend TRON: a full node's calls, and TronGrid's lists page by page."""

from __future__ import annotations

import json
import random

import pytest

from trontools import TRX, World, raw
from x402_agent.sandbox.token import selector
from x402_agent.sandbox.tron.chain import ENERGY_PRICE, show
from x402_agent.sandbox.tron.contracts import PAYMENT_PERMIT
from x402_agent.sandbox.tron.envelope import decode, transaction_view
from x402_agent.sandbox.tron.grid import answer_grid
from x402_agent.sandbox.tron.node import METHODS

NOBODY = "410000000000000000000000000000000000000000"


@pytest.fixture
def world():
    return World()


def call(world, name, *words, **body):
    asked = {"owner_address": world.me, "contract_address": world.usdt, "visible": True}
    parameter = b"".join(each.rjust(32, b"\0") if isinstance(each, bytes) else each.to_bytes(32, "big") for each in words)
    return world.ask("triggerconstantcontract", **asked, function_selector=name, parameter=parameter.hex(), **body)


def test_a_constant_call_reads_and_keeps_nothing(world):
    answer = call(world, "balanceOf(address)", raw(world.payer))
    assert int(answer["constant_result"][0], 16) == 100_000_000
    assert answer["result"] == {"result": True}
    before = world.state()
    moved = call(world, "transfer(address,uint256)", raw(world.seller), 5)
    assert 10_000 < moved["energy_used"] < 130_000
    assert world.state() == before


def test_hex_addresses_and_data_are_the_same_call(world):
    data = selector("balanceOf(address)") + raw(world.payer).rjust(32, b"\0")
    answer = world.ask("triggerconstantcontract", owner_address=NOBODY, contract_address="41" + world.contracts.token.hex(), data=data.hex())
    assert int(answer["constant_result"][0], 16) == 100_000_000


def test_a_call_that_reverts_says_so(world):
    answer = call(world, "transfer(address,uint256)", raw(world.seller), 10**12)
    assert bytes.fromhex(answer["result"]["message"]) == b"REVERT opcode executed"
    assert answer["transaction"] == {"ret": [{"ret": "FAILED"}]}


def test_no_contract_there(world):
    answer = world.ask("triggerconstantcontract", owner_address=world.me, contract_address=world.shop, function_selector="x()", visible=True)
    assert answer["result"]["code"] == "CONTRACT_VALIDATE_ERROR"


@pytest.mark.parametrize("address", ["T" * 34, "41" + "00" * 19, "0x" + "00" * 20, 7, None])
def test_what_is_no_address_is_an_error(world, address):
    assert "Error" in world.ask("getaccount", address=address)
    assert "Error" in world.ask("getaccount", address=address, visible=True)


def test_energy_is_estimated_with_something_in_hand(world):
    asked = {"owner_address": world.me, "contract_address": world.usdt, "visible": True}
    words = raw(world.seller).rjust(32, b"\0") + (5).to_bytes(32, "big")
    answer = world.ask("estimateenergy", **asked, function_selector="transfer(address,uint256)", parameter=words.hex())
    made = world.build(fee_limit=answer["energy_required"] * ENERGY_PRICE)
    world.send(made)
    assert world.info(made.txid)["receipt"]["result"] == "SUCCESS"


def test_an_account_and_its_resources(world):
    assert world.ask("getaccount", address=world.me, visible=True) == {"address": world.me, "balance": 1_000 * TRX}
    assert "freeNetUsed" not in world.ask("getaccountresource", address=world.me, visible=True)
    made = world.build()
    world.send(made)
    found = world.ask("getaccountresource", address=world.me, visible=True)
    assert found["freeNetUsed"] == len(world.wire(made)) + 64
    prices = {each["key"]: each["value"] for each in world.ask("getchainparameters")["chainParameter"]}
    assert (prices["getEnergyFee"], prices["getTransactionFee"]) == (210, 1000)


def test_a_transaction_is_broadcast_as_json_too(world):
    made = world.build()
    shown = decoded(world, made)
    assert world.ask("broadcasttransaction", **shown)["txid"] == made.txid
    assert world.usdt_of(world.seller) == 1_000_000


@pytest.mark.parametrize("visible", [False, True])
def test_json_whose_halves_differ_is_signed_by_nobody(world, visible):
    shown = decoded(world, world.build(), visible=visible)
    shown["raw_data"]["fee_limit"] += 1
    assert world.ask("broadcasttransaction", **shown)["code"] == "SIGERROR"
    assert world.usdt_of(world.seller) == 0


def decoded(world, made, *, visible=False):
    """The transaction as a node would show it, without one having seen it."""
    written = show if visible else (lambda each: "41" + each.hex())
    return transaction_view(decode(world.wire(made)), written) | {"visible": visible}


def test_nothing_is_broadcast_to_a_solid_node(world):
    made = world.build()
    assert world.ask("broadcasthex", "walletsolidity", transaction=world.wire(made).hex()) is None
    assert world.ask("getsignweight") is None


def test_the_head_moves_every_three_seconds_and_solid_follows(world):
    def number(room):
        return world.ask("getnowblock", room)["block_header"]["raw_data"]["number"]

    world.chain.warp(120)
    before = number("wallet")
    assert number("walletsolidity") == before - 19
    world.chain.warp(30)
    assert number("wallet") == before + 10
    world.chain.warp(86_400)
    assert number("wallet") == before + 10 + 64, "slots missed in a long sleep are not made up"
    head = world.ask("getnowblock")["block_header"]["raw_data"]["timestamp"]
    assert 0 <= world.time * 1000 + 86_550_000 - head < 3_000


# -- TronGrid ----------------------------------------------------------------------------------------------------------


def transfers(world, address=None, **query):
    found = answer_grid(world.chain, f"/v1/accounts/{address or world.shop}/transactions/trc20", query)
    assert found is not None
    return found


def test_transfers_are_listed_newest_first_once_they_are_solid(world):
    made = [world.build() for _ in range(3)]
    for each in made:
        world.send(each)
    assert transfers(world, only_confirmed="true")[1]["data"] == []
    assert len(transfers(world, only_unconfirmed="true")[1]["data"]) == 3
    world.chain.warp(60)
    status, page = transfers(world, only_confirmed="true", limit="50", order_by="block_timestamp,desc")
    assert (status, page["success"]) == (200, True)
    assert [each["transaction_id"] for each in page["data"]] == [each.txid for each in reversed(made)]
    row = page["data"][0]
    assert (row["from"], row["to"], row["value"], row["type"]) == (world.me, world.shop, "1000000", "Transfer")
    assert row["token_info"] == {"symbol": "USDT", "address": world.usdt, "decimals": 6, "name": "Tether USD"}


def test_only_what_is_new_enough_is_listed(world):
    world.send(world.build())
    stamp = transfers(world)[1]["data"][0]["block_timestamp"]
    assert len(transfers(world, min_timestamp=str(stamp))[1]["data"]) == 1
    assert transfers(world, min_timestamp=str(stamp + 1))[1]["data"] == []
    assert transfers(world, max_timestamp=str(stamp - 1))[1]["data"] == []


def test_sides_and_tokens_are_told_apart(world):
    world.send(world.build())
    assert len(transfers(world, world.me, only_from="true")[1]["data"]) == 1
    assert [each["from"][:2] for each in transfers(world, world.me, only_to="true")[1]["data"]] == ["T9"], "what was minted"
    assert transfers(world, contract_address=world.usdt)[1]["data"]
    assert transfers(world, contract_address=world.me)[1]["data"] == []


def test_pages_go_on_where_the_last_one_ended_whatever_came_since(world):
    made = [world.build(expiration=int(world.time * 1000) + 600_000) for _ in range(5)]
    for each in made[:4]:
        world.send(each)
    first = transfers(world, limit="2")[1]
    world.send(made[4])
    assert len(first["data"]) == first["meta"]["page_size"] == 2
    second = transfers(world, limit="2", fingerprint=first["meta"]["fingerprint"])[1]
    assert [each["transaction_id"] for each in first["data"] + second["data"]] == [each.txid for each in reversed(made[:4])]
    assert "fingerprint" not in second["meta"]
    assert "fingerprint=" in first["meta"]["links"]["next"]


def test_rows_of_one_transaction_are_told_apart_by_the_fingerprint(world):
    world.contracts.send(world.operator, "setParams(uint256,uint256)", (10).to_bytes(32, "big") + (5).to_bytes(32, "big"))
    world.send(world.build())
    path, seen, query = f"/v1/contracts/{world.usdt}/events", [], {"limit": "1"}
    while True:
        page = answer_grid(world.chain, path, query)[1]
        seen += [(each["transaction_id"], each["event_index"]) for each in page["data"]]
        if "fingerprint" not in page["meta"]:
            break
        query["fingerprint"] = page["meta"]["fingerprint"]
    assert len(seen) == len(set(seen)) == 3, "minted, moved, and the token's own fee"


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"order_by": "value"}, {"fingerprint": "x"}, {"min_timestamp": "-1"}],
)
def test_a_query_that_makes_no_sense_is_a_400(world, query):
    status, page = transfers(world, **query)
    assert (status, page["success"]) == (400, False)


def test_a_wallet_with_a_wrong_checksum_is_a_400(world):
    assert transfers(world, "TLPsV2meGxAiUjYnt5DMZCjPJW5dwD9XaB")[0] == 400


def test_events_of_a_contract_by_name(world):
    world.contracts.approve(world.payer, PAYMENT_PERMIT, 77)
    world.send(world.build())
    path = f"/v1/contracts/{world.usdt}/events"
    found = answer_grid(world.chain, path, {"event_name": "Approval"})[1]["data"]
    assert [each["result"]["value"] for each in found] == ["77"]
    assert found[0]["result"]["spender"] == found[0]["result"]["1"] == "0x" + PAYMENT_PERMIT.hex()
    names = [each["event_name"] for each in answer_grid(world.chain, path, {"order_by": "block_timestamp,asc"})[1]["data"]]
    assert names == ["Transfer", "Approval", "Transfer"]
    assert answer_grid(world.chain, "/v1/nothing", {}) is None


# -- what strangers send -----------------------------------------------------------------------------------------------

JUNK = [None, True, 0, -1, 10**30, 2**256, 1.5, float("inf"), "", "x", "ff", "\u00e9", "\ud800", "0" * 64, "f" * 64, [], {}, [[]], "1" * 5000]
KEYS = ("value num id_or_num detail visible address owner_address contract_address function_selector parameter data call_value "
        "fee_limit transaction raw_data_hex raw_data signature").split()  # fmt: skip
QUERY = "limit fingerprint order_by min_timestamp max_timestamp contract_address event_name only_to min_block_timestamp".split()


@pytest.mark.parametrize("backend", ["pyrevm", "py-evm"])
def test_whatever_is_sent_gets_an_answer_and_moves_nothing(backend):
    rng, world = random.Random(402), World(backend)
    world.send(world.build())
    wire, before = world.wire(world.build()), world.state()
    own = {"visible": True, "owner_address": world.me, "contract_address": world.usdt}
    for number in range(600):
        body = {key: rng.choice(JUNK) for key in rng.sample(KEYS, rng.randrange(1, 9))} | (own if number % 2 else {})
        json.dumps(world.ask(rng.choice(list(METHODS)), rng.choice(("wallet", "walletsolidity")), **body))
        query = {key: str(rng.choice(JUNK)) for key in rng.sample(QUERY, 3)}
        assert transfers(world, **query)[0] in (200, 400)
        changed = bytearray(wire)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        assert "result" not in world.ask("broadcasthex", transaction=bytes(changed[: rng.choice((None, rng.randrange(999)))]).hex())
    assert world.state() == before
