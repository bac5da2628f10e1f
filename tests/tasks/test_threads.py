"""Where a task reaches: tasks of event loops, threads, pools. A budget that a thread escapes is no budget."""

from __future__ import annotations

import _thread
import asyncio
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import anyio
import pytest
import trio

from x402_agent.tasks import standing


@pytest.fixture
def here(payer):
    """The path of the task that a payment would stand under, here and now."""
    return lambda *_: standing(payer)[0].under.task


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_begins_with_its_starters_task(payer, here):
    with payer.task("a"), payer.task("b"):
        assert in_thread(here) == "a/b"
        assert in_thread(lambda: in_thread(here)) == "a/b"
    assert in_thread(here) == ""


def test_threads_with_a_run_of_their_own(payer, here):
    class Own(threading.Thread):
        found = ""

        def run(self):
            self.found = here()

    timed = []
    with payer.task("a"):
        own, timer = Own(), threading.Timer(0.001, lambda: timed.append(here()))
        own.start()
        timer.start()
    own.join()
    timer.join()
    assert (own.found, timed) == ("a", ["a"])
    assert "run" not in vars(own)


def test_a_bare_thread(payer, here):
    found = queue.SimpleQueue()
    with payer.task("a"):
        _thread.start_new_thread(lambda *given, **named: found.put((here(), given, named)), (1,), {"b": 2})
        assert found.get(timeout=10) == ("a", (1,), {"b": 2})
    _thread.start_new_thread(lambda: found.put(here()), ())
    assert found.get(timeout=10) == ""


def test_a_thread_that_cannot_start_is_left_as_it_was(payer, monkeypatch):
    thread = threading.Thread(target=print)
    monkeypatch.setattr(threading, "_start_new_thread", None)
    with payer.task("a"), pytest.raises(TypeError):
        thread.start()
    assert "run" not in vars(thread)


def test_a_pools_worker_serves_many_and_keeps_nobodys_task(payer, here):
    with ThreadPoolExecutor(1) as pool:
        with payer.task("a"):
            assert pool.submit(here).result() == "a"  # this call starts the worker
            assert list(pool.map(here, [1])) == ["a"]
        assert pool.submit(here).result() == ""
        with payer.task("b"):
            assert pool.submit(here).result() == "b"
        assert list(pool.map(here, [1])) == [""]


@pytest.mark.parametrize("call", [
    lambda pool, f: pool.apply(f), lambda pool, f: pool.map(f, [1])[0], lambda pool, f: pool.map(func=f, iterable=[1])[0],
    lambda pool, f: next(pool.imap(f, [1])), lambda pool, f: list(pool.imap_unordered(f, [1, 2], 2))[1],
    lambda pool, f: pool.starmap(f, [(1,)])[0], lambda pool, f: pool.apply_async(f).get(),
    lambda pool, f: pool.map_async(f, [1]).get()[0], lambda pool, f: pool.starmap_async(f, [(1, 2)]).get()[0],
])  # fmt: skip
def test_a_thread_pool_of_multiprocessing(payer, here, call):
    with payer.task("a"), ThreadPool(1) as pool:
        assert call(pool, here) == "a"
        with payer.task("b"):
            assert call(pool, here) == "a/b"
        assert pool._pool[0].is_alive()
    with payer.task("c"):
        pool = ThreadPool(1)
    with pool:
        assert call(pool, here) == ""


def test_asyncio_tasks_and_its_threads(payer, here):
    async def later():
        await asyncio.sleep(0)
        return here()

    async def main():
        loop = asyncio.get_running_loop()
        async with payer.task("a"):
            job = asyncio.create_task(later())
            both = await asyncio.gather(later(), named(payer, "b", later))
            threads = [await asyncio.to_thread(here), await loop.run_in_executor(None, here), await anyio.to_thread.run_sync(here)]
        return [await job, *both, *threads], await loop.run_in_executor(None, here), await asyncio.to_thread(here)

    assert asyncio.run(main()) == (["a", "a", "a/b", "a", "a", "a"], "", "")


async def named(payer, name, work):
    async with payer.task(name):
        return await work()


def test_trio_nurseries_and_their_threads(payer, here):
    found = []

    async def child(name):
        await trio.lowlevel.checkpoint()
        with payer.task(name):
            found.append(here())
            found.append(await trio.to_thread.run_sync(here))
            found.append(await anyio.to_thread.run_sync(here))

    async def main():
        async with payer.task("a"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, "b")
                nursery.start_soon(child, "c")
        found.append(here())

    trio.run(main)
    assert sorted(found) == ["", *["a/b"] * 3, *["a/c"] * 3]


def test_threading_is_left_alone_until_the_first_task():
    code = (
        "import threading, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "before = threading.Thread.start, ThreadPoolExecutor.submit\n"
        "from x402_agent import Payer, Wallet\n"
        "payer = Payer(wallet=Wallet()); payer.client().close()\n"
        "assert before == (threading.Thread.start, ThreadPoolExecutor.submit)\n"
        "assert 'multiprocessing.pool' not in sys.modules\n"
        "payer.task('a'); once = threading.Thread.start; payer.task('b')\n"
        "assert threading.Thread.start is once is not before[0]\n"
        "assert threading.Thread.start.__wrapped__ is before[0]\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
