"""The body of an answer to a proof on its way to the caller: what is lost there was paid and is not delivered."""

from __future__ import annotations

import sys
import time
from typing import Any

from .decoding import Guarded
from .waiting import wait

__all__ = ["Watched"]

SLOWEST = 1024  # bytes a second that a paid body must make on average, after a minute's grace
GRACE = 60.0
STREAMS = frozenset({"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl",
                     "application/stream+json", "application/json-seq"})  # of events, as slow as events are  # fmt: skip


class Watched:
    """The body of an answer to a proof, unbuffered: when it breaks, the ledger and the caller hear of it.

    So does the ledger when it is closed for an exception before anybody read of it (a hook's, a cancellation there), for a cancellation
    or Ctrl-C before its end, and when one comes while it is closed: the caller does not get it then.
    """

    def __init__(self, response: Any, talk: Any, hold: Any) -> None:
        self._inner, self._talk, self._hold, self._lib = response.stream, talk, hold, talk.lib
        self._begun, self._ended = False, False
        self._before = id(sys.exc_info()[1])  # what the caller handles already has nothing to do with it
        if "content-encoding" in response.headers:
            response._decoder = Guarded(response, lambda exc: talk.broken(hold, exc))
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._paced = kind not in STREAMS

    def _pace(self, start: float, seen: int) -> None:
        if self._paced and time.monotonic() > start + GRACE + seen / SLOWEST:
            raise self._lib.ReadTimeout("the paid body drips slower than 1 KiB a second")

    def _lost(self, exc: BaseException | None) -> bool:
        """Whether a good answer is closed for this exception, which came after it."""
        if exc is None or self._ended or self._hold.state != "CLAIMED" or isinstance(exc, GeneratorExit) or id(exc) == self._before:
            return False
        return not (self._begun and isinstance(exc, Exception))

    def __iter__(self) -> Any:
        start, seen, self._begun = time.monotonic(), 0, True
        try:
            for chunk in self._inner:
                seen += len(chunk)
                self._pace(start, seen)
                yield chunk
            self._ended = True
        except GeneratorExit:
            raise
        except BaseException as exc:
            work, error = self._talk.broken(self._hold, exc)
            work.run()
            if error is exc:
                raise
            raise error from exc

    async def __aiter__(self) -> Any:
        start, seen, self._begun = time.monotonic(), 0, True
        try:
            async for chunk in self._inner:
                seen += len(chunk)
                self._pace(start, seen)
                yield chunk
            self._ended = True
        except GeneratorExit:
            raise
        except BaseException as exc:
            work, error = self._talk.broken(self._hold, exc)
            await wait(work)
            if error is exc:
                raise
            raise error from exc

    def close(self) -> None:
        why = sys.exc_info()[1]
        try:
            self._inner.close()
        except BaseException as exc:
            self._talk.broken(self._hold, exc)[0].run()
            raise
        if self._lost(why):
            self._talk.broken(self._hold, why)[0].run()

    async def aclose(self) -> None:
        why = sys.exc_info()[1]
        try:
            await self._inner.aclose()
        except BaseException as exc:
            await wait(self._talk.broken(self._hold, exc)[0])
            raise
        if self._lost(why):
            await wait(self._talk.broken(self._hold, why)[0])
