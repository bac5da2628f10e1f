"""What a loop waits for is heard of, also by a task that asyncio cancels meanwhile: no shield of anyio's holds that off."""

from __future__ import annotations

import asyncio
import threading

import pytest

from x402_agent.transport.waiting import wait


class Told:
    """A ledger's job that is done a little later."""

    ready = False

    def start(self, done, _via):
        asyncio.get_running_loop().call_later(0.05, done)

    def result(self):
        return "a lease"


class Blocks:
    """Work that takes a thread."""

    def run(self):
        threading.Event().wait(0.05)
        return "a lease"


@pytest.mark.parametrize("kind", [Told, Blocks])
@pytest.mark.parametrize("timed", [False, True], ids=["cancelled", "timed out"])
def test_whoever_is_cancelled_hears_of_it_first(kind, timed):
    got = []

    async def call():
        async with asyncio.timeout(0.01 if timed else None):
            got.append(await wait(kind()))
            await asyncio.sleep(5)
            got.append("never")

    async def go():
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.01)
        if not timed:
            task.cancel()
            task.cancel()
        await task

    with pytest.raises(TimeoutError if timed else asyncio.CancelledError):
        asyncio.run(go())
    assert got == ["a lease"]


def test_nobody_who_is_not_cancelled_notices():
    async def go():
        return [await wait(Told()), await wait(Blocks()), asyncio.current_task().cancelling()]

    assert asyncio.run(go()) == ["a lease", "a lease", 0]
