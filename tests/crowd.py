"""How many callers were inside a block at once."""

from __future__ import annotations

import threading

__all__ = ["Crowd"]


class Crowd:
    """Entered by each caller; `most` is how many were in it together."""

    def __init__(self) -> None:
        self.most = self._inside = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
