"""The door of Stacks: what it refuses, what it asks a node, and that what it signs settles on the double."""

from __future__ import annotations

import pytest

from x402_agent import assets
from x402_agent.chains.stacks import ALLOW, DENY, Call, PostCondition, Spending, Stacks, Transfer, read
from x402_agent.chains.stacks.ready import CEILING
from x402_agent.encodings import c32_address
from x402_agent.errors import NoAcceptableOffer, NodeError, SettingsError, SigningFailed
from x402_agent.model import FOREVER, Anchor, ChainRules, Terms
from x402_agent.sandbox.stacks.accounts import Account

SELLER = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
NODE = "https://node.example/key-needle"
SBTC = "ST1F7QA2MDF17S807EPA36TSS8AMEFY4KA9TVGWXT.sbtc-token"
MAINNET = assets.network("stacks")


def sent(proof):
    (raw,) = proof.payload.values()
    return read(bytes.fromhex(raw))


@pytest.mark.proves("stacks", "exact", "fate")
@pytest.mark.parametrize("symbol", ["STX", "sBTC", "USDCx"])
def test_what_is_signed_settles_and_is_found_again(ground, offer, symbol):
    wanted = offer(symbol)
    terms, proof = ground.proved(wanted)
    made = sent(proof)
    made.verify()
    assert (terms.valid_before, proof.expires, made.txid) == (FOREVER, FOREVER, "0x" + proof.txid)
    assert made.mode == DENY and made.sender == ground.account and made.testnet
    assert len(made.post_conditions) == (0 if symbol == "STX" else 1)
    assert ground.fate(wanted, terms) == "unknown"
    ground.chain.submit(made.wire())
    assert ground.fate(wanted, terms) == "settled"
    assert ground.chain.entry(made.txid).moves[0].recipient == SELLER
    assert ground.proved(wanted, terms.anchor)[1].payload == proof.payload  # the same hold gives the same bytes


def test_D15_a_token_moves_under_deny_and_one_exact_post_condition(ground, offer):
    made = sent(ground.proved(offer("sBTC", 77))[1])
    assert made.wire()[5 + 104 + 1] == 2  # mode Deny, SIP-005
    assert made.post_conditions == (PostCondition("", "eq", 77, f"{SBTC}::sbtc-token"),)
    call = made.does
    assert isinstance(call, Call) and (call.contract, call.function) == (SBTC, "transfer")
    assert [each.value for each in call.arguments[:3]] == [77, ground.account, SELLER]


def test_a_transfer_of_stx_carries_no_post_condition_and_our_memo(ground, offer):
    made = sent(ground.proved(offer("STX", 5))[1])
    assert isinstance(made.does, Transfer) and len(made.wire()) == 180 and made.wire()[110] != ALLOW
    assert made.does.memo == b"x402:BwcHBwcHBwcHBwcHBwcHBwcH" and len(made.does.memo) == 29


@pytest.mark.parametrize("symbol", ["STX", "sBTC"])
def test_the_sellers_nonce_binds_the_memo(ground, offer, symbol):
    does = sent(ground.proved(offer(symbol, details='{"memo":"89cf1c66e2a00b1e284b1d813a56227f"}'))[1]).does
    memo = does.memo if symbol == "STX" else does.arguments[3].value.value
    assert memo == b"89cf1c66e2a00b1e284b1d813a56227f"


@pytest.mark.proves("stacks", "sponsored", "fate")
def test_a_sponsor_pays_the_fee_and_still_it_is_found(ground, offer):
    wanted = offer("sBTC", 9, details='{"sponsored":true}')
    terms, proof = ground.proved(wanted)
    made = sent(proof)
    assert terms.anchor == Anchor("fee=0", 0, most=24) and made.sponsor is not None and made.origin.fee == 0
    assert not any("fees" in each for each in ground.asked)
    sponsor = Account(b"\x22" * 32)
    ground.chain.endow("STX", sponsor.address, 10_000_000)
    paid = sponsor.sponsor(made, 0, 3000)
    paid.verify()
    assert paid.txid != made.txid
    ground.chain.submit(paid.wire())
    assert ground.fate(wanted, terms) == "settled"


def test_the_draft_has_its_own_field(ground, offer):
    assert list(ground.proved(offer(details='{"field":"signedTransaction"}'))[1].payload) == ["signedTransaction"]


