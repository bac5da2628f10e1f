"""A job priced as a whole, and run on exactly those terms: real payments in the sandbox."""

from __future__ import annotations

import dataclasses
import threading

import anyio
import httpx
import httpx2
import pytest

from crowd import Crowd
from x402_agent import BudgetExceeded, NotReplayable, Payer, PolicyDenied, SettingsError
from x402_agent.sandbox import scenario


def urls(payer, *paths):
    return [payer.sandbox.url(path) for path in paths]


def kinds(done):
    return [type(each.error).__name__ if each.error else each.response.status_code for each in done]


def paid(payer):
    payer.ledger.flush()
    return payer.ledger.payments()


def test_a_job_is_priced_without_paying_and_then_paid():
    with Payer.sandbox() as payer:
        plan = payer.plan(urls(payer, "/joke", "/report", "/free", "/dear"))
        assert plan.total == "0.04" and paid(payer) == []
        joke, report, free, dear = plan.rows
        assert (joke.offer.amount, report.offer.amount, joke.cost) == (10_000, 30_000, 10_000)
        assert free.free and free.offer is None and not dear.free
        assert isinstance(dear.error, BudgetExceeded) and dear.offer is None
        assert repr(plan) == "Plan(0.04 USD for 2, 1 free, 1 refused)"
        done = plan.run()
        assert kinds(done) == [200, 200, 200, "BudgetExceeded"]
        assert [each.receipt.outcome if each.receipt else None for each in done] == ["spent", "spent", None, None]
        assert [row.number for row in plan.rows] == [0, 1, 2, 3]
        rows = paid(payer)
        assert len(rows) == 2 and {row.amount for row in rows} == {10_000, 30_000}
        assert {row.task for row in rows} == {"plan"}
        with pytest.raises(SettingsError, match="once"):
            plan.run()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_for_event_loops(backend):
    async def main():
        with Payer.sandbox() as payer:
            plan = await payer.plan_async(urls(payer, "/joke", "/free", "/dear", "/report"), workers=2)
            assert (plan.total, [row.free for row in plan.rows]) == ("0.04", [False, True, False, False])
            done = await plan.run_async(workers=2)
            assert kinds(done) == [200, 200, "BudgetExceeded", 200]
            assert len(paid(payer)) == 2

    anyio.run(main, backend=backend)


def test_a_price_that_flips_is_refused_with_both_prices_and_digests():
    with Payer.sandbox() as payer:
        plan = payer.plan(urls(payer, "/joke", "/report"))
        payer.sandbox.scenario = dataclasses.replace(scenario("honest"), name="dearer", prices=(2,))
        done = plan.run()
        assert kinds(done) == ["PolicyDenied", "PolicyDenied"] and paid(payer) == []
        error = done[0].error
        assert "0.0100 USDC" in error.what and "0.0200 USDC" in error.what and plan.rows[0].offer.digest[:12] in error.what
        assert error.what.count("[") == 2 and "locked" in error.rule


def test_a_price_that_falls_is_other_terms_too_and_one_flip_stops_no_other_row():
    with Payer.sandbox() as payer:
        plan = payer.plan(urls(payer, "/report", "/moved"))  # /moved is the same in every scenario
        payer.sandbox.scenario = dataclasses.replace(scenario("honest"), name="dearer", prices=(3,))
        other = payer.plan(urls(payer, "/joke"))
        payer.sandbox.scenario = "honest"
        assert kinds(other.run()) == ["PolicyDenied"]
        payer.sandbox.scenario = dataclasses.replace(scenario("honest"), name="dearer", prices=(2,))
        assert kinds(plan.run()) == ["PolicyDenied", 200]
        assert [row.amount for row in paid(payer)] == [10_000]


def test_another_recipient_is_other_terms():
    with Payer.sandbox() as payer, payer.client() as http:
        (row,) = payer.plan(urls(payer, "/joke")).rows
        moved = dataclasses.replace(row.offer, pay_to="0x" + "cd" * 20)
        with pytest.raises(PolicyDenied, match="other terms"):
            http.get(row.url, extensions={"payment": {"offer": moved}})
        longer = dataclasses.replace(row.offer, lifetime=row.offer.lifetime + 1, description="", wire=())
        assert http.get(row.url, extensions={"payment": {"offer": longer}}).status_code == 200  # only its envelope differs
        with pytest.raises(SettingsError, match="an offer is one of"):
            http.get(row.url, extensions={"payment": {"offer": row.offer.digest}})


