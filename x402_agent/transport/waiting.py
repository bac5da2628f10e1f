"""How an event loop waits for work that blocks: in a thread, or told by the ledger's writer; what is written is written.

A cancellation waits for that, asyncio's own too: who asked has heard of it first. What interrupts a thread makes the ledger take back what nobody has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from anyio import CancelScope, Event, get_cancelled_exc_class, to_thread
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Deferred", "wait", "whole"]

T = TypeVar("T")


class Deferred(Protocol):
    """Work that blocks: a ledger job, or the signing of a remote key."""

    def run(self) -> Any:
        """Do it here and now."""


async def wait(work: Deferred) -> Any:
    """Await blocking work without blocking the loop; a cancellation waits until what is written is written, and who asked has heard of it."""
    start = getattr(work, "start", None)
    if start is not None and work.ready:  # type: ignore[attr-defined]  # nothing to wait for: no thread, no scope
        return work.run()
    native: Any = current_token().native_token
    with CancelScope(shield=True):
        if start is None:
            return await whole(lambda: to_thread.run_sync(work.run))
        finished = Event()
        wake = getattr(native, "run_sync_soon", None) or native.call_soon_threadsafe
        start(finished.set, wake)
        await _told(finished)
        return work.result()  # type: ignore[attr-defined]


async def whole(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await what must not be cut: a cancellation comes with the next await after it."""
    native: Any = current_token().native_token
    made: list[T] = []
    with CancelScope(shield=True):
        if not hasattr(native, "create_task"):  # trio, where nothing passes a shield
            made.append(await make())
        else:
            finished, task = Event(), native.create_task(make())
            task.add_done_callback(lambda _: finished.set())
            await _told(finished)
            made.append(task.result())
    return made[0]


async def _told(finished: Event) -> None:
    """Until it is set. `Task.cancel()` of asyncio, unlike anyio's scopes, passes a shield: it is held back until then, and comes with the next await."""
    late = 0
    while not finished.is_set():
        try:
            await finished.wait()
        except get_cancelled_exc_class():
            if get_cancelled_exc_class().__module__.partition(".")[0] == "trio":
                raise
            late += 1
    if late:
        import asyncio

        task = asyncio.current_task()
        assert task is not None
        for _ in range(late):
            task.uncancel()
            task.cancel()
