"""A context variable that threads inherit, too.

asyncio and trio copy the context into every task, `asyncio.to_thread`, `anyio.to_thread` and `trio.to_thread` into every
call. A bare thread (before Python 3.14) and a pool of threads begin with nothing: a budget that a thread escapes is no
budget. So from the first `payer.task()` on, and for our one variable alone:

- a thread (`threading.Thread`, or `_thread.start_new_thread`) begins with what whoever started it had,
- a call handed to a `ThreadPoolExecutor` (so also `loop.run_in_executor`) or a `multiprocessing.pool.ThreadPool` runs with
  what whoever handed it over had, and its worker, which serves many, forgets it afterwards.

Not covered: threads that C code starts, and queues of one's own between threads; bind a client to the task there
(`task.client()`).
"""

from __future__ import annotations

import _thread
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar

__all__ = ["follow"]

_MARK = "x402_agent_follows"
_POOL = ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered")


def follow(variable: ContextVar[Any]) -> None:
    """From now on threads inherit `variable`, a tuple that is () by default. Once per process; again does nothing."""
    if hasattr(threading.Thread.start, _MARK):
        return
    from multiprocessing.pool import ThreadPool

    threads: Any = threading.Thread
    threads.start = _marked(_started(threads.start, variable))
    bare: Any = _thread
    bare.start_new_thread = _begun(bare.start_new_thread, variable)
    executor: Any = ThreadPoolExecutor
    executor.submit = _handed(executor.submit, variable)
    pool: Any = ThreadPool
    pool.__init__ = _alone(pool.__init__, variable)
    for name in _POOL:
        setattr(pool, name, _handed(getattr(pool, name), variable))


def _marked(made: Callable[..., Any]) -> Callable[..., Any]:
    setattr(made, _MARK, True)
    return made


def _started(start: Callable[..., Any], variable: ContextVar[Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    def started(thread: Any) -> None:
        value = variable.get()
        if not value:
            start(thread)
            return
        run, own = thread.run, thread.__dict__.get("run")

        def carried() -> None:
            thread.__dict__.pop("run", None)  # no ring of references, and nothing left for whoever looks
            if own is not None:
                thread.run = own
            variable.set(value)
            run()

        thread.run = carried
        try:
            start(thread)
        except BaseException:
            thread.__dict__.pop("run", None)
            if own is not None:
                thread.run = own
            raise

    return started


def _begun(start: Callable[..., int], variable: ContextVar[Any]) -> Callable[..., int]:
    @functools.wraps(start)
    def begun(function: Callable[..., Any], /, *rest: Any) -> int:
        value = variable.get()
        return start(_Carried(variable, value, function) if value else function, *rest)

    return begun


def _handed(hand: Callable[..., Any], variable: ContextVar[Any]) -> Callable[..., Any]:
    """A pool's method that takes the function to call first, or as `func`."""

    @functools.wraps(hand)
    def handed(pool: Any, /, *args: Any, **options: Any) -> Any:
        value = variable.get()
        if not value or "interpreter" in type(pool).__module__:  # another interpreter (Python 3.14) is another process to us
            return hand(pool, *args, **options)
        if args:
            args = (_Carried(variable, value, args[0]), *args[1:])
        elif "func" in options:
            options["func"] = _Carried(variable, value, options["func"])
        token = variable.set(())  # the workers that it may start serve others, too
        try:
            return hand(pool, *args, **options)
        finally:
            variable.reset(token)

    return handed


def _alone(make: Callable[..., Any], variable: ContextVar[Any]) -> Callable[..., Any]:
    """A pool's maker: its workers belong to nobody."""

    @functools.wraps(make)
    def alone(*args: Any, **options: Any) -> Any:
        token = variable.set(())
        try:
            return make(*args, **options)
        finally:
            variable.reset(token)

    return alone


class _Carried:
    """A function that runs with what whoever handed it over had."""

    __slots__ = ("_function", "_value", "_variable")

    def __init__(self, variable: ContextVar[Any], value: Any, function: Callable[..., Any]) -> None:
        self._variable, self._value, self._function = variable, value, function

    def __call__(self, *args: Any, **options: Any) -> Any:
        token = self._variable.set(self._value)
        try:
            return self._function(*args, **options)
        finally:
            self._variable.reset(token)
