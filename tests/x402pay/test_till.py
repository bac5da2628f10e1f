"""The rules of what comes after a transfer, one by one, without a seller: what is asked, how often, and what is believed of an answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from x402_agent.assets import asset_by_id
from x402_agent.dialects.x402pay import till
from x402_agent.dialects.x402pay.desk import NOBODY, Desk
from x402_agent.model import Ask, Credential, Hold, Offer, Proof, Terms
from x402_agent.steps import Fetch, Fetched, Look
from x402pay.shop import jwt

TX, NOW, US = "0x" + "ab" * 32, 1_790_000_000, "SP2C2YFP12AJZB4MABJBAJ55XECVS7E4PMMZ89YZR"
HOME, STX = "https://blog.example", asset_by_id("stacks:2147483648/slip44:5757")
PROOF = Proof({"transaction": TX}, US, "0x", 1)
FIVE = ("bearer", "article-1", "", "/api/x402/verify", "1")


def hold(*wire, method="GET", path="/articles/article-1"):
    ask = Ask(method, HOME + path, HOME, "blog.example", path.partition("?")[0])
    offer = Offer("x402pay", "transfer", STX, 100_000, US, 60, method="transfer", wire=wire or ("openapi", "article-1", "n" * 32))
    return Hold("p1", ask, offer, Terms(US, "0x" + "02" * 32, NOW, NOW + 3600))


def answer(document, status=200):
    return Fetched(status, {}, json.dumps(document).encode())


def run(steps, *answers, kept=None):
    """Drive it with these answers. -> what it ends with, and its steps."""
    left, sent, value = [*answers], [], None
    while True:
        try:
            step = steps.send(value)
        except StopIteration as done:
            return done.value, sent
        sent.append(step)
        value = left.pop(0) if isinstance(step, Fetch) else kept if isinstance(step, Look) else None


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503, 504])
def test_who_is_busy_is_asked_again_after_a_pause_and_who_says_no_is_not(status):
    made = hold()
    ask = lambda: till.token_for(made.ask, "article-1", "n" * 32, TX, Desk("https://api.example"), NOW)  # noqa: E731
    bought, sent = run(ask(), answer({}, status), answer({"accessToken": jwt("article-1")}))
    assert bought is not None and [type(each).__name__ for each in sent] == ["Fetch", "Sleep", "Fetch"]
    refused, sent = run(ask(), answer({"error": "Unauthorized"}, 401))
    assert refused is None and len(sent) == 1


@pytest.mark.parametrize(("said", "token"), [({"success": True}, True), ({"success": False}, False), ({"success": "true"}, False), ({}, False)])
def test_a_bearer_token_is_one_where_its_seller_says_success(said, token):
    shown, _ = run(till.present(hold(*FIVE), PROOF, NOBODY), answer({"accessToken": "t" * 20, **said}))
    assert (shown.credential is not None) == token and ("authorization" in shown.headers) == token


@pytest.mark.parametrize(("method", "asked"), [("GET", 1), ("HEAD", 1), ("POST", 0), ("DELETE", 0)])
def test_a_request_that_may_change_something_is_not_made_for_a_nonce(method, asked):
    _, sent = run(till.itself(hold(method=method), PROOF, NOBODY), answer({}, 402))
    assert len(sent) == asked


def test_the_gateway_is_told_at_its_own_place_whatever_was_asked_for_there():
    place = "/functions/v1/x402-gateway"
    made = hold("gateway", "article-1", "k" * 36, path=f"{place}?contentId=article-1")
    _, (told,) = run(till.present(made, PROOF, NOBODY), answer({"access": True}))
    assert (told.method, told.url) == ("POST", HOME + place) and json.loads(told.content) == {"token": "k" * 36, "txId": TX}


@pytest.mark.parametrize("whose", ["p1", "p2"])
def test_after_a_crash_the_token_of_this_payment_is_shown_and_no_others(whose):
    kept = Credential("", "", {"x-payment-proof": "a-token-of-before"}, whose)
    shown, _ = run(till.present(replace(hold(), resumed=True), PROOF, NOBODY), answer({}, 402), kept=kept)
    assert shown.headers["x-payment-proof"] == ("a-token-of-before" if whose == "p1" else TX)
