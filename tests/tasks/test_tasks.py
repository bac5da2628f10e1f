"""Budgets inside budgets: what lies inside only narrows, and what is over pays nothing new."""

from __future__ import annotations

import time

import anyio
import pytest

from x402_agent import BudgetExceeded, Payer, PolicyDenied, SettingsError
from x402_agent.tasks import standing


def rows(payer):
    payer.ledger.flush()
    return payer.ledger.payments()


def test_a_payment_names_the_tasks_it_was_made_under(payer, joke):
    with payer.client() as http, payer.task("research", category="jokes"), payer.task("prices", tool="search"):
        assert http.get(joke, extensions={"payment": {"task": "today", "tool": "get"}}).status_code == 200
    http.close()
    assert [row.task for row in rows(payer)] == ["research/prices/today"]


def test_an_inner_task_adds_names_and_takes_none_away(payer):
    with payer.task("a", tool="x", category="c"), payer.task("b", tool="y", category="c"):
        under = standing(payer)[0].under
    assert (under.task, under.tool, under.category, len(under.runs)) == ("a/b", "x,y", "c", 2)
    assert standing(payer)[0].under == payer.bounds.under


def test_a_task_is_the_business_of_its_payer_alone(payer):
    with Payer.sandbox() as other:
        with payer.task("mine"), other.task("his"), payer.task("inner"):
            assert standing(payer)[0].under.task == "mine/inner"
            assert standing(other)[0].under.task == "his"


def test_only_these_hosts_and_inside_them_fewer(payer, joke):
    host = payer.sandbox.url("/").split("/")[2]
    with payer.client() as http:
        with payer.task("a", hosts=[host, "b.example"]):
            assert http.get(joke).status_code == 200
            with payer.task("c", hosts=["b.example"]), pytest.raises(PolicyDenied) as why:
                http.get(joke)
            assert why.value.rule == "task c (hosts=b.example) in code"
            quote = payer.quote(joke)
            assert quote.chosen is not None
        with payer.task("d", hosts=["b.example"]):
            refused = payer.quote(joke)
            assert refused.chosen is None and "not among the hosts" in refused.reason.what and refused.offers
    assert len(rows(payer)) == 1


def test_a_cap_on_one_call(payer, joke):
    with payer.client() as http, payer.task("a", per_call="0.0099"):
        with pytest.raises(BudgetExceeded) as why:
            http.get(joke)
        assert why.value.rule == "task a (per_call=0.0099) in code"
        assert why.value.hint == 'payer.task("a", per_call="0.01")'
        with payer.task("b", per_call="1.00"), pytest.raises(BudgetExceeded, match=r"one call is 0\.0099"):
            http.get(joke)
    assert rows(payer) == []


@pytest.mark.parametrize("world", ["sync", "asyncio", pytest.param("trio", marks=pytest.mark.full)])
def test_nothing_new_is_paid_after_the_end_or_the_deadline(payer, joke, world):
    early, late = payer.task("early"), payer.task("late", deadline=2)

    async def there():
        async with early.async_client() as one, late.async_client() as two:
            assert (await one.get(joke)).status_code == (await two.get(joke)).status_code == 200
            async with early:
                await anyio.sleep(2)
            for client, why in ((one, "task early has ended"), (two, "task late is past its deadline of 2 seconds")):
                with pytest.raises(PolicyDenied, match=why):
                    await client.get(joke)

    if world == "sync":
        with early.client() as one, late.client() as two:
            assert one.get(joke).status_code == two.get(joke).status_code == 200
            early.end()
            time.sleep(2)
            for client, why in ((one, "task early has ended"), (two, "task late is past its deadline of 2 seconds")):
                with pytest.raises(PolicyDenied, match=why):
                    client.get(joke)
    else:
        anyio.run(there, backend=world)
    assert len(rows(payer)) == 2


def test_what_is_started_under_a_task_pays_nothing_when_the_task_is_over(payer, joke):
    async def later(http):
        await anyio.sleep(0.05)
        with pytest.raises(PolicyDenied, match="has ended"):
            await http.get(joke)

    async def main():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            async with payer.task("a"), payer.task("b"):
                group.start_soon(later, http)
            assert (await http.get(joke)).status_code == 200

    anyio.run(main)
    assert len(rows(payer)) == 1


