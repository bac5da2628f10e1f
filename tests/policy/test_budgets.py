"""Budgets of every scope: which apply to a payment, which deny it, and what the refusal tells to type."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from x402_agent import assets
from x402_agent.errors import BudgetExceeded, PolicyDenied, SettingsError
from x402_agent.model import Ask, Cap, Challenge, Limit, Offer, Under
from x402_agent.policy import Bounds, Budget, Policy, choose
from x402_agent.policy.facts import Nothing
from x402_agent.policy.file import parse

TO = "0x" + "aB" * 20
USDC = next(a for a in assets.assets() if a.network.name == "base" and a.symbol == "USDC")
UNDER = Under("scout", "team", "research/prices", ("r1",), "search", "")


def ask(url="https://api.example.com/v1/day", under=UNDER, **options):
    origin, _, path = url.partition("://")[2].partition("/")
    return Ask("GET", url, f"https://{origin}", origin.partition(":")[0], f"/{path}", under=under, **options)


def offer(amount=10_000, asset=USDC, **options):
    return Offer("x402", "exact", asset, amount, TO, 60, **options)


class At(Nothing):
    def __init__(self, when):
        self.when = when.timestamp()

    def now(self):
        return self.when


def judged(policy, what=None, money=None, **options):
    return choose(policy, what or ask(), Challenge("x402", (money or offer(),)), lambda _: "", **options)


OTHER = next(a.symbol for a in assets.assets() if a.symbol != "USDC")
SCOPES = [
    "all", "group:team", "agent:scout", "task:research", "task:research/prices", "tool:search", "category:weather",
    "host:api.example.com", "origin:https://api.example.com", "path:https://api.example.com/v1", f"payee:{TO}",
    f"payee:base/{TO}", "payee:eip155:8453/" + TO.lower(), "asset:USDC", f"asset:{USDC.id}", "each:host", "each:payee", "each:tool",
]  # fmt: skip
ELSEWHERE = [
    "group:other", "agent:scouts", "task:prices", "task:research/other", "tool:searches", "category:news", "host:example.com",
    "host:api.example.com.evil.test", "origin:https://api.example.com:8443", "path:https://api.example.com/v", "path:https://api.example.com/v1/days",
    "payee:0x" + "ab" * 19 + "ac", f"payee:polygon/{TO}", f"asset:{OTHER}",
]  # fmt: skip


@pytest.mark.parametrize("scope", SCOPES)
def test_a_budget_of_every_scope_binds(scope):
    policy = Policy(budgets={scope: Bounds(per_call=9_999, hour=5, calls=((3, "minute"),))}, categories={"weather": ("api.example.com",)})
    error = judged(policy).error
    assert isinstance(error, BudgetExceeded) and "0.009999" in error.what
    found = judged(policy, money=offer(9_999))
    mine = [limit for limit in found.limits if limit.most in (5, 3)]
    assert {(limit.window, limit.unit) for limit in mine} == {("hour", "micros"), ("minute", "payments")}
    assert not any(limit.scope.startswith("each:") for limit in found.limits)


@pytest.mark.parametrize("scope", ELSEWHERE)
def test_a_budget_of_another_scope_does_not(scope):
    policy = Policy(budgets={scope: Bounds(per_call=1, hour=5)})
    found = judged(policy)
    assert found.offer is not None and [limit.window for limit in found.limits] == ["day"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_hint_is_a_command_that_widens_just_this_budget(scope, tmp_path):
    from typer.testing import CliRunner

    from x402_agent.cli.app import app

    policy = Policy(budgets={scope: Bounds(per_call=9_999)}, categories={"weather": ("api.example.com",)}, source="policy.toml")
    words = judged(policy).error.hint.split()
    assert words[:4] == ["x402-agent", "budget", "set", "--per-call"]
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    written = (tmp_path / "home" / "policy.toml").read_text()
    widened = parse(written + '\n[categories]\nweather = ["api.example.com"]\n', "p")
    assert judged(widened).offer is not None
    assert (len(widened.budgets) == 1) is (scope != "all")


def test_every_budget_that_applies_must_have_room_and_a_narrow_one_lifts_none():
    policy = Policy(per_call=10_000, budgets={"host:api.example.com": Bounds(per_call=50_000)})
    assert judged(policy, money=offer(10_001)).offer is None
    assert judged(policy, money=offer(10_000)).offer is not None
    tight = ask(caps=(Cap(1, "max"),), limits=(Limit("run:r1", "total", 7),))
    assert judged(policy, tight, offer(2)).offer is None and judged(policy, tight, offer(1)).offer is not None
    assert Limit("run:r1", "total", 7) in policy.limits(tight, offer())


@pytest.mark.parametrize("state", ["paused", "revoked"])
@pytest.mark.parametrize("scope", [s for s in SCOPES if not s.startswith("each:")])
def test_a_budget_that_is_not_active_pays_nothing(scope, state):
    policy = Policy(budgets={scope: Bounds(state=state)}, categories={"weather": ("api.example.com",)})
    error = judged(policy).error
    assert isinstance(error, PolicyDenied) and state in error.what and "state" in error.rule
    other = ask("https://other.example/", under=Under())
    elsewhere = choose(policy, other, Challenge("x402", (Offer("x402", "exact", USDC, 1, "0x" + "77" * 20, 60),)), lambda _: "")
    assert (elsewhere.offer is None) is (scope in ("all", "asset:USDC", f"asset:{USDC.id}"))


def test_a_budget_pays_until_the_end_of_its_last_day_utc():
    policy = parse('[budgets."agent:scout"]\nuntil = 2026-11-30\n', "policy.toml")
    last = At(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
    assert judged(policy, facts=last).offer is not None
    error = judged(policy, facts=At(datetime(2026, 12, 1, tzinfo=UTC))).error
    assert "expired" in error.what and "policy.toml:2" in error.rule and "--until" in error.hint


def test_categories_come_from_policy_and_task_and_each_counts_once():
    policy = Policy(budgets={"category:weather": Bounds(day=5), "category:mine": Bounds(day=6), "category:deep": Bounds(day=7)},
                    categories={"weather": ("api.example.com", "https://api.example.com/v1"), "deep": ("https://api.example.com/v1",)})  # fmt: skip
    what = ask(under=Under(category="mine"))
    for _ in range(3):
        found = judged(policy, what)
    assert what.under.category == "mine,weather,deep"
    assert sorted(limit.most for limit in found.limits if limit.scope.startswith("category:")) == [5, 6, 7]


def test_a_path_cannot_be_walked_around():
    import httpx

    from x402_agent.transport.wire import ask as made

    policy = Policy(budgets={"path:https://api.example.com/v1": Bounds(per_call=1)})
    for path in ("/v1", "/v1/", "/v1/day", "//v1/day", "/./v1/day", "/x/../v1/day", "/%76%31/day", "/v1//day", "/v1/%2e%2e/v1/day", "/v1?x=/../.."):
        what = made(httpx.Request("GET", "https://api.example.com" + path), httpx)
        assert judged(policy, what).offer is None, path
    for path in ("/", "/v10", "/v1%2Fday", "/v1/../v2/day"):
        what = made(httpx.Request("GET", "https://api.example.com" + path), httpx)
        assert judged(policy, what).offer is not None, path


def test_units_bound_an_asset_whatever_it_is_worth():
    policy = parse(f'[budgets."asset:{USDC.id}"]\nper_call_units = "0.009"\nday_units = "1.5"\n', "policy.toml")
    error = judged(policy).error
    assert isinstance(error, BudgetExceeded) and "policy.toml:2" in error.rule and "--per-call-units" in error.hint
    assert Limit(f"asset:{USDC.id}", "day", 1_500_000, f"day_units of asset:{USDC.id} in policy.toml:3", "a larger number in that line",
                 "units") in judged(policy, money=offer(9_000)).limits  # fmt: skip


@pytest.mark.parametrize(("text", "field"), [("1/minute", "minute"), ("1/hour", "hour"), ("1/month", "month"), ("1/day", "day"), ("1", "total")])
def test_a_budget_in_code_for_every_window(text, field):
    policy = parse('total = "100"\n[budgets.all]\nminute = "50"\n', "p").with_budget(Budget(text))
    limits = {limit.window: limit for limit in policy.limits(ask(), offer())}
    assert limits[field].most == 1_000_000 and limits[field].hint == "a larger Budget(…) in code"
    assert limits["minute"].most == (1_000_000 if field == "minute" else 50_000_000)
    assert ("day" in limits) is (field not in ("month", "total"))


def test_all_in_a_table_is_the_same_as_at_the_top():
    assert parse('[budgets.all]\nday = "3"\nper_call = "0.5"\n', "p")._rules["all"] == parse('per_call = "0.5"\nday = "3"', "p")._rules["all"]._replace(
        limits=tuple(Limit("all", "day", 3_000_000, "day in p:2", "x402-agent budget set 6.00/day") for _ in "1"),
        cap=Cap(500_000, "per_call in p:3", "x402-agent budget set --per-call {amount}"),
    )  # fmt: skip
    with pytest.raises(SettingsError, match="day stands twice"):
        parse('day = "3"\n[budgets.all]\nday = "4"\n', "p")
    with pytest.raises(SettingsError, match="stands twice"):
        parse('[hosts."a.test"]\nday = "3"\n[budgets."host:A.test."]\nday = "4"\n', "p")
    merged = parse('[hosts."a.test"]\nday = "3"\n[budgets."host:a.test"]\nhour = "1"\n', "p")
    assert merged.budgets == {"host:a.test": Bounds(day=3_000_000, hour=1_000_000)}


@pytest.mark.parametrize(
    "scope",
    ["", "all:x", "host:", "host:https://x", "host:a/b", "origin:x.example", "origin:ftp://x", "path:https://x.example", "path:https://x/" + "/".join("a" * 20),
     "path:x.example/v1", "payee:0x12", "payee:vitalik.eth/..", "payee:nowhere/" + TO, "asset:DOGE", "asset:eip155:8453/erc20:0x00", "each:path", "each:run",
     "agent:", "agent:a,b", "agent: a", "agent:a\nb", "tool:" + "x" * 200, "run:abc", "Host:x", "task:" + "a/" * 20 + "a", "task:a//b", "task:/a", "category:"],
)  # fmt: skip
def test_a_scope_that_no_payment_has_is_no_scope(scope):
    with pytest.raises(SettingsError):
        Policy(budgets={scope: Bounds(day=1)})
