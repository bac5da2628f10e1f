"""The cheapest offer that every rule allows, never the first; each refusal names its rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x402_agent import assets
from x402_agent.errors import BudgetExceeded, NoAcceptableOffer, PolicyDenied, SettingsError
from x402_agent.model import Ask, Cap, Challenge, Offer
from x402_agent.policy import Bounds, Budget, Policy, choose, micros

TO = "0x" + "ab" * 20


def usdc(name):
    where = assets.network(name)
    return next(a for a in assets.assets() if a.network == where and a.symbol == "USDC")


def offer(amount=10_000, name="base", **change):
    return replace(Offer("x402", "exact", usdc(name), amount, TO, 60), **change)


def ask(origin="https://api.example.com", **options):
    host = origin.partition("://")[2].partition(":")[0]
    return Ask("GET", origin + "/x", origin, host, "/x", **options)


def judged(policy, *offers, what=None, refuses=lambda _: ""):
    return choose(policy, what or ask(), Challenge("x402", offers), refuses)


def test_the_cheapest_is_chosen_not_the_first():
    choice = judged(Policy(), offer(50_000), offer(20_000, "polygon"), offer(30_000, "ethereum"))
    assert choice.offer is not None and choice.offer.amount == 20_000
    assert len(choice.passed_over) == 2


def test_at_one_price_a_flow_in_which_a_failure_is_free_comes_first():
    choice = judged(Policy(), offer(flow="upfront"), offer())
    assert choice.offer is not None and choice.offer.flow == "authorization"


def test_eighteen_decimals_are_compared_by_value():
    mega = next(a for a in assets.assets() if a.decimals == 18)
    cheap = Offer("x402", "exact", mega, 9 * 10**15, TO, 60)
    choice = judged(Policy(), offer(10_000), cheap)
    assert choice.offer is cheap


def test_P1_one_unit_over_the_cap_is_refused_and_the_cap_itself_is_not():
    assert judged(Policy(per_call=10_000), offer(10_000)).offer is not None
    choice = judged(Policy(per_call=10_000), offer(10_001))
    assert choice.offer is None and isinstance(choice.error, BudgetExceeded)
    assert "per_call" in str(choice.error) and "x402-agent budget set --per-call" in str(choice.error)


def test_P17_a_fee_counts_against_the_cap():
    assert judged(Policy(per_call=10_000), offer(9_000, fee_cap=2_000)).offer is None


def test_a_request_can_only_tighten():
    assert judged(Policy(per_call=10_000), offer(9_000), what=ask(caps=(Cap(5_000, "max"),))).offer is None
    assert judged(Policy(per_call=10_000), offer(11_000), what=ask(caps=(Cap(50_000, "max"),))).offer is None


def test_the_lowest_of_all_caps_decides():
    policy = Policy(per_call=50_000, budgets={"host:api.example.com": Bounds(per_call=5_000)})
    error = judged(policy, offer(6_000)).error
    assert isinstance(error, BudgetExceeded) and "per_call of host:api.example.com" in error.rule


@pytest.mark.parametrize("networks, good", [(("mainnet",), False), (("testnet",), True), (("base-sepolia",), True), (("base",), False)])
def test_A3_test_and_real_money_do_not_mix(networks, good):
    choice = judged(Policy(networks=networks), offer(name="base-sepolia"))
    assert (choice.offer is not None) is good
    if not good:
        assert isinstance(choice.error, NoAcceptableOffer) and "X402_AGENT_NETWORKS" in choice.error.hint


def test_a_policy_for_both_worlds_must_say_so():
    with pytest.raises(SettingsError, match="test and real"):
        Policy(networks=("base", "base-sepolia"))
    Policy(networks=("base", "base-sepolia"), mix_networks=True)


@pytest.mark.parametrize("name", ["base ", "Base", "eip155:084532", "eip155:*", "base-sepolia-2", ""])
def test_A5_network_names_are_exact(name):
    with pytest.raises(SettingsError):
        Policy(networks=(name,))


def test_O3_no_money_over_plain_http():
    error = judged(Policy(), offer(), what=ask("http://api.example.com")).error
    assert isinstance(error, PolicyDenied) and "http" in error.what


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost:8000", "http://sandbox.localhost"])
def test_O3_loopback_takes_test_money_and_real_money_only_by_switch(origin):
    assert judged(Policy(networks=("testnet",)), offer(name="base-sepolia"), what=ask(origin)).offer is not None
    assert judged(Policy(), offer(), what=ask(origin)).offer is None
    assert judged(Policy(loopback=True), offer(), what=ask(origin)).offer is not None


@pytest.mark.parametrize("host", ["api.example.com.evil.test", "xapi.example.com", "example.com", "api.example.com.evil"])
def test_O8_an_allow_list_matches_whole_hosts(host):
    policy = Policy(allow=("api.example.com",))
    assert judged(policy, offer()).offer is not None
    assert isinstance(judged(policy, offer(), what=ask(f"https://{host}")).error, PolicyDenied)


def test_a_deny_list_wins():
    error = judged(Policy(allow=("api.example.com",), deny=("api.example.com",)), offer()).error
    assert isinstance(error, PolicyDenied) and "deny" in error.rule


@pytest.mark.parametrize(
    "name", ["API.Example.com", "api.example.com.", "api.example.com:443", "https://api.example.com/", "https://API.example.com:443"]
)  # fmt: skip
def test_O8_a_host_is_recognised_however_a_person_writes_it(name):
    assert isinstance(judged(Policy(deny=(name,)), offer()).error, PolicyDenied)
    assert judged(Policy(allow=(name,)), offer()).offer is not None


def test_O8_a_limit_for_a_host_holds_however_a_person_writes_it():
    policy = Policy(budgets={"host:API.Example.com.": Bounds(per_call=5_000)})
    assert isinstance(judged(policy, offer()).error, BudgetExceeded)


@pytest.mark.parametrize("name", ["*.example.com", "bücher.example", "api.example.com/paid", "user@example.com", "a b", ""])
def test_O8_a_rule_that_could_never_apply_is_no_rule(name):
    for options in ({"deny": (name,)}, {"allow": (name,)}, {"budgets": {f"host:{name}": Bounds(per_call=1)}}):
        with pytest.raises(SettingsError, match="no request goes to"):
            Policy(**options)


@pytest.mark.parametrize("name", ["::1", "127.0.0.1", "localhost", "xn--bcher-kva.example", "my_host"])
def test_O8_hosts_of_every_kind_can_be_limited(name):
    assert Policy(budgets={f"host:{name}": Bounds(per_call=1)}, allow=(name,)).budgets[f"host:{name}"].per_call == 1


@pytest.mark.parametrize("name", ["https://api.example.com", "api.example.com:8443"])
def test_O8_limits_are_for_hosts_not_origins(name):
    assert Policy(deny=(name,)).deny == (name,)
    with pytest.raises(SettingsError):
        Policy(budgets={f"host:{name}": Bounds(per_call=1)})


def test_a_chain_that_cannot_pay_is_no_refusal_by_policy():
    error = judged(Policy(), offer(), refuses=lambda _: "no key for base").error
    assert isinstance(error, NoAcceptableOffer) and "X402_AGENT_EVM_KEY" in error.hint


def test_an_unlisted_asset_is_passed_over():
    assert judged(Policy(assets=("USDT0",)), offer()).offer is None
    assert judged(Policy(assets=("USDC",)), offer()).offer is not None
    with pytest.raises(SettingsError, match="no token of the table"):
        Policy(assets=("USDC", "EURC"))


def test_limits_for_the_ledger_name_their_rules():
    policy = Policy(day=5, total=7, budgets={"host:api.example.com": Bounds(day=3)})
    found = {(limit.scope, limit.window): limit.most for limit in policy.limits(ask(), offer())}
    assert found == {("all", "day"): 5, ("all", "total"): 7, ("host:api.example.com", "day"): 3}


def test_a_budget_in_code():
    policy = Policy().with_budget(Budget("2.50/day", per_call="0.05"))
    assert (policy.day, policy.per_call, policy.total) == (2_500_000, 50_000, None)
    assert Policy().with_budget(Budget("9")).total == 9_000_000


@pytest.mark.parametrize("text", ["1e4", "-1", "", "0x10", "1_000", "١", "１", "nan", "0.0000001", 0.1, True, None])
def test_P5_P6_money_is_plain_decimal_text(text):
    with pytest.raises(SettingsError):
        micros(text)


def test_money_in_words():
    assert micros("0.10") == 100_000 and micros("$5") == 5_000_000 and micros(3) == 3_000_000


def test_at_one_price_what_needs_no_allowance_comes_first():
    choice = judged(Policy(), offer(method="permit2"), offer())
    assert choice.offer is not None and choice.offer.method == ""
    assert judged(Policy(), offer(9_999, method="permit2"), offer()).offer == offer(9_999, method="permit2")


def lacking(policy, *offers, lacks=lambda each: "not allowed yet" if each.method else ""):
    return choose(policy, ask(), Challenge("x402", offers), lambda _: "", lacks)


def test_D3_what_lacks_an_allowance_is_passed_over_for_a_dearer_offer_that_does_not():
    choice = lacking(Policy(), offer(9_000, method="permit2"), offer(10_000))
    assert choice.offer == offer(10_000)
    assert choice.passed_over == ((offer(9_000, method="permit2"), "not allowed yet"),)


@pytest.mark.parametrize(
    ("amount", "units"),
    [(1, 1), (10_000, 1), (100_000, 1), (100_001, 2), (200_001, 5), (500_001, 10), (1_000_000, 10), (2_000_000, 20)],
)
def test_D3_the_command_that_a_person_runs_is_the_hint(amount, units):
    error = lacking(Policy(per_call=10**9), offer(amount, "polygon", method="permit2")).error
    assert isinstance(error, NoAcceptableOffer) and "not allowed yet" in error.what
    assert error.hint == f"x402-agent wallet approve USDC --for permit2 --amount {units} --network polygon"


def test_an_offer_over_the_cap_is_never_asked_for_its_allowance():
    def never(each):
        raise AssertionError(each)

    error = lacking(Policy(per_call=10_000), offer(10_001, method="permit2"), lacks=never).error
    assert isinstance(error, BudgetExceeded)


def test_an_allowance_that_would_help_is_named_before_a_limit_that_would_not():
    error = lacking(Policy(per_call=10_000), offer(10_000, method="permit2"), offer(20_000)).error
    assert isinstance(error, NoAcceptableOffer) and "wallet approve" in error.hint


def test_what_its_own_answer_rules_out_is_not_blamed_on_networks():
    """Its dialect passed everything over: no rule about networks was asked."""
    broken = Challenge("x402", (), ("accepts[0]: the checksum of payTo is wrong (R2)",))
    error = choose(Policy(networks=("testnet",)), ask(), broken, lambda _: "").error
    assert isinstance(error, NoAcceptableOffer) and error.rule == "what the seller's own answer says" and "(R2)" in error.what
    assert error.hint == "x402-agent get --dry-run https://api.example.com/x"
    error = judged(Policy(), offer(), refuses=lambda _: "its payee is our own account").error
    assert error is not None and "networks" not in error.rule and error.hint.startswith("x402-agent get --dry-run https://")
