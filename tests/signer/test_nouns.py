"""What travels between agent and service: every field, and nothing that an agent has no business to say."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x402_agent import PaymentError, assets, errors
from x402_agent.ledger import Payment
from x402_agent.model import Ask, Cap, Challenge, Hold, Limit, Offer, Proof, Terms, Under
from x402_agent.signer import nouns
from x402_agent.signer.frames import Fields, Malformed

USDC = assets.asset(assets.network("base"), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")
OFFER = Offer("x402", "upto", USDC, 2**200, "0x" + "ab" * 20, 60, "https://a.example/x", "sunny", "escrow", 7, ("2", "base", "{}"),
              "permit2", "0x" + "cd" * 20)  # fmt: skip
LIMIT = Limit("run:7", "hour", 5, "task x in code", "more", "payments")


def wire(message):
    return Fields(json.loads(json.dumps(message)))


def ask():
    made = Ask("POST", "https://a.example:8443/x/y?q=1", "", "", "", has_body=True, caller_key="k", again=False, listed=9,
               under=Under("liar", "liars", "a/b", ("7",), "t", "c", "s"), limits=(LIMIT,), caps=(Cap(5, "r", "h"),))  # fmt: skip
    made.paid, made.expect = "0123", 200
    return made


def test_an_ask_arrives_whole_and_says_nothing_of_who_asks():
    got = nouns.ask_in(wire(nouns.ask_out(ask())), "research", "team")
    assert (got.origin, got.host, got.path) == ("https://a.example:8443", "a.example", "/x/y")
    assert got.under == Under("research", "team", "a/b", ("research.7",), "t", "c", "")
    assert got.limits == (replace(LIMIT, scope="run:research.7"),) and got.caps == (Cap(5, "r", "h"),)
    assert (got.method, got.has_body, got.again, got.listed, got.paid, got.expect) == ("POST", True, False, 9, "0123", 200)
    assert got.caller_key == "research\nk" and got.key != ask().key
    known = {"_digest_body", "_key", "again", "caller_key", "caps", "expect", "has_body", "host", "limits", "listed", "method", "of", "offer", "origin",
             "output", "paid", "path", "repeat", "top_up", "under", "url"}  # fmt: skip
    assert set(Ask.__slots__) == known, "a new field of an Ask: does it travel?"


def test_a_path_arrives_in_the_spelling_that_budgets_have():
    told = {**nouns.ask_out(ask()), "url": "https://a.example/z/..//x/%79?q=/.."}
    assert nouns.ask_in(wire(told), "research", "team").path == "/x/y"


def test_offers_holds_limits_and_payments_arrive_whole():
    assert nouns.offer_in(wire(nouns.offer_out(OFFER))) == OFFER
    told = {**nouns.offer_out(OFFER), "value": "1"}  # what it is worth says the service
    assert nouns.offer_in(wire(told), "https://b.example/").value is None
    assert nouns.offer_in(wire(told), "https://b.example/").resource == "https://b.example/"
    assert set(nouns.offer_out(OFFER)) == {one.name for one in fields(Offer)} - {"value", "fees"}  # not told which fee is of which kind, a service counts it against the cap of each
    assert nouns.limits_in(wire({"limits": nouns.limits_out([LIMIT])})) == (LIMIT,)
    assert set(nouns.limits_out([LIMIT])[0]) == {one.name for one in fields(Limit)}
    mine, terms = ask(), Terms("0x" + "11" * 20, "0x" + "22" * 32, 1, 2)
    hold = Hold("0123", mine, OFFER, terms, (LIMIT,), "UNKNOWN", resumed=True, refused=True, identifier="pay_x")
    assert nouns.hold_in(wire(nouns.hold_out(hold)), mine) == hold
    proof = Proof({"signature": "0x12"}, terms.payer, terms.nonce, 2)
    assert nouns.proof_in(wire(nouns.proof_out(proof))) == proof
    payment = Payment("01", "CLAIMED", "spent", "GET", "https://a/", "a", "t", "research", "base", 7, USDC.id, None, 7, "p", "q", "n",
                      1, 200, "0x1", "note", True, "2026-11-21", 1, 2, 5)  # fmt: skip
    got = nouns.payment_in(wire(nouns.payment_out(payment)))
    assert replace(got, money=None) == payment and got.money.amount == 7


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_arrives_as_itself(name):
    made = getattr(errors, name)("what", rule="rule", hint="x402-agent budget set 5.00/day", payment_id="0123")
    got = nouns.error_in(wire(nouns.error_out(made)))
    assert type(got) is type(made) and (got.what, got.rule, got.payment_id) == ("what", "rule", "0123")
    assert got.hint == "whoever runs the signer: x402-agent budget set 5.00/day"
    made.hint = "x402-agent credentials revoke ID"  # an agent's own
    assert nouns.error_in(wire(nouns.error_out(made))).hint == made.hint


def test_a_strangers_error_is_one_of_ours():
    assert isinstance(nouns.error_in(wire({"error": "SystemExit", "what": "x"})), PaymentError)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**300) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4), max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_an_agent_sends_is_read_or_malformed(data):
    told = {**nouns.ask_out(ask()), **nouns.challenge_out(Challenge("x402", (OFFER,)))}
    for name in data.draw(st.lists(st.sampled_from(sorted(told)), max_size=3)):
        told[name] = data.draw(VALUES)
    if data.draw(st.booleans()):
        offer = dict(nouns.offer_out(OFFER))
        offer[data.draw(st.sampled_from(sorted(offer)))] = data.draw(VALUES)
        told["offers"] = [offer]
    try:
        made = nouns.ask_in(wire(told), "research", "team")
        challenge = nouns.challenge_in(wire(told), made)
    except Malformed:
        return
    assert made.under.agent == "research" and made.under.group == "team" and all(run.startswith("research.") for run in made.under.runs)
    assert all(limit.scope.startswith("run:research.") or limit.scope == "agent:research" for limit in made.limits)
    assert all(0 < offer.amount < 2**256 and offer.asset == assets.asset_by_id(offer.asset.id) for offer in challenge.offers)
    assert all(offer.resource == made.url for offer in challenge.offers)
