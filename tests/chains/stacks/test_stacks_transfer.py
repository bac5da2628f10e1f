"""A transaction of our own as a payment: which bytes, which of them a chain takes, and what became of it, by nodes honest or not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from x402_agent.chains.stacks import DENY, Call, PostCondition, Transfer, read, transfer
from x402_agent.chains.stacks.api import Node
from x402_agent.chains.stacks.fate import BURIED
from x402_agent.encodings import c32_address
from x402_agent.errors import NoAcceptableOffer, NodeError, PaymentInDoubt, SigningFailed
from x402_agent.model import FOREVER, Anchor, ChainRules, Terms
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.sandbox.stacks.contracts import revenue_split, sip010

NODE = "https://node.example/key-needle"
TWO = f"{NODE}|https://other.example"
MAKER, OWNER = Account(b"\x41" * 32).address, Account(b"\x42" * 32).address
SPLIT = f"{OWNER}.revenue-split"
PAY = {"function": "pay-for-content", "arguments": [["ascii", "song"], ["uint", "1000"], ["ascii", "STX"], ["nonce"]]}


@pytest.fixture
def first(offer):
    def make(symbol="STX", amount=1000, **fields):
        made = offer(symbol, amount, **fields)
        return replace(made, scheme="transfer", method="transfer")

    return make


@pytest.fixture
def song(ground, first):
    """A contract that sells a song for 1000 microSTX, and the offer for it."""
    ground.chain.deploy(revenue_split(SPLIT, OWNER, four=True))
    maker = Account(b"\x41" * 32)
    ground.chain.endow("STX", MAKER, 1_000_000)
    call = Call(SPLIT, "register-content", tuple(_values(("ascii", "song"), ("uint", 1000))))
    ground.chain.submit(maker.sign(call, 0, 2000).wire())
    return lambda amount=1000, **more: first(amount=amount, pay_to=SPLIT, details=json.dumps(PAY | more))


def _values(*parts):
    from x402_agent.chains.stacks import Value

    return [Value(*part) for part in parts]


def bytes_of(proof):
    return bytes.fromhex(proof.payload["raw"])


def send(ground, offer, terms, proof, node=NODE):
    return ground.drive(ground.door.broadcast(offer, terms, proof, node))


@pytest.mark.parametrize("symbol", ["STX", "sBTC"])
def test_the_same_terms_give_the_same_bytes_and_the_node_gets_them_until_the_money_is_seen(ground, first, symbol):
    wanted = first(symbol)
    terms, proof = ground.proved(wanted)
    made = read(bytes_of(proof))
    made.verify()
    assert proof.payload == {"transaction": made.txid, "raw": made.wire().hex()} and proof.txid == made.txid[2:]
    assert (made.mode, proof.expires, terms.valid_before) == (DENY, FOREVER, FOREVER) and proof.payload["raw"] not in repr(proof)
    assert ground.fate(wanted, terms) == "unknown"
    send(ground, wanted, terms, proof)
    assert ground.fate(wanted, replace(terms, proved=proof.txid)) == ground.fate(wanted, terms) == "settled"
    assert len(ground.chain.entry(made.txid).moves) == 1
    send(ground, wanted, terms, proof)  # again it only looks
    assert ground.proved(wanted, terms.anchor)[1].payload == proof.payload
    assert [state for state, _ in ground.told_us] == ["SEEN", "MINED", "MINED"]
    assert ground.sent == [json.dumps({"tx": proof.payload["raw"]}, separators=(",", ":")).encode()]


def test_it_waits_in_the_mempool_and_the_very_same_bytes_go_out_again(ground, first):
    ground.chain.automatic = False
    terms, proof = ground.proved(first())
    ground.meanwhile = lambda: ground.chain.mine() if ground.slept > 40 else None
    send(ground, first(), terms, proof)
    assert 40 < ground.slept < 60 and len(set(ground.sent)) == 1 and len(ground.sent) == 3


def test_dropped_is_not_dead_and_goes_out_again(ground, first):
    ground.chain.automatic = False
    terms, proof = ground.proved(first())

    def meanwhile():
        if ground.slept > 60:
            ground.chain.mine()
        elif ground.slept < 20 and ground.chain.waiting(ground.account):
            ground.chain.drop("0x" + proof.txid)
            assert ground.fate(first(), replace(terms, proved=proof.txid)) == "unknown"  # b11

    ground.meanwhile = meanwhile
    send(ground, first(), terms, proof)
    assert ground.fate(first(), terms) == "settled" and len(set(ground.sent)) == 1 < len(ground.sent)


def test_one_that_no_block_takes_is_in_doubt_and_says_what_the_node_says(ground, first):
    ground.chain.automatic = False
    terms, proof = ground.proved(first())
    ground.meanwhile = lambda: ground.chain.drop("0x" + proof.txid) if ground.chain.waiting(ground.account) else None
    with pytest.raises(PaymentInDoubt) as caught:
        send(ground, first(), terms, proof)
    assert "dropped_stale_garbage_collect" in caught.value.what and "never others" in caught.value.rule
    ground.told["/v2/transactions"] = (400, {}, b'{"error":"transaction rejected","reason":"FeeTooLow\\u001b[2J","txid":""}')
    with pytest.raises(PaymentInDoubt, match="HTTP 400: FeeTooLow") as caught:
        send(ground, first(), terms, proof)
    assert "\x1b" not in caught.value.what and "needle" not in caught.value.what


def test_as_deep_as_the_networks_row_wants(ground, first):
    wanted = first()
    deep = replace(wanted, asset=replace(wanted.asset, network=replace(wanted.network, confirmations=3)))
    terms, proof = ground.proved(wanted)
    tops = []

    def meanwhile():
        tops.append(ground.chain.head().height - ground.chain.entry(proof.txid).block.height + 1)
        ground.grow(1)

    ground.meanwhile = meanwhile
    send(ground, deep, terms, proof)
    assert max(tops) == 2 and [state for state, _ in ground.told_us] == ["SEEN", "MINED"]


def test_aborted_is_told_at_once_and_frees_nothing_before_all_nodes_show_it_buried(ground, first):
    wanted = first("sBTC", 500)
    terms, proof = ground.proved(wanted)
    token = f"{wanted.asset.address}::sbtc-token"
    ground.chain.endow(token, ground.account, -ground.chain.balance(token, ground.account))
    with pytest.raises(NodeError, match=r"aborted .abort_by_response"):
        send(ground, wanted, terms, proof)
    assert ground.fate(wanted, terms) == "unknown"
    ground.grow(BURIED)
    assert ground.fate(wanted, terms, TWO) == "failed"  # its fee is gone
    assert [state for state, _ in ground.told_us] == ["SEEN", "MINED"] and ground.told_us[-1][1] == read(bytes_of(proof)).origin.fee
    ground.told["other.example", f"/v2/accounts/{ground.account}"] = (500, {}, b"")
    assert ground.fate(wanted, terms, TWO) == "unknown"  # C2


@pytest.mark.proves("stacks", "transfer", "fate")
def test_another_transaction_under_its_account_nonce_is_told_and_is_its_end_once_buried(ground, first):
    terms, proof = ground.proved(first())
    other = ground.proved(first(amount=7), terms.anchor, b"\1" * 32)[1]
    ground.chain.submit(bytes_of(other))
    with pytest.raises(NodeError, match="has spent account nonce 0"):
        send(ground, first(), terms, proof)
    assert ground.fate(first(), terms) == "unknown" and ground.sent == []
    ground.grow(BURIED)
    assert ground.fate(first(), terms) == "dead"


LIES = {
    "no events": lambda told: told | {"events": []},
    "another amount": lambda told: told | {"events": [_event(told, amount="999")]},
    "another payee": lambda told: told | {"events": [_event(told, recipient=MAKER)]},
    "by another": lambda told: told | {"events": [_event(told, sender=MAKER)]},
    "of another token": lambda told: told | {"events": [told["events"][0] | {"event_type": "fungible_token_asset"} | _token(told)]},
    "a mint": lambda told: told | {"events": [_event(told, asset_event_type="mint")]},
    "twice": lambda told: told | {"events": told["events"] * 2},
}


def _event(told, **change):
    return told["events"][0] | {"asset": told["events"][0]["asset"] | change}


def _token(told):
    return {"asset": told["events"][0]["asset"] | {"asset_id": f"{MAKER}.coin::coin"}}


@pytest.mark.parametrize("lie", LIES)
def test_C4_a_success_whose_events_are_not_the_payment_is_none(ground, first, lie, monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 3)
    wanted = first()
    terms, proof = ground.proved(wanted)
    ground.chain.submit(bytes_of(proof))
    from x402_agent.sandbox.messages import Request

    told = json.loads(b"".join(ground.api.handle(Request("GET", "https://node.example", f"/extended/v1/tx/0x{proof.txid}")).chunks))
    ground.told[f"/extended/v1/tx/0x{proof.txid}"] = json.dumps(LIES[lie](told)).encode()
    with pytest.raises(PaymentInDoubt):
        send(ground, wanted, terms, proof)
    assert ground.fate(wanted, replace(terms, proved=proof.txid)) == "unknown"
    del ground.told[f"/extended/v1/tx/0x{proof.txid}"]
    assert ground.fate(wanted, replace(terms, proved=proof.txid)) == "settled"


def test_C3_a_node_of_another_chain_gets_no_bytes(ground, first):
    terms, proof = ground.proved(first())
    ground.told[("other.example", "/v2/info")] = b'{"network_id":1}'
    send(ground, first(), terms, proof, f"https://other.example|{NODE}")
    assert not any(each == "POST other.example /v2/transactions" for each in ground.asked)


# -- calls --------------------------------------------------------------------------------------------------------------


def test_a_contract_is_paid_by_a_call_and_takes_no_more_than_was_offered(ground, song):
    wanted = song()
    terms, proof = ground.proved(wanted)
    made = read(bytes_of(proof))
    assert made.does == Call(SPLIT, "pay-for-content", tuple(_values(("ascii", "song"), ("uint", 1000), ("ascii", "STX"), ("ascii", "07" * 32))))
    assert (made.mode, made.post_conditions) == (DENY, (PostCondition("", "eq", 1000),))
    send(ground, wanted, terms, proof)
    assert (ground.chain.balance("STX", MAKER), ground.chain.balance("STX", OWNER)) == (1_000_000 - 2000 + 800, 200)
    assert ground.fate(wanted, terms) == "settled"
    assert ground.drive(ground.door.lookup(wanted, terms, "", NODE)) == "paid"


def test_where_a_share_is_rounded_exact_aborts_and_at_most_does_not(ground, song):
    odd = [PAY["arguments"][0], ["uint", "1003"], *PAY["arguments"][2:]]
    terms, proof = ground.proved(song(1003, arguments=odd))
    with pytest.raises(NodeError, match="abort_by_post_condition"):
        send(ground, song(1003, arguments=odd), terms, proof)
    at_most = song(1003, arguments=odd, exact=False)
    terms, proof = ground.proved(at_most)
    send(ground, at_most, terms, proof)
    assert read(bytes_of(proof)).post_conditions == (PostCondition("", "le", 1003),) and ground.fate(at_most, terms) == "settled"


def test_D15_a_contract_that_takes_more_gets_nothing(ground, song):
    more = [PAY["arguments"][0], ["uint", "5000"], *PAY["arguments"][2:]]
    wanted, before = song(1000, arguments=more), ground.chain.balance("STX", ground.account)
    terms, proof = ground.proved(wanted)
    with pytest.raises(NodeError, match="abort_by_post_condition"):
        send(ground, wanted, terms, proof)
    assert before - ground.chain.balance("STX", ground.account) == read(bytes_of(proof)).origin.fee  # which is all that is gone
    ground.grow(BURIED)
    assert ground.fate(wanted, terms) == "failed"


def test_a_token_may_be_what_a_call_moves_and_others_what_they_must(ground, first):
    details = {"function": "transfer", "exact": False, "arguments": [["uint", "5"], ["payer"], ["principal", MAKER], ["none"]],
               "others": [[SPLIT, "le", "3", ""]]}  # fmt: skip
    wanted = first("sBTC", 9, pay_to=f"{MAKER}.coin", details=json.dumps(details))
    terms = Terms(ground.payer, "0x" + "07" * 32, 0, FOREVER, Anchor("fee=400", 0))
    made = read(bytes.fromhex(ground.door.prove(wanted, terms, ground.signer).payload["raw"]))
    token = f"{wanted.asset.address}::{wanted.asset.detail}"
    assert made.post_conditions == (PostCondition("", "le", 9, token), PostCondition(SPLIT, "le", 3)) and made.mode == DENY
    assert made.does.arguments[1].value == ground.account


@pytest.mark.parametrize("change", [
    {"function": "nothing"}, {"function": "get-price", "arguments": [["ascii", "song"]]}, {"arguments": []},
    {"arguments": [["utf8", "song"], *PAY["arguments"][1:]]}, {"arguments": [["ascii", "song"], ["int", "1000"], *PAY["arguments"][2:]]},
])  # fmt: skip
def test_a_call_that_no_block_would_take_is_never_signed(ground, song, change):
    with pytest.raises(NoAcceptableOffer, match=r"interface|public function|other arguments"):
        ground.prepared(song(**change))
    with pytest.raises(NoAcceptableOffer, match="there is no contract"):
        ground.prepared(replace(song(), pay_to=f"{MAKER}.none"))


BROKEN = {
    "A7 exact": {"scheme": "exact"},
    "A7 a facilitator": {"facilitator": MAKER},
    "A7 a fee of others": {"fee_cap": 1},
    "R1 nobody calls it": {"details": ""},
    "R1 the token's own contract": {"symbol": "sBTC", "pay_to": "ST1F7QA2MDF17S807EPA36TSS8AMEFY4KA9TVGWXT.sbtc-token"},
    "R1 the chain's own": {"pay_to": f"{c32_address(26, bytes(20))}.pox-4"},
    "R1 an account is no contract": {"pay_to": MAKER},
    "R2 mainnet's": {"pay_to": f"{c32_address(22, bytes([5]) * 20)}.split"},
    "P8 zero": {"amount": 0},
    "sponsored": {"more": {"sponsored": True}},
    "an argument that is none": {"more": {"arguments": [["uint", 5]]}},
    "a kind that there is not": {"more": {"arguments": [["trait", "x"]]}},
    "arguments that are none": {"more": {"arguments": {}}},
    "too deep": {"more": {"arguments": [["some", ["some", ["some", ["some", ["some", ["some", ["some", ["some", ["some", ["none"]]]]]]]]]]]}},
    "a second condition for us": {"more": {"others": "ours"}},
    "a condition for whoever signs": {"more": {"others": [["", "le", "5", ""]]}},
    "a condition that is none": {"more": {"others": [[SPLIT, "le", "5"]]}},
    "exact is no truth": {"more": {"exact": 0}},
    "not ASCII": {"more": {"arguments": [["ascii", "Lied für €"]]}},
    "not a function": {"more": {"function": "a b"}},
}


@pytest.mark.parametrize("row", BROKEN)
def test_nothing_else_is_signed(ground, song, first, row):
    change = dict(BROKEN[row])
    more = change.pop("more", {})
    if more.get("others") == "ours":
        more = {"others": [[ground.account, "le", "5", f"{MAKER}.coin::coin"]]}
    wanted = song(**more)
    change = {"asset": first(change.pop("symbol")).asset, **change} if "symbol" in change else change
    terms = Terms(ground.payer, "0x" + "07" * 32, 0, FOREVER, Anchor("fee=400", 0))
    assert ground.door.prove(song(), terms, ground.signer)
    with pytest.raises(SigningFailed):
        ground.door.prove(replace(wanted, **change), terms, ground.signer)


def test_what_others_broadcast_is_never_a_call(ground, offer):
    wanted = offer(pay_to=SPLIT, details=json.dumps(PAY))
    assert "no facilitator accepts" in ground.door.refuses(wanted, ground.payer)
    terms = Terms(ground.payer, "0x" + "07" * 32, 0, FOREVER, Anchor("fee=400", 0))
    with pytest.raises(SigningFailed, match=r"function is called|not of its kind"):
        ground.door.prove(replace(wanted, pay_to=MAKER), terms, ground.signer)


def test_the_fee_of_a_call_is_that_of_its_size_and_capped(ground, song):
    ground.api.estimates = False
    terms, proof = ground.proved(song())
    assert terms.anchor.text == f"fee={len(bytes_of(proof))}"
    with pytest.raises(NoAcceptableOffer, match="policy allows 100"):
        ground.prepared(song(), rules=ChainRules(fees={"stacks": 100}))


def test_a_token_of_no_contract_is_no_trap(ground, first):
    ground.chain.deploy(sip010(f"{MAKER}.coin", "coin", "COIN", 6))
    assert isinstance(read(bytes_of(ground.proved(first())[1])).does, Transfer)
    assert "needle" not in repr(Node(first().network, NODE))
