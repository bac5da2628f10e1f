"""The shop on the pretend TRON, and its facilitator: proofs signed by the code that pays, told apart rule by rule."""

from __future__ import annotations

import base64
import json
import secrets
from copy import deepcopy

import httpx2
import pytest

from x402_agent.chains.tron import permit, permit2
from x402_agent.chains.tron.addresses import evm_form
from x402_agent.primitives import ORDER, EvmKey
from x402_agent.sandbox import Sandbox, scenarios
from x402_agent.sandbox.token import word
from x402_agent.sandbox.tron.facilitator import FEE

NETWORK = "tron:0xcd8690dc"
ZERO = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"
EVM_NAME = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"


def decode(header):
    return json.loads(base64.b64decode(header, validate=True))


def encode(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


class Buyer:
    """Answers a 402 by hand; `change` replaces fields of what is signed, at whatever depth they are."""

    def __init__(self, box):
        self.box = box
        self.key = EvmKey(box.payer_key)

    def proof(self, challenge, index=0, *, signer=None, network=None, **change):
        entry = challenge["accepts"][index]
        if entry["scheme"] == "exact_permit":
            name, made, digest = "paymentPermit", self.permit(challenge, entry), permit.digest
        else:
            name, made, digest = "permit2Authorization", self.permit2(entry), permit2.digest
        for field, value in change.items():
            holder = next(each for each in (made, *(v for v in made.values() if isinstance(v, dict))) if field in each)
            holder[field] = value
        signed = (signer or self.key).sign(digest(NETWORK, made))
        accepted = {**entry, "network": network or entry["network"]}
        return {"x402Version": 2, "accepted": accepted, "payload": {"signature": "0x" + signed.hex(), name: made}, "extensions": {}}

    def permit(self, challenge, entry):
        fee = entry["extra"]["fee"]
        return {
            "meta": dict(challenge["extensions"]["paymentPermitContext"]["meta"]),
            "buyer": self.box.payer_address,
            "caller": fee["caller"],
            "payment": {"payToken": entry["asset"], "payAmount": entry["amount"], "payTo": entry["payTo"]},
            "fee": {"feeTo": fee["feeTo"], "feeAmount": fee["feeAmount"]},
        }

    def permit2(self, entry):
        return {
            "from": evm_form(self.box.payer_address),
            "permitted": {"token": evm_form(entry["asset"]), "amount": entry["amount"]},
            "spender": evm_form(permit2.PROXIES[NETWORK]),
            "nonce": str(secrets.randbits(256)),
            "deadline": str(self.box.ground.now() + 60),
            "witness": {"to": evm_form(entry["payTo"]), "validAfter": "0"},
        }

    def request(self, path="/joke", index=0, asked=None, **change):
        """The body of a facilitator request; `asked` changes what the seller wants."""
        challenge = self.challenge(path)
        sent = self.proof(challenge, index, **change)
        wanted = challenge["accepts"][index] | (asked or {})
        sent["accepted"] |= asked or {}
        return {"x402Version": 2, "paymentPayload": sent, "paymentRequirements": wanted}

    def challenge(self, path="/joke"):
        with httpx2.Client(base_url=self.box.origin, transport=self.box.transport()) as client:
            return decode(client.get(path).headers["payment-required"])


@pytest.fixture
def box():
    with Sandbox(chain="tron") as made:
        yield made


@pytest.fixture
def buyer(box):
    return Buyer(box)


@pytest.fixture(params=["in process", "served"])
def client(request, box):
    served = request.param == "served"
    if served:
        box.serve()
    with httpx2.Client(base_url=box.origin, timeout=5, transport=None if served else box.transport(), trust_env=False) as made:
        yield made


def pay(client, buyer, path="/joke", index=0, **change):
    asked = client.get(path)
    assert asked.status_code == 402
    sent = encode(buyer.proof(decode(asked.headers["payment-required"]), index, **change))
    return client.get(path, headers={"PAYMENT-SIGNATURE": sent}), sent


# -- what an honest payer meets ----------------------------------------------------------------------------------------


def test_a_402_says_what_a_permit_needs(box, client):
    found = decode(client.get("/joke").headers["payment-required"])
    entry = found["accepts"][0]
    assert (entry["scheme"], entry["network"], entry["amount"]) == ("exact_permit", "tron:nile", "10000")
    assert entry["extra"]["fee"] == {"feeTo": box.facilitator_address, "feeAmount": str(FEE), "caller": box.facilitator_address}
    meta = found["extensions"]["paymentPermitContext"]["meta"]
    assert meta["kind"] == "PAYMENT_ONLY"
    assert meta["validBefore"] - meta["validAfter"] == 60
    again = decode(client.get("/joke").headers["payment-required"])["extensions"]["paymentPermitContext"]["meta"]
    assert meta["nonce"] != again["nonce"]
    assert meta["paymentId"] != again["paymentId"]


@pytest.mark.proves("tron", "exact_permit", "seller")
def test_a_permit_pays_the_seller_and_the_fee(box, buyer, client):
    before = box.balance(box.payer_address), box.balance(box.facilitator_address)
    answer, _ = pay(client, buyer)
    assert answer.status_code == 200
    receipt = decode(answer.headers["payment-response"])
    assert (receipt["success"], receipt["network"], receipt["payer"]) == (True, "tron:nile", box.payer_address)
    assert box.balance(box.pay_to) == 10_000
    assert box.balance(box.payer_address) == before[0] - 10_000 - FEE
    assert box.balance(box.facilitator_address) == before[1] + FEE
    mined = box.transaction(receipt["transaction"])
    assert (mined.result, mined.envelope.txid) == ("SUCCESS", receipt["transaction"])
    assert box.settlements[0].amount == 10_000
    info = client.post("/tron/wallet/gettransactioninfobyid", json={"value": receipt["transaction"]}).json()
    assert info["receipt"]["result"] == "SUCCESS"


@pytest.mark.proves("tron", "permit2", "seller")
@pytest.mark.parametrize(("path", "index"), [("/permit2", 0), ("/either", 1)])
def test_permit2_pays_without_a_fee(box, buyer, client, path, index):
    before = box.balance(box.payer_address)
    answer, _ = pay(client, buyer, path, index)
    assert answer.status_code == 200
    assert decode(answer.headers["payment-response"])["network"] == NETWORK
    assert (box.balance(box.pay_to), box.balance(box.payer_address)) == (10_000, before - 10_000)


@pytest.mark.proves("tron", "exact_permit", "facilitator")
def test_both_spellings_of_the_network_are_settled(box, buyer):
    body = buyer.request(asked={"network": NETWORK})
    assert box.facilitator.settle_json(body)["network"] == NETWORK
    assert box.facilitator.settle_json(buyer.request())["network"] == "tron:nile"


def test_a_permit_that_anybody_may_carry_out(box, buyer):
    assert box.facilitator.settle_json(buyer.request(caller=ZERO))["success"] is True


def test_what_a_settlement_costs_is_quoted(box, client):
    accepts = decode(client.get("/either").headers["payment-required"])["accepts"]
    rows = client.post("/facilitator/fee/quote", json={"accepts": accepts}).json()
    assert [(each["scheme"], each["fee"]["feeAmount"], each["pricing"]) for each in rows] == [
        ("exact_permit", str(FEE), "flat"),
        ("exact", "0", "flat"),
    ]
    assert client.post("/facilitator/fee/quote", json={"accepts": [accepts[0] | {"asset": ZERO}]}).json() == []
    assert client.post("/facilitator/fee/quote", json={"accepts": [{}]}).status_code == 400


def test_supported_names_each_scheme_as_its_sellers_spell_it(client):
    kinds = client.get("/facilitator/supported").json()["kinds"]
    assert {(each["scheme"], each["network"]) for each in kinds} == {("exact_permit", "tron:nile"), ("exact", NETWORK)}


def test_the_payer_has_approved_both_contracts_and_has_trx(box):
    assert [(each[3], each[4]) for each in box.ground.allowances] == [
        (permit.CONTRACTS[NETWORK], 10**9),
        (permit2.CONTRACTS[NETWORK], 10**9),
    ]
    assert box.ground.allowances[0][:3] == (NETWORK, "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf", box.payer_address)


# -- what is refused ---------------------------------------------------------------------------------------------------


def refused(box, body):
    """The code that /verify and /settle agree on; nothing moved."""
    before = box.balance(box.pay_to), box.balance(box.payer_address)
    verdict, settled = box.facilitator.verify_json(body), box.facilitator.settle_json(body)
    assert (verdict["isValid"], settled["success"], settled["transaction"]) == (False, False, "")
    assert verdict["invalidReason"] == settled["errorReason"]
    assert (box.balance(box.pay_to), box.balance(box.payer_address)) == before
    return verdict["invalidReason"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"payAmount": "9999"}, "amount_mismatch"),
        ({"payAmount": "10001"}, "amount_mismatch"),
        ({"payTo": ZERO}, "payto_mismatch"),
        ({"payToken": ZERO}, "token_mismatch"),
        ({"feeTo": ZERO}, "fee_to_mismatch"),
        ({"feeAmount": "99"}, "fee_amount_mismatch"),
        ({"caller": "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"}, "caller_mismatch"),
        ({"validBefore": 1}, "expired"),
        ({"validAfter": 1 << 40}, "not_yet_valid"),
        ({"buyer": ZERO}, "invalid_signature"),
    ],
)
def test_a_permit_that_is_not_what_was_asked(box, buyer, change, code):
    assert refused(box, buyer.request(**change)) == code


