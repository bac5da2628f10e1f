"""Every ancestor must have room, wherever the payment is made from, and however many are made at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.pool import ThreadPool

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

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


class Model:
    """What a tree of tasks may still spend, in cents and in calls: the plain arithmetic of it."""

    def __init__(self):
        self.nodes = []

    def pays(self):
        if any(cents == 0 or calls == 0 for cents, calls in self.nodes):
            return False
        self.nodes = [(cents if cents is None else cents - 1, calls if calls is None else calls - 1) for cents, calls in self.nodes]
        return True


LIMIT = st.one_of(st.none(), st.integers(0, 4))
STEPS = st.lists(st.one_of(st.tuples(st.sampled_from(["task", "slip"]), LIMIT, LIMIT),
                           st.tuples(st.sampled_from(["pay", "pay", "thread", "loop", "leave"]))), max_size=25)  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_any_tree_pays_exactly_while_every_node_has_room(tree, steps):
    payer, http, url = tree
    model = Model()
    with ExitStack() as stack:
        entered = []
        for kind, *limits in steps:
            if kind in ("task", "slip"):
                cents, calls = limits
                cents = 3 if kind == "slip" and cents is None else cents
                budget = None if cents is None else f"0.{cents:02d}"
                made = payer.under(payer.slip(budget, calls=calls)) if kind == "slip" else payer.task("a", budget=budget, calls=calls)
                entered.append(stack.enter_context(made))
                model.nodes.append((cents, calls))
            elif kind == "leave":
                if entered:
                    entered.pop().end()
                    model.nodes.pop()
            else:
                works = {"pay": lambda: get(http, url), "thread": lambda: in_a_thread(http, url), "loop": lambda: in_a_loop(payer, url)}
                before = paid(payer)
                said = works[kind]()
                expected = model.pays()
                assert (said == 200) is expected, (said, model.nodes)
                assert paid(payer) - before == expected
        for depth, task in enumerate(entered, 1):
            known = [cents for cents, _ in model.nodes[:depth] if cents is not None]
            assert task.left == (f"0.{min(known):02d}" if known else None)


def in_a_thread(http, url):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(get, http, url).result()


def in_a_loop(payer, url):
    async def main():
        async with payer.async_client() as http:
            return await aget(http, url)

    return anyio.run(main)


@pytest.fixture(scope="module")
def tree():
    with Payer.sandbox(budget=Budget("1000/day")) as payer, payer.client() as http:
        yield payer, http, payer.sandbox.url("/joke")
