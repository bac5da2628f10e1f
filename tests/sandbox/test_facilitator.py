"""The facilitator says yes to exactly what would settle, and names in the protocol's own codes why not."""

from __future__ import annotations

import pytest

from x402_agent.primitives import EvmKey

STRANGER = EvmKey(b"\x44" * 32)
P, E = "invalid_exact_evm_payload_", "invalid_exact_evm_"
versions = pytest.mark.parametrize("version", [1, 2])


@pytest.mark.proves("evm", "exact", "facilitator")
@versions
def test_an_honest_payment_is_verified_and_settled_for_real(both, buyer_of, version):
    body = buyer_of(both).request(version)
    assert both.facilitator.verify_json(body) == {"isValid": True, "payer": both.payer_address}
    assert both.balance(both.pay_to) == 0  # verifying moves nothing
    done = both.facilitator.settle_json(body)
    assert done == {
        "success": True,
        "transaction": done["transaction"],
        "network": "base-sepolia" if version == 1 else "eip155:84532",
        "payer": both.payer_address,
    }
    assert both.balance(both.pay_to) == 10000
    assert both.balance(both.payer_address) == 100_000_000 - 10000
    (row,) = both.settlements
    assert (row.tx, row.payer, row.pay_to, row.amount) == (done["transaction"], both.payer_address, both.pay_to, 10000)
    assert row.nonce == body["paymentPayload"]["payload"]["authorization"]["nonce"]
    assert both.transaction(row.tx).block == row.block


@versions
def test_a_payment_settles_once(box, buyer, version):
    body = buyer.request(version)
    assert box.facilitator.settle_json(body)["success"]
    again = box.facilitator.settle_json(body)
    assert (again["success"], again["errorReason"]) == (False, f"{E}nonce_already_used")
    assert again["payer"] == box.payer_address
    assert len(box.settlements) == 1
    assert box.balance(box.pay_to) == 10000


@versions
@pytest.mark.parametrize(
    "change, code",
    [
        ({"value": "9999"}, f"{P}authorization_value"),
        ({"value": "10001"}, f"{P}authorization_value"),
        ({"to": STRANGER.address}, f"{P}recipient_mismatch"),
        ({"validBefore": "+5"}, f"{P}authorization_valid_before"),
        ({"validBefore": "-1"}, f"{P}authorization_valid_before"),
        ({"validAfter": "+30"}, f"{P}authorization_valid_after"),
        ({"signer": STRANGER}, f"{P}signature"),
        ({"from": STRANGER.address}, f"{P}signature"),
    ],
)
def test_what_the_payer_signed_is_held_against_the_offer(box, buyer, version, change, code, refused):
    change = {
        key: str(box.ground.chain.now() + int(value)) if str(value)[:1] in "+-" else value for key, value in change.items()
    }
    ending = "_mismatch" if code.endswith("_value") and version == 2 else ""
    assert refused(box, buyer.request(version, **change)) == code + ending


def test_six_seconds_of_validity_are_enough(box, buyer):
    body = buyer.request(validBefore=str(box.ground.chain.now() + 7))
    assert box.facilitator.verify_json(body)["isValid"]


@pytest.mark.parametrize(
    "field, value",
    [("name", "USD Coin"), ("version", "1"), ("chain_id", 8453), ("token", "0x" + "12" * 20)],
)
def test_a_signature_over_another_domain_is_refused(box, buyer, tools, field, value, refused):
    assert refused(box, buyer.request(separator=tools.domain(**{field: value}))) == f"{P}signature"


@pytest.mark.parametrize("field, lie, code", [("name", "USD Coin", "name"), ("version", "1", "version")])
def test_a_seller_who_names_another_domain_is_told(box, buyer, tools, field, lie, code, refused):
    extra = {"name": "USDC", "version": "2"} | {field: lie}
    body = buyer.request(requirement=buyer.requirement(extra=extra), separator=tools.domain(**extra))
    assert refused(box, body) == f"{E}token_{code}_mismatch"


@versions
@pytest.mark.parametrize(
    "change, code",
    [
        ({"scheme": "upto"}, "unsupported_scheme"),
        ({"network": "eip155:8453"}, "network_mismatch"),
        ({"asset": "0x" + "12" * 20}, "asset_not_deployed_contract"),
        ({"extra": {}}, "missing_eip712_domain"),
        ({"extra": None}, "missing_eip712_domain"),
        ({"amount": "ten", "maxAmountRequired": "ten"}, "invalid_payment_requirements"),
    ],
)
def test_a_wrong_requirement_is_refused(box, buyer, version, change, code, refused):
    body = buyer.request(version)
    body["paymentRequirements"] = body["paymentRequirements"] | change
    assert refused(box, body) == code


@versions
def test_another_network_is_refused_though_both_sides_name_it(box, buyer, version, refused):
    network = {1: "base", 2: "eip155:8453"}[version]
    body = buyer.request(version, requirement=buyer.requirement(version, network=network))
    if version == 1:
        body["paymentPayload"]["network"] = network
    assert refused(box, body) == "invalid_network"


def test_an_empty_purse_is_refused(box, buyer, refused):
    body = buyer.request(requirement=buyer.requirement(amount="100000001"), value="100000001")
    assert refused(box, body) == f"{E}insufficient_balance"


def test_a_payer_whose_account_is_frozen_fails_the_rehearsal(box, buyer, refused):
    payer = bytes.fromhex(box.payer_address[2:])
    assert box.ground.token.send(box.ground.operator, "blacklist(address)", payer.rjust(32, b"\0")).status
    assert refused(box, buyer.request()) == f"{E}transaction_simulation_failed"


