"""Calls that are cancelled at each of their waits, one after the other, by each kind of cancellation."""

from __future__ import annotations

import asyncio
import types

import anyio

from x402_agent.errors import NoAcceptableOffer, NodeError

__all__ = ["KINDS", "MOST", "given_up"]

MOST = 200  # waits of one call; it has far fewer


@types.coroutine
def cut(call, number, cancel):
    """What a call waits for, until its `number`-th wait (from 1) begins: that is cancelled."""
    steps, back = call.__await__(), None
    try:
        asked = steps.send(None)
        while True:
            number -= 1
            if number == 0:
                cancel()
            try:
                back = yield asked
            except BaseException as why:
                asked = steps.throw(why)
            else:
                asked = steps.send(back)
    except StopIteration as ended:
        return ended.value


async def _cancelled(make, number):
    """-> whether asyncio's own cancel() came before it ended."""

    async def task():
        await cut(make(), number, asyncio.current_task().cancel)
        return False

    try:
        return await asyncio.ensure_future(task())
    except (asyncio.CancelledError, NoAcceptableOffer, NodeError):  # where anyio was connecting, it may take it for its own: then a node did not answer
        return True


async def _scoped(make, number):
    """-> whether a scope's cancel() came before it ended."""
    with anyio.CancelScope() as scope:
        await cut(make(), number, scope.cancel)
    return scope.cancelled_caught


KINDS = {"task": ("asyncio", _cancelled), "scope": ("asyncio", _scoped), "trio": ("trio", _scoped)}


def given_up(name, client, call):
    """The first `call(http, number)` is cancelled at its first wait, the second at its second, until one has fewer; each is made again. -> how many."""
    backend, kind = KINDS[name]

    async def go():
        async with client() as http:
            for number in range(1, MOST):
                cancelled = await kind(lambda number=number: call(http, number), number)
                if not cancelled:
                    return number - 1
                await call(http, number)
        raise AssertionError("it does not end")

    return anyio.run(go, backend=backend)
