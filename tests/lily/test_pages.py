"""A price becomes offers by the service's own row and by settings, driven without a socket; what contradicts itself is passed over."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lily.test_shapes import DESIGN, HOME, SAID, WIRE, asked, read
from x402_agent import ChallengeInvalid, Settings, SettingsError
from x402_agent.dialects import Lily
from x402_agent.dialects.lily.desk import desk
from x402_agent.model import QUOTA, Account
from x402_agent.policy import Policy
from x402_agent.policy.facts import NOTHING
from x402_agent.policy.reasons import reasons
from x402_agent.steps import Fetch, Fetched, Whose, Worth

CONFIG, SERVICE = WIRE["config"], WIRE["config"]["service_id"]
PAYEE = WIRE["platform_wallet"]


def found(document=DESIGN, row=(), *, rows=None, status=200, expect=1, worth=(150_000_000, 0), questions=None, **said):
    """The challenge as its pages have it. `row`: changes of the service's own one; `said`: of settings, None for none."""
    table = {name: value for name, value in {**SAID[HOME], "key": "k-1", **said}.items() if value is not None}
    lily = Lily({HOME: table})
    listed = [{**CONFIG, **dict(row)}] if rows is None else rows
    body = listed if isinstance(listed, bytes) else json.dumps(listed).encode()
    steps, got = lily.agrees(read(document, {HOME: table}), asked(expect=expect)), None
    try:
        while True:
            step = steps.send(got)
            if questions is not None:
                questions.append(step)
            got = Fetched(status, {}, body) if isinstance(step, Fetch) else worth if isinstance(step, Worth) else Account()
            assert isinstance(step, (Fetch, Whose, Worth))
    except StopIteration as done:
        return done.value


def offers(*args, **more):
    return [(each.flow, each.amount, each.asset.symbol, each.serves) for each in found(*args, **more).offers]


def why(*args, **more):
    made = found(*args, **more)
    assert made.offers == () and made.pages == ()
    return " ".join(made.passed_over)


def test_one_call_is_a_proof_and_several_are_a_session():
    assert offers() == [("proof", 10_000, "USDC", 1)]
    assert offers(expect=10) == [(QUOTA, 100_000, "USDC", 10), ("proof", 10_000, "USDC", 1)]
    assert {each.pay_to for each in found(expect=10).offers} == {PAYEE} and {each.method for each in found().offers} == {"transfer"}


def test_the_table_is_asked_with_the_key_and_nobody_else():
    asked_of = []
    found(questions=asked_of)
    (step,) = [each for each in asked_of if isinstance(each, Fetch)]
    assert step.url == f"https://p.example/rest/v1/x402_service_configs?service_id=eq.{SERVICE}&service_type=eq.agent_execution&select=*"
    assert (step.headers["apikey"], step.headers["authorization"], step.method, step.theirs) == ("k-1", "Bearer k-1", "GET", False)
    assert "k-1" not in repr(step)


def test_who_is_paid():
    other = "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV"
    assert found(row={"platform_wallet": other}).offers[0].pay_to == other
    assert found(row={"platform_wallet": other}, pay_to=PAYEE).offers[0].pay_to == PAYEE
    assert found(rows=[], pay_to=other).offers[0].pay_to == other
    assert found(rest_url=None, service_id=None, pay_to=other).offers[0].pay_to == other
    assert "no row that names who is paid" in why(rows=[]) and "no row that names who is paid" in why(row={"owner_wallet": None})


