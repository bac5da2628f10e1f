"""What our own transactions cost counts, in their network's own coin, in the transaction that writes them down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from x402_agent import Policy, Settings
from x402_agent.broadcast import plan, send
from x402_agent.chains.evm.permit2 import PERMIT2
from x402_agent.cli.app import app
from x402_agent.errors import BudgetExceeded, PaymentInDoubt
from x402_agent.policy.fees import Gas
from x402_agent.steps import Fetched

from .conftest import NETWORK, USDC

START = 1_000_000_000


def payer_with(world, **gas):
    payer = world.payer()
    own = Gas(gas.pop("per_call", None), tuple(gas.items()))
    where = {f"gas.base-sepolia.{key}": f"policy.toml:{line}" for line, key in enumerate(("per_call", "day", "total"), 1)}
    payer.policy = Policy(networks=("base-sepolia",), gas={NETWORK: own}, where=where)
    return payer


def planned(world, payer, amount):
    return world.drive(plan(payer, USDC, PERMIT2, amount, max_fee=10**18))


def approve(world, payer, amount):
    return world.drive(send(payer, planned(world, payer, amount), patience=60, say=world.say.append))


def test_gas_counts_in_its_own_coin_and_refuses_by_the_line(world):
    free = world.payer()
    row = approve(world, free, START + 1)
    assert free.ledger.fees(NETWORK, "day") == row.fee_paid > 0
    payer = payer_with(world, day=row.fee_paid + row.fee_cap)
    approve(world, payer, START + 2)  # fits by a hair: what was paid, and the most of this one
    with pytest.raises(BudgetExceeded, match="is left for gas") as why:
        planned(world, payer, START + 3)
    assert why.value.rule == "gas.base-sepolia.day in policy.toml:2" and len(payer.ledger.transactions()) == 2
    assert payer.ledger.verify() == []


def test_one_that_costs_too_much_by_itself(world):
    payer = payer_with(world, per_call=1)
    with pytest.raises(BudgetExceeded) as why:
        approve(world, payer, START + 1)
    assert why.value.rule == "gas.base-sepolia.per_call in policy.toml:1" and world.sent() == []


def test_one_in_doubt_counts_its_most_and_the_ledger_looks_again_when_it_writes(world):
    payer = payer_with(world)
    first = planned(world, payer, START + 1)
    world.lies["eth_sendRawTransaction"] = Fetched(0, {}, b"")
    payer.policy = replace(payer.policy, gas={NETWORK: Gas(None, (("total", first.fee_cap * 3 // 2),))})
    with pytest.raises(PaymentInDoubt):
        world.drive(send(payer, first, patience=30, say=world.say.append))
    assert payer.ledger.fees(NETWORK, "total") == first.fee_cap
    (row,) = payer.ledger.transactions()
    with pytest.raises(BudgetExceeded) as why:
        payer.ledger.build(replace(row, txid="0x" + "12" * 32, account_nonce=row.account_nonce + 1), row.account_nonce,
                           _limits(payer))  # fmt: skip
    assert why.value.rule == "gas.base-sepolia.total in policy.toml:3" and len(payer.ledger.transactions()) == 1


def _limits(payer):
    from x402_agent.policy.fees import gas_of

    return gas_of(payer.policy, USDC.network, 1)


def test_budget_shows_what_gas_may_cost(tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    policy = Settings.load().policy_path
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text('[gas.base]\nper_call = "0.001"\nday = "0.0025"\n')
    rows = {(row["scope"], row["key"]): row for row in json.loads(CliRunner().invoke(app, ["budget", "--json"]).output)}
    assert rows["gas:base", "day"]["most"] == "0.0025 coins/day" and rows["gas:base", "day"]["left"] == "0.0025"
    assert rows["gas:base", "per_call"]["rule"] == f"gas.base.per_call in {policy}:2"
