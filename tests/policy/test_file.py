"""policy.toml is read strictly, refusals name its lines, and the budget command keeps what it does not change."""

from __future__ import annotations

import pytest

from x402_agent.errors import SettingsError
from x402_agent.policy import Bounds, edit, load


def written(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


def test_no_file_is_the_default(tmp_path):
    policy = load(tmp_path / "none.toml")
    assert (policy.per_call, policy.day, policy.networks) == (100_000, 5_000_000, ("mainnet",))


def test_every_rule_with_its_line(tmp_path):
    path = written(tmp_path, '# mine\nper_call = "0.20"\nnetworks = ["base"]\n\n[hosts."api.example.com"]\nday = "1"\n')
    policy = load(path)
    assert policy.per_call == 200_000 and policy.budgets == {"host:api.example.com": Bounds(day=1_000_000)}
    assert policy.place("per_call") == f"per_call in {path}:2"
    assert policy.place("day", "host:api.example.com").endswith(":6")


@pytest.mark.parametrize(
    "text, line",
    [
        ("per_call = 0.1", 1),
        ('\nper_call = "1e3"', 2),
        ('perr_call = "1"', 1),
        ("allow = 'x'", 1),
        ("loopback = 1", 1),
        ('[hosts."h"]\nday = 1.5', 2),
        ('[hosts."h"]\nweek = "1"', 2),
        ("max_lifetime = 9999", 1),
        ("max_lifetime = '5'", 1),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, line):
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as found:
        load(path)
    assert f"{path}:{line}" in found.value.rule


def test_text_that_is_no_toml(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load(written(tmp_path, "per_call = "))


def test_writing_a_budget_keeps_the_rest(tmp_path):
    path = written(tmp_path, '# a comment\ndeny = ["x.test"]\nper_call = "0.30"  # dear\n\n# mine\n[hosts."h.test"]\nday = "1"\n')
    said = edit.change(path, "all", {"day": '"5.00"', "per_call": '"0.10"'})
    assert said == {"day": f"{path}:4", "per_call": f"{path}:3"}
    text = path.read_text()
    assert "# a comment" in text and 'deny = ["x.test"]' in text and 'per_call = "0.10"   # dear' in text and "\n# mine\n[hosts" in text
    edit.change(path, "host:h.test", {"day": '"2"'})
    edit.change(path, "host:api.example.com", {"per_call": '"0.05"', "total": '"1"'})
    policy = load(path)
    assert policy.budgets == {"host:h.test": Bounds(day=2_000_000), "host:api.example.com": Bounds(per_call=50_000, total=1_000_000)}
    assert policy.day == 5_000_000 and policy.deny == ("x.test",)
    assert path.stat().st_mode & 0o77 == 0 and [each.name for each in tmp_path.iterdir()] == ["policy.toml"]


def test_a_budget_that_would_break_the_file_is_not_written(tmp_path):
    path = written(tmp_path, 'networks = ["nowhere"]\n')
    with pytest.raises(SettingsError):
        edit.change(path, "all", {"day": '"1"'})
    assert path.read_text() == 'networks = ["nowhere"]\n'