@pytest.mark.proves("tron", "permit2", "facilitator")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "9999"}, "permit2_amount_mismatch"),
        ({"to": "0x" + "11" * 20}, "invalid_permit2_recipient_mismatch"),
        ({"token": EVM_NAME}, "permit2_token_mismatch"),
        ({"spender": EVM_NAME}, "invalid_permit2_spender"),
        ({"deadline": "1"}, "permit2_deadline_expired"),
        ({"validAfter": str(1 << 40)}, "permit2_not_yet_valid"),
        ({"from": EVM_NAME}, "invalid_permit2_signature"),
    ],
)
def test_a_permit2_that_is_not_what_was_asked(box, buyer, change, code):
    assert refused(box, buyer.request("/permit2", **change)) == code


@pytest.mark.parametrize(("path", "code"), [("/joke", "invalid_signature"), ("/permit2", "invalid_permit2_signature")])
def test_another_signer(box, buyer, path, code):
    assert refused(box, buyer.request(path, signer=EvmKey(b"\x05" * 32))) == code


@pytest.mark.parametrize("path", ["/joke", "/permit2"])
def test_a_proof_settles_once(box, buyer, path):
    body = buyer.request(path)
    assert box.facilitator.settle_json(body)["success"] is True
    assert refused(box, body) == "nonce_already_used"


