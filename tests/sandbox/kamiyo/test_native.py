"""The native way: a real transfer on the chain, verified, turned into a token with a quota."""

from __future__ import annotations

import json

from x402_agent.sandbox.token import raw_address, selector, tail, word


def test_a_transfer_becomes_a_token_that_opens_paths_until_its_quota_is_used(till):
    tx = till.pay(100_000, blocks=3)
    early = till.verify(tx)
    assert (early["is_valid"], early["error_message"], early["confirmations"]) == (False, "Insufficient confirmations: 3/6", 3)
    till.box.mine(2)
    assert till.verify(tx)["error_message"] == "Insufficient confirmations: 5/6"
    till.box.mine(1)
    found = till.verify(tx)
    assert (found["is_valid"], found["amount_usdc"], found["from_address"]) == (True, 0.1, till.box.payer_address)
    assert (found["to_address"], found["error_message"]) == (till.box.pay_to, None)
    assert till.verify(tx)["payment_id"] == found["payment_id"]
    made = till.token(found["payment_id"])
    assert made["requests_remaining"] == 100
    assert len(made["payment_token"]) == 43
    for _ in range(100):
        assert till.get(x_payment_token=made["payment_token"]).status_code == 200
    assert till.get(x_payment_token=made["payment_token"]).status_code == 402
    state = till.http.get(f"/x402/payment/{found['payment_id']}").json()
    assert (state["status"], state["requests_used"], state["requests_remaining"]) == ("used", 100, 0)


def test_the_transaction_itself_opens_paths_with_its_chain_and_counts_too(till):
    tx = till.pay(100_000)
    assert till.get(x_payment_tx=tx).status_code == 402
    assert till.get(x_payment_tx=tx, x_payment_chain="base").status_code == 402
    for _ in range(100):
        assert till.get(x_payment_tx=tx.upper().replace("0X", "0x"), x_payment_chain=till.chain).status_code == 200
    assert till.get(x_payment_tx=tx, x_payment_chain=till.chain).status_code == 402


def test_what_is_no_payment_says_so_in_the_words_of_this_system(till):
    ground = till.box.ground
    low = till.pay(50_000)
    other = ground.token.transfer(ground.payer, raw_address(till.box.facilitator_address), 200_000).hash
    failed = ground.token.transfer(ground.payer, raw_address(till.box.pay_to), 10**12).hash
    till.box.mine(6)
    words = [till.verify(tx)["error_message"] for tx in (low, other, failed, "0x" + "00" * 32)]
    assert words == [
        "Payment amount too low: 0.05 < 0.1",
        "No USDC transfer to payment address found in transaction",
        "Transaction failed",
        "Transaction not found on chain",
    ]
    till.box.warp(61)
    assert till.verify("0xzz")["error_message"] == "Transaction not found on chain"
    assert till.verify(low, chain="tron")["error_message"] == "Unsupported chain: tron"
    old = till.pay()
    till.box.warp(8 * 86_400)
    assert till.verify(old)["error_message"] == "Transaction too old: 8 days (max 7 days)"


def test_another_token_that_moves_the_same_amount_is_no_payment(till):
    ground = till.box.ground
    fake = bytes.fromhex("11" * 20)
    ground.chain.install(fake, ground.chain.code(ground.token.address))
    text = tail(b"USDC")
    named = b"".join(map(word, (128, 128 + len(text), 128 + 2 * len(text), 6))) + text * 3
    for call, arguments in (("initialize(string,string,string,uint8)", named), ("mint(address,uint256)", word(raw_address(till.box.pay_to)) + word(10**6))):
        sent = ground.chain.send(ground.operator, fake, selector(call) + arguments)
        assert sent.status == 1
    till.box.mine(6)
    assert sent.value == 10**6
    assert till.verify(sent.hash)["error_message"] == "No USDC transfer to payment address found in transaction"


def test_a_payment_is_its_first_callers_alone(till):
    tx = till.pay()
    identity = till.verify(tx)["payment_id"]
    token = till.token(identity)["payment_token"]
    body = json.dumps({"tx_hash": tx, "chain": till.chain}).encode()
    assert till.stranger("GET", "/exploits", x_payment_token=token) == 402
    assert till.stranger("GET", "/exploits", x_payment_tx=tx, x_payment_chain=till.chain) == 402
    assert till.stranger("POST", f"/x402/generate-token/{identity}") == 400
    assert till.stranger("GET", f"/x402/payment/{identity}") == 404
    assert till.stranger("POST", "/x402/verify-payment", body) == 200
    assert till.box.seller.store.by_tx(tx).used == 0


def test_expected_amount_and_sender_are_held_against_the_payment(till):
    tx = till.pay()
    assert till.verify(tx, expected_amount=0.5)["error_message"] == "Payment amount too low: 0.1 < 0.5"
    assert till.verify(tx, from_address=till.box.pay_to)["is_valid"] is False
    assert till.verify(tx, expected_amount=0.1, from_address=till.box.payer_address)["is_valid"] is True


def test_a_payment_lives_for_a_day(till):
    tx = till.pay()
    token = till.token(till.verify(tx)["payment_id"])["payment_token"]
    till.box.warp(86_399)
    assert till.get(x_payment_token=token).status_code == 200
    till.box.warp(2)
    assert till.get(x_payment_token=token).status_code == 402
    assert till.get(x_payment_tx=tx, x_payment_chain=till.chain).status_code == 402
    assert till.verify(tx)["error_message"] == "Payment expired"


def test_a_token_is_kept_as_its_digest_alone(till):
    token = till.buy()
    database = till.box.seller.store.database
    kept = [str(row) for table in database.names() for row in database.rows(f'select * from "{table}"')]
    assert token not in " ".join(kept)
    assert len(database.rows("select * from x402_tokens")) == 1


def test_limits_of_each_route_and_when_to_come_back(till):
    till.new_minute()
    for _ in range(5):
        till.verify("0x" + "11" * 32)
    refused = till.http.post("/x402/verify-payment", json={"tx_hash": "0x"})
    assert (refused.status_code, refused.json()) == (429, {"error": "Rate limit exceeded: 5 per 1 minute"})
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    till.box.warp(60)
    assert till.verify("0x")["is_valid"] is False


def test_solana_needs_32_slots_and_takes_what_lands_in_the_wallets_account(till_on):
    till = till_on(chain="solana")
    tx = till.pay(150_000, blocks=0)
    assert "/32" in till.verify(tx)["error_message"]
    till.box.mine(32)
    found = till.verify(tx)
    assert (found["is_valid"], found["amount_usdc"], found["from_address"]) == (True, 0.15, till.box.payer_address)
    assert till.token(found["payment_id"])["requests_remaining"] == 150


def test_bodies_that_are_none(till):
    for body in (b"", b"[]", b"{", b'{"tx_hash": 5}', b'{"tx_hash": "0x", "expected_amount": "1"}'):
        assert till.http.post("/x402/verify-payment", content=body).status_code == 422
        till.box.warp(60)
    assert till.http.post("/x402/generate-token/9" + "9" * 40).status_code == 400
    assert till.http.get("/x402/payment/-1").status_code == 404
    assert till.http.get("/x402/nothing").status_code == 404


def test_the_operators_route_wants_its_key(till):
    token = till.buy()
    assert till.http.post("/x402/cleanup").status_code == 403
    till.box.warp(90_000)
    done = till.http.post("/x402/cleanup", headers={"x-admin-key": till.box.seller.admin_key})
    assert done.json() == {"expired_payments": 1}
    assert till.get(x_payment_token=token).status_code == 402
    assert till.box.seller.store.database.rows("select * from x402_tokens") == []
