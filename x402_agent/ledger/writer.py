"""Jobs wait in one queue; whoever drains it takes all of them into one transaction; results appear after COMMIT.

A sync caller drains in its own thread, so a lone payment costs no thread hop. An async caller wakes one lazily
started daemon thread. Under load both find company in the batch and share one fsync. A job that may be late waits for
the next batch, at most LATE seconds.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from ..errors import LedgerError, PaymentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Forgiving", "Job", "Late", "Writer", "done_job"]

T = TypeVar("T")
MAX_BATCH = 256
LATE = 0.05
log = logging.getLogger("x402_agent.ledger")


class _Perform(Protocol):
    def __call__(self, jobs: Sequence[Job[Any]], /) -> None: ...


class Job(Generic[T]):
    """One ledger operation. `run()` blocks and returns; `start(done)` goes to the writer thread, then `result()`."""

    _gate: Any = None
    _done: Callable[[], None] | None = None
    finished = False
    error: BaseException | None = None

    def __init__(self, writer: Writer | None, operation: Callable[[Any], T], *, write: bool, full: bool) -> None:
        self._writer = writer
        self.operation = operation
        self.write = write
        self.full = full
        self.value: T | None = None

    def run(self) -> T:
        """Perform it now, in this thread or in the batch of another; returns its result or raises its error."""
        if not self.finished and self._writer is not None:
            self._writer.run(self)
        return self.result()

    def start(self, done: Callable[[], None]) -> None:
        """Hand it to the writer thread. `done` is called once, from that thread; or here, if it is finished."""
        if self.finished or self._writer is None:
            done()
            return
        self._done = done
        self._writer.wake(self)

    def result(self) -> T:
        """What came of it, once finished; raises the operation's error."""
        if not self.finished:
            raise RuntimeError("this job has not finished")
        if self.error is not None:
            raise self.error
        return cast("T", self.value)

    def publish(self) -> None:
        """Let the waiter go. The performer has set `value` or `error`."""
        self.finished = True
        self.poke()
        if self._done is not None:
            done, self._done = self._done, None
            try:
                done()
            except Exception:
                log.exception("a callback of a ledger job failed")

    @property
    def ready(self) -> bool:
        """Whether `run` returns at once."""
        return self.finished or self._writer is None

    @property
    def sleeps(self) -> bool:
        """Whether no thread of its own will ever drain for it."""
        return self._done is not None

    def poke(self) -> None:
        """Wake the thread that waits for this job: it is finished, or it is that thread's turn to drain."""
        gate = self._gate
        if gate is not None:
            try:
                gate.release()
            except RuntimeError:  # awake already
                return


class _Ready(Job[T]):
    finished = True
    ready = True

    def __init__(self, value: T) -> None:
        self.value = value

    def run(self) -> T:
        return cast("T", self.value)

    def start(self, done: Callable[[], None]) -> None:
        done()


def done_job(value: T) -> Job[T]:
    """A job that never touches the disk."""
    return _Ready(value)


class Forgiving(Job[None]):
    """A Close: what it cannot write it logs, since the row it leaves behind stays counted."""

    def result(self) -> None:
        """Nothing, whatever happened."""

    def publish(self) -> None:
        """Written, or logged."""
        if self.error is not None:
            what = self.error.what if isinstance(self.error, PaymentError) else type(self.error).__name__
            log.error("a payment stays counted as it stood: %s", what)
        super().publish()


class Late(Forgiving):
    """A Close with good news: it rides in the next batch. Until then the row says INFLIGHT, which counts the same."""

    ready = True

    def run(self) -> None:
        """Queue it and go on."""
        if self._writer is not None:
            self._writer.later(self)

    def start(self, done: Callable[[], None]) -> None:
        """Queue it and go on; `done` is called here."""
        self.run()
        done()

    @property
    def sleeps(self) -> bool:
        """Nobody waits for it."""
        return True


class Writer:
    """The queue, and the one right to drain it."""

    def __init__(self, perform: _Perform) -> None:
        self._perform = perform
        self._queue: deque[Job[Any]] = deque()
        self._turn = threading.Lock()
        self._awake = threading.Event()
        self._urgent = threading.Event()
        self._nudged = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def run(self, job: Job[Any]) -> None:
        """Queue it and see that it is performed before returning."""
        self._queue.append(job)
        try:
            if self._turn.acquire(blocking=False):
                self._drain()
            if not job.finished:
                self._wait(job)
        except BaseException:
            self._hand_on()
            raise

    def _wait(self, job: Job[Any]) -> None:
        """Somebody else drains: sleep until he has done our job or it is our turn."""
        gate = threading.Lock()
        gate.acquire()
        job._gate = gate
        while not job.finished:
            if self._turn.acquire(blocking=False):
                self._drain()
            else:
                gate.acquire()

    def wake(self, job: Job[Any]) -> None:
        """Queue it for the writer thread."""
        self._queue.append(job)
        self._need_thread()
        self._urgent.set()
        self._awake.set()

    def later(self, job: Job[Any]) -> None:
        """Queue it for the next batch, whoever makes it; the writer thread does after LATE seconds."""
        self._queue.append(job)
        if not self._nudged:
            self._nudged = True
            self._need_thread()
            self._awake.set()

    def _need_thread(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="x402-ledger", daemon=True)
                    self._thread.start()

    def _loop(self) -> None:
        while not self._closed:
            self._awake.wait()
            self._awake.clear()
            self._urgent.wait(LATE)
            self._urgent.clear()
            self._nudged = False
            while self._queue:
                self._turn.acquire()
                self._drain()

    def _drain(self) -> None:
        """Take everything that waits, once; the turn is ours on entry and free on return."""
        batch: list[Job[Any]] = []
        queue = self._queue
        whole = False
        try:
            while queue and len(batch) < MAX_BATCH:
                batch.append(queue.popleft())
            if batch:
                self._perform(batch)
            whole = True
        finally:
            self._turn.release()
            for job in batch:
                if not whole and job.error is None:
                    job.error = LedgerError("the ledger was interrupted", rule="no journal, no signature")
                job.publish()
            self._hand_on()

    def _hand_on(self) -> None:
        """Whoever frees the turn sees to it that somebody takes it while jobs wait."""
        if not self._queue:
            return
        try:
            head = self._queue[0]
        except IndexError:
            return
        if head.sleeps:
            self._urgent.set()
            self._awake.set()
        else:
            head.poke()  # without a gate its thread is still awake and will try the turn itself

    def stop(self) -> None:
        """Let the thread end when it has drained what waits."""
        self._closed = True
        self._urgent.set()
        self._awake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        self._thread = None
