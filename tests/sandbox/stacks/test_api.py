"""The double's HTTP, as clients of a Stacks node and of Hiro's API use it."""

from __future__ import annotations

import pytest

from x402_agent.chains.stacks import PostCondition, Reader, Transfer, Value, uint
from x402_agent.sandbox.stacks.state import STX


def test_nonces_tell_what_is_mined_what_waits_and_what_is_missing(world, ask):
    path = f"GET /extended/v1/address/{world.ann.address}/nonces"
    assert ask(path) == (200, {
        "last_mempool_tx_nonce": None, "last_executed_tx_nonce": None, "possible_next_nonce": 0,
        "detected_missing_nonces": [], "detected_mempool_nonces": [],
    })  # fmt: skip
    for nonce in (0, 2, 4):
        world.submit(world.ann.sign(Transfer(world.bob.address, 1), nonce, 300))
    assert ask(path) == (200, {
        "last_mempool_tx_nonce": 4, "last_executed_tx_nonce": 0, "possible_next_nonce": 5,
        "detected_missing_nonces": [3, 1], "detected_mempool_nonces": [4, 2],
    })  # fmt: skip


def test_accounts_and_balances(world, ask):
    world.submit(world.pay(world.ann, world.bob.address, 70))
    status, account = ask(f"GET /v2/accounts/{world.ann.address}")
    assert (status, int(account["balance"], 16), account["nonce"]) == (200, 9_999_000, 1)
    _, found = ask(f"GET /extended/v1/address/{world.bob.address}/balances")
    assert found["stx"]["balance"] == "10000000"
    assert found["fungible_tokens"][world.asset] == {"balance": "1070", "total_sent": "0", "total_received": "70"}
    _, own = ask(f"GET /extended/v1/address/{world.ann.address}/balances")
    assert own["stx"]["total_fees_sent"] == "1000" and own["fungible_tokens"][world.asset]["total_sent"] == "70"
    other = "1" if world.ann.address.endswith("0") else "0"
    assert ask(f"GET /v2/accounts/{world.ann.address[:-1]}{other}")[0] == 400


@pytest.mark.parametrize("how", ["octets", "json"])
def test_a_transaction_goes_in_and_is_told(world, ask, how):
    tx = world.pay(world.ann, world.bob.address, 70)
    assert ask(f"GET /extended/v1/tx/{tx.txid}")[0] == 404
    raw = tx.wire()
    sent = (
        ask("POST /v2/transactions", {"tx": raw.hex()})
        if how == "json"
        else ask("POST /v2/transactions", raw, "application/octet-stream")
    )
    assert sent == (200, tx.txid[2:])
    status, seen = ask(f"GET /extended/v1/tx/{tx.txid}")
    assert status == 200 and seen["tx_status"] == "success" and seen["canonical"] and seen["tx_type"] == "contract_call"
    assert seen["tx_result"] == {"hex": "0x0703", "repr": "(ok true)"}
    assert seen["contract_call"]["contract_id"] == world.token
    assert [each["repr"] for each in seen["contract_call"]["function_args"]] == [
        "u70", f"'{world.ann.address}", f"'{world.bob.address}", "none",
    ]  # fmt: skip
    assert seen["post_conditions"][0]["condition_code"] == "sent_equal_to" and seen["post_condition_mode"] == "deny"
    (event,) = seen["events"]
    assert event["asset"]["asset_id"] == world.asset and event["asset"]["amount"] == "70"


def test_a_transfer_is_told_with_its_memo(world, ask):
    tx = world.ann.sign(Transfer(world.bob.address, 1, b"hi"), 0, 300)
    ask("POST /v2/transactions", tx.wire(), "application/octet-stream")
    _, seen = ask(f"GET /extended/v1/tx/{tx.txid[2:]}")
    assert seen["token_transfer"] == {
        "recipient_address": world.bob.address, "amount": "1", "memo": "0x" + b"hi".ljust(34, b"\0").hex(),
    }  # fmt: skip
    assert seen["fee_rate"] == "300" and not seen["sponsored"]


