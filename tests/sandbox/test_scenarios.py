"""Each scenario at both doors: what a paying client sees, and what really moved."""

from __future__ import annotations

import httpx2
import pytest

from loopback import reads
from x402_agent.errors import SettingsError
from x402_agent.sandbox import Sandbox, scenario, scenarios
from x402_agent.sandbox.scenario import Scenario
from x402_agent.sandbox.scene import read

NAMES = {
    "answer_lost",
    "asks_again_after_payment",
    "honest",
    "never_settles",
    "price_flips",
    "redirects_after_payment",
    "settles_then_500",
    "settles_then_hangs",
    "slow_settlement",
}
PATHS = ["/joke", "/v1/joke", "/v2-body/joke", "/both", "/upfront", "/escrow"]
paths = pytest.mark.parametrize("path", PATHS)


def moved(shop) -> int:
    """Settlements, which must agree with the seller's balance."""
    assert shop.box.balance(shop.box.pay_to) == sum(each.amount for each in shop.box.settlements)
    return len(shop.box.settlements)


@paths
def test_settles_then_500(shop, buy, path):
    shop.box.scenario = "settles_then_500"
    _, paid, headers = buy(shop, path)
    assert paid.status_code == 500
    assert not [name for name in paid.headers if "payment" in name]
    assert moved(shop) == 1
    assert shop.get(path, headers=headers).status_code == 500
    assert moved(shop) == 1  # the same proof never settles twice


@pytest.mark.parametrize("name", ["settles_then_500", "asks_again_after_payment", "redirects_after_payment"])
def test_a_misbehaving_seller_charges_upto_what_the_handler_says(shop, buy, name):
    shop.box.scenario = name
    for path, cost in (("/upto", 12_000), ("/upto-zero", 0), ("/permit2", 10_000)):
        before = shop.box.balance(shop.box.pay_to)
        _, paid, headers = buy(shop, path, follow_redirects=False)
        shop.get(path, headers=headers, follow_redirects=False)
        assert paid.status_code != 200
        assert shop.box.balance(shop.box.pay_to) == before + cost
    assert moved(shop) == 2


@paths
def test_settles_then_hangs(shop, buyer, path):
    shop.box.scenario = "settles_then_hangs"
    headers = buyer.header(shop.get(path))
    for seconds in (1.0 if shop.box.serving else 0.05, 0.05):
        with pytest.raises(httpx2.ReadTimeout):
            shop.get(path, headers=headers, timeout=reads(seconds))
    assert moved(shop) == 1


@paths
def test_answer_lost_then_the_same_proof_gets_the_content(shop, buyer, path):
    shop.box.scenario = "answer_lost"
    headers = buyer.header(shop.get(path))
    with pytest.raises(httpx2.RemoteProtocolError, match="disconnected"):
        shop.get(path, headers=headers)
    again = shop.get(path, headers=headers)
    assert again.status_code == 200
    assert [name for name in again.headers if "payment-response" in name]
    assert moved(shop) == 1
    assert [each.status for each in shop.box.requests] == [402, 0, 200]


@paths
def test_asks_again_after_payment(shop, buy, path):
    shop.box.scenario = "asks_again_after_payment"
    asked, paid, headers = buy(shop, path)
    again = shop.get(path, headers=headers)
    assert (paid.status_code, again.status_code) == (402, 402)
    for each in (paid, again):
        assert "payment-response" not in each.headers
        assert each.content == asked.content
        assert each.headers.get("payment-required") == asked.headers.get("payment-required")
    assert moved(shop) == 1


@paths
def test_never_settles(shop, buy, path):
    shop.box.scenario = "never_settles"
    _, paid, headers = buy(shop, path)
    assert paid.status_code == 402
    assert shop.get(path, headers=headers).status_code == 402
    assert moved(shop) == 0


@paths
def test_redirects_after_payment_to_a_host_that_asks_too(shop, buy, path):
    shop.box.scenario = "redirects_after_payment"
    _, paid, _ = buy(shop, path)
    assert paid.status_code == 302
    there = httpx2.URL(paid.headers["location"])
    assert there.path == "/moved"
    assert there.host != httpx2.URL(shop.box.origin).host
    assert there.port == httpx2.URL(shop.box.origin).port
    assert moved(shop) == 1
    assert shop.get(str(there)).status_code == 402  # the other name leads to the same shop


@paths
def test_price_flips_between_the_legs(shop, buyer, path):
    shop.box.scenario = "price_flips"
    first = shop.get(path)
    second = shop.get(path, headers=buyer.header(first))
    assert second.status_code == 402
    assert moved(shop) == 0  # the price had changed before the proof came
    prices = [price_of(each) for each in (first, second, shop.get(path), shop.get(path))]
    assert prices == [10000, 20000, 30000, 10000]


def price_of(answer) -> int:
    import base64
    import json

    header = answer.headers.get("payment-required")
    found = json.loads(base64.b64decode(header)) if header else answer.json()
    return int(found["accepts"][0].get("amount") or found["accepts"][0]["maxAmountRequired"])


