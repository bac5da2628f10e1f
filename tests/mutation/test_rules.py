"""Every broken rule of the chains is noticed: a few of them here, all in the long run."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("broken_rules", Path(__file__).with_name("rules.py"))
rules = importlib.util.module_from_spec(_SPEC)
sys.modules["broken_rules"] = rules
_SPEC.loader.exec_module(rules)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return rules.copied(tmp_path_factory.mktemp("rules"))


def test_there_is_a_rule_for_every_family_and_each_is_a_program():
    assert len(rules.RULES) >= 40 and len({rule.what for rule in rules.RULES}) == len(rules.RULES)
    for family in ("evm", "solana", "stacks", "tron"):
        assert sum(f"chains/{family}/" in rule.file for rule in rules.RULES) >= 8, family
    for rule in rules.RULES:
        source = (rules.ROOT / "x402_agent" / rule.file).read_text("utf-8")
        assert ast.dump(ast.parse(source.replace(rule.old, rule.new))) != ast.dump(ast.parse(source)) or rule.old not in source, rule.what
        assert rule.tests and all((rules.ROOT / path).exists() for path in rule.tests), rule.what


@pytest.mark.parametrize("what", ["Stacks: a token named twice may be two"])
def test_a_broken_rule_is_noticed(copy, what):
    (rule,) = [rule for rule in rules.RULES if rule.what == what]
    assert rules.noticed(copy, rule)


def test_a_rule_that_stands_there_no_more_is_an_error(copy):
    with pytest.raises(ValueError, match="has 0 of"):
        rules.noticed(copy, rules.RULES[0]._replace(old="what nobody wrote"))


@pytest.mark.full
@pytest.mark.parametrize("room", ["chains", "transport"])
def test_with_every_rule_whole_nothing_fails(copy, room):
    """A process for each: virtual machines of chains beside servers in threads may end one with a signal after the last test."""
    assert rules.passed(copy, rules.judges([rule for rule in rules.RULES if (room == "transport") == rule.file.startswith("transport/")]))


@pytest.mark.full
@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.what)
def test_every_broken_rule_is_noticed(copy, rule):
    assert rules.noticed(copy, rule)