def test_a_refusal_says_why_in_the_nodes_words(world, ask):
    tx = world.ann.sign(Transfer(world.bob.address, 1), 0, 10)
    status, said = ask("POST /v2/transactions", tx.wire(), "application/octet-stream")
    assert status == 400 and said == {
        "error": "transaction rejected", "reason": "FeeTooLow", "reason_data": {"expected": 180, "actual": 10}, "txid": tx.txid[2:],
    }  # fmt: skip
    status, said = ask("POST /v2/transactions", b"noise", "application/octet-stream")
    assert (status, said["reason"]) == (400, "Deserialization")


def test_what_waits_or_was_dropped_is_told_so(world, ask):
    world.chain.automatic = False
    tx = world.pay(world.ann, world.bob.address, 70)
    world.submit(tx)
    assert ask(f"GET /extended/v1/tx/{tx.txid}")[1]["tx_status"] == "pending"
    world.chain.drop(tx.txid)
    assert ask(f"GET /extended/v1/tx/{tx.txid}")[1]["tx_status"] == "dropped_stale_garbage_collect"


def test_fees_are_estimated_by_size_or_not_at_all(ask):
    payload = Transfer("ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG", 1).wire().hex()
    status, said = ask("POST /v2/fees/transaction", {"transaction_payload": payload, "estimated_len": 180})
    assert status == 200 and [each["fee"] for each in said["estimations"]] == [360, 720, 1440]
    ask.api.estimates = False
    status, said = ask("POST /v2/fees/transaction", {"transaction_payload": payload, "estimated_len": 180})
    assert (status, said["reason"]) == (400, "NoEstimateAvailable")
    assert ask("GET /v2/fees/transfer") == (200, 1)


def test_contracts_say_what_they_are_and_answer_questions(world, ask):
    status, found = ask("GET /v2/contracts/interface/" + world.token.replace(".", "/"))
    assert status == 200 and found["fungible_tokens"] == [{"name": "gold"}]
    names = {each["name"]: each for each in found["functions"]}
    assert [each["name"] for each in names["transfer"]["args"]] == ["amount", "sender", "recipient", "memo"]
    who = "0x" + Value("principal", world.ann.address).wire().hex()
    path = f"POST /v2/contracts/call-read/{world.token.replace('.', '/')}/get-balance"
    status, said = ask(path, {"sender": world.bob.address, "arguments": [who]})
    assert said["okay"] and Reader(bytes.fromhex(said["result"][2:])).value() == Value("ok", uint(1_000))
    assert not ask(path.replace("get-balance", "transfer"), {"sender": world.bob.address, "arguments": []})[1]["okay"]
    four = [
        each
        for each in ask(f"GET /v2/contracts/interface/{world.owner.address}/four")[1]["functions"]
        if each["name"] == "pay-for-content"
    ]
    assert len(four[0]["args"]) == 4


def test_the_node_says_which_network_it_is(ask, world):
    status, info = ask("GET /v2/info")
    assert status == 200 and info["network_id"] == 0x80000000 and info["stacks_tip_height"] == world.chain.head().height
    assert ask("GET /joke") is None


def test_history_is_newest_first(world, ask):
    for nonce in range(3):
        world.submit(world.ann.sign(Transfer(world.bob.address, 1 + nonce), nonce, 300, (), 2))
    _, found = ask(f"GET /extended/v1/address/{world.bob.address}/transactions")
    assert [each["token_transfer"]["amount"] for each in found["results"]] == ["3", "2", "1"]
    _, page = ask(f"GET /extended/v1/address/{world.bob.address}/transactions?limit=1&offset=1")
    assert (page["total"], [each["token_transfer"]["amount"] for each in page["results"]]) == (3, ["2"])


def test_what_strangers_send_never_breaks_it(ask):
    for body in (b"", b"[]", b'{"tx": 5}', b'{"transaction_payload": "zz"}', b"\xff" * 50):
        for path in ("POST /v2/transactions", "POST /v2/fees/transaction", "POST /v2/contracts/call-read/SX/y/z"):
            assert ask(path, body)[0] in (200, 400)


def test_owned_shows_coins_of_every_kind(world, ask):
    assert world.chain.owned(world.ann.address) == {STX: 10_000_000, world.asset: 1_000}
    assert PostCondition("", "eq", 1).wire()
