"""The official facilitator and web3.py work with our node as with any other: verify, refuse with the reason, settle."""

from __future__ import annotations

import secrets
from dataclasses import replace

import httpx2
import pytest

from x402_agent.primitives import EvmKey, keccak
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.permit2 import EXACT_PROXY, PERMIT2, UPTO_PROXY, Permit
from x402_agent.sandbox.token import Authorization

pytestmark = pytest.mark.full
PRICE = 10_000
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
STRANGER = EvmKey(b"\x44" * 32)
KEY = secrets.token_bytes(32)
P, E = "invalid_exact_evm_payload_", "invalid_exact_evm_"
WAYS = ("eip3009", "permit2", "upto")
ways = pytest.mark.parametrize("way", WAYS)


def raw(address):
    return bytes.fromhex(address[2:])


def word(value):
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


class Desk:
    """The official facilitator over HTTP, and payments for it, signed by hand."""

    def __init__(self, box, http):
        self.box, self.http, self.key, self.address = box, http, EvmKey(box.payer_key), EvmKey(KEY).address

    def requirement(self, way, amount=PRICE):
        extra = {"name": "USDC", "version": "2"}
        if way != "eip3009":
            extra["assetTransferMethod"] = "permit2"
        if way == "upto":
            extra["facilitatorAddress"] = self.address
        return {"scheme": "upto" if way == "upto" else "exact", "network": "eip155:84532", "asset": USDC,
                "amount": str(amount), "payTo": self.box.pay_to, "maxTimeoutSeconds": 60, "extra": extra}  # fmt: skip

    def payload(self, way, signer=None, until=60, amount=PRICE, to=None, facilitator=None, payer=None):
        now, nonce, to = self.box.ground.chain.now(), secrets.token_bytes(32), to or self.box.pay_to
        payer, key = payer or self.key.address, signer or self.key
        if way == "eip3009":
            signed = Authorization(raw(payer), raw(to), amount, 0, now + until, nonce)
            kind = "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
            body = keccak(keccak(kind.encode()) + signed.words())
            fields = {"from": payer, "to": to, "value": str(amount), "validAfter": "0",
                      "validBefore": str(now + until), "nonce": "0x" + nonce.hex()}  # fmt: skip
            made = key.sign(keccak(b"\x19\x01" + self.box.ground.token.domain_separator() + body))
            return {"signature": "0x" + made.hex(), "authorization": fields}
        facilitator = (facilitator or self.address) if way == "upto" else ""
        spender = UPTO_PROXY if way == "upto" else EXACT_PROXY
        permit = Permit(raw(payer), raw(to), amount, 0, now + until, nonce, raw(USDC), spender,
                        raw(facilitator) if facilitator else b"")  # fmt: skip
        witness = {"to": to, "validAfter": "0"} | ({"facilitator": facilitator} if facilitator else {})
        fields = {"from": payer, "permitted": {"token": USDC, "amount": str(amount)}, "spender": "0x" + spender.hex(),
                  "nonce": str(int.from_bytes(nonce)), "deadline": str(now + until), "witness": witness}  # fmt: skip
        return {"signature": "0x" + key.sign(permit.digest()).hex(), "permit2Authorization": fields}

    def request(self, way, asked=None, **change):
        wanted = asked or self.requirement(way)
        sent = {"x402Version": 2, "accepted": wanted, "payload": self.payload(way, **change)}
        return {"x402Version": 2, "paymentPayload": sent, "paymentRequirements": wanted}

    def post(self, path, body):
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def reason(self, body):
        """Why /verify says no; /settle says the same, and nothing moves."""
        before = self.box.balance(self.box.payer_address)
        verdict, settled = self.post("/verify", body), self.post("/settle", body)
        assert (verdict["isValid"], settled["success"], settled["transaction"]) == (False, False, "")
        assert settled["errorReason"] == verdict["invalidReason"]
        assert self.box.balance(self.box.payer_address) == before
        return verdict["invalidReason"]


@pytest.fixture(scope="module")
def facilitator(box, official):
    box.ground.chain.endow(raw(EvmKey(KEY).address), 10**18)
    with official("facilitator.py", box.rpc_url, stdin=KEY.hex() + "\n") as origin:
        yield origin


