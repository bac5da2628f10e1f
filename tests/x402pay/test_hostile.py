"""A hostile seller, a lying contract, an API that is somebody else's: never a second payment, never more than was asked, no key given away."""

from __future__ import annotations

import json
import threading

import pytest
from typer.testing import CliRunner

from first import states
from loopback import Seller
from x402_agent import ChallengeInvalid, NoAcceptableOffer, PaymentInDoubt, SettingsError
from x402_agent.chains.stacks import Stacks, messages
from x402_agent.cli.app import app
from x402_agent.dialects import builtin
from x402_agent.dialects.x402pay import till
from x402_agent.errors import SigningFailed
from x402_agent.sandbox.stacks.contracts import Contract, Function
from x402_agent.sandbox.stacks.state import STX
from x402_agent.sandbox.stacks.values import TRUE, ok
from x402_agent.settings import Settings
from x402_agent.wallet import KeySigner
from x402pay.shop import PRICE, Shop, jwt
from x402pay.test_buying import get, register


def published(shop, words, took, args=2):
    """A contract of the seller's own making, under his own account, that takes what it likes."""
    name = f"{shop.box.pay_to}.trap"
    kinds = (("content-id", {"string-ascii": {"length": 50}}), ("payment-amount", "uint128"), ("asset", {"string-ascii": {"length": 10}}))[:args]

    def body(state, caller, given):
        for asset, units in took:
            state.transfer(asset, units, caller, shop.box.pay_to)
        return ok(TRUE)

    shop.box.ground.chain.deploy(Contract(name, {words: Function("public", kinds, "bool", body)}))
    shop.contract = name


USDCX = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usdcx::usdcx-token"


@pytest.mark.parametrize("took", [
    [(STX, PRICE + 1)], [(STX, PRICE), (STX, 1)], [(STX, PRICE), (USDCX, 1)], [(USDCX, 1_000_000)], [(STX, 1)], [],
])  # fmt: skip
def test_a_contract_takes_the_price_or_nothing(api, shop, took):
    published(shop, "pay-for-content", took)
    with pytest.raises(Exception, match="aborted"):
        get(api, shop.url())
    assert shop.moved() == 0 and states(api) in (["UNKNOWN"], ["MINED"])


def test_one_that_was_aborted_is_freed_once_it_is_buried_and_may_be_paid_once_again(api, shop):
    published(shop, "pay-for-content", [(STX, PRICE + 1)])
    for _ in range(2):
        with pytest.raises(PaymentInDoubt):
            get(api, shop.url())
    assert len(states(api)) == 1
    for _ in range(101):
        shop.box.warp(1)
    assert api.resume()[0].after == "REVERTED"
    shop.contract = ""
    assert get(api, shop.url(), times=2)[0].status_code == 200 and shop.moved() == PRICE and states(api) == ["CLAIMED", "REVERTED"]


@pytest.mark.parametrize("how", [{"words": "pay-for-contents"}, {"words": "pay-for-content", "args": 1}, {"words": "pay-for-content", "args": 3}])
def test_an_interface_that_is_another_ones_is_refused_before_anything_is_signed(api, shop, how):
    published(shop, took=[], **how)
    with pytest.raises(NoAcceptableOffer, match=r"other arguments|no public function"):
        get(api, shop.url())
    assert shop.box.ground.chain.history(shop.box.payer_address) == [] and states(api) == []


def test_a_contract_that_there_is_not_and_the_tokens_own(api, shop):
    shop.contract = f"{shop.box.pay_to}.nothing"
    with pytest.raises(NoAcceptableOffer, match="no contract"):
        get(api, shop.url())
    shop.contract = USDCX.partition("::")[0]
    with pytest.raises(NoAcceptableOffer, match="no public function"):
        get(api, shop.url())
    assert states(api) == []


