"""Each deployed quirk by its name: what a client sees, and that no money is taken twice by it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2
import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox import scenarios
from x402_agent.sandbox.kamiyo.quirks import Quirks
from x402_agent.sandbox.scene import read

QUIRKS = {}


def quirk(test):
    QUIRKS[test.__name__.removeprefix("test_")] = test
    return test


@pytest.fixture
def till(till_on, request):
    return till_on(scenario=request.node.name.removeprefix("test_").partition("[")[0])


def entries(till):
    return till.get().json()["payment_options"][0]["x402_standard"]["accepts"]


@quirk
def test_wrong_domain(till):
    assert entries(till)[0]["extra"]["name"] == "USD Coin" != till.box.ground.asset.eip712[0]


@quirk
def test_wrong_recipient_per_chain(till):
    assert [(each["network"], each["payTo"]) for each in entries(till)] == [
        (name, till.box.pay_to) for name in (till.chain, "solana", "polygon")]  # fmt: skip


@quirk
def test_wrong_checksum(till):
    assert entries(till)[0]["payTo"] != till.box.pay_to
    assert entries(till)[0]["payTo"].lower() == till.box.pay_to.lower()


@quirk
def test_recipient_flips(till):
    assert len({entries(till)[0]["payTo"] for _ in range(4)}) == 2


@quirk
def test_minimum_above_price(till):
    assert till.http.get("/x402/supported-chains").json()["min_payment_amount"] == 0.5
    assert till.verify(till.pay())["error_message"] == "Payment amount too low: 0.1 < 0.5"
    assert till.verify(till.pay(500_000))["is_valid"] is True


@quirk
def test_minimum_raised(till):
    assert till.http.get("/x402/supported-chains").json()["min_payment_amount"] == 0.1
    assert till.verify(till.pay())["error_message"] == "Payment amount too low: 0.1 < 0.5"


@quirk
def test_expected_amount_ignored(till):
    assert till.verify(till.pay(), expected_amount=99)["is_valid"] is True


@quirk
def test_never_confirms(till):
    assert till.verify(till.pay(blocks=100))["error_message"] == "Insufficient confirmations: 0/6"


@quirk
def test_twelve_confirmations(till):
    tx = till.pay(blocks=8)
    assert till.verify(tx)["error_message"].endswith("/12")
    till.box.mine(4)
    assert till.verify(tx)["is_valid"] is True


@quirk
def test_transfer_not_found(till):
    assert till.verify(till.pay())["error_message"] == "No USDC transfer to payment address found in transaction"


@quirk
def test_any_transaction_pays(till):
    ground = till.box.ground
    tx = ground.fund(till.box.payer_address, 1)
    till.box.mine(6)
    assert till.verify(tx)["is_valid"] is True
    assert till.balance() == 0


@quirk
def test_valid_payment_500(till):
    reply = till.http.post("/x402/verify-payment", json={"tx_hash": till.pay(), "chain": till.chain})
    assert reply.status_code == till.http.get("/x402/payment/1").status_code == till.http.get("/x402/stats?from_address=0x").status_code == 500
    assert till.verify("0x")["is_valid"] is False


@quirk
def test_valid_payment_402(till):
    tx = till.pay()
    token = till.token(till.verify(tx)["payment_id"])["payment_token"]
    assert till.get(x_payment_token=token).status_code == till.get(x_payment_tx=tx, x_payment_chain=till.chain).status_code == 402
    till.box.scenario = "honest"  # nothing was used up meanwhile
    assert till.http.get("/x402/payment/1").json()["requests_remaining"] == 100


@quirk
def test_token_refused(till):
    tx = till.pay()
    token = till.token(till.verify(tx)["payment_id"])["payment_token"]
    assert till.get(x_payment_token=token).status_code == 402
    assert till.get(x_payment_tx=tx, x_payment_chain=till.chain).status_code == 200


@quirk
def test_quota_for_ever(till):
    tx = till.pay()
    for _ in range(3):
        till.box.warp(100_000)
        assert till.get(x_payment_tx=tx, x_payment_chain=till.chain).status_code == 200


@quirk
def test_quota_huge(till):
    made = till.token(till.verify(till.pay(10_000_000))["payment_id"])
    assert (made["requests_remaining"], made["expires_at"][:2]) == (2**31 - 1, "21")


@quirk
def test_quota_small(till):
    assert till.http.get("/x402/pricing").json()["pricing_tiers"]["pay_per_use"]["requests_per_dollar"] == 10
    assert till.token(till.verify(till.pay())["payment_id"])["requests_remaining"] == 1


@quirk
def test_quota_below_what_is_said(till):
    assert till.http.get("/x402/pricing").json()["pricing_tiers"]["pay_per_use"]["requests_per_dollar"] == 1_000
    assert till.token(till.verify(till.pay())["payment_id"])["requests_remaining"] == 1


@quirk
def test_chain_assumed(till):
    assert till.get(x_payment_tx=till.pay()).status_code == 200


@quirk
def test_anyone_may_use_it(till):
    tx = till.pay()
    assert till.verify(tx)["payment_id"] == 1
    assert till.stranger("POST", "/x402/generate-token/1") == 200
    assert till.stranger("GET", "/exploits", x_payment_tx=tx, x_payment_chain=till.chain) == 200


@quirk
def test_bearer_opens_all(till):
    assert till.get(authorization="Bearer anything").status_code == 200


@quirk
def test_error_lets_through(till, monkeypatch):
    monkeypatch.setattr(till.box.seller._gate, "_token", lambda *_: 1 / 0)
    assert till.get(x_payment_token="x").status_code == 200
    till.box.scenario = "honest"
    with pytest.raises(ZeroDivisionError):
        till.get(x_payment_token="x")


@quirk
def test_silent_429(till):
    till.new_minute()
    replies = [till.http.post("/x402/verify-payment", json={"tx_hash": "0x"}) for _ in range(6)]
    assert (replies[-1].status_code, "retry-after" in replies[-1].headers) == (429, False)


@quirk
def test_crowded(till):
    till.new_minute()
    replies = [till.http.get("/health") for _ in range(11)]
    assert [each.status_code for each in replies] == [200] * 10 + [429]
    body = replies[-1].json()
    assert (body["error"], body["window"]) == ("rate_limit_exceeded", "minute")
    assert int(replies[-1].headers["retry-after"]) == body["retry_after_seconds"]
    assert replies[-1].headers["x-ratelimit-limit"] == "10"


@quirk
def test_csrf(till):
    body = {"tx_hash": "0x"}
    refused = till.http.post("/x402/verify-payment", json=body)
    assert (refused.status_code, refused.json()["error"]) == (403, "csrf_token_invalid")
    token = till.http.get("/api/csrf-token").json()["csrf_token"]
    assert till.http.post("/x402/verify-payment", json=body, headers={"x-csrf-token": "x"}).status_code == 403
    assert till.http.post("/x402/verify-payment", json=body, headers={"x-csrf-token": token}).status_code == 200  # the client keeps its cookie
    assert till.http.post("/.well-known/x402").status_code == 402
    till.box.warp(7201)
    assert till.http.post("/x402/verify-payment", json=body, headers={"x-csrf-token": token}).status_code == 403


@quirk
def test_csrf_without_cookie(till):
    reply = till.http.get("/api/csrf-token")
    assert "set-cookie" not in reply.headers
    headers = {"x-csrf-token": reply.json()["csrf_token"]}
    assert till.http.post("/x402/verify-payment", json={"tx_hash": "0x"}, headers=headers).status_code == 403


@quirk
def test_no_receipt(till, authorization):
    paid = till.get(x_payment=authorization(till))
    assert (paid.status_code, "x-payment-response" in paid.headers) == (200, False)
    assert till.balance() == 10_000


@pytest.mark.parametrize("name, status", [("settles_then_402", 402), ("settles_then_500", 500)])
def test_what_settles_and_delivers_nothing(till_on, authorization, name, status):
    till = till_on(scenario=name)
    header = authorization(till)
    assert [till.get(x_payment=header).status_code for _ in range(3)] == [status] * 3
    assert till.balance() == 10_000


@quirk
def test_answer_lost(till, authorization):
    header = authorization(till)
    with pytest.raises(httpx2.RemoteProtocolError):
        till.get(x_payment=header)
    again = till.get(x_payment=header)
    assert (again.status_code, "x-payment-response" in again.headers, till.balance()) == (200, True, 10_000)


def test_token_account_only(till_on):
    till = till_on(chain="solana", scenario="token_account_only")
    assert till.verify(till.pay(blocks=32))["error_message"] == "No USDC transfer to payment address found in transaction"


def test_every_scenario_has_a_test_that_shows_it():
    elsewhere = {"honest", "native_only", "documented_shape", "well_known_without_domain", "settles_then_402", "settles_then_500",
                 "token_account_only", "saas_quota_exceeded", "saas_500", "saas_503", "saas_without_cache", "saas_resets_in_seconds"}  # fmt: skip
    assert set(QUIRKS) | elsewhere == set(scenarios("kamiyo"))
    assert all(len(each.description) > 20 for each in scenarios("kamiyo").values())


def test_the_page_names_every_scenario_and_tests_that_exist():
    here = Path(__file__).parent
    page = (here.parents[2] / "docs" / "wire" / "kamiyo-seller.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE)) == set(scenarios("kamiyo")) - {"honest"}
    named = re.findall(r"\[(test_\w+)\]\(../../tests/sandbox/kamiyo/(\w+\.py)\)", page)
    assert len(named) > 50
    for test, file in named:
        assert re.search(rf"^def {test}\(", (here / file).read_text("utf-8"), re.MULTILINE), test


@pytest.mark.parametrize("text", ['shape = "round"', "status = 200", "minimum = 0", "quota = true", 'csrf = "maybe"', "colour = 1", "saas_error = 700", "saas_down = 1"])
def test_a_scenario_is_read_strictly(text):
    with pytest.raises(SettingsError):
        read(f'name = "x"\ndescription = "y"\n[parameters]\n{text}\n', "x.toml", Quirks)


def test_a_served_seller_changes_its_scenario_by_name(till_on):
    till = till_on()
    origin = till.box.serve()
    with httpx2.Client(base_url=origin, trust_env=False, timeout=60) as http:
        changed = http.post("/sandbox/scenario", json={"name": "never_confirms", "parameters": {"confirmations": 3}})
        assert changed.json() == {"scenario": "never_confirms"}
        tx = till.pay(blocks=0)
        assert http.post("/sandbox/mine", json={"blocks": 9}).status_code == 200
        body = {"tx_hash": tx, "chain": till.chain}
        assert http.post("/x402/verify-payment", content=json.dumps(body)).json()["error_message"] == "Insufficient confirmations: 0/3"
        assert http.post("/sandbox/scenario", json={"name": "price_flips"}).status_code == 400
        assert http.get("/sandbox/state").json()["seller"] == "kamiyo"
        assert [http.post("/sandbox/mine", json={"blocks": n}).status_code for n in (0, -1, 10_001)] == [400] * 3