def test_the_other_form_of_a_signature_is_no_second_payment(box, buyer):
    body = buyer.request()
    twin = deepcopy(body)
    raw = bytes.fromhex(body["paymentPayload"]["payload"]["signature"][2:])
    other = raw[:32] + (ORDER - int.from_bytes(raw[32:64])).to_bytes(32, "big") + bytes((55 - raw[64],))
    twin["paymentPayload"]["payload"]["signature"] = "0x" + other.hex()
    assert box.facilitator.settle_json(body)["success"] is True
    assert refused(box, twin) == "nonce_already_used"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"network": "tron:mainnet"}, "invalid_network"),
        ({"network": "tron:0x2b6653dc"}, "invalid_network"),
        ({"asset": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"}, "token_not_allowed"),
        ({"scheme": "exact"}, "unsupported_scheme"),
        ({"amount": "1e4"}, "invalid_payment_requirements"),
    ],
)
def test_requirements_that_are_not_of_this_chain(box, buyer, asked, code):
    assert refused(box, buyer.request(asked=asked)) == code


def test_a_network_that_the_proof_does_not_name(box, buyer):
    assert refused(box, buyer.request(network="tron:shasta")) == "network_mismatch"


@pytest.mark.parametrize("path", ["/joke", "/permit2"])
def test_without_allowance_or_money(box, buyer, path):
    spender = (permit if path == "/joke" else permit2).CONTRACTS[NETWORK]
    from x402_agent.sandbox.tron.contracts import raw_address

    contracts, payer = box.ground.contracts, box.ground.payer
    contracts.approve(payer, raw_address(spender), 9_999)
    assert refused(box, buyer.request(path)) == "allowance_required"
    contracts.approve(payer, raw_address(spender), 10**9)
    contracts.transfer(payer, raw_address(box.facilitator_address), 100_000_000 - 9_999)
    assert refused(box, buyer.request(path)) == "insufficient_balance"