def test_a_recipient_of_another_network_is_not_paid(api, shop):
    shop.recipient = "SP2C2YFP12AJZB4MABJBAJ55XECVS7E4PMMZ89YZR"
    with pytest.raises(Exception, match=r"mix|network|stacks"):
        get(api, shop.url())
    assert states(api) == []


def test_the_price_doubles_after_the_payment(api, shop):
    """Refused once, dearer and to somebody else from then on: the same id is shown, and nothing more is paid."""
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json({"error": "Unauthorized", "code": "PAYMENT_INVALID"}, 401))
    shop.paid, told = (lambda _: False), []
    shop.seller.serves("/articles/article-1", lambda hit: told.append(hit) or shop.ask())
    for _ in range(3):
        get(api, shop.url())
        shop.price *= 2
        shop.recipient = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
    assert shop.moved() == PRICE and len(states(api)) == 1
    assert len({hit.headers["x-payment-proof"] for hit in told if "x-payment-proof" in hit.headers}) == 1


@pytest.mark.parametrize("answer", [
    {"accessToken": jwt("article-2")}, {"accessToken": "a b"}, {"accessToken": "x" * 5000}, {"accessToken": None}, {}, {"accessToken": "a\r\nx: y"},
    {"accessToken": jwt("article-1"), "transaction": {"txId": "0x" + "11" * 32}}, {"accessToken": ["a"]},
])  # fmt: skip
def test_a_token_of_another_content_or_none_is_not_shown(api, shop, answer):
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json(answer))
    (reply,) = get(api, shop.url())
    assert reply.status_code == 200 and shop.moved() == PRICE
    assert {each[:2] for each in shop.seen} == {"", "0x"} and api.ledger.tokens() == []  # the id alone was ever shown


def test_nonces_that_have_always_ended_are_asked_for_a_few_times(api, shop):
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json({"error": "Nonce expired"}, 400))
    (reply,) = get(api, shop.url())
    assert len(shop.calls("/v1/payments/verify")) == till.FRESH + 1 and shop.moved() == PRICE
    assert reply.status_code == 200 and shop.seen[-1].startswith("0x")


def test_an_id_in_capitals_is_the_same_id(api, shop):
    def loud(hit):
        asked = json.loads(hit.body)
        assert asked["txId"] == asked["txId"].lower()
        return shop.json({"accessToken": shop.token(), "transaction": {"txId": "0x" + asked["txId"][2:].upper()}})

    shop.seller.serves("/v1/payments/verify", loud)
    assert get(api, shop.url())[0].status_code == 200 and len(api.ledger.tokens()) == 1


@pytest.mark.parametrize(("exp", "least", "most"), [(10**12, 86_000, 86_400), (None, 3_500, 3_600), (-5, 0, 60), ("soon", 3_500, 3_600), (True, 3_500, 3_600)])
def test_an_end_is_a_minute_to_a_day_away(exp, least, most):
    assert least <= till.expires({} if exp is None else {"exp": exp}, 0) <= most


def test_no_key_goes_to_the_seller_or_to_where_his_402_points(api, shop):
    other = Seller()
    try:
        shop.more = {"api": other.origin, "verifyUrl": f"{other.origin}/v1"}
        other.serves("/v1/payments/verify", lambda _: other.answer(200))
        get(api, shop.url())
        assert other.hits == []
        mine = [hit for hit in shop.seller.hits if "x-api-key" in hit.headers or "x-agent-id" in hit.headers]
        assert {hit.path.partition("?")[0] for hit in mine} == {"/v1/payments/verify"}
    finally:
        other.close()


def test_where_its_api_redirects_nothing_goes(api, shop):
    other = Seller()
    try:
        other.serves("/steal", lambda _: other.answer(200))
        shop.seller.serves("/v1/payments/verify", lambda _: shop.seller.answer(307, location=f"{other.origin}/steal"))
        assert get(api, shop.url())[0].status_code == 200 and other.hits == [] and shop.seen[-1].startswith("0x")
    finally:
        other.close()


