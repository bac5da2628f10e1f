"""policy.toml is read strictly, refusals name its lines, and the budget command keeps what it does not change."""

from __future__ import annotations

import pytest

from x402_agent.errors import SettingsError
from x402_agent.policy import Budget, HostRule, load, write_budget


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
    assert policy.per_call == 200_000 and policy.hosts == {"api.example.com": HostRule(day=1_000_000)}
    assert policy.place("per_call") == f"per_call in {path}:2"
    assert policy.place("hosts.api.example.com.day").endswith(":6")


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
    path = written(tmp_path, '# a comment\ndeny = ["x.test"]\nper_call = "0.30"\n')
    said = write_budget(path, Budget("5.00/day", per_call="0.10"), per_call=None, host="")
    text = path.read_text()
    assert "# a comment" in text and 'deny = ["x.test"]' in text and '"0.30"' not in text
    assert any(line.endswith(":3") for line in said)
    write_budget(path, Budget("1/total"), per_call="0.05", host="api.example.com")
    policy = load(path)
    assert policy.hosts == {"api.example.com": HostRule(per_call=50_000, total=1_000_000)}
    assert policy.day == 5_000_000 and policy.deny == ("x.test",)
    assert path.stat().st_mode & 0o77 == 0


def test_a_budget_that_would_break_the_file_is_not_written(tmp_path):
    path = written(tmp_path, 'networks = ["nowhere"]\n')
    with pytest.raises(SettingsError):
        write_budget(path, Budget("1/day"), per_call=None, host="")
    assert path.read_text() == 'networks = ["nowhere"]\n'