def test_a_fee_of_the_token_is_no_payment(box, buyer):
    """The seller gets less than was signed: the facilitator does not call that settled."""
    box.ground.contracts.send(box.ground.operator, "setParams(uint256,uint256)", word(10) + word(5))
    answer = box.facilitator.settle_json(buyer.request())
    assert (answer["success"], answer["errorReason"]) == (False, "transaction_failed_on_chain")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"paymentPermit": {}, "signature": "0x"},
        {"paymentPermit": [], "signature": "0x" + "00" * 65},
        {"permit2Authorization": {"permitted": {}, "witness": {}}, "signature": "0x" + "00" * 65},
    ],
)
def test_what_is_no_proof(box, buyer, payload):
    body = buyer.request()
    body["paymentPayload"]["payload"] = payload
    assert refused(box, body) in ("missing_permit", "invalid_payload")


@pytest.mark.parametrize("change", [{"kind": "PAYMENT_AND_DELIVERY"}, {"kind": 1}, {"paymentId": "0x00"}, {"buyer": "0x" + "11" * 20}])
def test_fields_that_cannot_be_read(box, buyer, change):
    body = buyer.request()
    made = body["paymentPayload"]["payload"]["paymentPermit"]
    for field, value in change.items():
        (made["meta"] if field in made["meta"] else made)[field] = value
    assert refused(box, body) == "invalid_payload"


# -- how the shop answers a proof that was not taken -------------------------------------------------------------------


def test_sellers_of_permits_answer_500_and_name_the_reason(buyer, client):
    answer, sent = pay(client, buyer, feeAmount="1")
    assert answer.status_code == 500
    assert answer.json() == {"error": "Settlement failed: fee_amount_mismatch", "network": "tron:nile"}
    assert "payment-required" not in answer.headers
    paid, sent = pay(client, buyer)
    assert paid.status_code == 200
    replay = client.get("/joke", headers={"PAYMENT-SIGNATURE": sent})
    assert replay.json()["error"] == "Settlement failed: nonce_already_used"


def test_a_payload_that_cannot_be_read_is_a_400(client, buyer):
    broken = buyer.proof(buyer.challenge())
    del broken["payload"]["paymentPermit"]["fee"]
    assert client.get("/joke", headers={"PAYMENT-SIGNATURE": encode(broken)}).status_code == 400


def test_a_seller_of_permit2_asks_again(client, buyer):
    answer, _ = pay(client, buyer, "/permit2", amount="1")
    assert answer.status_code == 402
    assert decode(answer.headers["payment-response"])["errorReason"] == "permit2_amount_mismatch"


def test_scenarios_are_the_same_on_every_chain(box, buyer, client):
    box.scenario = scenarios()["settles_then_500"]
    answer, _ = pay(client, buyer)
    assert (answer.status_code, box.balance(box.pay_to)) == (500, 10_000)
    box.scenario = scenarios()["answer_lost"]
    with pytest.raises(httpx2.RemoteProtocolError):
        pay(client, buyer)
    assert box.balance(box.pay_to) == 20_000


def test_an_escrow_is_paid_back_on_the_chain(box, buyer, client):
    answer, _ = pay(client, buyer, "/escrow-500")
    receipt = decode(answer.headers["payment-response"])
    assert (receipt["success"], box.balance(box.pay_to)) == (False, 0)
    assert box.transaction(receipt["extra"]["refundTransaction"]).result == "SUCCESS"


def test_the_node_stands_below_one_root_and_says_404_for_what_it_has_not(box, client):
    block = client.get("/tron/wallet/getnowblock").json()
    assert client.post("/tron/walletsolidity/getnowblock").json()["block_header"]["raw_data"]["number"] <= block["block_header"]["raw_data"]["number"]
    assert client.post("/tron/wallet/createwitness", json={}).status_code == 404
    rows = client.get(f"/tron/v1/accounts/{box.payer_address}/transactions/trc20?only_to=true&limit=1").json()
    assert rows["data"][0]["value"] == "100000000"
    assert client.post("/tron/wallet/getaccount", content=b"[]").status_code == 400


def test_money_from_the_tap_and_time_that_passes(box, client):
    answer = client.post("/sandbox/fund", json={"address": box.pay_to, "amount": 5}).json()
    assert answer["balance"] == "5"
    assert client.post("/sandbox/fund", json={"address": EVM_NAME, "amount": 5}).status_code == 400
    before = box.ground.now()
    assert client.post("/sandbox/warp", json={"seconds": 100}).json()["now"] >= before + 100