def test_two_at_once_under_one_key_are_one_payment(api, shop):
    register(shop)
    replies, options = [], {"extensions": {"payment": {"key": "once"}}}

    def one():
        with api.client(timeout=60) as http:
            replies.append(http.get(shop.url(), **options).status_code)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert replies == [200, 200] and shop.moved() == PRICE


def test_a_gateway_that_grants_other_content_is_not_believed(payer, seller, monkeypatch):
    monkeypatch.setattr(till, "TRIES", 2)
    shop = Shop(seller, payer.box)
    shop.settle = lambda asked: shop.json({"success": True, "access": True, "contentId": "article-9", "txId": asked["txId"]})
    (reply,) = get(payer, shop.url("/gateway?contentId=article-1"))
    assert reply.status_code == 402 and shop.moved() == PRICE and len(states(payer)) == 1


# -- the second witness -------------------------------------------------------------------------------------------------


@pytest.fixture
def stuck(api, shop):
    """A payment that its seller refuses, and his history, which a test may write."""
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json({"error": "Unauthorized", "code": "PAYMENT_INVALID"}, 401))
    shop.paid, shop.rows, shop.logins = (lambda _: False), [], []

    def login(hit):
        asked = json.loads(hit.body)
        good = messages.verify(messages.plain_digest(asked["message"]), bytes.fromhex(asked["signature"]), asked["address"])
        shop.logins.append((good, asked["address"], asked["message"] == f"x402Pay Login\nTimestamp: {asked['timestamp']}"))
        return shop.json({"token": "session-token", "user": {}})

    def history(hit):
        assert hit.headers["authorization"] == "Bearer session-token"
        return shop.json({"payments": shop.rows, "total": len(shop.rows)})

    shop.seller.serves("/v1/auth/login", login)
    shop.seller.serves("/v1/payments/history", history)
    get(api, shop.url())
    return shop


def txid(api):
    return api.ledger.payments()[0].transaction


def test_what_the_sellers_history_says_is_told_and_decides_nothing(api, stuck):
    (row,) = api.resume()
    assert "history does not have it" in row.note and stuck.logins == [(True, api.box.payer_address, True)]
    stuck.rows = [{"txId": txid(api).upper().replace("0X", "0x"), "contentId": "article-1", "status": "confirmed", "payer": api.box.payer_address}]
    (row,) = api.resume()
    assert "history has it as confirmed for article-1" in row.note and stuck.moved() == PRICE and len(states(api)) == 1


def test_what_is_open_where_a_key_is_not_set_any_more_says_so(api, stuck):
    api.dialects = builtin({"x402pay": {stuck.seller.origin: {"api": f"{stuck.seller.origin}/v1", "key_env": "NO_KEY"}}})
    (row,) = api.resume()
    assert "NO_KEY is not in the environment" in row.note and (row.before, row.after) == ("PROVING", "CONFIRMED")
    with pytest.raises(SettingsError, match="NO_KEY is not in the environment"):
        get(api, stuck.url())
    assert len(states(api)) == 1


@pytest.mark.parametrize("rows", [
    [{"txId": "0x" + "22" * 32, "contentId": "article-1", "status": "confirmed"}], [5, None, []], [{}] * 3,
])  # fmt: skip
def test_a_history_of_others_is_not_ours(api, stuck, rows):
    stuck.rows = rows
    assert "does not have it" in api.resume()[0].note


def test_a_row_that_names_another_payer_is_not_ours(api, stuck):
    stuck.rows = [{"txId": txid(api), "contentId": "article-1", "status": "confirmed", "payer": "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"}]
    assert "does not have it" in api.resume()[0].note


def test_words_of_a_history_are_harmless(api, stuck):
    stuck.rows = [{"txId": txid(api), "contentId": "article-2", "status": "\x1b[31mfree"}]
    note = api.resume()[0].note
    assert "\x1b" not in note and "not what was asked for" in note