def test_a_long_signature_of_a_plain_account_is_an_undeployed_wallet(box, buyer, refused):
    body = buyer.request()
    body["paymentPayload"]["payload"]["signature"] = "0x" + "ab" * 100
    assert refused(box, body) == f"{P}undeployed_smart_wallet"


@pytest.mark.parametrize(
    "code, good",
    [("631626ba7e60e01b5f5260205ff3", True), ("5f5f5260205ff3", False), ("631626ba7e60e01b5f5260205ffd", False)],
)  # the last reverts with the magic
def test_a_contract_wallet_signs_in_its_own_way(both, buyer_of, code, good, refused):
    wallet = "0x" + "77" * 20
    both.ground.chain.install(bytes.fromhex("77" * 20), bytes.fromhex(code))
    both.fund(wallet, 10000)
    body = buyer_of(both).request(from_=wallet)
    body["paymentPayload"]["payload"]["signature"] = "0x" + "ab" * 100
    if good:
        assert both.facilitator.settle_json(body)["success"]
        assert both.balance(wallet) == 0
    else:
        assert refused(both, body) == f"{P}signature"


@pytest.mark.parametrize(
    "field, value",
    [
        ("value", "-1"),
        ("value", "1e4"),
        ("value", "١٠٠٠٠"),
        ("value", True),
        ("value", None),
        ("value", str(1 << 256)),
        ("nonce", "0x1234"),
        ("nonce", 5),
        ("from", "somebody"),
        ("to", "0x12"),
        ("validBefore", []),
    ],
)
def test_malformed_fields_are_an_invalid_payload(box, buyer, field, value, refused):
    body = buyer.request()
    body["paymentPayload"]["payload"]["authorization"][field] = value
    assert refused(box, body) == "invalid_payload"


def test_numbers_may_be_numbers(box, buyer):
    body = buyer.request()
    fields = body["paymentPayload"]["payload"]["authorization"]
    fields |= {name: int(fields[name]) for name in ("value", "validAfter", "validBefore")}
    assert box.facilitator.verify_json(body)["isValid"]


@pytest.mark.parametrize("signature", [None, 5, "ab" * 65, "0xabc", "0xzz"])
def test_a_signature_is_hex(box, buyer, signature, refused):
    body = buyer.request()
    body["paymentPayload"]["payload"]["signature"] = signature
    assert refused(box, body) == "invalid_payload"


@pytest.mark.parametrize(
    "requirement, network",
    [({"network": "eip155:1"}, "eip155:1"), ({"network": 5}, "eip155:84532"), (5, "eip155:84532")],
)
def test_a_refused_settlement_says_where_and_why(box, requirement, network):
    answer = {"success": False, "errorReason": "invalid_payload", "transaction": "", "network": network}
    found = box.facilitator.settle_json({"paymentPayload": 5, "paymentRequirements": requirement})
    assert found == answer | {"errorMessage": "paymentPayload is not an object"}
    words = {"errorMessage": "the body is not a JSON object", "network": "eip155:84532"}
    assert box.facilitator.settle_json("{}") == answer | words


@pytest.mark.parametrize(
    "body, code",
    [
        (None, "invalid_payload"),
        ([], "invalid_payload"),
        ({}, "invalid_payload"),
        ({"paymentPayload": {}}, "invalid_payment_requirements"),
        ({"paymentPayload": {}, "paymentRequirements": {}}, "invalid_x402_version"),
        ({"paymentPayload": {}, "paymentRequirements": {}, "x402Version": 3}, "invalid_x402_version"),
        ({"paymentPayload": {}, "paymentRequirements": {}, "x402Version": True}, "invalid_x402_version"),
        ({"paymentPayload": {"x402Version": 1}, "paymentRequirements": {}, "x402Version": 2}, "invalid_x402_version"),
        ({"paymentPayload": {}, "paymentRequirements": {}, "x402Version": 2}, "invalid_payload"),
        ({"paymentPayload": {"payload": {}}, "paymentRequirements": {}, "x402Version": 2}, "invalid_payload"),
    ],
)
def test_malformed_requests_are_answered_not_raised(box, body, code, refused):
    assert refused(box, body) == code


def test_over_http_refusals_are_200_and_garbage_is_400(shop, buyer):
    good, bad = buyer.request(), buyer.request(value="1")
    assert shop.post("/facilitator/verify", json=good).json() == {"isValid": True, "payer": shop.box.payer_address}
    answer = shop.post("/facilitator/verify", json=bad)
    assert answer.status_code == 200
    assert answer.json() == {
        "isValid": False,
        "invalidReason": f"{P}authorization_value_mismatch",
        "payer": shop.box.payer_address,
    }
    answer = shop.post("/facilitator/settle", json=bad)
    assert answer.status_code == 200
    assert answer.json() == {
        "success": False,
        "errorReason": f"{P}authorization_value_mismatch",
        "payer": shop.box.payer_address,
        "transaction": "",
        "network": "eip155:84532",
    }
    assert shop.post("/facilitator/settle", json=good).json()["success"] is True
    assert shop.post("/facilitator/settle", content=b"{").status_code == 400


def test_supported_lists_a_row_per_version(shop):
    assert shop.get("/facilitator/supported").json() == {
        "kinds": [
            {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
            {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
            {
                "x402Version": 2,
                "scheme": "upto",
                "network": "eip155:84532",
                "extra": {"facilitatorAddress": shop.box.facilitator_address},
            },
        ],
        "extensions": ["payment-identifier"],
        "signers": {"eip155:*": [shop.box.facilitator_address]},
    }