WHYS = {
    "dearer than its row": ("one of them lies", {"row": {"base_price": 0.009, "min_payment": 0.001}}),
    "another coin than its row": ("two currencies", {"row": {"currency": "SOL"}}),
    "dollars alone": ("asks dollars and no coin", {"document": {**DESIGN, "currency": "USD"}, "row": {"currency": "USD"}}),
    "above its own most": ("takes 0.005 at most", {"row": {"max_payment": 0.005}}),
    "not active": ("is not active", {"row": {"is_active": False}}),
    "another service's row": ("names who is paid", {"row": {"service_id": "another"}}),
    "a payee that is none": ("no account of Solana", {"row": {"owner_wallet": "\x1b[2Jme"}}),
    "a payee of another chain": ("no account of Solana", {"row": {"platform_wallet": "0x" + "ab" * 20}}),
    "two rows": ("2 rows", {"rows": [CONFIG, CONFIG]}),
    "no row that can be read: HTML": ("cannot be read", {"rows": b"<html>"}),
    "no row that can be read: an error": ("cannot be read", {"rows": b'{"code":"42501"}', "status": 403}),
    "no row that can be read: elsewhere": ("cannot be read", {"status": 302}),
    "no row that can be read: silence": ("cannot be read", {"status": 0, "rows": b""}),
    "no row that can be read: an object": ("cannot be read", {"rows": json.dumps(CONFIG).encode()}),
    "no row that can be read: huge": ("cannot be read", {"rows": b"[" + b" " * 70_000 + b"]"}),
    "an exponent": ("no plain number", {"rows": json.dumps([CONFIG]).replace("0.01", "1e-2").encode()}),
    "a negative least": ("no plain number", {"row": {"min_payment": -1}}),
    "words for a price": ("no plain number", {"row": {"base_price": "cheap"}}),
    "no price anywhere": ("says a price", {"document": {"error": "Session expired", "paymentRequired": True}, "row": {"base_price": None}}),
    "a unit's price above the most": ("0.01 for the least", {"row": {"pricing_model": "per_kb"}, "max_payment": "0.001"}),
    "a session for less than a call": ("a session 0 at most", {"row": {"max_session_amount": 0.005, "requires_preauth": True}}),
    "ahead, and no tables": ("names who is paid", {"rows": [], "pays": "session"}),
    "settings' own price": ("one of them lies", {"rows": [], "pay_to": PAYEE, "price": "0.005"}),
    "credits alone": ("not enough", {"pays": "credits"}),
    "less than a unit": ("no amount", {"document": {**DESIGN, "currency": "SOL", "requiredAmount": "0.000000001"},
                                       "row": {"currency": "SOL", "base_price": "0.000000001", "min_payment": None}}),
}  # fmt: skip


@pytest.mark.parametrize("name", WHYS)
def test_what_cannot_be_paid_is_passed_over_with_the_reason(name):
    words, told = WHYS[name]
    assert words in why(**told)


def test_without_tables_there_is_no_session():
    assert offers(rest_url=None, pay_to=PAYEE, expect=10) == [("proof", 10_000, "USDC", 1)]
    assert "no tables to open one in" in why(rest_url=None, pay_to=PAYEE, pays="session")


def test_what_settings_want_is_done():
    assert offers(pays="proof", expect=10) == [("proof", 10_000, "USDC", 1)]
    assert offers(pays="session") == [(QUOTA, 10_000, "USDC", 1)]


def test_the_least_is_a_floor_and_the_most_of_a_session_a_ceiling():
    assert offers({**DESIGN, "requiredAmount": 0.004}, {"base_price": 0.004}) == [("proof", 10_000, "USDC", 1)]
    assert offers(row={"max_session_amount": 0.057}, expect=100)[0] == (QUOTA, 50_000, "USDC", 5)
    assert offers(row={"requires_preauth": True}) == [(QUOTA, 10_000, "USDC", 1)]


@pytest.mark.parametrize("model", [each for each in WIRE["pricing models"] if each != "per_request"])
def test_what_is_counted_afterwards_holds_the_most(model):
    assert offers(row={"pricing_model": model, "max_payment": 0.2}) == [(QUOTA, 200_000, "USDC", 20), ("proof", 200_000, "USDC", 1)]
    assert offers(row={"pricing_model": model, "max_payment": 0.2}, max_payment="0.05", expect=3)[0] == (QUOTA, 50_000, "USDC", 5)


def test_what_is_counted_afterwards_without_a_most_is_a_persons_to_allow():
    made = found(row={"pricing_model": "per_token"}, expect=3).offers
    assert [(each.amount, each.metered) for each in made] == [(30_000, "per_token")] * 2
    assert not any(each.metered for each in found(row={"pricing_model": "per_token"}, max_payment="0.05").offers)
    asks = reasons(Policy(), asked(), made[0], NOTHING)
    assert "nobody knows what a call costs" in asks[0].what and "max_payment" in asks[0].hint and reasons(Policy(), asked(), found().offers[0], NOTHING) == ()


def test_a_fraction_of_a_unit_is_rounded_up_in_dollars_and_down_in_lamports():
    told = "0.010000000000000001"
    assert offers({**DESIGN, "requiredAmount": told}, {"base_price": told})[0][1] == 10_001
    assert offers({**DESIGN, "currency": "SOL"}, {"currency": "SOL"}) == [("proof", WIRE["lamports"]["units"], "SOL", 1)]


def sol(rate=None, **more):
    details = {} if rate is None else {"conversionRate": rate}
    return {"document": {**DESIGN, "currency": "SOL", "details": details}, "row": {"currency": "SOL"}, **more}