@pytest.fixture(scope="module")
def desk(box, facilitator):
    with httpx2.Client(base_url=facilitator, timeout=30, trust_env=False) as http:
        yield Desk(box, http)


@pytest.fixture(scope="module")
def selling(facilitator, official, box):
    with official("server.py", facilitator, box.pay_to) as origin:
        yield origin


@pytest.fixture
def poor(desk):
    """The payer has no tokens until the test ends."""
    box, saved = desk.box, desk.box.balance(desk.box.payer_address)
    box.ground.token.transfer(desk.key, raw(STRANGER.address), saved)
    yield desk
    box.ground.token.transfer(STRANGER, raw(box.payer_address), saved)


@ways
def test_it_verifies_and_settles_for_real(desk, way):
    box, body = desk.box, desk.request(way)
    before = box.balance(box.payer_address), box.balance(box.pay_to), box.ground.allowance
    assert desk.post("/verify", body) == {"isValid": True, "payer": box.payer_address}
    done = desk.post("/settle", body)
    assert (done["success"], done["payer"], done["network"]) == (True, box.payer_address, "eip155:84532")
    assert done.get("amount") == (str(PRICE) if way == "upto" else None)
    after = box.balance(box.payer_address), box.balance(box.pay_to), box.ground.allowance
    assert after == (before[0] - PRICE, before[1] + PRICE, before[2] - (PRICE if way != "eip3009" else 0))
    mined = box.transaction(done["transaction"])
    assert (mined.status, mined.sender, mined.value) == (1, desk.address, PRICE)
    assert mined.price > 0 and mined.gas > 21_000


@pytest.mark.parametrize("charge", [1, PRICE - 1, PRICE, 0])
def test_it_charges_upto_what_the_seller_says(desk, charge):
    box, body = desk.box, desk.request("upto")
    before = box.balance(box.pay_to)
    body["paymentRequirements"] = desk.requirement("upto", charge)
    done = desk.post("/settle", body)
    assert (done["success"], done["amount"], bool(done["transaction"])) == (True, str(charge), bool(charge))
    assert box.balance(box.pay_to) == before + charge
    body["paymentRequirements"] = desk.requirement("upto", PRICE + 1)
    assert desk.post("/settle", body)["errorReason"] == "invalid_upto_evm_payload_settlement_exceeds_amount"
    assert box.balance(box.pay_to) == before + charge


@pytest.mark.parametrize(
    "way, change, code",
    [
        ("eip3009", {"signer": STRANGER}, f"{P}signature"),
        ("eip3009", {"until": 3}, f"{P}authorization_valid_before"),
        ("eip3009", {"amount": PRICE - 1}, f"{P}authorization_value_mismatch"),
        ("eip3009", {"to": STRANGER.address}, f"{P}recipient_mismatch"),
        ("permit2", {"signer": STRANGER}, "invalid_permit2_signature"),
        ("permit2", {"until": 3}, "permit2_deadline_expired"),
        ("permit2", {"amount": PRICE - 1}, "permit2_amount_mismatch"),
        ("permit2", {"to": STRANGER.address}, "invalid_permit2_recipient_mismatch"),
        ("upto", {"signer": STRANGER}, "invalid_permit2_signature"),
        ("upto", {"until": 3}, "permit2_deadline_expired"),
        ("upto", {"facilitator": STRANGER.address}, "upto_facilitator_mismatch"),
        ("upto", {"to": STRANGER.address}, "invalid_permit2_recipient_mismatch"),
    ],
)
def test_it_refuses_for_the_right_reason(desk, way, change, code):
    assert desk.reason(desk.request(way, **change)) == code


@pytest.mark.parametrize("way, code", [("eip3009", f"{E}insufficient_balance"), ("permit2", f"{E}insufficient_balance"),
                                       ("upto", "permit2_insufficient_balance")])  # fmt: skip
def test_it_sees_an_empty_purse(poor, way, code):
    verdict = poor.post("/verify", poor.request(way))
    assert (verdict["isValid"], verdict["invalidReason"], verdict["payer"]) == (False, code, poor.box.payer_address)


