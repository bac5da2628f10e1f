"""How far a purchase has come, told to a host that asked for it: what was done, then every few seconds that it is waited for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.mcpserver import Context

__all__ = ["told", "trace"]

TICK = 5.0  # seconds; hosts take a call that is silent for longer than theirs for dead
WORDS = {
    "Hold": "budget set aside",
    "Approve": "approved",
    "Commit": "signed and written down; the seller has the proof and settles",
    "Close": "written down",
}
_TELL: ContextVar[Callable[[str], None] | None] = ContextVar("x402_agent_mcp.progress", default=None)
_T = TypeVar("_T")


def trace(_ask: Any, step: Any, _value: Any) -> None:
    """The payer's trace: words for each step that a person would ask about. Nothing that a seller wrote is in them."""
    tell = _TELL.get()
    if tell is None:
        return
    words = step.state.lower() if type(step).__name__ == "Progress" else WORDS.get(type(step).__name__)
    if words:
        tell(words)


async def told(ctx: Context[Any, Any], work: Callable[[], Awaitable[_T]]) -> _T:
    """Do the work; meanwhile its steps are told to the host, which hears nothing where it gave no progress token."""
    import anyio

    send, receive = anyio.create_memory_object_stream[str](64)

    def tell(words: str) -> None:
        try:
            send.send_nowait(words)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # news that nobody takes is old news

    token = _TELL.set(tell)
    failed: Exception | None = None
    try:
        async with send, receive, anyio.create_task_group() as group:
            group.start_soon(_pump, ctx, receive)
            try:
                result = await work()
            except Exception as why:  # by itself, not as one of a group
                failed = why
            group.cancel_scope.cancel()
    finally:
        _TELL.reset(token)
    if failed is not None:
        raise failed
    return result


async def _pump(ctx: Context[Any, Any], news: Any) -> None:
    import anyio

    count, words = 0, ""
    while True:
        fresh = ""
        with anyio.move_on_after(TICK):
            fresh = await news.receive()
        words = fresh or words
        if words:
            count += 1
            await ctx.report_progress(count, None, words if fresh else f"{words} (still waiting)")