def test_a_rate_is_held_against_our_own_price():
    assert offers(**sol(147))[0][1] == 68_027 and offers(**sol(153))[0][1] == 65_359
    assert "more than 2 % apart" in why(**sol(146)) and "more than 2 % apart" in why(**sol(154)) and "apart" in why(**sol("0.000001"))
    assert offers(**sol(140, worth=(150_000_000, 9_000_000)))[0][1] == 71_428  # our own source is no surer than that
    assert offers(**sol(200, worth=None))[0][1] == 50_000  # policy counts no coin without a price: it is judged there
    assert "nobody says what that is worth" in why(**sol(worth=None))
    assert found(**sol(worth=(149_123_456, 0))).offers[0].wire[3] == "149.123456"


def test_settings_say_the_coin_where_they_say_one():
    assert offers({**DESIGN, "currency": "USD"}, {"currency": "USD"}, currency="SOL")[0][1:3] == (66_666, "SOL")
    assert offers(row={"currency": "SOL"}, currency="USDC")[0][1:3] == (10_000, "USDC")


@pytest.mark.parametrize(
    "said",
    [{"network": "base"}, {"network": "moon"}, {"currency": "EUR"}, {"pays": "later"}, {"hours": "0"}, {"hours": "721"}, {"hours": "1.5"}, {"max_payment": "0"},
     {"price": "-1"}, {"price": "1e3"}, {"service_id": "a;b"}, {"pay_to": "a=b"}],
    ids=lambda each: "-".join(*each.items()),
)  # fmt: skip
def test_settings_that_nobody_can_pay_by_are_an_error(said):
    with pytest.raises(SettingsError, match="of a Lily seller"):
        desk(said)


def test_settings_as_they_stand_by_themselves():
    assert desk({})._asdict() | {"key": ""} == {"rest": "", "key": "", "service_id": "", "service_type": "agent_execution", "pay_to": "",
        "network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "currency": "", "pays": "auto", "most": None, "hours": 24, "price": None, "lacks": ""}  # fmt: skip
    assert desk({"max_payment": "0.50"}).most == Decimal("0.5")


_ANY = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.lists(st.integers(), max_size=2) | st.sampled_from(["0.01", 0.01, PAYEE, "SOL"])


@given(asks=st.dictionaries(st.sampled_from([*DESIGN, "amount"]), _ANY), row=st.dictionaries(st.sampled_from([*CONFIG, "platform_wallet", "conversion_rate"]), _ANY))
def test_whatever_is_said_is_offers_that_are_sound_or_a_reason(asks, row):
    try:
        made = found({**DESIGN, **asks}, row, expect=7)
    except ChallengeInvalid:
        return
    except AttributeError:  # it was none of ours
        assert read({**DESIGN, **asks}) is None
        return
    assert made.offers or made.passed_over
    assert all(0 < each.amount < 1 << 63 and 1 <= each.serves <= 7 for each in made.offers)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f'[{{"service_id":{text}}}]'.encode()))
def test_whatever_a_table_answers_is_a_row_or_a_reason(body):
    made = found(rows=body)
    assert not made.offers and made.passed_over


def test_settings_toml_names_tables_and_a_key_for_one_origin(tmp_path):
    (tmp_path / "settings.toml").write_text(f'[dialects.lily."{HOME}"]\nrest_url = "https://p.example"\nkey_env = "LILY_KEY"\nservice_id = "{SERVICE}"\nhours = "2"\n')
    env = {"X402_AGENT_HOME": str(tmp_path), "LILY_KEY": "k-1"}
    said = Settings.load(env).dialects["lily"][HOME]
    assert said["key"] == "k-1" and "k-1" not in repr(said) and desk(said).hours == 2
    wrong = {"rest_url is not https": 'rest_url = "http://p.example"', "hours is no such text": "hours = 2", "payee is not known": 'payee = "me"',
             "a name is not known": '"K-1" = "me"', "key and key_env both": 'key = "a", key_env = "LILY_KEY"',
             "the variable of key_env is not in": 'key_env = "k-1"'}  # fmt: skip
    for said, line in wrong.items():
        (tmp_path / "settings.toml").write_text(f'[dialects.lily."{HOME}"]\n' + line.replace(", ", "\n"))
        with pytest.raises(SettingsError) as caught:
            Settings.load(env)
        assert "k-1" not in str(caught.value).lower() and said in caught.value.what and "x402pay" not in caught.value.hint