def test_an_open_proof_is_shown_again_after_the_end():
    with Payer.sandbox("settles_then_500") as payer, payer.client() as http:
        url = payer.sandbox.url("/joke")
        with payer.task("a") as task:
            first = http.get(url)
        assert (first.status_code, first.extensions["payment"].outcome) == (500, "in_doubt")
        with task.client() as bound:
            again = bound.get(url)
            assert again.extensions["payment"].payment_id == first.extensions["payment"].payment_id
        assert len(rows(payer)) == 1


def test_a_bound_client_obeys_the_context_as_well(payer, joke):
    free = payer.task("free")
    with free.client() as http:
        with payer.task("narrow", hosts=["b.example"]), pytest.raises(PolicyDenied, match="not among"):
            http.get(joke)
        assert http.get(joke).status_code == 200
        with payer.task("other"):
            http.get(joke)
    assert [row.task for row in rows(payer)] == ["other/free", "free"]


def test_a_bound_client_made_for_a_task_obeys_what_lies_inside_it(payer, joke):
    with payer.task("a") as task, task.client() as http:
        with payer.task("b", hosts=["b.example"]), pytest.raises(PolicyDenied, match="not among"):
            http.get(joke)
        with payer.task("c"):
            http.get(joke)
    assert [row.task for row in rows(payer)] == ["a/c"]


def test_a_task_made_outside_and_entered_inside_another_lies_inside_it(payer):
    made = payer.task("made")
    with payer.task("a", hosts=["b.example"]), made:
        bounds, lineage = standing(payer)
        assert (bounds.under.task, len(bounds.hosts), len(lineage)) == ("a/made", 1, 2)


def test_attach_binds_too(payer, joke):
    import httpx

    with httpx.Client(transport=payer.sandbox.transport()) as client:
        with payer.task("a") as task:
            task.attach(client)
        reply = client.get(joke)
        assert reply.status_code == 402 and "task a has ended" in reply.extensions["payment"].reason.what


def test_a_task_is_used_once(payer):
    with payer.task("a") as task:
        pass
    for again in (task, task):
        with pytest.raises(SettingsError, match="second time"), again:
            pass


@pytest.mark.parametrize("options", [
    {"budget": 0.5}, {"budget": "much"}, {"calls": -1}, {"calls": True}, {"calls": 1.0}, {"deadline": 0}, {"deadline": -1},
    {"deadline": True}, {"deadline": float("nan")}, {"deadline": "600"},
    {"deadline": float("inf")}, {"per_call": "-1"}, {"hosts": "a.example"}, {"hosts": ["https://a.example/x"]},
    {"tool": "a,b"}, {"category": "a\nb"}, {"name": ""}, {"name": "a/b"}, {"name": "x" * 65}, {"name": None},
])  # fmt: skip
def test_what_is_no_limit_is_refused(payer, options):
    with pytest.raises(SettingsError):
        payer.task(**{"name": "a", **options})


def test_a_task_says_what_it_is_without_touching_a_ledger(payer):
    with payer.task("a") as task, payer.task("b") as inner:
        assert (repr(task), repr(inner)) == ("Task(task a, entered)", "Task(task a/b, entered)")
    assert repr(task) == "Task(task a, ended)"
    assert (task.spent, task.left) == ("0.00", None)


@pytest.mark.parametrize("option", [{"task": "a\x00"}, {"task": "a\x1b[2J"}, {"tool": "x" * 65}, {"tool": "a\nb"}])
def test_a_name_that_no_terminal_should_show_is_refused_before_anything_is_sent(payer, joke, option):
    with payer.client() as http, pytest.raises(SettingsError, match="some letters"):
        http.get(joke, extensions={"payment": option})
    assert payer.sandbox.requests == []


def test_hosts_are_a_list_and_not_the_letters_of_one(payer):
    with pytest.raises(SettingsError, match="a list of host names"):
        payer.task("a", hosts="b.example")