@pytest.mark.parametrize("text", ["", "x402Pay Login\nTimestamp: 1", "I owe you\nTimestamp: 1795303552000", "x402Pay Login\nTimestamp: 1795303552000\n", "0x00"])
def test_D11_nothing_but_a_known_login_is_signed(text):
    with pytest.raises(SigningFailed, match="no login message"):
        Stacks().sign_in(text, KeySigner("11" * 32, "stacks"))


# -- settings.toml ------------------------------------------------------------------------------------------------------

GOOD = '[dialects.x402pay."https://a.example"]\napi = "https://api.example/v1"\nkey_env = "THE_KEY"\n'


def load(tmp_path, text, **env):
    (tmp_path / "settings.toml").write_text(text)
    return Settings.load({"X402_AGENT_HOME": str(tmp_path), **env})


def test_the_file_is_read_and_its_key_is_in_no_repr(tmp_path):
    found = load(tmp_path, GOOD, THE_KEY="very-secret")
    assert dict(found.dialects["x402pay"]["https://a.example"]) == {"api": "https://api.example/v1", "key": "very-secret"}
    assert "very-secret" not in repr(found) + repr(found.dialects) and load(tmp_path, "").dialects == {}


@pytest.mark.parametrize("text", [
    GOOD.replace("THE_KEY", "very-secret"), GOOD + 'key = "b"\n', GOOD.replace("https://a", "http://a"), GOOD.replace("a.example", "a.example/"), GOOD.replace("a.example", "u:p@a.example"),
    GOOD.replace("x402pay", "other"), "x = 1", "[dialects", "dialects = 5", "dialects.x402pay = 5", GOOD.replace('"THE_KEY"', "5"), GOOD.replace("api =", "apis ="),
    GOOD.replace("https://api", "http://api"), GOOD.replace("a.example", "A.example"), "[dialects.x402pay]\n'https://a.example' = 5",
])  # fmt: skip
def test_what_it_does_not_know_is_an_error_and_quotes_no_key(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, THE_KEY="very-secret")
    assert "settings.toml" in caught.value.rule and "very-secret" not in str(caught.value)


@pytest.mark.parametrize("dialect", ["x402pay", "lily"])
def test_a_key_that_is_not_set_matters_to_its_own_origin_alone(dialect, payer, shop, tmp_path, seller, monkeypatch):
    base = {"x402pay": "api", "lily": "rest_url"}[dialect]
    (tmp_path / "settings.toml").write_text(f'[dialects.{dialect}."https://other.example"]\n{base} = "https://api.example"\nkey_env = "NO_KEY"\n')
    monkeypatch.setenv("X402_AGENT_SETTINGS", str(tmp_path / "settings.toml"))
    told = Settings.load().dialects
    payer.dialects = builtin(told)
    assert get(payer, shop.url())[0].status_code == 200 and states(payer) == ["CLAIMED"]  # who reads the rest of the file pays as ever
    assert CliRunner().invoke(app, ["log"]).exit_code == 0
    checks = CliRunner().invoke(app, ["doctor"]).output
    assert "NO_KEY, which the environment has not; try: export NO_KEY=…" in " ".join(checks.split())
    payer.dialects = builtin({dialect: {shop.seller.origin: told[dialect]["https://other.example"]}})
    body = {"error": "x", "errorCode": "x", "paymentRequired": True, "requiredAmount": 0.01, "currency": "USDC"}
    seller.serves("/lily", lambda _: seller.answer(402, json.dumps(body).encode()))
    seller.serves("/x402pay", lambda _: shop.ask())
    with pytest.raises(SettingsError, match="NO_KEY is not in the environment"):
        get(payer, f"{seller.origin}/{dialect}")
    assert states(payer) == ["CLAIMED"]


def test_a_402_that_is_spoilt_is_never_paid(api, shop):
    shop.seller.serves("/articles/article-1", lambda _: shop.seller.answer(402, b'{"payment":{"recipient":'))
    with pytest.raises(ChallengeInvalid):
        get(api, shop.url())
    assert states(api) == []
