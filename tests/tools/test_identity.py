"""One request of one client is one purchase: while it runs, after it ran, after a restart, after a cancellation."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from x402_agent import Budget, Payer
from x402_agent.policy.bounds import Often
from x402_agent.tools import Shelf, Tools

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


async def test_who_asks_meanwhile_waits_for_the_first(payer):
    url, found = payer.sandbox.url("/joke"), []
    async with Tools(payer) as tools, anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(lambda: _into(found, tools.fetch(url)))
    assert len({each.payment_id for each in found}) == 1 == len(payer.sandbox.settlements)
    assert sum(not each.repeated for each in found) == 1


async def test_again_while_it_runs_is_the_one_that_runs(payer):
    url, found = payer.sandbox.url("/joke"), []
    async with Tools(payer) as tools:
        await tools.fetch(url)
        async with anyio.create_task_group() as group:
            for _ in range(3):  # a host that repeats a call which it takes for lost
                group.start_soon(lambda: _into(found, tools.fetch(url, again=True)))
    assert len({each.payment_id for each in found}) == 1 and len(payer.sandbox.settlements) == 2


async def test_two_sessions_of_one_client_buy_once(payer):
    url, found = payer.sandbox.url("/joke"), []
    async with Tools(payer, client="x") as one, Tools(payer, client="x") as two, anyio.create_task_group() as group:
        for tools in (one, two, one, two):
            group.start_soon(lambda tools=tools: _into(found, tools.fetch(url)))
    assert len({each.payment_id for each in found}) == 1 == len(payer.sandbox.settlements)


async def test_two_clients_are_two_buyers(payer):
    url = payer.sandbox.url("/joke")
    async with Tools(payer, client="a") as one, Tools(payer, client="b") as two:
        assert (await one.fetch(url)).payment_id != (await two.fetch(url)).payment_id
        assert await two.kept((await one.fetch(url)).more.uri) is None


async def test_it_is_the_request_that_counts(payer):
    url = payer.sandbox.url("/upload")
    async with Tools(payer) as tools:
        made = [await tools.fetch(url, method="POST", body=each) for each in ("a", "b", "a")]
        assert [each.repeated for each in made] == [False, False, True] and made[0].payment_id == made[2].payment_id
        assert (await tools.fetch(url.replace("http://", "HTTP://") + "#part", method="post", body="a")).repeated


async def test_a_buy_after_a_fetch_gives_what_was_bought(payer):
    url = payer.sandbox.url("/joke")
    async with Tools(payer) as tools:
        first = await tools.fetch(url)
        quoted = await tools.quote(url)
        assert quoted.bought == first.payment_id
        assert (await tools.buy(quoted.offer_id)).payment_id == first.payment_id and len(payer.sandbox.settlements) == 1


async def test_after_ten_minutes_it_is_another_purchase(payer, tmp_path):
    now = [1_000_000.0]
    shelf = Shelf(tmp_path / "shelf.db", clock=lambda: now[0])
    async with Tools(payer, shelf=shelf) as tools:
        first = await tools.fetch(payer.sandbox.url("/joke"))
        now[0] += 599
        assert (await tools.fetch(payer.sandbox.url("/joke"))).payment_id == first.payment_id
        now[0] += 2
        assert (await tools.fetch(payer.sandbox.url("/joke"))).payment_id != first.payment_id
        now[0] -= 10_000  # a clock that went back makes nothing fresh for ever
        assert not (await tools.fetch(payer.sandbox.url("/joke"))).repeated


async def test_a_persons_rules_on_buying_again_bind_a_model(payer, tmp_path):
    now, url = [1_000_000.0], payer.sandbox.url("/joke")
    async with Tools(payer, shelf=Shelf(tmp_path / "shelf.db", clock=lambda: now[0])) as tools:
        first = await tools.fetch(url)
        payer.policy = replace(payer.policy, rebuy_after=3600)
        assert (await tools.fetch(url)).payment_id == first.payment_id
        assert "bought and delivered" in (await tools.fetch(url, again=True)).problem.what
        now[0] += 601
        assert "bought and delivered" in (await tools.fetch(url)).problem.what
        payer.policy = replace(payer.policy, rebuy_after=0, repeat=Often(2, 600))
        assert (await tools.fetch(url, again=True)).outcome == "spent"
        assert (await tools.fetch(url, again=True)).problem.rule.startswith("repeat") and len(payer.sandbox.settlements) == 2


async def test_what_is_undelivered_keeps_to_its_proof_for_ever(payer, tmp_path):
    now, url = [1_000_000.0], payer.sandbox.url("/joke")
    payer.sandbox.scenario = "answer_lost"
    async with Tools(payer, shelf=Shelf(tmp_path / "shelf.db", clock=lambda: now[0])) as tools:
        first = await tools.fetch(url, method="POST")
        now[0] += 100_000
        payer.sandbox.scenario = "honest"
        assert (await tools.fetch(url, method="POST", again=True)).payment_id == first.payment_id and len(payer.sandbox.settlements) == 1


async def test_a_restart_knows_what_was_bought_and_has_the_body(tmp_path):
    with Payer.sandbox(ledger=tmp_path / "sandbox.db") as payer:
        url = payer.sandbox.url("/joke")
        async with Tools(payer, client="x") as tools:
            first = await tools.fetch(url)
        payer.ledger.flush()
        async with Tools(payer, client="x") as tools:
            assert await tools.fetch(url) == replace(first, repeated=True)
            assert (await tools.kept(first.more.uri)).body.startswith(b'{"joke"')
        assert len(payer.sandbox.settlements) == 1
        assert (tmp_path / "sandbox.tools").stat().st_mode & 0o777 == 0o700
        assert {each.stat().st_mode & 0o777 for each in (tmp_path / "sandbox.tools").iterdir()} == {0o600}


async def test_a_cancelled_call_stays_cancelled_and_pays_once(payer):
    """The seller settles and hangs: the call is cancelled, the payment is in doubt, and what comes next shows the same proof."""
    payer.sandbox.scenario = "settles_then_hangs"
    url = payer.sandbox.url("/joke")
    sent = anyio.Event()
    async with Tools(payer) as tools:
        payer.trace = lambda _ask, step, _value: sent.set() if type(step).__name__ == "Commit" else None
        with anyio.move_on_after(30) as scope:
            async with anyio.create_task_group() as group:

                async def watch():
                    await sent.wait()
                    await anyio.sleep(0.05)
                    scope.cancel()

                group.start_soon(watch)
                await tools.fetch(url)
        assert scope.cancelled_caught and len(payer.sandbox.settlements) == 1
        assert (await tools.spending()).in_doubt == "0.01"
        payer.sandbox.scenario = "honest"
        after = await tools.fetch(url)
        assert after.payment_id == payer.ledger.payments()[0].payment_id and len(payer.ledger.payments()) == 1
        settled = await tools.resume()
        assert settled.problem is None and len(payer.sandbox.settlements) == 1


async def test_what_never_came_is_asked_for_with_the_same_proof(payer):
    payer.sandbox.scenario = "settles_then_500"
    url = payer.sandbox.url("/joke")
    async with Tools(payer) as tools:
        first = await tools.fetch(url)
        assert first.problem.kind in ("NotDelivered", "PaymentInDoubt")
        second = await tools.fetch(url, again=True)
        assert second.payment_id == first.payment_id and len(payer.ledger.payments()) == 1


async def test_an_answer_that_is_lost_is_in_doubt_and_the_next_call_goes_on(payer):
    payer.sandbox.scenario = "answer_lost"
    url = payer.sandbox.url("/upload")
    async with Tools(payer) as tools:
        first = await tools.fetch(url, method="POST", body="x")
        assert (first.outcome, first.problem.kind, first.problem.retry_safe) == ("in_doubt", "PaymentInDoubt", False)
        assert (await tools.why(first.payment_id)).outcome == "in_doubt"
        payer.sandbox.scenario = "honest"
        second = await tools.fetch(url, method="POST", body="x", again=True)
        assert second.payment_id == first.payment_id and len(payer.sandbox.settlements) == 1


async def test_a_refusal_leaves_nothing_behind(tmp_path):
    with Payer.sandbox(budget=Budget("0.01/day")) as payer:
        async with Tools(payer) as tools:
            assert (await tools.fetch(payer.sandbox.url("/report"))).problem.kind == "BudgetExceeded"
            assert (await tools.fetch(payer.sandbox.url("/joke"))).outcome == "spent"
            assert (await tools.fetch(payer.sandbox.url("/joke"), again=True)).problem.kind == "BudgetExceeded"
            assert (await tools.spending()).spent == "0.01"


async def _into(found, work):
    found.append(await work)
