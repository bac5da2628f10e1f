"""What is signed on TRON: equal to eth_account's typed data, in x402's own shape, and nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x402_agent import assets
from x402_agent.chains.tron import addresses, permit, permit2
from x402_agent.chains.tron.addresses import address, evm_form
from x402_agent.chains.tron.chain import authorization
from x402_agent.errors import SigningFailed
from x402_agent.model import Terms
from x402_agent.primitives import recover

NOW = 1_800_000_000
NONCE = bytes(range(32))
FEE_TO = "TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"
NETWORKS = [each.id for each in assets.networks() if each.namespace == "tron"]
WAYS = [permit.METHOD, permit2.METHOD]
PERMIT = {
    "PermitMeta": "uint8 kind,bytes16 paymentId,uint256 nonce,uint256 validAfter,uint256 validBefore",
    "Payment": "address payToken,uint256 payAmount,address payTo",
    "Fee": "address feeTo,uint256 feeAmount",
    "PaymentPermitDetails": "PermitMeta meta,address buyer,address caller,Payment payment,Fee fee",
}
PERMIT2 = {
    "TokenPermissions": "address token,uint256 amount",
    "Witness": "address to,uint256 validAfter",
    "PermitWitnessTransferFrom": "TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness",
}


def terms_of(tron, offer, signer, **changes):
    made = tron.terms(offer, signer.address("tron"), now=NOW, nonce=NONCE, max_lifetime=600)
    return dataclasses.replace(made, **changes)


def in_hex(value):
    if isinstance(value, dict):
        return {key: in_hex(each) for key, each in value.items()}
    return evm_form(value) if isinstance(value, str) and value.startswith("T") else value


def typed(oracle, payload, network, contract):
    """The digest that eth_account makes of a payload as a facilitator reads it."""
    from eth_account.messages import _hash_eip191_message, encode_typed_data

    message = in_hex(payload.get("paymentPermit") or payload["permit2Authorization"])
    if "meta" in message:
        message["meta"] |= {"kind": 0, "paymentId": bytes.fromhex(message["meta"]["paymentId"][2:])}
    types = PERMIT if "meta" in message else PERMIT2
    full = {
        "types": {
            "EIP712Domain": [{"type": "string", "name": "name"}, {"type": "uint256", "name": "chainId"},
                             {"type": "address", "name": "verifyingContract"}],
            **{name: [dict(zip(("type", "name"), each.split(" "), strict=True)) for each in text.split(",")]
               for name, text in types.items()},
        },
        "primaryType": list(types)[-1],
        "domain": {"name": "PaymentPermit" if "meta" in message else "Permit2", "chainId": int(network[5:], 16),
                   "verifyingContract": evm_form(contract)},
        "message": _numbers(message),
    }  # fmt: skip
    return bytes(_hash_eip191_message(encode_typed_data(full_message=full)))


def _numbers(value):
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    return int(value) if isinstance(value, str) and value.isdigit() else value


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("way", WAYS)
def test_the_proof_is_what_a_facilitator_verifies(way, network, tron, offer, signer, oracle):
    made = offer(network, way)
    assert tron.refuses(made, signer.address("tron")) == ""
    terms = terms_of(tron, made, signer)
    proof = tron.prove(made, terms, signer)
    contracts = permit.CONTRACTS if way == permit.METHOD else permit2.CONTRACTS
    digest = typed(oracle, proof.payload, network, contracts[network])
    who = recover(digest, bytes.fromhex(proof.payload["signature"][2:]))
    assert who.lower() == evm_form(signer.address("tron"))
    assert proof.expires == NOW + 600 and proof.nonce == "0x" + NONCE.hex()
    assert tron.prove(made, terms, signer) == proof  # the same hold, the same bytes
    assert tron.spender(made) == contracts[network]


def test_the_permit_as_it_travels(tron, offer, signer):
    made = offer()
    found = tron.prove(made, terms_of(tron, made, signer), signer).payload["paymentPermit"]
    assert found == {
        "meta": {"kind": "PAYMENT_ONLY", "paymentId": "0x9c9be2770121075aedc9cf7625621db7",
                 "nonce": str(int.from_bytes(NONCE)), "validAfter": NOW - 600, "validBefore": NOW + 600},
        "buyer": signer.address("tron"), "caller": FEE_TO,
        "payment": {"payToken": "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf", "payAmount": "1000",
                    "payTo": "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"},
        "fee": {"feeTo": FEE_TO, "feeAmount": "100"},
    }  # fmt: skip


def test_without_a_fee_anybody_may_settle(tron, offer, signer):
    made = offer(facilitator="", fee_cap=0, details=json.dumps({"feeTo": addresses.ZERO, "paymentId": "0x" + "1" * 32}))
    assert tron.refuses(made, signer.address("tron")) == ""
    found = tron.prove(made, terms_of(tron, made, signer), signer).payload["paymentPermit"]
    assert found["caller"] == addresses.ZERO and found["fee"] == {"feeTo": addresses.ZERO, "feeAmount": "0"}


def test_what_budgets_count_is_amount_and_fee(offer):
    assert offer().money.amount == 1100


BAD = {
    "A1-another-token": lambda make: make(asset=dataclasses.replace(make().asset, address="TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs")),
    "A1-decimals": lambda make: make(asset=dataclasses.replace(make().asset, decimals=2)),
    "A7-eip3009": lambda make: make(method="", scheme="exact", details="", fee_cap=0, facilitator=""),
    "A7-upto": lambda make: make(method="permit2", scheme="upto"),
    "A7-exact-by-permit": lambda make: make(scheme="exact"),
    "A7-permit-by-permit2": lambda make: make(method="permit2", scheme="exact_permit"),
    "P2-zero": lambda make: make(amount=0),
    "P2-huge": lambda make: make(amount=1 << 256),
    "P2-fee": lambda make: make(fee_cap=-1),
    "P2-together": lambda make: make(amount=(1 << 256) - 1, fee_cap=1),
    "R1-zero": lambda make: make(pay_to=addresses.ZERO),
    "R1-precompile": lambda make: make(pay_to=address((0x1000005).to_bytes(20))),
    "R1-token": lambda make: make(pay_to=make().asset.address),
    "R1-permit": lambda make: make(pay_to=permit.CONTRACTS[NETWORKS[0]]),
    "R1-proxy": lambda make: make(pay_to=permit2.PROXIES[make().network.id]),
    "R1-ourselves": lambda make: make(pay_to="TA8xUH6Y51eEuj6Bxq6kFvEv5adW2iLkv8"),
    "R2-short": lambda make: make(pay_to="TJRabPrwbZy45sbavfcjinPJC18kjpRTv"),
    "R2-checksum": lambda make: make(pay_to="TJRabPrwbZy45sbavfcjinPJC18kjpRTv9"),
    "R2-evm": lambda make: make(pay_to="0x209693Bc6afc0C5328bA36FaF03C514EF312287C"),
    "R1-fee-burnt": lambda make: make(details=make().details.replace(FEE_TO, addresses.ZERO)),
    "R1-fee-to-token": lambda make: make(details=make().details.replace(FEE_TO, make().asset.address)),
    "R2-fee": lambda make: make(details=make().details.replace(FEE_TO, FEE_TO[:-1] + "R")),
    "R2-caller": lambda make: make(facilitator=FEE_TO[:-1] + "R"),
    "details-none": lambda make: make(details=""),
    "details-no-id": lambda make: make(details=json.dumps({"feeTo": FEE_TO, "paymentId": "0x12"})),
    "details-list": lambda make: make(details="[]"),
    "P17-permit2-with-a-fee": lambda make: make(method="permit2", fee_cap=5),
    "permit2-with-a-facilitator": lambda make: make(method="permit2", facilitator=FEE_TO),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_is_not_signed(name, tron, offer, signer):
    own = signer.address("tron")
    bad = BAD[name](offer)
    if name == "R1-ourselves":
        bad = dataclasses.replace(bad, pay_to=own)
    reason = tron.refuses(bad, own)
    row = name.partition("-")[0] if name[1].isdigit() else ""
    assert reason and row in reason
    with pytest.raises(SigningFailed, match="nothing was signed"):
        tron.prove(bad, Terms(own, "0x" + NONCE.hex(), NOW, NOW + 60), signer)


@pytest.mark.parametrize("payer", ["", "0x" + "11" * 20, "TJRabPrwbZy45sbavfcjinPJC18kjpRTv9"])
def test_an_account_that_is_none(payer, tron, offer):
    assert "our own account" in tron.refuses(offer(), payer)


@pytest.mark.parametrize("lifetime, most, seconds", [(10, 600, 10), (10**6, 600, 600), (10**6, 10**6, 3600)])
def test_D5_the_window_is_ours(lifetime, most, seconds, tron, offer, signer):
    made = tron.terms(offer(lifetime=lifetime), signer.address("tron"), now=NOW, nonce=NONCE, max_lifetime=most)
    assert (made.valid_after, made.valid_before) == (NOW - 600, NOW + seconds)


@pytest.mark.parametrize("changes", [{"nonce": b"short"}, {"max_lifetime": 0}, {"now": 0}])
def test_D6_no_terms_without_nonce_and_lifetime(changes, tron, offer, signer):
    with pytest.raises(SigningFailed):
        tron.terms(offer(), signer.address("tron"), **{"now": NOW, "nonce": NONCE, "max_lifetime": 600, **changes})


@pytest.mark.parametrize("changes", [{"valid_before": NOW + 3601}, {"valid_before": NOW - 600}, {"nonce": "0x12"}])
def test_D5_odd_terms_are_not_signed(changes, tron, offer, signer):
    made = offer()
    with pytest.raises(SigningFailed):
        tron.prove(made, terms_of(tron, made, signer, **changes), signer)


def test_a_signer_that_answers_oddly(tron, offer, signer):
    class Odd:
        def sign_digest(self, namespace, digest):
            return bytes(65)

    made = offer()
    with pytest.raises(SigningFailed, match="r, s, v"):
        tron.prove(made, terms_of(tron, made, signer), Odd())


def test_no_node_is_asked_before_signing(tron, offer, signer):
    with pytest.raises(StopIteration) as done:
        next(tron.prepare(offer(), signer.address("tron"), "", None))
    assert done.value.value.number == -1
    with pytest.raises(StopIteration):
        next(tron.charged(offer(), None, "", ""))


accounts = st.binary(min_size=20, max_size=20).filter(lambda raw: any(raw[:16])).map(address)


@given(st.integers(1, 1 << 200), st.integers(0, 1 << 200), accounts, accounts, st.binary(min_size=32, max_size=32))
def test_every_word_that_is_signed_changes_the_signature(amount, fee, pay_to, fee_to, nonce):
    """Amount, fee, payee, the fee's recipient and nonce are each bound."""
    asset = next(each for each in assets.assets() if each.network.id == NETWORKS[0])
    from x402_agent.model import Offer

    def digest(**changes):
        what = {"amount": amount, "fee_cap": fee, "pay_to": pay_to, "to": fee_to, "nonce": nonce, **changes}
        made = Offer(
            "x402", "exact_permit", asset, what["amount"], what["pay_to"], 60, fee_cap=what["fee_cap"], method=permit.METHOD,
            details=json.dumps({"feeTo": what["to"], "paymentId": "0x" + "2" * 32}),
        )  # fmt: skip
        return authorization(made, Terms(FEE_TO, "0x" + what["nonce"].hex(), 1, 2))[2]

    other = {"amount": amount + 1, "fee_cap": fee + 1, "pay_to": FEE_TO, "to": FEE_TO, "nonce": bytes(32 - 1) + b"\7"}
    found = {digest(), *(digest(**{name: value}) for name, value in other.items())}
    assert len(found) == 6 or nonce == other["nonce"]