REFUSED = {
    "A1 a look-alike": {"asset": assets.Asset("stacks:2147483648/sip010:X.sbtc-token", assets.network("stacks-testnet"), SBTC, "sBTC", 8)},
    "P2 2**64": {"amount": 1 << 64},
    "P8 zero": {"amount": 0},
    "A7 upto": {"scheme": "upto"},
    "A7 permit2": {"method": "permit2"},
    "R2 mainnet's address": {"pay_to": "SP2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4DQ8NBJJ"},
    "R2 wrong checksum": {"pay_to": SELLER[:-1] + "H"},
    "R2 lower case": {"pay_to": SELLER.lower()},
    "R2 bitcoin's version": {"pay_to": c32_address(0, b"\1" * 20)},
    "R2 an EVM address": {"pay_to": "0x" + "1" * 40},
    "R1 the token": {"pay_to": SBTC},
    "R1 a contract": {"pay_to": f"{SELLER}.vault"},
    "R1 nobody's": {"pay_to": c32_address(26, bytes(20))},
    "R1 a key of zeros": {"pay_to": c32_address(26, bytes.fromhex("29cfc6376255a78451eeb4b129ed8eacffa2feef"))},
}


@pytest.mark.parametrize("row", REFUSED)
def test_refused_before_anything_is_signed(ground, offer, row):
    from dataclasses import replace

    fine = offer("sBTC")
    assert ground.door.refuses(fine, ground.payer) == ""
    bad = replace(fine, **REFUSED[row])
    assert ground.door.refuses(bad, ground.payer)
    terms = Terms(ground.payer, "0x" + "07" * 32, 0, FOREVER, Anchor("fee=400", 0))
    with pytest.raises(SigningFailed, match="nothing was signed"):
        ground.door.prove(bad, terms, ground.signer)


def test_R1_we_do_not_pay_ourselves_by_either_address(ground, offer):
    assert "our own account" in ground.door.refuses(offer(pay_to=ground.account), ground.payer)
    assert "our own account" in ground.door.refuses(offer(network=MAINNET, pay_to=ground.payer), ground.payer)


def test_a_multisig_payee_of_either_network_is_an_account(ground, offer):
    assert ground.door.refuses(offer(pay_to=c32_address(21, b"\5" * 20)), ground.payer) == ""
    assert ground.door.refuses(offer(network=MAINNET, pay_to=c32_address(20, b"\5" * 20)), ground.payer) == ""
    assert ground.door.refuses(offer(network=MAINNET, pay_to=c32_address(21, b"\5" * 20)), ground.payer)


def test_the_fee_is_the_estimate_floored_and_capped(ground, offer):
    assert ground.prepared(offer()) == Anchor(f"fee={180 * 4}", 0, 180 * 4, 24)
    ground.told["/v2/fees/transaction"] = b'{"estimations":[{"fee":1},{"fee":3},{"fee":9}]}'
    assert ground.prepared(offer()).text == "fee=180"
    ground.told["/v2/fees/transaction"] = b'{"estimations":[{"fee":1},{"fee":99999999999},{"fee":9}]}'
    assert ground.prepared(offer()).text == f"fee={CEILING}"
    assert ground.prepared(offer(), rules=ChainRules(fees={"stacks": 200})).text == "fee=200"
    with pytest.raises(NoAcceptableOffer, match="180 microSTX at least"):
        ground.prepared(offer(), rules=ChainRules(fees={"stacks": 179}))
    del ground.told["/v2/fees/transaction"]
    ground.api.estimates = False
    assert ground.prepared(offer()).text == "fee=180"
    ground.told["/v2/fees/transfer"] = b"3"
    assert ground.prepared(offer()).text == "fee=540"
    ground.told["/v2/fees/transfer"] = (500, {}, b"")
    assert ground.prepared(offer()).text == "fee=180"


def test_the_size_that_is_paid_for_is_the_size_that_is_sent(ground, offer):
    ground.api.estimates = False
    for wanted in (offer("STX"), offer("sBTC"), offer("USDCx", details='{"memo":"a"}')):
        terms, proof = ground.proved(wanted)
        assert terms.anchor.text == f"fee={len(sent(proof).wire())}"


def test_the_account_nonce_follows_blocks_and_mempool_and_fills_gaps(ground, offer):
    ground.chain.submit(sent(ground.proved(offer())[1]).wire())
    assert ground.prepared(offer()).number == 1
    ground.chain.automatic = False
    ground.chain.submit(sent(ground.proved(offer(), nonce=b"\2" * 32)[1]).wire())
    assert ground.prepared(offer())[1::2] == (2, 25), "one is spent: 25 more may wait"
    path = f"/extended/v1/address/{ground.account}/nonces"
    ground.told[path] = b'{"possible_next_nonce":9,"detected_missing_nonces":[7,5]}'
    assert ground.prepared(offer())[1::2] == (5, -1), "no word of how many are spent, so no bound"
    ground.told[path] = (404, {}, b"")  # a node without Hiro's API beside it
    assert ground.prepared(offer()).number == 1