def test_it_sees_a_used_nonce(desk):
    body = desk.request("eip3009")
    assert desk.post("/settle", body)["success"]
    assert desk.post("/verify", body)["invalidReason"] == f"{E}nonce_already_used"
    upto = desk.request("upto")
    assert desk.post("/settle", upto)["success"]
    assert desk.post("/verify", upto)["invalidReason"] == "invalid_upto_evm_transaction_failed"


@ways
def test_a_settlement_that_reverts_moves_nothing_and_says_so(desk, way):
    """What a facilitator learns from the receipt alone: its own settle does not rehearse."""
    box, body = desk.box, desk.request(way)
    assert desk.post("/settle", body)["success"]
    before = box.balance(box.payer_address)
    again = desk.post("/settle", body)
    assert again["success"] is False
    assert box.transaction(again["transaction"]).status == 0
    assert box.balance(box.payer_address) == before


@pytest.mark.parametrize("way", ["permit2", "upto"])
def test_it_sees_a_missing_allowance(desk, way):
    box, left = desk.box, desk.box.ground.allowance
    box.ground.token.approve(desk.key, PERMIT2, PRICE - 1)
    assert desk.post("/verify", desk.request(way))["invalidReason"] == "permit2_allowance_required"
    box.ground.token.approve(desk.key, PERMIT2, left)
    assert desk.post("/verify", desk.request(way))["isValid"]


def test_it_sees_a_seller_who_names_another_domain(desk):
    asked = desk.requirement("eip3009")
    asked["extra"] = {"name": "USD Coin", "version": "2"}
    assert desk.reason(desk.request("eip3009", asked)) == f"{P}signature"


@pytest.mark.proves("evm", "exact", "judge", by="official facilitator")
@pytest.mark.proves("evm", "permit2", "judge", by="official facilitator")
@pytest.mark.proves("evm", "upto", "judge", by="official facilitator")
@ways
def test_ours_and_theirs_agree(desk, way):
    """The same request to both: valid for both, or refused with one code."""
    box = desk.box
    if way != "upto":  # upto binds the one facilitator or the other
        assert box.facilitator.verify_json(desk.request(way)) == desk.post("/verify", desk.request(way))
    for change in ({"signer": STRANGER}, {"until": 3}, {"to": STRANGER.address}, {"amount": PRICE + 1}):
        theirs = desk.post("/verify", desk.request(way, **change))["invalidReason"]
        ours = desk.request(way, **change, **({"facilitator": box.facilitator_address} if way == "upto" else {}))
        assert box.facilitator.verify_json(ours)["invalidReason"] == theirs


def test_web3_reads_our_blocks_receipts_logs_and_fees(desk):
    box = desk.box
    tx = desk.post("/settle", desk.request("eip3009"))["transaction"]
    answer = desk.http.get(f"/look/{tx}", params={"token": USDC, "holder": box.payer_address})
    assert answer.status_code == 200, answer.text
    seen, mined = answer.json(), box.transaction(tx)
    assert (seen["client"], seen["chain"]) == (f"x402_agent-sandbox/{box.backend}", 84532)
    assert (seen["sender"], seen["block"], seen["transactions"]) == (desk.address, [mined.block, True], [tx])
    assert (seen["tags"], seen["logs"], seen["bloom"]) == ([True] * 4, len(mined.logs), True)
    assert seen["fees"] == [[1_000_000] * 3, 2_000_000, 1_000_000, 2_000_000]
    assert seen["gas"][0] == mined.gas and 21_000 < seen["gas"][1] < 200_000
    assert seen["counts"] == [box.ground.chain.nonce(box.payer_address)] * 2
    assert (seen["wei"], seen["code"]) == (box.ground.chain.wei(raw(box.payer_address)), len(box.ground.chain.code(raw(USDC))))
    assert seen["refusal"].startswith("ContractLogicError") and "exceeds balance" in seen["refusal"]


