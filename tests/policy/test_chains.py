"""`[chains]` of policy.toml: strict, with its line."""

from __future__ import annotations

import pytest

from x402_agent.errors import SettingsError
from x402_agent.policy.file import parse


def test_trust_is_off_unless_a_person_writes_it():
    assert parse("", "policy.toml").chains.trusting is False
    assert parse("[chains]\ntrust_blockhash = true", "policy.toml").chains.trusting is True
    assert parse("[chains]\ntrust_blockhash = false", "policy.toml").chains.trusting is False


@pytest.mark.parametrize(
    ("text", "words"),
    [("\nchains = true", "chains is a table"), ("[chains]\ntrust_blokhash = true", "no rule 'trust_blokhash'"),
     ("[chains]\ntrust_blockhash = 1", "true or false"), ('[chains]\ntrust_blockhash = "yes"', "true or false")],
)  # fmt: skip
def test_what_is_misspelt_is_an_error_with_its_line(text, words):
    with pytest.raises(SettingsError, match=words) as caught:
        parse(text, "policy.toml")
    assert caught.value.rule == "policy.toml:2"


def test_what_a_transaction_may_cost_its_chain_is_said_in_whole_coins():
    text = '[chains.fees]\nsolana = "0.0022"\nevm = "0.001"\nstacks = "1"\ntron = "27.5"'
    assert parse(text, "policy.toml").chains.fees == {"solana": 2_200_000, "eip155": 10**15, "stacks": 10**6, "tron": 27_500_000}
    assert parse("[chains]\ntrust_blockhash = true", "policy.toml").chains.fees == {}


@pytest.mark.parametrize(
    "line", ["solana = 0.0022", 'solana = "-1"', 'solana = "1e-3"', 'solana = "0.0000000001"', 'stacks = "0.0000001"', 'eip155 = "1"', 'solana = ""',
             'solana = "١"', "solana = true", 'solana = "1 "']
)  # fmt: skip
def test_a_fee_that_is_no_amount_is_an_error_with_its_line(line):
    with pytest.raises(SettingsError) as caught:
        parse(f"[chains.fees]\n{line}", "policy.toml")
    assert caught.value.rule == "policy.toml:2" and caught.value.hint


def test_fees_are_a_table():
    with pytest.raises(SettingsError, match="is a table"):
        parse('[chains]\nfees = "1"', "policy.toml")
