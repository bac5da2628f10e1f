"""What a person edits while somebody is asked binds the payment that is asked about: it is judged again, by the rules of then."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from x402_agent import BudgetExceeded, PolicyDenied
from x402_agent.policy import Live, load
from x402_agent.policy.bounds import Often

BASE = 'networks = ["base-sepolia"]\napprove_above = "0"\nper_call = "0.10"\n'


class Quick(Live):
    pause = 0.02


@pytest.fixture(params=["sync"])  # what is judged knows of no driver; one test below asks in all three
def world(request):
    return request.param


@pytest.fixture
def edited(shop, tmp_path):
    """A payer on a policy.toml; `payer.edits(text)` is what a person writes there before he says yes."""
    path = tmp_path / "policy.toml"
    path.write_text(BASE)

    def make(text=None, **options):
        payer = shop(lambda request: (text is None or (path.unlink() if text == "" else path.write_text(text))) is None or True, **options)
        payer.policy, payer.live = load(path), Quick(path, lambda: load(path))
        return payer

    return make


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BASE.replace("0.10", "0.001"), "per_call in"),
        (BASE + 'deny = ["HOST"]\n', "deny in"),
        (BASE + 'allow = ["b.example"]\n', "allow in"),
        (BASE + '[budgets."host:HOST"]\nstate = "paused"\n', "state of host:HOST in"),
        (BASE + '[budgets."host:HOST"]\nuntil = 2020-01-01\n', "until of host:HOST in"),
        (BASE + 'day = "0.005"\n', "day in"),
        (BASE + '[budgets."each:payee"]\nday = "0.005"\n', "day of each:payee in"),
        (BASE + '[budgets."path:ORIGIN/joke"]\ncalls = "1/hour"\n', None),
        (BASE.replace("base-sepolia", "base"), "networks in"),
        (BASE + "ask_new_payee = true\n", "ask_new_payee in"),
        (BASE + "nonsense = 1\n", "policy.toml:4"),
        ("", "policy.toml"),
    ],
)
def test_a_rule_that_came_while_a_person_was_asked_binds(edited, get, rows, spent, text, rule):
    payer = edited()
    names = ("HOST", payer.sandbox.origin.partition("://")[2].partition(":")[0]), ("ORIGIN", payer.sandbox.origin)
    for name, value in names:
        text, rule = text.replace(name, value), rule and rule.replace(name, value)
    path = payer.live._path
    payer.approve = lambda _request: (path.write_text(text) if text else path.unlink()) is None or True
    if rule is None:  # it has room for this one, and counts it
        assert get(payer).extensions["payment"].outcome == "spent"
        payer.approve = lambda _request: True
        with pytest.raises(BudgetExceeded, match="limit per hour"):
            get(payer)
        new, old = rows(payer)
        assert (new.state, old.state) == ("CLAIMED", "RELEASED")
        assert payer.ledger.verify() == []
        return
    with pytest.raises(Exception) as no:  # noqa: PT011 - its rule is looked at
        get(payer)
    assert rule in no.value.rule and "policy.toml" in no.value.rule
    assert [row.state for row in rows(payer)] == ["RELEASED"] and payer.sandbox.settlements == []
    assert spent(payer) == 0 and payer.ledger.verify() == []


@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("text", [BASE, "\n\n" + BASE, BASE.replace("0.10", "5.00"), BASE + 'day = "9"\n', BASE + "max_lifetime = 90\n"])
def test_what_still_fits_is_paid_under_the_new_rules(edited, get, rows, text):
    payer = edited(text)
    get(payer)
    row = rows(payer)[0]
    assert row.state == "CLAIMED" and row.valid_before - time.time() <= payer.policy.max_lifetime
    assert payer.policy == load(payer.live._path) and payer.ledger.verify() == []


def test_a_file_that_never_stands_still_pays_nothing(edited, get, rows, monkeypatch):
    from x402_agent.payer import consent

    payer, writes = edited(), []
    monkeypatch.setattr(consent, "STILL", 3)
    look = payer.live._look

    def moves():
        writes.append(1)
        payer.live._path.write_text(BASE + "#" * len(writes))
        return look()

    payer.approve = lambda _request: setattr(payer.live, "_look", moves) is None
    with pytest.raises(PolicyDenied, match="still being written"):
        get(payer)
    assert [row.state for row in rows(payer)] == ["RELEASED"]


def test_what_was_bought_with_sorting_that_changed_meanwhile_counts_in_its_new_category(shop, get, rows):
    payer = shop(None)
    host = payer.sandbox.origin.partition("://")[2].partition(":")[0]

    def hook(_request):
        payer.policy = replace(payer.policy, categories={"fun": (host,)})
        return True

    payer.approve = hook
    get(payer)
    new, old = rows(payer)
    assert (new.state, old.state) == ("CLAIMED", "RELEASED")
    assert payer.ledger.counted("category:fun") == 10_000 and payer.ledger.verify() == []


def test_a_limit_that_came_in_code_is_checked_where_the_row_is_written(shop, get, rows, spent):
    payer = shop(None)
    get_paid = replace(payer.policy, approve_above=None)
    asking = payer.policy
    payer.policy = get_paid
    get(payer)

    def hook(_request):
        payer.policy = replace(asking, day=15_000)
        return True

    payer.policy, payer.approve = asking, hook
    with pytest.raises(BudgetExceeded, match="limit per day"):
        get(payer, "/report")
    assert [row.state for row in rows(payer)] == ["RELEASED", "CLAIMED"] and spent(payer) == 10_000


def test_its_own_row_is_no_earlier_purchase(shop, get):
    payer = shop(lambda _request: True, repeat=Often(2, 600))
    assert [get(payer).status_code for _ in range(3)] == [200] * 3


def test_a_budget_that_ends_while_somebody_is_asked_pays_nothing(shop, get, rows):
    from x402_agent.policy import Bounds

    today = int(time.time()) // 86_400 * 86_400
    now = [today + 86_400 - 30.0]

    def hook(_request):
        now[0] += 60
        return True

    payer = shop(hook, clock=lambda: now[0], budgets={"all": Bounds(until=datetime.fromtimestamp(today, UTC).date())})
    with pytest.raises(PolicyDenied, match="expired"):
        get(payer)
    assert [row.state for row in rows(payer)] == ["RELEASED"] and payer.sandbox.settlements == []
