"""The decoder of an answer to a proof: what cannot be decoded was not delivered. httpx gives bytes, httpx2 pieces of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Guarded"]


class Guarded:
    """In place of a response's own decoder. `broken` gives the work of writing it down, and the error to raise."""

    def __init__(self, response: Any, broken: Callable[[BaseException], tuple[Any, BaseException]]) -> None:
        self._response, self._broken = response, broken
        self._inner: Any = None

    def _made(self) -> Any:
        if self._inner is None:  # on first use: too many codings are an error, too
            del self._response._decoder
            try:
                self._inner = self._response._get_content_decoder()
            finally:
                self._response._decoder = self
        return self._inner

    def decode(self, data: bytes) -> Any:
        return self._heeded(lambda: self._made().decode(data))

    def flush(self) -> Any:
        return self._heeded(lambda: self._made().flush())

    def _heeded(self, work: Callable[[], Any]) -> Any:
        try:
            made = work()
        except BaseException as exc:  # Ctrl-C, too
            self._note(exc)
            raise
        return made if isinstance(made, bytes) else self._each(made)  # httpx2 gives them piece by piece

    def _each(self, pieces: Any) -> Any:
        try:
            yield from pieces
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._note(exc)
            raise

    def _note(self, exc: BaseException) -> None:
        """Write it down; raises the error for the caller where that is another."""
        work, error = self._broken(exc)
        work.run()
        if error is not exc:
            raise error from exc
