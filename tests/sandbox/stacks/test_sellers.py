"""What is asked for money on the pretend Stacks: the shop, both facilitators, the relay, sellers in older words."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import httpx2
import pytest

from x402_agent.chains.stacks import ALLOW, PostCondition, Transfer, sip010_transfer
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.ground import GROUNDS
from x402_agent.sandbox.stacks.facilitator import asset_id, token_named
from x402_agent.sandbox.stacks.state import STX

NETWORK = "stacks:2147483648"


@pytest.fixture
def box(monkeypatch):
    monkeypatch.setitem(GROUNDS, "stacks", "stacks.ground:StacksGround")
    with Sandbox(chain="stacks") as made:
        yield made


@pytest.fixture
def web(box):
    with httpx2.Client(transport=box.transport(), base_url=box.origin) as client:
        yield client


def pay(box, symbol, amount, to=None, memo=b"x402:abc", nonce=None, who=None, mode=2, **more):
    """A signed payment as a client of ours makes it."""
    who, token = who or box.ground.payer, token_named(symbol)
    where = box.ground.chain.nonce(who.address) if nonce is None else nonce
    to = to or box.pay_to
    fee = more.pop("fee", 1_000)
    if symbol == "STX":
        return who.sign(Transfer(to, amount, memo), where, fee, **more)
    exact = (PostCondition("", "eq", amount, asset_id(token)),)
    return who.sign(sip010_transfer(token.address, amount, who.address, to, memo), where, fee, exact, mode, **more)


def header(tx, accepted, resource=None, field="transaction", **more):
    document = {"x402Version": 2, "accepted": accepted, "payload": {field: tx.wire().hex()}, **more}
    if resource:
        document["resource"] = resource
    return base64.b64encode(json.dumps(document).encode()).decode()


def decoded(answer, name):
    return json.loads(base64.b64decode(answer.headers[name]))


def asked(web, path):
    answer = web.get(path)
    assert answer.status_code == 402
    found = decoded(answer, "payment-required")
    return found["accepts"][0], found["resource"]


@pytest.mark.proves("stacks", "exact", "seller")
@pytest.mark.parametrize(
    ("path", "symbol", "amount"), [("/joke", "USDCx", 10_000), ("/stx", "STX", 10_000), ("/sbtc", "sBTC", 20)]
)
def test_the_shop_sells_for_each_asset(box, web, path, symbol, amount):
    accepted, resource = asked(web, path)
    assert (accepted["network"], accepted["asset"], accepted["amount"]) == (
        NETWORK,
        token_named(symbol).address,
        str(amount),
    )
    tx = pay(box, symbol, amount)
    answer = web.get(path, headers={"payment-signature": header(tx, accepted, resource)})
    assert answer.status_code == 200 and "joke" in answer.json()
    assert decoded(answer, "payment-response") == {
        "success": True, "transaction": tx.txid, "network": NETWORK, "payer": box.payer_address,
    }  # fmt: skip
    assert box.ground.chain.balance(asset_id(token_named(symbol)), box.pay_to) >= amount
    (row,) = box.settlements
    assert (row.tx, row.amount, row.nonce) == (tx.txid, amount, "0")
    assert box.transaction(tx.txid).status == "success"


def test_the_same_proof_again_gets_the_same_answer_and_moves_nothing(box, web):
    accepted, resource = asked(web, "/joke")
    sent = {"payment-signature": header(pay(box, "USDCx", 10_000), accepted, resource)}
    first, second = web.get("/joke", headers=sent), web.get("/joke", headers=sent)
    assert first.status_code == second.status_code == 200
    assert first.headers["payment-response"] == second.headers["payment-response"]
    assert len(box.settlements) == 1 and box.balance(box.pay_to) == 10_000


def test_a_proof_for_one_thing_buys_no_other(box, web):
    accepted, resource = asked(web, "/joke")
    tx = pay(box, "USDCx", 10_000)
    web.get("/joke", headers={"payment-signature": header(tx, accepted, resource)})
    other = {**resource, "url": box.url("/report")}
    answer = web.get("/joke", headers={"payment-signature": header(tx, accepted, other)})
    assert (
        answer.status_code == 402 and decoded(answer, "payment-response")["errorReason"] == "transaction_already_used"
    )


def settle(web, tx, requirement=None, field="transaction", where="/facilitator/settle", **more):
    requirement = {
        "scheme": "exact",
        "network": NETWORK,
        "asset": "USDCx",
        "amount": "10000",
        "maxTimeoutSeconds": 60,
    } | (requirement or {})
    raw = tx if isinstance(tx, str) else tx.wire().hex()
    payload = {"x402Version": 2, "accepted": requirement, "payload": {field: raw}, **more}
    answer = web.post(where, json={"x402Version": 2, "paymentPayload": payload, "paymentRequirements": requirement})
    return answer.json() | {"status": answer.status_code}


@pytest.mark.proves("stacks", "exact", "facilitator")
@pytest.mark.parametrize(
    ("make", "wanted", "code"),
    [
        (lambda b: pay(b, "USDCx", 10_000, to=b.facilitator_address), {}, "recipient_mismatch"),
        (lambda b: pay(b, "USDCx", 9_999), {}, "amount_insufficient"),
        (lambda b: pay(b, "USDCx", 10_001), {}, "amount_mismatch"),
        (lambda b: pay(b, "sBTC", 10_000), {}, "asset_mismatch"),
        (lambda b: pay(b, "STX", 10_000), {}, "asset_mismatch"),
        (lambda b: pay(b, "USDCx", 10_000), {"asset": "STX"}, "asset_mismatch"),
        (lambda b: pay(b, "USDCx", 10_000), {"asset": "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.other"}, "unsupported_asset"),
        (lambda b: pay(b, "USDCx", 10_000), {"network": "stacks:1"}, "network_mismatch"),
        (lambda b: pay(b, "USDCx", 10_000), {"scheme": "upto"}, "unsupported_scheme"),
        (lambda b: pay(b, "USDCx", 10_000), {"payTo": "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"}, "network_mismatch"),
        (lambda b: pay(b, "USDCx", 10_000), {"payTo": "nobody"}, "invalid_payment_requirements"),
        (lambda b: pay(b, "USDCx", 10_000), {"amount": "-1"}, "invalid_payment_requirements"),
        (lambda b: pay(b, "USDCx", 10_000), {"extra": {"nonce": "another"}}, "memo_mismatch"),
        (lambda b: pay(b, "USDCx", 10_000, fee=10), {}, "broadcast_failed"),
        (lambda b: replace(pay(b, "USDCx", 10_000), testnet=False), {}, "network_mismatch"),
        (lambda b: replace(pay(b, "USDCx", 10_000), mode=ALLOW), {}, "invalid_signature"),
        (lambda b: replace(pay(b, "USDCx", 10_000), conditions=()), {}, "invalid_signature"),
        (lambda b: b.ground.payer.sign(sip010_transfer(token_named("USDCx").address, 10_000, b.payer_address, b.pay_to), 0, 1_000), {}, "transaction_failed"),
        (lambda b: b.ground.payer.sign(sip010_transfer(token_named("USDCx").address, 10_000, b.facilitator_address, b.pay_to), 0, 1_000), {}, "sender_mismatch"),
        (lambda b: pay(b, "USDCx", 10**12), {"amount": str(10**12)}, "transaction_failed"),
        (lambda b: "00" * 90, {}, "invalid_payload"),
        (lambda b: "not hex", {}, "invalid_payload"),
    ],
)  # fmt: skip
def test_the_facilitator_takes_exactly_what_was_asked(box, web, make, wanted, code):
    found = settle(web, make(box), {"payTo": box.pay_to} | wanted)
    assert (found["success"], found["errorReason"], found["status"]) == (False, code, 200)
    verified = web.post(
        "/facilitator/verify",
        json={"x402Version": 2, "paymentPayload": {"x402Version": 2, "payload": {}}, "paymentRequirements": {}},
    )
    assert verified.json()["isValid"] is False
    assert box.settlements == [] and box.ground.chain.nonce(box.payer_address) == 0 and box.balance(box.pay_to) == 0


@pytest.mark.parametrize("field", ["transaction", "signedTransaction"])
@pytest.mark.parametrize(
    "asset",
    [
        "USDCx",
        "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usdcx",
        f"{NETWORK}/sip010:ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usdcx.usdcx-token",
    ],
)
def test_the_facilitator_settles_once(box, web, field, asset):
    tx, wanted = pay(box, "USDCx", 10_000), {"payTo": box.pay_to, "asset": asset}
    first, second = (settle(web, tx, wanted, field) for _ in range(2))
    assert (
        first
        == second
        == {"success": True, "transaction": tx.txid, "network": NETWORK, "payer": box.payer_address, "status": 200}
    )
    assert len(box.settlements) == 1
    kinds = web.get("/facilitator/supported").json()["kinds"]
    assert kinds == [{"x402Version": 2, "scheme": "exact", "network": NETWORK}]


def test_what_is_not_mined_is_not_delivered_until_it_is(box, web):
    assert web.post("/sandbox/stacks", json={"automatic": False}).json()["mined"] == []
    accepted, resource = asked(web, "/joke")
    tx = pay(box, "USDCx", 10_000)
    sent = {"payment-signature": header(tx, accepted, resource)}
    answer = web.get("/joke", headers=sent)
    assert answer.status_code == 402 and decoded(answer, "payment-response")["errorReason"] == "transaction_pending"
    assert web.get(f"/stacks/extended/v1/tx/{tx.txid}").json()["tx_status"] == "pending"
    assert web.post("/sandbox/stacks", json={"mine": True}).json()["mined"] == [tx.txid]
    assert web.get("/joke", headers=sent).status_code == 200 and len(box.settlements) == 1


def test_what_comes_before_its_turn_waits_in_the_mempool(box, web):
    later, first = pay(box, "USDCx", 10_000, nonce=1), pay(box, "USDCx", 10_000, nonce=0)
    found = settle(web, later, {"payTo": box.pay_to})
    assert (found["errorReason"], found["errorMessage"]) == ("transaction_pending", later.txid)
    assert settle(web, first, {"payTo": box.pay_to})["success"] and len(box.settlements) == 1
    assert settle(web, later, {"payTo": box.pay_to})["success"] and len(box.settlements) == 2


def test_what_was_dropped_can_be_sent_again(box, web):
    web.post("/sandbox/stacks", json={"automatic": False})
    tx = pay(box, "USDCx", 10_000)
    settle(web, tx, {"payTo": box.pay_to})
    web.post("/sandbox/stacks", json={"drop": tx.txid})
    assert web.get(f"/stacks/extended/v1/tx/{tx.txid}").json()["tx_status"] == "dropped_stale_garbage_collect"
    assert web.post("/sandbox/stacks", json={"drop": tx.txid}).status_code == 400
    web.post("/sandbox/stacks", json={"automatic": True, "estimates": False})
    assert settle(web, tx, {"payTo": box.pay_to})["success"] and len(box.settlements) == 1


def test_what_the_payer_sent_himself_counts_once_and_what_failed_never(box, web):
    good = pay(box, "USDCx", 10_000)
    assert (
        web.post(
            "/stacks/v2/transactions", content=good.wire(), headers={"content-type": "application/octet-stream"}
        ).status_code
        == 200
    )
    assert settle(web, good, {"payTo": box.pay_to})["success"]
    bad = pay(box, "USDCx", 10_000, fee=999)
    bad = box.ground.payer.sign(bad.does, 1, 999)  # no post-condition: it aborts
    web.post("/stacks/v2/transactions", json={"tx": bad.wire().hex()})
    assert settle(web, bad, {"payTo": box.pay_to})["errorReason"] == "transaction_failed"
    assert len(box.settlements) == 1


# -- sponsored --------------------------------------------------------------------------------------------------------


def sponsored(box, nonce=None, amount=10_000, **more):
    return pay(box, "USDCx", amount, nonce=nonce, fee=0, sponsored=True, **more)


@pytest.mark.proves("stacks", "sponsored", "facilitator")
def test_the_sponsor_pays_the_fee(box, web):
    chain, before = box.ground.chain, box.ground.chain.balance(STX, box.payer_address)
    tx = sponsored(box)
    found = settle(web, tx, {"payTo": box.pay_to})
    assert found["success"] and chain.entry(found["transaction"]).tx.sponsor == box.facilitator_address
    assert chain.balance(STX, box.payer_address) == before and box.balance(box.pay_to) == 10_000
    assert settle(web, tx, {"payTo": box.pay_to}) == found and len(box.settlements) == 1


@pytest.mark.proves("stacks", "sponsored", "seller")
def test_the_shop_sells_to_who_has_no_stx(box, web):
    accepted, resource = asked(web, "/sponsored")
    assert accepted["extra"] == {"sponsored": True}
    answer = web.get("/sponsored", headers={"payment-signature": header(sponsored(box), accepted, resource)})
    assert (
        answer.status_code == 200
        and box.ground.chain.entry(box.settlements[0].tx).tx.sponsor == box.facilitator_address
    )


def test_an_identifier_stands_for_one_payload(box, web):
    named = {"extensions": {"payment-identifier": {"info": {"id": "a" * 16}}}}
    tx = sponsored(box)
    first, second = (settle(web, tx, {"payTo": box.pay_to}, where="/relay/settle", **named) for _ in range(2))
    assert first["success"] and first == second
    other = settle(web, sponsored(box), {"payTo": box.pay_to}, where="/relay/settle", **named)
    assert (other["status"], other["errorReason"]) == (409, "payment_identifier_conflict")
    assert len(box.settlements) == 1


def test_what_comes_before_its_turn_is_held_and_sent_when_it_has_come(box, web):
    later = sponsored(box, nonce=1)
    found = settle(web, later, {"payTo": box.pay_to})
    assert (found["success"], found["errorReason"], found["queue"]["missingNonces"]) == (False, "transaction_held", [0])
    assert box.settlements == []
    assert settle(web, sponsored(box, nonce=0), {"payTo": box.pay_to})["success"]
    assert [row.nonce for row in box.settlements] == ["0", "1"] and box.balance(box.pay_to) == 20_000
    assert settle(web, later, {"payTo": box.pay_to})["success"] and len(box.settlements) == 2


def test_what_was_held_too_long_is_forgotten(box, web):
    settle(web, sponsored(box, nonce=1), {"payTo": box.pay_to})
    box.warp(901)
    settle(web, sponsored(box, nonce=0), {"payTo": box.pay_to})
    assert [row.nonce for row in box.settlements] == ["0"]


def relay(web, tx, box, headers=None, **more):
    terms = {"expectedRecipient": box.pay_to, "minAmount": 10_000, "tokenType": "USDCx"} | more
    return web.post("/relay", json={"transaction": tx.wire().hex(), "settle": terms}, headers=headers or {})


def test_the_relay(box, web):
    held = relay(web, sponsored(box, nonce=1), box)
    assert held.status_code == 202 and held.json()["status"] == "held"
    done = relay(web, sponsored(box, nonce=0), box)
    assert done.status_code == 200 and done.json()["settlement"]["status"] == "confirmed"
    receipt = web.get(f"/relay/verify/{done.json()['receiptId']}")
    assert receipt.json()["receipt"]["txid"] == done.json()["txid"]
    assert web.get("/relay/verify/none").status_code == 404
    own = pay(box, "USDCx", 10_000)
    assert relay(web, own, box).json()["error"] == "not_sponsored"
    assert relay(web, own, box, {"X-Settlement": "self-pay"}).status_code == 200
    assert relay(web, sponsored(box), box, expectedSender=box.pay_to).json()["error"] == "sender_mismatch"
    assert relay(web, sponsored(box, amount=9_999), box).status_code == 400
    assert relay(web, sponsored(box, amount=10_001), box).status_code == 200  # at least
    assert len(box.settlements) == 4


# -- older words ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("stacks", "v1", "facilitator")
def test_the_older_facilitator(box, web):
    tx = pay(box, "STX", 10_000)
    body = {
        "signed_transaction": tx.wire().hex(),
        "token_type": "STX",
        "expected_recipient": box.pay_to,
        "min_amount": 9_000,
        "network": "testnet",
    }
    found = web.post("/facilitator/api/v1/settle", json=body)
    assert found.status_code == 200 and found.json()["status"] == "confirmed" and found.json()["tx_id"] == tx.txid
    assert found.json()["amount"] == 10_000 and found.json()["fee"] == 1_000
    again = web.post("/facilitator/api/v1/settle", json=body).json()
    assert again == found.json() and len(box.settlements) == 1
    asks = {"tx_id": tx.txid, "expected_recipient": box.pay_to, "min_amount": 9_000}
    assert web.post("/facilitator/api/v1/verify", json=asks).json()["valid"]
    assert (
        web.post("/facilitator/api/v1/verify", json=asks | {"min_amount": 10_001}).json()["error"]
        == "amount_insufficient"
    )
    assert web.post("/facilitator/api/v1/verify", json=asks | {"tx_id": "0x" + "0" * 64}).status_code == 400
    assert (
        web.post("/facilitator/api/v1/settle", json=body | {"network": "mainnet"}).json()["error"] == "network_mismatch"
    )
    poor = pay(box, "STX", 10_000, fee=5)
    assert (
        web.post("/facilitator/api/v1/settle", json=body | {"signed_transaction": poor.wire().hex()}).status_code == 500
    )


@pytest.mark.proves("stacks", "v1", "seller")
@pytest.mark.parametrize(
    ("path", "symbol", "amount"), [("/v1/stx", "STX", 10_000), ("/v1/sbtc", "sBTC", 20), ("/v1/usdcx", "USDCx", 10_000)]
)
def test_the_first_body_is_paid_by_the_bare_transaction(box, web, path, symbol, amount):
    body = web.get(path).json()
    assert body["maxAmountRequired"] == str(amount) and "x402Version" not in body and body["payTo"] == box.pay_to
    assert ("tokenContract" in body) == (symbol != "STX")
    tx = pay(box, symbol, amount, memo=body["nonce"].encode())
    sent = {"X-PAYMENT": tx.wire().hex(), "X-PAYMENT-TOKEN-TYPE": symbol}
    answer = web.get(path, headers=sent)
    assert answer.status_code == 200 and decoded(answer, "x-payment-response")["txId"] == tx.txid
    box.warp(1_000)
    assert web.get(path, headers=sent).status_code == 200 and len(box.settlements) == 1
    second = pay(box, symbol, amount, memo=body["nonce"].encode())
    refused = web.get(path, headers=sent | {"X-PAYMENT": second.wire().hex()})
    assert refused.status_code == 402 and refused.json()["error"] == "challenge_used"


def test_a_challenge_of_the_first_body_ends_and_is_for_one_path(box, web):
    nonce = web.get("/v1/stx").json()["nonce"].encode()
    stx = {"X-PAYMENT-TOKEN-TYPE": "STX"}
    for memo, path, code in [
        (nonce, "/v1/usdcx", "token_type_mismatch"),
        (b"mine", "/v1/stx", "unknown_nonce"),
        (b"", "/v1/stx", "unknown_nonce"),
    ]:
        tx = pay(box, "STX", 10_000, memo=memo)
        assert web.get(path, headers=stx | {"X-PAYMENT": tx.wire().hex()}).json()["error"] == code
    box.warp(301)
    tx = pay(box, "STX", 10_000, memo=nonce)
    assert web.get("/v1/stx", headers=stx | {"X-PAYMENT": tx.wire().hex()}).json()["error"] == "challenge_expired"
    assert box.settlements == []


@pytest.mark.proves("stacks", "draft", "seller")
@pytest.mark.parametrize(("name", "symbol", "amount"), [("stx", "STX", 10_000), ("usdcx", "USDCx", 10_000)])
def test_the_draft_is_paid_by_its_own_field(box, web, name, symbol, amount):
    (entry,) = web.get(f"/draft/{name}").json()["accepts"]
    assert entry["asset"] == (
        "slip44:5757" if symbol == "STX" else "sip010:ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usdcx.usdcx-token"
    )
    tx = pay(box, symbol, amount, memo=entry["extra"]["nonce"].encode())
    document = {
        "x402Version": 1,
        "scheme": "exact",
        "network": NETWORK,
        "payload": {"signedTransaction": tx.wire().hex()},
    }
    answer = web.get(f"/draft/{name}", headers={"X-PAYMENT": base64.b64encode(json.dumps(document).encode()).decode()})
    assert answer.status_code == 200 and decoded(answer, "x-payment-response")["tx_id"] == tx.txid
    assert web.get(f"/draft/{name}", headers={"X-PAYMENT": "!"}).status_code == 402


def test_money_and_state(box, web):
    who = box.pay_to
    tx = box.fund(who, 5)
    assert box.balance(who) == 5 and box.transaction(tx).status == "success"
    with pytest.raises(ValueError, match="address"):
        box.fund("ST1", 5)
    with pytest.raises(ValueError, match="above zero"):
        box.fund(who, 0)
    state = web.get("/sandbox/state").json()
    assert state["network"] == NETWORK and state["addresses"]["payer"] == box.payer_address
    assert box.rpc_url.endswith("/stacks")
    assert web.get(f"/stacks/v2/accounts/{box.payer_address}").json()["nonce"] == 0
    assert web.get("/stacks/nothing").status_code == 404
    info = web.get(f"/stacks/v2/contracts/interface/{box.pay_to}/revenue-split").json()
    assert len(next(each for each in info["functions"] if each["name"] == "pay-for-content")["args"]) == 4


def test_no_repr_shows_a_key(box):
    key = box.payer_key.hex()
    seen = " ".join(map(repr, [box, box.ground.payer, box.ground.chain, pay(box, "STX", 1)]))
    assert key not in seen and hashlib.sha256(box.payer_key).hexdigest() not in seen


def test_pending_and_dropped_are_played_by_post(box, web):
    play = lambda **told: web.post("/sandbox/stacks", json=told)  # noqa: E731
    assert play(automatic=False).json()["pending"] == []
    txs = [pay(box, "USDCx", 5, nonce=number) for number in range(2)]
    for tx in txs:
        box.ground.chain.submit(tx.wire())
    assert play().json()["pending"] == [each.txid for each in txs]
    for word in ("x", "success", "pending"):
        assert play(**{"drop": "all", "as": word}).status_code == 400
    assert play(**{"drop": txs[1].txid, "as": "dropped_problematic"}).json()["pending"] == [txs[0].txid]
    assert play(drop="all").json()["pending"] == []
    told = [web.get(f"/stacks/extended/v1/tx/{each.txid}").json()["tx_status"] for each in txs]
    assert told == ["dropped_stale_garbage_collect", "dropped_problematic"]
