"""Fees: of each kind by itself, and what our own transactions cost in their network's coin (P17, C8)."""

from __future__ import annotations

import pytest

from policy.test_choose import judged, offer
from x402_agent import Policy, PolicyDenied, SettingsError, assets
from x402_agent.errors import BudgetExceeded
from x402_agent.policy import load
from x402_agent.policy.fees import Gas, gas_of

BASE = assets.network("base")


def denied(policy, **fees):
    found = judged(policy, offer(10_000, **fees))
    return None if found.offer is not None else found.error


@pytest.mark.parametrize("kind", ["facilitator", "priority", "network"])
def test_P17_each_kind_has_a_cap_of_its_own(kind, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(f'per_call = "1"\nmax_{kind}_fee = "0.001"\n')
    policy = load(path)
    assert denied(policy, fee_cap=1_000, fees=((kind, 1_000),)) is None
    error = denied(policy, fee_cap=1_001, fees=((kind, 1_001),))
    assert isinstance(error, PolicyDenied) and error.rule == f"max_{kind}_fee in {path}:2" and f"{kind} fees" in error.what
    other = "network" if kind == "priority" else "priority"
    assert denied(policy, fee_cap=5_000, fees=((other, 5_000),)) is None
    assert denied(policy, fee_cap=5_000, fees=((other, 4_000),)) is None, "the rest may be of this kind, and fits"
    assert denied(policy, fee_cap=5_000, fees=((other, 3_999),)).rule == error.rule, "what no kind is named for may be of any"
    assert denied(policy, fee_cap=1_001).rule == error.rule
    assert denied(policy, fee_cap=20_001, fees=((other, 20_001),)).rule.startswith("max_fee in")


@pytest.mark.parametrize("fees", [(("priority", 11),), (("priority", -1),), (("gratuity", 1),), (("priority", 1), ("priority", 2))])
def test_fees_that_do_not_add_up_are_denied(fees):
    assert "do not add up" in denied(Policy(), fee_cap=10, fees=fees).what


def test_fees_count_in_every_budget():
    assert offer(10_000, fee_cap=500, fees=(("priority", 500),)).micros == 10_500


def test_gas_is_read_in_whole_coins_with_its_lines(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('per_call = "1"\n\n[gas.base]\nper_call = "0.001"\nday = "0.0025"\n')
    policy = load(path)
    assert policy.gas == {BASE.id: Gas(10**15, (("day", 25 * 10**14),))}
    (limit,) = gas_of(policy, BASE, 10**15)
    assert (limit.most, limit.window, limit.rule) == (25 * 10**14, "day", f"gas.base.day in {path}:5")
    with pytest.raises(BudgetExceeded) as why:
        gas_of(policy, BASE, 10**15 + 1)
    assert why.value.rule == f"gas.base.per_call in {path}:4" and "0.001000000000000001" in why.value.what
    assert gas_of(policy, assets.network("polygon"), 10**20) == ()
    assert assets.network("base").coins(25 * 10**14) == "0.0025"


@pytest.mark.parametrize("text", [
    "gas = 1", "[gas]\nbase = 1", '[gas.nowhere]\nday = "1"', "[gas.base]\nday = 0.1", '[gas.base]\nweek = "1"', '[gas.base]\nday = "-1"',
    '[gas.base]\nday = "1e3"', '[gas.base]\nday = "0.0000000000000000001"', '[gas.base]\nday = "1"\n[gas."eip155:8453"]\nday = "2"',
    'max_priority_fee = "-1"', "max_network_fee = 0.1",
])  # fmt: skip
def test_what_is_no_limit_is_refused_with_its_line(text, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as why:
        load(path)
    assert f"{path}:" in why.value.rule