def test_slow_settlement_answers_late_and_settles_once(shop, buy):
    assert scenarios()["slow_settlement"].seconds == 20
    shop.box.scenario = scenarios()["slow_settlement"].with_(seconds=0.15)
    _, paid, _ = buy(shop, "/joke")
    assert paid.status_code == 200
    assert paid.elapsed.total_seconds() >= 0.15
    assert moved(shop) == 1


def test_slow_settlement_outlasts_an_impatient_client_who_comes_back(shop, buyer):
    shop.box.scenario = scenarios()["slow_settlement"].with_(seconds=30)
    headers = buyer.header(shop.get("/joke"))
    with pytest.raises(httpx2.ReadTimeout):
        shop.get("/joke", headers=headers, timeout=reads(1.0 if shop.box.serving else 0.05))
    assert shop.get("/joke", headers=headers).status_code == 200
    assert moved(shop) == 1


def test_a_scenario_may_end_after_some_showings_and_may_give_a_receipt(shop, buy):
    shop.box.scenario = scenarios()["settles_then_500"].with_(status=503, times=2, receipt=True)
    _, paid, headers = buy(shop, "/joke")
    assert paid.status_code == 503
    assert "payment-response" in paid.headers
    answers = [shop.get("/joke", headers=headers).status_code for _ in range(3)]
    assert answers == [503, 200, 200]
    assert moved(shop) == 1


@pytest.mark.parametrize("name", sorted(NAMES - {"price_flips"}))
def test_no_scenario_takes_a_forged_proof(shop, buyer, tools, name):
    shop.box.scenario = name
    asked = shop.get("/joke")
    entry = tools.decode(asked.headers["payment-required"])["accepts"][0]
    forged = buyer.payload(separator=tools.domain(name="Other"))
    sent = {"x402Version": 2, "accepted": entry, "payload": forged}
    answer = shop.get("/joke", headers={"PAYMENT-SIGNATURE": tools.encode(sent)})
    assert answer.status_code == 402
    assert tools.decode(answer.headers["payment-response"])["errorReason"] == "invalid_exact_evm_payload_signature"
    assert moved(shop) == 0


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_is_free_stays_free_in_every_scenario(shop, name):
    shop.box.scenario = name
    assert shop.get("/free").json() == {"free": True}


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_scenarios_that_come_with_the_package():
    assert set(scenarios()) == NAMES
    assert all(each.name == name and each.description for name, each in scenarios().items())
    scenarios().clear()
    assert set(scenarios()) == NAMES


HEAD = 'name = "x"\ndescription = "y"\n'


@pytest.mark.parametrize(
    "text, words",
    [
        ("name = ", "x.toml"),
        ('name = "x"\n', "name and description"),
        (HEAD + 'colour = "red"\n', "unknown key 'colour'"),
        (HEAD + "[parameters]\ncolour = 1\n", "no parameter 'colour'"),
        (HEAD + '[parameters]\nname = "z"\n', "above"),
        (HEAD + '[parameters]\nanswer = "shrug"\n', "answer 'shrug'"),
        (HEAD + '[parameters]\nseconds = "20"\n', "seconds is wrong"),
        (HEAD + "[parameters]\nseconds = -1\n", "seconds is wrong"),
        (HEAD + "[parameters]\nseconds = true\n", "seconds is wrong"),
        (HEAD + "[parameters]\ntimes = 1.5\n", "times is wrong"),
        (HEAD + "[parameters]\nstatus = 200\n", "status is wrong"),
        (HEAD + "[parameters]\nsettles = 1\n", "settles is wrong"),
        (HEAD + "[parameters]\nprices = []\n", "prices is wrong"),
        (HEAD + '[parameters]\nprices = ["1"]\n', "prices is wrong"),
        (HEAD + "[parameters]\nprices = [0]\n", "prices is wrong"),
        (HEAD + '[parameters]\nto = "http://x"\n', "to 'http://x'"),
        (HEAD + "parameters = 5\n", "name and description"),
        ("name = 5\ndescription = 6\n", "name is wrong"),
    ],
)
def test_a_scenario_file_is_read_strictly(text, words):
    with pytest.raises(SettingsError) as caught:
        read(text, "x.toml", Scenario)
    assert words in str(caught.value)


def test_an_unknown_scenario_names_those_that_exist():
    with pytest.raises(SettingsError) as caught:
        Sandbox("nonsense")
    assert "settles_then_hangs" in caught.value.rule
    assert scenario("honest") is scenarios()["honest"]


def test_parameters_make_another_scenario_and_leave_the_first():
    before = scenarios()["slow_settlement"]
    assert before.with_(seconds=1).seconds == 1
    assert scenarios()["slow_settlement"] == before
    with pytest.raises(SettingsError, match="no parameter 'second'"):
        before.with_(second=1)
