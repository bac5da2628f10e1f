"""The facilitator with Permit2 and `upto`: it says yes to exactly what the proxies would settle."""

from __future__ import annotations

import threading

import pytest

from x402_agent.primitives import EvmKey
from x402_agent.sandbox.permit2 import PERMIT2
from x402_agent.sandbox.token import Authorization

STRANGER = EvmKey(b"\x44" * 32)
P, E = "invalid_exact_evm_payload_", "invalid_exact_evm_"
versions = pytest.mark.parametrize("version", [1, 2])


schemes = pytest.mark.parametrize("scheme", ["exact", "upto"])


@pytest.mark.proves("evm", "permit2", "facilitator")
@pytest.mark.proves("evm", "upto", "facilitator")
@schemes
def test_a_permit_is_verified_and_settled_for_real(both, buyer_of, scheme):
    body = buyer_of(both).permit_request(scheme)
    assert both.facilitator.verify_json(body) == {"isValid": True, "payer": both.payer_address}
    assert both.balance(both.pay_to) == 0  # verifying moves nothing
    done = both.facilitator.settle_json(body)
    assert done == {
        "success": True,
        "transaction": done["transaction"],
        "network": "eip155:84532",
        "payer": both.payer_address,
    } | ({"amount": "10000"} if scheme == "upto" else {})
    assert both.balance(both.pay_to) == 10_000
    assert both.ground.allowance == 1_000_000_000 - 10_000
    (row,) = both.settlements
    assert (row.tx, row.payer, row.amount) == (done["transaction"], both.payer_address, 10_000)
    assert int(row.nonce, 16) == int(body["paymentPayload"]["payload"]["permit2Authorization"]["nonce"])
    assert both.facilitator.settle_json(body)["errorReason"] == "permit2_invalid_nonce"
    assert both.facilitator.verify_json(body)["invalidReason"] == "permit2_invalid_nonce"
    assert len(both.settlements) == 1


@schemes
@pytest.mark.parametrize(
    "change, code",
    [
        ({"spender": STRANGER.address}, "invalid_permit2_spender"),
        ({"to": STRANGER.address}, "invalid_permit2_recipient_mismatch"),
        ({"deadline": "+5"}, "permit2_deadline_expired"),
        ({"deadline": "-1"}, "permit2_deadline_expired"),
        ({"validAfter": "+30"}, "permit2_not_yet_valid"),
        ({"token": STRANGER.address}, "permit2_token_mismatch"),
        ({"signer": STRANGER}, "invalid_permit2_signature"),
        ({"from": STRANGER.address}, "invalid_permit2_signature"),
        ({"nonce": "-1"}, "invalid_payload"),
        ({"nonce": str(1 << 256)}, "invalid_payload"),
        ({"permitted": None}, "invalid_payload"),
        ({"witness": []}, "invalid_payload"),
    ],
)
def test_what_a_permit_says_is_held_against_the_offer(box, buyer, scheme, change, code, refused):
    change = {
        key: str(box.ground.chain.now() + int(value)) if str(value)[:1] == "+" or key == "deadline" else value
        for key, value in change.items()
    }
    if code == "invalid_payload":
        body = buyer.permit_request(scheme)
        body["paymentPayload"]["payload"]["permit2Authorization"] |= change
    else:
        body = buyer.permit_request(scheme, **change)
    assert refused(box, body) == code


@schemes
@pytest.mark.parametrize("amount", ["9999", "10001"])
def test_a_permit_is_over_the_amount_that_was_asked(box, buyer, scheme, amount, refused):
    body = buyer.permit_request(scheme, amount=amount)
    assert box.facilitator.verify_json(body)["invalidReason"] == "permit2_amount_mismatch"
    if scheme == "exact":  # settling upto, the amount is what is charged
        assert refused(box, body) == "permit2_amount_mismatch"


def test_an_upto_payment_names_its_facilitator(box, buyer, refused):
    assert refused(box, buyer.permit_request("upto", facilitator=STRANGER.address)) == "upto_facilitator_mismatch"
    body = buyer.permit_request("upto")
    del body["paymentPayload"]["payload"]["permit2Authorization"]["witness"]["facilitator"]
    assert refused(box, body) == "invalid_payload"
    body = buyer.permit_request("upto")
    body["paymentPayload"]["payload"] = buyer.payload()
    assert refused(box, body) == "invalid_payload"