@pytest.mark.parametrize("told", [b"[]", b"{}", b'{"possible_next_nonce":-1}', b'{"possible_next_nonce":true}', b"x", b"[" * 9999,
                                  b'{"possible_next_nonce":1,"detected_missing_nonces":["x"]}'])  # fmt: skip
def test_a_node_that_babbles_is_no_node(ground, offer, told):
    ground.told[f"/extended/v1/address/{ground.account}/nonces"] = told
    ground.told[f"/v2/accounts/{ground.account}"] = told
    with pytest.raises(NodeError) as caught:
        ground.prepared(offer())
    assert "needle" not in str(caught.value)


def test_C3_a_node_of_another_chain_is_not_believed(ground, offer):
    ground.told["/v2/info"] = b'{"network_id":1}'
    with pytest.raises(NodeError, match="another chain"):
        ground.prepared(offer())
    ground.told = {("node.example", "/v2/info"): b'{"network_id":1}'}
    assert ground.prepared(offer(), f"{NODE}|https://other.example").number == 0


def test_a_node_must_be_set(ground, offer):
    with pytest.raises(NoAcceptableOffer) as caught:
        ground.prepared(offer(), "")
    assert "stacks-testnet=https" in caught.value.hint
    with pytest.raises(SettingsError):
        ground.prepared(offer(), "http://node.example")


def test_money_that_is_not_there_is_seen_before_signing(ground, offer):
    with pytest.raises(NoAcceptableOffer, match="has 10000000 microSTX"):
        ground.prepared(offer(amount=9_999_999))
    with pytest.raises(NoAcceptableOffer, match=r"not 0\.02"):
        ground.prepared(offer("sBTC", 2_000_000))
    ground.told[f"/extended/v1/address/{ground.account}/balances"] = (500, {}, b"")  # nobody says it: the chain will
    assert ground.prepared(offer("sBTC", 2_000_000)).number == 0


def test_a_proof_needs_terms_of_its_own(ground, offer):
    for anchor in (Anchor(), Anchor("fee=1", -1), Anchor("fee=-1", 0), Anchor("fee=1;x", 0)):
        with pytest.raises(SigningFailed, match="no fee and account nonce"):
            ground.proved(offer(), anchor)
    with pytest.raises(SigningFailed, match="32 bytes"):
        ground.proved(offer(), Anchor("fee=180", 0), b"1")
    for details in ('{"memo":1}', '{"memo":"' + "m" * 35 + '"}', "[]", '{"field":"x"}', '{"sponsored":1}', '{"more":1}', "x"):
        with pytest.raises(SigningFailed, match="details"):
            ground.proved(offer(details=details), Anchor("fee=180", 0))


class OddSigner:
    def __init__(self, answer):
        self.answer = answer

    def sign_digest(self, namespace, digest):
        assert namespace == "stacks" and len(digest) == 32
        return self.answer


@pytest.mark.parametrize("answer", [b"", bytes(65), bytes(64) + b"\x1b" + b"\0", bytes(32) + b"\xff" * 32 + b"\x1b"])
def test_a_signer_that_answers_oddly_signs_nothing(ground, offer, answer):
    terms = ground.proved(offer())[0]
    with pytest.raises(SigningFailed, match="low s"):
        Stacks().prove(offer(), terms, OddSigner(answer))


def test_the_key_is_named_by_the_mainnet_and_signs_for_both(ground, offer):
    wanted = offer(network=MAINNET, pay_to="SP2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4DQ8NBJJ"[:0] + c32_address(22, b"\3" * 20))
    made = sent(ground.proved(wanted, Anchor("fee=200", 4))[1])
    assert made.sender == ground.payer and not made.testnet and made.origin.nonce == 4
    assert isinstance(made.origin, Spending)


def test_C19_a_key_in_the_url_travels_in_its_header_alone():
    from x402_agent.chains.stacks.api import Node

    asked = Node(MAINNET, "https://needle@api.hiro.so/base?x=1").question(
        Node(MAINNET, "https://needle@api.hiro.so/base?x=1").urls[0], "GET /v2/accounts/SP?proof=0", (), 2, 99
    )
    assert asked.url == "https://api.hiro.so/base/v2/accounts/SP?x=1&proof=0"
    assert dict(asked.headers)["x-api-key"] == "needle" and "needle" not in repr(asked)


def test_balances_by_the_node(ground, offer):
    has = lambda symbol: ground.drive(ground.door.balance(offer(symbol).asset, ground.payer, NODE))  # noqa: E731
    assert (has("STX"), has("sBTC"), has("USDCx")) == (10_000_000, 1_000_000, 1_000_000)
    ground.told[f"/extended/v1/address/{ground.account}/balances"] = (404, {}, b"")
    with pytest.raises(NodeError, match="tells no balances"):
        has("STX")