@pytest.mark.parametrize(
    "path, cost", [("/weather", PRICE), ("/permit2", PRICE), ("/metered", 12_000), ("/unmetered", 0)]
)
def test_ours_pays_an_official_server_that_settles_by_the_official_facilitator(desk, selling, payer, path, cost):
    box = desk.box
    before = box.balance(box.pay_to)
    with payer.client(timeout=30) as http:
        reply = http.get(selling + path)
    assert (reply.status_code, reply.json()) == (200, {"weather": "sunny"})
    receipt = reply.extensions["payment"]
    assert (receipt.outcome, bool(receipt.transaction)) == ("spent", bool(cost))
    if cost:
        mined = box.transaction(receipt.transaction)
        assert (mined.sender, mined.value) == (desk.address, cost)
    assert box.balance(box.pay_to) == before + cost


def test_version_1_is_settled_too(desk):
    box, before = desk.box, desk.box.balance(desk.box.pay_to)
    wanted = desk.requirement("eip3009") | {"network": "base-sepolia", "maxAmountRequired": str(PRICE), "description": "",
                                            "resource": "http://x/", "mimeType": ""}  # fmt: skip
    del wanted["amount"]
    sent = {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": desk.payload("eip3009")}
    body = {"x402Version": 1, "paymentPayload": sent, "paymentRequirements": wanted}
    assert desk.post("/verify", body)["isValid"]
    assert desk.post("/settle", body)["network"] == "base-sepolia"
    assert desk.post("/verify", body)["invalidReason"] == f"{E}nonce_already_used"
    assert box.balance(box.pay_to) == before + PRICE


WALLETS = {"agrees": "631626ba7e60e01b5f5260205ff3", "disagrees": "5f5f5260205ff3"}  # EIP-1271, whatever is signed


@pytest.mark.parametrize("way, refusal", [("eip3009", f"{P}signature"), ("permit2", "invalid_permit2_signature")])
@pytest.mark.parametrize("wallet", list(WALLETS))
def test_a_contract_wallet_is_asked_on_the_chain(desk, wallet, way, refusal):
    box = desk.box
    account = EvmKey(secrets.token_bytes(32))
    box.fund(account.address, PRICE)
    box.ground.token.approve(account, PERMIT2, PRICE)
    box.ground.chain.install(raw(account.address), bytes.fromhex(WALLETS[wallet]))
    body = desk.request(way, payer=account.address)
    verdict = desk.post("/verify", body)
    if wallet == "agrees":
        assert verdict == {"isValid": True, "payer": account.address}
        assert desk.post("/settle", body)["success"]
    else:
        assert (verdict["isValid"], verdict["invalidReason"]) == (False, refusal)
    assert box.balance(account.address) == (0 if wallet == "agrees" else PRICE)


def test_the_other_evm_does_as_well(official):
    with Sandbox(backend="py-evm") as box:
        box.serve()
        box.ground.chain.endow(raw(EvmKey(KEY).address), 10**18)
        with (
            official("facilitator.py", box.rpc_url, stdin=KEY.hex() + "\n") as origin,
            httpx2.Client(base_url=origin, timeout=30, trust_env=False) as http,
        ):
            desk = Desk(box, http)
            for way in WAYS:
                body = desk.request(way)
                assert desk.post("/verify", body)["isValid"]
                assert desk.post("/settle", body)["success"]
            assert desk.post("/verify", desk.request("upto", signer=STRANGER))["isValid"] is False
        assert box.balance(box.pay_to) == 3 * PRICE


def test_V7_resume_finds_in_its_transaction_what_was_charged(desk, selling, payer):
    payer.settings = replace(payer.settings, nodes={"eip155:84532": desk.box.rpc_url})
    with payer.client(timeout=30) as http:
        receipts = [http.get(selling + path).extensions["payment"] for path in ("/metered", "/unmetered")]
    assert [payer.ledger.payment(each.payment_id).micros for each in receipts] == [50_000, 50_000]
    (found,) = payer.resume()
    assert (found.payment_id, found.after) == (receipts[0].payment_id, "CONFIRMED")
    assert [payer.ledger.payment(each.payment_id).micros for each in receipts] == [12_000, 50_000]
