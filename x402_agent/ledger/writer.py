"""Jobs wait in one queue; whoever drains it takes all of them into one transaction; results appear after COMMIT.

A sync caller drains in its own thread, so a lone payment costs no thread hop. An async caller does the same up to the
COMMIT, which may wait for the disk: one lazily started daemon thread does that. (Were the statements its work too, it
would ask a busy event loop for the interpreter at each of them.) Under load all find company in the batch and share
one fsync. A job that may be late waits for the next batch, at most LATE seconds.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast

from ..errors import LedgerError, PaymentError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["Forgiving", "Job", "Late", "Writer", "done_job"]

T = TypeVar("T")
R = TypeVar("R")
MAX_BATCH = 256
MAX_INLINE = 64  # of an event loop's own time, some milliseconds
LATE = 0.05
log = logging.getLogger("x402_agent.ledger")


_Via: TypeAlias = "Callable[[Callable[[], object]], object]"


class _Store(Protocol):
    def perform(self, jobs: Sequence[Job[Any]], /) -> None: ...
    def begin(self, jobs: Sequence[Job[Any]], /) -> bool: ...
    def finish(self, jobs: Sequence[Job[Any]], /) -> None: ...
    def resign(self) -> None: ...


class Job(Generic[T]):
    """One ledger operation. `run()` blocks and returns; `start(done)` goes to the writer thread, then `result()`."""

    _gate: Any = None
    _done: Callable[[], object] | None = None
    via: _Via
    finished = False
    unwritten = False  # it failed because the file could not be written, not because of what it wanted
    error: BaseException | None = None
    undo: Callable[[Any, Any], None] | None = None  # takes back what it made, in a transaction of its own

    def __init__(self, writer: Writer | None, operation: Callable[[Any], T], *, write: bool, full: bool) -> None:
        self._writer = writer
        self.operation = operation
        self.write = write
        self.full = full
        self.value: T | None = None

    def run(self) -> T:
        """Perform it now, in this thread or in the batch of another; returns its result or raises its error."""
        if not self.finished and self._writer is not None:
            try:
                self._writer.run(self)
            except BaseException:
                self.lost()
                raise
        return self.result()

    def lost(self) -> None:
        """Whoever waited for it was interrupted: what it makes, or has made, is taken back right behind it."""
        undo = self.undo
        if undo is None:
            return

        def back(store: Any) -> None:
            if self.value is not None:
                undo(store, self.value)

        Late(self._writer, back, write=True, full=False).run()

    def start(self, done: Callable[[], object], via: _Via) -> None:
        """In an event loop: queue it, without waiting. `done` is called once, by `via`: the loop's "call this soon",
        which a batch asks once for all of that loop's jobs. A finished job calls it here.
        """
        if self.finished or self._writer is None:
            done()
            return
        self._done, self.via = done, via
        self._writer.wake(self)

    def result(self) -> T:
        """What came of it, once finished; raises the operation's error."""
        if not self.finished:
            raise RuntimeError("this job has not finished")
        if self.error is not None:
            raise self.error
        return cast("T", self.value)

    def then(self, last: Callable[[T], R]) -> Job[R]:
        """The same job, whose operation ends by making something else of its value, in the thread that performs it."""
        first = self.operation
        return Job(self._writer, lambda store: last(first(store)), write=self.write, full=self.full)

    def publish(self) -> Callable[[], object] | None:
        """Let the waiting thread go, or return the callback. The performer has set `value` or `error`."""
        self.finished = True
        self.poke()
        done, self._done = self._done, None
        return done

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

    def then(self, last: Callable[[T], R]) -> Job[R]:
        return _Ready(last(cast("T", self.value)))

    def run(self) -> T:
        return cast("T", self.value)

    def start(self, done: Callable[[], object], via: _Via) -> None:
        done()


def done_job(value: T) -> Job[T]:
    """A job that never touches the disk."""
    return _Ready(value)


class Forgiving(Job[None]):
    """A Close: what it cannot write it logs, since the row it leaves behind stays counted."""

    def result(self) -> None:
        """Nothing, whatever happened."""

    def publish(self) -> Callable[[], object] | None:
        """Written, or logged."""
        if self.error is not None:
            what = self.error.what if isinstance(self.error, PaymentError) else type(self.error).__name__
            log.error("what is counted stays as it stood: %s", what)
            if self.unwritten and self._writer is not None:
                self._writer.again(self.operation)
        return super().publish()


class Late(Forgiving):
    """A Close with good news: it rides in the next batch. Until then the row says INFLIGHT, which counts the same."""

    ready = True

    def run(self) -> None:
        """Queue it and go on."""
        if self._writer is not None:
            self._writer.later(self)

    def start(self, done: Callable[[], object], via: _Via) -> None:
        """Queue it and go on; `done` is called here."""
        self.run()
        done()

    @property
    def sleeps(self) -> bool:
        """Nobody waits for it."""
        return True