def test_what_was_free_is_not_paid_for_later():
    with Payer.sandbox() as payer:
        plan = payer.plan(urls(payer, "/free"))
        row = dataclasses.replace(plan.rows[0], wanted=dataclasses.replace(plan.rows[0].wanted, url=payer.sandbox.url("/joke")))
        plan.rows = (row,)
        assert kinds(plan.run()) == ["BudgetExceeded"] and paid(payer) == []


def test_what_a_limit_cannot_hold_as_a_whole_is_said_before_anything_is_paid():
    with Payer.sandbox() as payer:
        payer.policy = dataclasses.replace(payer.policy, day=50_000)
        plan = payer.plan(urls(payer, "/report", "/joke", "/joke", "/joke"))
        (short,) = plan.short()
        assert "takes 0.06 USD of all, and 0.05 are left" in short.what and short.rule.startswith("day in")
        with pytest.raises(BudgetExceeded):
            plan.run()
        assert paid(payer) == []
        done = plan.run(partly=True)
        assert sorted(kinds(done), key=str) == [200, 200, 200, "BudgetExceeded"] and len(paid(payer)) == 3


def test_the_task_around_it_binds_and_its_own_total_counts_there():
    with Payer.sandbox() as payer, payer.task("job", budget="0.03") as job:
        plan = payer.plan(urls(payer, "/joke", "/report"))
        assert "run:" in plan.short()[0].what
        done = payer.plan(urls(payer, "/joke", "/joke?2")).run()
        assert kinds(done) == [200, 200] and job.spent == "0.02"
        assert {row.task for row in paid(payer)} == {"job/plan"}


def test_after_the_deadline_nothing_is_sent():
    with Payer.sandbox("slow_settlement") as payer:
        payer.sandbox.scenario = dataclasses.replace(scenario("honest"), name="slow", seconds=1.0)
        plan = payer.plan(urls(payer, *(f"/joke?{number}" for number in range(6))))
        done = plan.run(workers=1, deadline=2.5)
        late = [each for each in done if each.error]
        assert late and kinds(done)[0] == 200 and all("deadline" in str(each.error) for each in late)
        assert len(paid(payer)) == 6 - len(late)


def test_so_many_at_a_time_and_no_more():
    crowd = Crowd()

    def answer(_):
        with crowd:
            threading.Event().wait(0.03)
        return httpx.Response(200)

    with Payer.sandbox() as payer:
        payer.box.transport = lambda: httpx.MockTransport(answer)
        plan = payer.plan([f"http://127.0.0.1/{number}" for number in range(12)], workers=3)
        assert crowd.most == 3 and len(plan.run(workers=2)) == 12 and plan.total == "0.00"


@pytest.mark.parametrize("lib", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_requests_keep_their_bodies_and_headers(lib):
    with Payer.sandbox() as payer:
        request = lib.Request("POST", payer.sandbox.url("/upload"), content=b"four", headers={"x-mine": "1"})
        (done,) = payer.plan([request]).run()
        assert done.response.status_code == 200 and done.response.request.headers["x-mine"] == "1"
        assert done.response.json()["size"] == 4
        assert "x-mine" not in repr(done.row)


def test_what_can_be_sent_only_once_is_no_part_of_a_plan():
    with Payer.sandbox() as payer:
        (url,) = urls(payer, "/upload")
        with pytest.raises(NotReplayable):
            payer.plan([httpx.Request("POST", url, content=anext_of_nothing())])
        for wrong in (3, None, b"x"):
            with pytest.raises(SettingsError, match="is no request"):
                payer.plan([wrong])
        for workers in (0, 257, True, 1.5):
            with pytest.raises(SettingsError, match="workers"):
                payer.plan([url], workers=workers)


async def anext_of_nothing():
    yield b""


def test_a_seller_who_is_not_there_is_a_row_with_an_error():
    with Payer.sandbox(serve=True) as payer:
        plan = payer.plan(["http://127.0.0.1:9/x", payer.sandbox.url("/joke")])
        assert isinstance(plan.rows[0].error, httpx.ConnectError) and plan.total == "0.01"
        assert kinds(plan.run()) == ["ConnectError", 200]


def test_answers_are_handed_over_as_they_come():
    with Payer.sandbox() as payer:
        seen = []
        done = payer.plan(urls(payer, "/joke", "/free")).run(each=seen.append)
        assert sorted(each.row.number for each in seen) == [0, 1] and len(done) == 2