@pytest.mark.parametrize(
    "scheme, change, code",
    [
        ("upto", {"scheme": "exact"}, "invalid_upto_evm_scheme"),
        ("exact", {"scheme": "upto"}, "unsupported_scheme"),
        ("upto", {"network": "eip155:8453"}, "invalid_upto_evm_network_mismatch"),
        ("exact", {"network": "eip155:8453"}, "network_mismatch"),
        ("upto", {"asset": "0x" + "12" * 20}, "asset_not_deployed_contract"),
        ("exact", {"extra": {"name": "USDC", "version": "2"}}, "invalid_payload"),
        ("exact", {"payTo": STRANGER.address}, "invalid_permit2_recipient_mismatch"),
    ],
)
def test_a_wrong_requirement_for_a_permit_is_refused(box, buyer, scheme, change, code, refused):
    body = buyer.permit_request(scheme)
    body["paymentRequirements"] = body["paymentRequirements"] | change
    assert refused(box, body) == code


@schemes
def test_without_an_allowance_permit2_moves_nothing(box, buyer, scheme, refused):
    box.ground.token.approve(buyer.key, PERMIT2, 9_999)
    assert refused(box, buyer.permit_request(scheme)) == "permit2_allowance_required"
    box.ground.token.approve(buyer.key, PERMIT2, 10_000)
    assert box.facilitator.settle_json(buyer.permit_request(scheme))["success"]
    assert box.ground.allowance == 0


@pytest.mark.parametrize(
    "scheme, code", [("exact", f"{E}insufficient_balance"), ("upto", "permit2_insufficient_balance")]
)
def test_an_empty_purse_with_an_allowance_is_refused(box, buyer, scheme, code, refused):
    body = buyer.permit_request(scheme, {"amount": "100000001"}, amount="100000001")
    assert refused(box, body) == code


@schemes
def test_a_frozen_account_fails_the_rehearsal_of_its_permit(box, buyer, scheme, refused):
    payer = bytes.fromhex(box.payer_address[2:])
    assert box.ground.token.send(box.ground.operator, "blacklist(address)", payer.rjust(32, b"\0")).status
    code = {"exact": f"{E}transaction_simulation_failed", "upto": "invalid_upto_evm_transaction_failed"}[scheme]
    assert refused(box, buyer.permit_request(scheme)) == code


@pytest.mark.parametrize("charge", [0, 1, 9_999, 10_000, 10_001])
def test_upto_settles_what_is_charged_up_to_the_ceiling(box, buyer, charge):
    body = buyer.permit_request("upto")
    body["paymentRequirements"] = body["paymentRequirements"] | {"amount": str(charge)}
    done = box.facilitator.settle_json(body)
    if charge > 10_000:
        assert done["errorReason"] == "invalid_upto_evm_payload_settlement_exceeds_amount"
        charge = 0
    else:
        assert (done["success"], done["amount"], bool(done["transaction"])) == (True, str(charge), bool(charge))
    assert box.balance(box.pay_to) == charge
    assert [row.amount for row in box.settlements] == ([charge] if charge else [])