class Writer:
    """The queue, and the one right to drain it."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        self._queue: deque[Job[Any]] = deque()
        self._unwritten: deque[Callable[[Any], None]] = deque()
        self._turn = threading.Lock()
        self._owed: tuple[list[Job[Any]], bool] | None = None  # the thread's to end, with the turn; begun, or not even that
        self._awake = threading.Event()
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
        """Queue it, in an event loop's thread: nothing here waits for a disk or a process."""
        self._queue.append(job)
        self._step()

    def _step(self) -> None:
        """Unless somebody drains: take what waits up to its COMMIT, and leave that to the thread."""
        if not self._queue or not self._turn.acquire(blocking=False):
            return
        batch: list[Job[Any]] = []
        begun = False
        try:
            self._take(batch, MAX_INLINE)
            begun = any(job.write for job in batch) and self._store.begin(batch)
        finally:
            self._owed = batch, begun
            self._awake.set()
            if not self._has_thread():
                self._pay()

    def later(self, job: Job[Any]) -> None:
        """Queue it for the next batch, whoever makes it; the thread does after LATE seconds."""
        self._queue.append(job)
        self._nudge()

    def again(self, operation: Callable[[Any], None]) -> None:
        """What a Close could not write rides in the next batch that anybody makes: until then its row looks under way."""
        self._store.resign()
        self._unwritten.append(operation)

    def _nudge(self) -> None:
        if not self._nudged:
            self._nudged = self._has_thread()
            self._awake.set()

    def _has_thread(self) -> bool:
        """Whether there is a writer thread, started here if need be; False where the system gives none."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._loop, name="x402-ledger", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:  # too many threads, or the interpreter is ending
                        return False
                    self._thread = thread
        return True

    def _loop(self) -> None:
        while True:
            late = not self._awake.wait(LATE if self._nudged else None)
            self._awake.clear()
            try:
                self._pay()
                if late:
                    self._nudged = False
                    if self._queue and self._turn.acquire(blocking=False):
                        self._drain()
            except Exception as cause:  # its jobs have failed; whoever comes next still needs this thread
                log.error("a batch of the ledger failed: %s", type(cause).__name__)  # noqa: TRY400 - no values
            if self._closed:
                return

    def _pay(self) -> None:
        """End the batch that an event loop left to us."""
        if self._owed is not None:
            (batch, begun), self._owed = self._owed, None
            self._end(batch, self._store.finish if begun else self._store.perform)

    def _take(self, batch: list[Job[Any]], most: int) -> None:
        while self._queue and self._unwritten:
            batch.append(Late(self, self._unwritten.popleft(), write=True, full=False))
        while self._queue and len(batch) < most:
            batch.append(self._queue.popleft())

    def _drain(self) -> None:
        """Take everything that waits, once; the turn is ours on entry and free on return."""
        batch: list[Job[Any]] = []

        def perform(_: object) -> None:
            self._take(batch, MAX_BATCH)
            if batch:
                self._store.perform(batch)

        self._end(batch, perform)

    def _end(self, batch: list[Job[Any]], work: Callable[[list[Job[Any]]], None]) -> None:
        """Do the last of a batch, give the turn back, and tell whoever waits."""
        whole = False
        try:
            work(batch)
            whole = True
        finally:
            self._turn.release()
            calls: dict[_Via, list[Callable[[], object]]] = {}
            for job in batch:
                if not whole and job.error is None:
                    job.error = LedgerError("the ledger was interrupted", rule="no journal, no signature", hint="repeat the call")
                done = job.publish()
                if done is not None:
                    calls.setdefault(job.via, []).append(done)
            for via, dones in calls.items():
                self._ask(via, dones)
            self._hand_on(calls)

    def _ask(self, via: _Via, dones: Sequence[Callable[[], object]]) -> None:
        """One call into an event loop, however many of its jobs are done: each such call is a system call."""

        def told() -> None:
            try:
                for done in dones:
                    done()
                self._step()
            except Exception:
                log.exception("an event loop could not go on with the ledger's jobs")

        try:
            via(told)
        except Exception:
            log.exception("nobody waits for a ledger job any more")

    def _hand_on(self, asked: Collection[_Via] = ()) -> None:
        """Whoever frees the turn sees to it that somebody takes it while jobs wait."""
        if not self._queue:
            return
        waiting = self._queue.copy()
        for job in waiting:
            if not job.sleeps:
                job.poke()  # it takes them all; without a gate its thread is still awake and will try the turn itself
                return
        for via in {job.via for job in waiting if job._done is not None} - set(asked):
            self._ask(via, ())
        self._nudge()  # an event loop may be busy, or closed

    def stop(self) -> None:
        """Let the thread end when it has done what it owes."""
        self._closed = True
        self._awake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        self._thread = None
