"""Every ancestor must have room, wherever the payment is made from, and however many are made at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import anyio
import pytest
import trio

from x402_agent import Budget, BudgetExceeded, Payer, PaymentError


def paid(payer):
    """What the seller's chain saw, in cents."""
    return sum(each.amount for each in payer.sandbox.settlements) // 10_000


def get(http, url):
    try:
        return http.get(url).status_code
    except BudgetExceeded as why:
        return why.rule


async def aget(http, url):
    try:
        return (await http.get(url)).status_code
    except BudgetExceeded as why:
        return why.rule


def test_the_right_node_refuses(payer, joke):
    with payer.client() as http, payer.task("a", budget="0.05", calls=4) as a:
        with payer.task("b", budget="0.02") as b:
            assert [get(http, joke) for _ in range(3)] == [200, 200, "task b (budget=0.02) in code"]
            assert (b.spent, b.left, a.spent, a.left) == ("0.02", "0.00", "0.02", "0.03")
        with payer.task("b", budget="5.00") as b:
            assert [get(http, joke) for _ in range(3)] == [200, 200, "task a (calls=4) in code"]
            assert (b.spent, b.left) == ("0.02", "0.01")
        with pytest.raises(BudgetExceeded) as why:
            http.get(joke)
        assert (why.value.rule, why.value.hint) == ("task a (calls=4) in code", 'payer.task("a", calls=8)')
    assert paid(payer) == 4 and get_after(payer, joke) == 200


def get_after(payer, joke):
    with payer.client() as http:
        return get(http, joke)


def test_policy_still_rules_inside(joke, payer):
    with Payer.sandbox(budget=Budget("0.01/day")) as poor, poor.client() as http, poor.task("a", budget="5.00"):
        url = poor.sandbox.url("/joke")
        assert get(http, url) == 200
        assert get(http, url) == "day in Budget(…) in code"


def test_no_calls_and_no_money(payer, joke):
    with payer.client() as http:
        with payer.task("a", calls=0):
            assert get(http, joke) == "task a (calls=0) in code"
        with payer.task("b", budget="0"):
            assert get(http, joke) == "task b (budget=0.00) in code"
    assert paid(payer) == 0


def in_threads(payer, joke):
    found = []

    def work():
        with payer.client() as http:
            found.extend(get(http, joke) for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def in_executor(payer, joke):
    with payer.client() as http, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: get(http, joke), range(12)))


def in_pool(payer, joke):
    with payer.client() as http, ThreadPool(4) as pool:
        return pool.map(lambda _: get(http, joke), range(12))


def in_asyncio(payer, joke):
    async def main():
        async with payer.async_client() as http:
            return await asyncio.gather(*(aget(http, joke) for _ in range(12)))

    return asyncio.run(main())


def in_asyncios_threads(payer, joke):
    async def main():
        with payer.client() as http:
            return await asyncio.gather(*(asyncio.to_thread(get, http, joke) for _ in range(12)))

    return asyncio.run(main())


def in_trio(payer, joke):
    found = []

    async def work(http):
        found.append(await aget(http, joke))

    async def main():
        async with payer.async_client() as http, trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(work, http)

    trio.run(main)
    return found


@pytest.mark.parametrize(
    "world", [in_threads, in_executor, in_pool, in_asyncio, in_asyncios_threads, in_trio], ids=lambda f: f.__name__
)
def test_many_at_once_spend_what_there_is_and_no_more(payer, joke, world):
    with payer.task("a", budget="0.50"), payer.task("b", budget="0.05") as task, payer.task("c", calls=9):
        said = world(payer, joke)
        assert (said.count(200), said.count("task b (budget=0.05) in code")) == (5, 7)
        assert task.spent == "0.05"
    assert paid(payer) == 5


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_that_lent_ends_without_blocking_its_loop(payer, joke, backend):
    async def main():
        async with payer.async_client() as http:
            async with payer.task("a"):
                token = payer.slip("0.01")
                async with payer.under(token):
                    assert await aget(http, joke) == 200
                with anyio.CancelScope() as scope:
                    async with payer.task("b"):
                        second = payer.slip("0.01")
                        scope.cancel()
                        await anyio.sleep(1)
            return token, second

    for token in anyio.run(main, backend=backend):
        with pytest.raises(PaymentError, match="its task has ended"):
            payer.under(token)
