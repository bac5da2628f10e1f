"""One key is changed among others: every other line stays, and the file says what was meant and nothing else."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x402_agent.errors import SettingsError
from x402_agent.policy.edit import change
from x402_agent.policy.lines import Lines, spans

MESSY = """# mine
per_call = '0.30'   # dear # very
allow = [
  "day = 5",   # not a rule
  "[hosts.x]",
]
"deny" = []
"source" = "x"

# this seller is odd
[ hosts . "h.test" ]   # a table
day = "1"

[budgets."host:a.test"]
hour="0.5"
note = \"\"\"
day = "9"
[budgets.all]
\"\"\"
[budgets]
"agent:b" = {day = "1", hour = "2"}
[budgets.'agent:c']
"""


def test_each_key_stands_on_its_line():
    at = spans(MESSY)
    assert {names: span.first + 1 for names, span in at.items()} == {
        ("per_call",): 2, ("allow",): 3, ("deny",): 7, ("source",): 8, ("hosts", "h.test"): 11, ("hosts", "h.test", "day"): 12,
        ("budgets", "host:a.test"): 14, ("budgets", "host:a.test", "hour"): 15, ("budgets", "host:a.test", "note"): 16,
        ("budgets",): 20, ("budgets", "agent:b"): 21, ("budgets", "agent:c"): 22,
    }  # fmt: skip
    assert at["allow",].last == 5


EDITS = [((), "day"), ((), "per_call"), (("hosts", "h.test"), "day"), (("hosts", "h.test"), "hour"), (("budgets", "host:a.test"), "hour"),
         (("budgets", "agent:c"), "day"), (("budgets", "new one"), "calls"), ((), "allow")]  # fmt: skip
VALUES = st.sampled_from(['"5.00"', "2026-12-31", '["20/minute", "1/day"]', "true"])


@given(st.lists(st.tuples(st.sampled_from(EDITS), VALUES), max_size=6))
def test_any_row_of_changes_says_what_was_meant_and_keeps_every_other_line(changes):
    lines, wanted = Lines(MESSY), tomllib.loads(MESSY)
    for (table, key), value in changes:
        lines.put(table, key, value)
        where = wanted
        for name in table:
            where = where.setdefault(name, {})
        where[key] = tomllib.loads(f"v = {value}")["v"]
    made = lines.text("p")
    assert tomllib.loads(made) == wanted
    touched = {key for (_, key), _ in changes}
    for line in MESSY.splitlines():
        if line.startswith("#") or (not any(line.startswith(key) for key in touched) and "allow" not in touched):
            assert line in made.splitlines()
    if "per_call" in touched:
        assert "# dear # very" in made


def test_what_cannot_be_changed_safely_is_not_changed(tmp_path):
    path = tmp_path / "policy.toml"
    for text in ('budgets = {"agent:b" = {day = "1"}}\n', '[budgets]\n"agent:b".day = "1"\n', '[budgets]\n"agent:b" = {day = "1"}\n'):
        path.write_text(text)
        try:
            change(path, "agent:b", {"day": '"2"'})
        except SettingsError as why:
            assert "by hand" in why.hint and path.read_text() == text
        else:
            assert tomllib.loads(path.read_text()) == {"budgets": {"agent:b": {"day": "2"}}}


def test_a_link_stays_a_link_and_a_folder_that_cannot_be_written_says_so(tmp_path):
    real = tmp_path / "dotfiles" / "policy.toml"
    real.parent.mkdir()
    real.write_text('day = "1"\n')
    link = tmp_path / "policy.toml"
    link.symlink_to(real)
    assert change(link, "all", {"day": '"2"'}) == {"day": f"{real}:1"}
    assert link.is_symlink() and real.read_text() == 'day = "2"\n'
    assert list(real.parent.iterdir()) == [real]


@pytest.mark.parametrize("value", ['"0.1', "1e5\nx = 1", '"5.00"\n[budgets.all]'])
def test_a_value_that_is_none_changes_nothing(tmp_path, value):
    path = tmp_path / "policy.toml"
    with pytest.raises((SettingsError, tomllib.TOMLDecodeError, KeyError)):
        change(path, "all", {"day": value})
    assert not path.exists()
