"""How an event loop waits for work that blocks: in a thread, or told by the ledger's writer; what is written is written.

A cancellation waits for that. asyncio's own does not: then the ledger takes back what nobody has.
"""

from __future__ import annotations

from typing import Any, Protocol

from anyio import CancelScope, Event, to_thread
from anyio.lowlevel import current_token

__all__ = ["Deferred", "wait"]


class Deferred(Protocol):
    """Work that blocks: a ledger job, or the signing of a remote key."""

    def run(self) -> Any:
        """Do it here and now."""


async def wait(work: Deferred) -> Any:
    """Await blocking work without blocking the loop; a cancellation waits until what is written is written."""
    start = getattr(work, "start", None)
    if start is not None and work.ready:  # type: ignore[attr-defined]  # nothing to wait for: no thread, no scope
        return work.run()
    with CancelScope(shield=True):
        if start is None:
            return await to_thread.run_sync(work.run)
        finished = Event()
        native: Any = current_token().native_token
        wake = getattr(native, "run_sync_soon", None) or native.call_soon_threadsafe
        start(finished.set, wake)
        try:
            await finished.wait()
        except BaseException:  # asyncio's own cancel() goes through a shield
            work.lost()  # type: ignore[attr-defined]
            raise
        return work.result()  # type: ignore[attr-defined]
