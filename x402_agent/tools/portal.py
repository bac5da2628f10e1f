"""The verbs for callers without an event loop: one loop in a thread of its own, from the first call until it is closed."""

from __future__ import annotations

import atexit
import threading
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Portal", "blocking"]

P = ParamSpec("P")
T = TypeVar("T")


class Portal:
    """A thread with a loop, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Any = None
        self._portal: BlockingPortal | None = None

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run it there; the context of this thread goes along."""
        with self._lock:
            if self._portal is None:
                self._open = start_blocking_portal()
                self._portal = self._open.__enter__()
                atexit.register(self.close)  # an agent that forgets to close ends all the same
            portal = self._portal
        found: T = portal.call(work)
        return found

    def close(self) -> None:
        """End the thread, once what runs there is done."""
        with self._lock:
            opened, self._open, self._portal = self._open, None, None
        atexit.unregister(self.close)
        if opened is not None:
            opened.__exit__(None, None, None)


def blocking(verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The same verb of whatever has the verbs in `tools` and a Portal in `portal`."""

    def call(self: Any, *args: P.args, **options: P.kwargs) -> T:
        found: T = self.portal.call(partial(verb, self.tools, *args, **options))
        return found

    return cast("Callable[Concatenate[Any, P], T]", wraps(verb)(call))