def test_one_permit_from_many_threads_settles_once(both, buyer_of):
    body = buyer_of(both).permit_request("upto")
    answers: list[dict] = []
    threads = [threading.Thread(target=lambda: answers.append(both.facilitator.settle_json(body))) for _ in range(6)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert [each["success"] for each in answers].count(True) == 1
    assert {each.get("errorReason") for each in answers} == {None, "permit2_invalid_nonce"}
    assert both.balance(both.pay_to) == 10_000


def test_version_1_knows_no_permits(box, buyer, refused):
    body = buyer.request(1)
    body["paymentPayload"]["payload"] = buyer.permit()
    assert refused(box, body) == "invalid_payload"


def test_a_long_signature_of_a_plain_account_over_a_permit_is_refused(box, buyer, refused):
    body = buyer.permit_request()
    body["paymentPayload"]["payload"]["signature"] = "0x" + "ab" * 100
    assert refused(box, body) == "invalid_permit2_signature"


def test_permit2_moves_no_nothing(box, buyer, refused):
    assert refused(box, buyer.permit_request(asked={"amount": "0"}, amount="0")) == "permit2_invalid_amount"


@pytest.mark.parametrize("scheme", ["batch-settlement", "", None])
def test_a_scheme_that_nobody_knows(box, buyer, scheme, refused):
    for body in (buyer.request(), buyer.permit_request()):
        body["paymentPayload"]["accepted"] = body["paymentRequirements"] = body["paymentRequirements"] | {
            "scheme": scheme
        }
        assert refused(box, body) == "unsupported_scheme"
    body = buyer.request(1)
    body["paymentPayload"]["scheme"] = body["paymentRequirements"]["scheme"] = "upto"
    assert refused(box, body) == "unsupported_scheme"


def test_a_refusal_has_words_and_names_the_payer_where_it_knows_one(box, buyer):
    body = buyer.permit_request()
    body["paymentRequirements"] = body["paymentRequirements"] | {"extra": {}}
    words = {"isValid": False, "invalidReason": "invalid_payload"}
    who = {"payer": box.payer_address}
    found = box.facilitator.verify_json(body)
    assert found == words | who | {"invalidMessage": "the seller asked for eip3009"}
    body = buyer.request(requirement=buyer.requirement(extra={"assetTransferMethod": "permit2"}))
    found = box.facilitator.verify_json(body)
    assert found == words | who | {"invalidMessage": "the seller asked for permit2"}
    assert box.facilitator.verify_json("{}") == words | {"invalidMessage": "the body is not a JSON object"}


FAILED = {"eip3009": "transaction_failed", "exact": "transaction_failed", "upto": "invalid_upto_evm_transaction_failed"}
USED = {"eip3009": f"{E}nonce_already_used", "exact": "permit2_invalid_nonce", "upto": "permit2_invalid_nonce"}


@pytest.mark.parametrize("way", list(FAILED))
def test_what_was_true_in_the_rehearsal_may_be_false_in_the_block(box, buyer, way, monkeypatch):
    for name in ("_rehearse", "_rehearse_permit"):
        monkeypatch.setattr(box.facilitator, name, lambda *_: None)
    body = buyer.request() if way == "eip3009" else buyer.permit_request(way)
    assert box.facilitator.settle_json(body)["success"]
    again = box.facilitator.settle_json(body)
    assert (again["errorReason"], again["transaction"], again["payer"]) == (USED[way], "", box.payer_address)
    payer = bytes.fromhex(box.payer_address[2:])
    assert box.ground.token.send(box.ground.operator, "blacklist(address)", payer.rjust(32, b"\0")).status
    body = buyer.request() if way == "eip3009" else buyer.permit_request(way)
    assert box.facilitator.settle_json(body)["errorReason"] == FAILED[way]
    assert len(box.settlements) == 1


def test_a_token_that_moves_another_amount_is_noticed(box, buyer, monkeypatch):
    other = buyer.payload(value="9999")
    fields = other["authorization"]
    numbers = (int(fields[name]) for name in ("value", "validAfter", "validBefore"))
    sender, to, nonce = (bytes.fromhex(fields[name][2:]) for name in ("from", "to", "nonce"))
    data = box.ground.token.call_data(Authorization(sender, to, *numbers, nonce), bytes.fromhex(other["signature"][2:]))
    monkeypatch.setattr(box.facilitator._token, "call_data", lambda *_: data)
    assert box.facilitator.settle_json(buyer.request())["errorReason"] == f"{E}transfer_event_mismatch"
    assert box.settlements == []


def test_a_payment_shows_no_signature(box, buyer):
    body = buyer.permit_request("upto")
    permit = box.facilitator.verify(2, body["paymentPayload"], body["paymentRequirements"])
    assert repr(permit) == f"Payment({box.payer_address} pays up to 10000)"

    body = buyer.request()
    payment = box.facilitator.verify(2, body["paymentPayload"], body["paymentRequirements"])
    assert repr(payment) == f"Payment({box.payer_address} pays 10000)"
