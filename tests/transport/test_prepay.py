"""Prepay: one round trip where the terms are known, and never a second signature where they have changed."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import httpx
import pytest

from loopback import Seller
from x402_agent import Payer, PaymentInDoubt, Policy, PolicyDenied
from x402_agent.model import Limit
from x402_agent.sandbox.messages import decode64, encode64
from x402_agent.steps import Send


def policy_for(*sellers, **rules):
    return Policy(networks=("testnet",), prepay=tuple(one.origin for one in sellers), **rules)


def shown(seller):
    """What each request carried: `ask` or the nonce of its proof."""
    return [seller.authorization(hit.proof)["nonce"] if hit.proof else "ask" for hit in seller.hits]


def counted(payer):
    payer.ledger.flush()
    return payer.ledger.spent([Limit("all", "total", 10**12)], realm="test")[0].spent


@pytest.fixture
def prepaying(seller, till):
    return till.payer(policy=policy_for(seller))


def test_the_second_purchase_takes_one_round_trip(call, seller, prepaying, till):
    replies = [call(prepaying, "GET", seller.sells("/paid")) for _ in range(3)]
    assert [one.extensions["payment"].outcome for one in replies] == ["spent"] * 3
    first, *rest = shown(seller)
    assert first == "ask" and len(rest) == len(set(rest)) == 3
    assert till.rows(prepaying) == [("CLAIMED", "spent")] * 3 and counted(prepaying) == 30_000
    assert prepaying.ledger.verify() == []


def test_v1_is_prepaid_byte_for_byte_as_after_its_402(drive, seller, prepaying):
    url = seller.demands("/v1", seller.terms_v1("/v1"))
    drive(prepaying, "GET", url, times=2)
    assert shown(seller)[0] == "ask" and len(seller.hits) == 3
    envelopes = [{**Seller.payload(proof), "authorization": None, "signature": None} for proof in seller.proofs]
    assert envelopes[0] == envelopes[1]


def test_unknown_origins_are_asked_first(drive, seller, other, prepaying):
    drive(prepaying, "GET", other.sells("/paid"), times=2)
    assert [bool(hit.proof) for hit in other.hits] == [False, True, False, True]
    drive(prepaying, "GET", seller.sells("/one"))
    drive(prepaying, "GET", seller.sells("/two"))
    drive(prepaying, "POST", seller.url("/two"))
    assert [bool(hit.proof) for hit in seller.hits] == [False, True] * 3


def test_another_process_remembers_too(drive, seller, prepaying, till):
    drive(prepaying, "GET", seller.sells("/paid"))
    prepaying.close()
    drive(till.payer(policy=policy_for(seller)), "GET", seller.url("/paid"))
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, True]
    drive(till.payer(), "GET", seller.url("/paid"))
    assert len(seller.hits) == 5  # a policy that does not allow it asks


def test_age_and_uses_end_it(drive, seller, till):
    now = [time.time()]
    payer = till.payer(policy=policy_for(seller, prepay_age=100, prepay_uses=2), clock=lambda: now[0])
    drive(payer, "GET", seller.sells("/paid"), times=4)
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, True, True, False, True]
    now[0] += 101
    seller.hits.clear()
    drive(payer, "GET", seller.url("/paid"), times=2)
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, True]
    now[0] -= 50  # a clock that runs backwards makes nothing younger
    drive(payer, "GET", seller.url("/paid"))
    assert [bool(hit.proof) for hit in seller.hits[3:]] == [False, True]


def test_the_live_policy_judges_each_one(drive, seller, prepaying):
    drive(prepaying, "GET", seller.sells("/paid"))
    prepaying.policy = replace(prepaying.policy, per_call=5_000)
    seller.hits.clear()
    seller.sells("/paid", amount=5_000)  # it has become cheaper meanwhile: asked, and paid
    assert drive(prepaying, "GET", seller.url("/paid")).extensions["payment"].offer.amount == 5_000
    assert shown(seller)[0] == "ask" and len(seller.hits) == 2


def test_a_budget_that_is_spent_comes_back_as_the_402_in_a_client_of_yours(drive, seller, till):
    payer = till.payer(policy=policy_for(seller, total=10_000))
    drive(payer, "GET", seller.sells("/paid"))
    reply = drive(payer, "GET", seller.url("/paid"), attached=True)
    assert reply.status_code == 402 and type(reply.extensions["payment"].reason).__name__ == "BudgetExceeded"
    assert shown(seller)[2:] == ["ask"] and till.signer.count == 1


CHANGES = {
    "price": {"amount": 20_000},
    "cheaper": {"amount": 9_000},
    "recipient": {"payTo": "0x" + "cd" * 20},
    "token": {"asset": "0x" + "ee" * 20},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_terms_never_mean_a_second_signature(call, seller, prepaying, till, change):
    call(prepaying, "GET", seller.sells("/paid"))
    now = seller.answer(402, b"{}", payment_required=seller.packed(seller.terms("/paid", **CHANGES[change])))
    seller.serves("/paid", now)
    seller.hits.clear()
    reply = call(prepaying, "GET", seller.url("/paid"))
    receipt = reply.extensions["payment"]
    assert (reply.status_code, receipt.outcome, till.signer.count) == (402, "refused", 2)
    assert isinstance(receipt.reason, PaymentInDoubt) and "resume" in receipt.reason.hint
    assert len(seller.hits) == 1
    assert counted(prepaying) == 20_000  # both proofs may settle
    seller.hits.clear()
    assert call(prepaying, "GET", seller.url("/paid")).extensions["payment"].outcome in ("refused", "in_doubt")
    assert shown(seller)[0] == "ask" and len(seller.nonces) == 1 and till.signer.count == 3  # the same proof, signed again
    assert till.rows(prepaying) == [("UNKNOWN", "refused"), ("CLAIMED", "spent")]
    call(prepaying, "GET", seller.sells("/else"), times=2)  # the whole origin is asked first now
    assert [bool(hit.proof) for hit in seller.hits[2:]] == [False, True, False, True]


@pytest.mark.parametrize("version", [1, 2])
def test_a_new_envelope_around_the_same_terms_costs_one_more_round_trip(call, seller, prepaying, till, version):
    serial = [0]

    def route(hit):
        serial[0] += 1
        if hit.proof and (len(seller.proofs) == 1 or len(seller.hits) == 4):
            return seller.ok()
        made = seller.terms("/paid", maxTimeoutSeconds=60 + serial[0]) if version == 2 else seller.terms_v1(maxTimeoutSeconds=60 + serial[0])
        if version == 2:
            return seller.answer(402, b"{}", payment_required=seller.packed(made))
        return seller.answer(402, json.dumps(made).encode(), content_type="application/json")

    seller.serves("/paid", route)
    replies = [call(prepaying, "GET", seller.url("/paid")) for _ in range(2)]
    assert [one.extensions["payment"].outcome for one in replies] == ["spent", "spent"]
    assert shown(seller)[0] == "ask" and len(seller.hits) == 4 and len(seller.nonces) == 2
    assert seller.payload(seller.proofs[1]) == seller.payload(seller.proofs[2])
    assert till.signer.count == 2 and till.rows(prepaying) == [("CLAIMED", "spent")] * 2


def test_a_seller_that_says_402_for_ever_gets_one_proof_twice(drive, seller, prepaying, till):
    drive(prepaying, "GET", seller.sells("/paid"))
    seller.serves("/paid", seller.ask("/paid"))
    seller.hits.clear()
    assert drive(prepaying, "GET", seller.url("/paid")).extensions["payment"].outcome == "refused"
    assert len(seller.hits) == 2 and len(seller.nonces) == 1 and counted(prepaying) == 20_000


@pytest.mark.parametrize("answer", ["free", "404", "500", "reset", "broken 402"])
def test_whatever_else_comes_back_the_proof_has_left_and_counts(call, seller, prepaying, till, answer):
    call(prepaying, "GET", seller.sells("/paid"))
    answers = {
        "free": seller.answer(200, b"free now"), "404": seller.answer(404), "500": seller.answer(500),
        "reset": lambda hit: hit.reset(), "broken 402": seller.answer(402, b"{}", payment_required="???"),
    }  # fmt: skip
    seller.serves("/paid", answers[answer])
    if answer == "reset":
        with pytest.raises(PaymentInDoubt):
            call(prepaying, "GET", seller.url("/paid"))
    else:
        call(prepaying, "GET", seller.url("/paid"))
    assert counted(prepaying) == 20_000 and len(seller.nonces) == 2
    states = {"free": "CLAIMED"}
    assert till.rows(prepaying)[0][0] == states.get(answer, "UNKNOWN")
    seller.hits.clear()
    seller.serves("/paid", seller.answer(200, b"free now"))
    call(prepaying, "GET", seller.url("/paid"))
    assert shown(seller) == ["ask"]  # forgotten


def test_an_open_payment_is_shown_first_and_not_signed_anew(drive, seller, prepaying, till):
    drive(prepaying, "GET", seller.sells("/paid"))
    seller.serves("/paid", lambda hit: hit.reset())
    with pytest.raises(PaymentInDoubt):
        drive(prepaying, "GET", seller.url("/paid"))
    seller.sells("/paid")
    assert drive(prepaying, "GET", seller.url("/paid")).extensions["payment"].outcome == "spent"
    assert len(seller.nonces) == 2 and till.rows(prepaying) == [("CLAIMED", "spent")] * 2


def test_twenty_threads_while_the_price_changes_sign_once_a_call(seller, till):
    payer = till.payer(policy=policy_for(seller))
    price = [10_000]

    def route(hit):
        if hit.proof and seller.authorization(hit.proof)["value"] == str(price[0]):
            return seller.ok()
        return seller.ask(hit.path, price[0])

    urls = [seller.serves(f"/{number}", route) for number in range(4)]
    outcomes = []

    def work(number):
        with payer.client() as http:
            for turn in range(6):
                if number == 0 and turn == 3:
                    price[0] = 20_000
                try:
                    found = http.get(urls[(number + turn) % 4], extensions={"payment": {"key": f"{number} {turn}"}})
                    outcomes.append(found.extensions["payment"].outcome)
                except PolicyDenied:  # after three refused in a row nothing new is held for this seller
                    outcomes.append("denied")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(outcomes) == 120 and set(outcomes) <= {"spent", "refused", "denied"} and "spent" in outcomes
    signed = {seller.authorization(proof)["nonce"]: int(seller.authorization(proof)["value"]) for proof in seller.proofs}
    assert len(signed) == 120 - outcomes.count("denied")  # each call one proof, refused or not
    assert counted(payer) == sum(signed.values())
    assert payer.ledger.verify() == []


def test_an_upload_that_can_be_read_once_is_only_asked(drive, seller, prepaying):
    drive(prepaying, "POST", seller.sells("/paid"), content=b"a")
    seller.serves("/paid", seller.answer(200, b"free"))
    with prepaying.client() as http:
        reply = http.post(seller.url("/paid"), content=iter([b"a", b"b"]))
    assert reply.text == "free" and seller.hits[-1].body == b"ab" and not seller.hits[-1].proof


def test_a_quote_and_a_redirect_are_never_prepaid(drive, seller, prepaying):
    drive(prepaying, "GET", seller.sells("/paid"))
    seller.hits.clear()
    assert prepaying.quote(seller.url("/paid")).chosen is not None
    assert shown(seller) == ["ask"]
    seller.sells("/first", seller.answer(302, location=seller.url("/paid"), payment_response=seller.receipt()))
    with pytest.raises(Exception, match="asks again after a redirect"):
        drive(prepaying, "GET", seller.url("/first"))
    assert shown(seller)[-1] == "ask"


@pytest.mark.parametrize("path", ["/joke", "/permit2", "/upto"])
def test_each_prepaid_proof_settles_once_on_the_chain(path):
    with Payer.sandbox() as payer:
        payer.policy = replace(payer.policy, prepay=(payer.sandbox.origin,))
        sent = []
        payer.trace = lambda ask, step, value: sent.append(step.paid) if isinstance(step, Send) else None
        with payer.client() as http:
            replies = [http.get(payer.sandbox.url(path)) for _ in range(3)]
        assert [one.extensions["payment"].outcome for one in replies] == ["spent"] * 3
        assert sent == [False, True, True, True]
        assert len({one.nonce for one in payer.sandbox.settlements}) == len(payer.sandbox.settlements) == 3


class Stale(httpx.BaseTransport):
    """Between us and the sandbox: while it is stale, every proof is answered by a dearer 402, and goes nowhere."""

    def __init__(self):
        self.inner, self.stale, self.asked, self.proofs = httpx.HTTPTransport(), False, None, []

    def handle_request(self, request):
        proof = request.headers.get("payment-signature")
        if proof:
            self.proofs.append(proof)
        if proof and self.stale:
            document = decode64(self.asked)
            document["accepts"][0]["amount"] = str(2 * int(document["accepts"][0]["amount"]))
            return httpx.Response(402, headers={"payment-required": encode64(document)}, request=request)
        reply = self.inner.handle_request(request)
        self.asked = reply.headers.get("payment-required", self.asked)
        return reply

    def close(self):
        self.inner.close()


@pytest.mark.parametrize("path", ["/joke", "/upto"])
def test_a_refused_proof_frees_its_request_once_the_chain_shows_it_dead(path):
    with Payer.sandbox(serve=True) as payer:
        payer.policy = replace(payer.policy, prepay=(payer.sandbox.origin,))
        between, url, late = Stale(), payer.sandbox.url(path), [0]
        payer.clock = lambda: time.time() + late[0]
        with payer.client(transport=between) as http:
            assert http.get(url).status_code == 200
            between.stale = True
            first = http.get(url).extensions["payment"]
            assert first.outcome == "refused" and isinstance(first.reason, PaymentInDoubt)
            (hold,) = payer.ledger.open_payments()
            assert hold.terms.valid_before - time.time() <= 60
            late[0] = 61  # our clock alone decides nothing: the chain has not got there
            assert http.get(url).extensions["payment"].payment_id == first.payment_id
            payer.sandbox.ground.chain.warp(62)
            between.stale = False
            again = http.get(url).extensions["payment"]
            assert again.outcome == "spent" and again.payment_id != first.payment_id
            dead = httpx.get(url, headers={"payment-signature": between.proofs[1]}, trust_env=False)
        payer.ledger.flush()
        states = {one.payment_id: one.state for one in payer.ledger.payments()}
        assert states[first.payment_id] == "DEAD" and dead.status_code == 402
        assert len(set(between.proofs)) == 3 and len(payer.sandbox.settlements) == 2
        assert payer.ledger.verify() == []
