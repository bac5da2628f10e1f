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
