"""policy.toml while a process runs: what a person narrows holds within seconds; what he breaks pays nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from ..errors import PolicyDenied, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .rules import Policy

__all__ = ["Live"]

_Stamp = tuple[int, int, int] | None


class HasPolicy(Protocol):
    """A payer."""

    policy: Policy


class Live:
    """Who looks whether a payer's file has changed. It is read once it has stood still for a second: half a file is no policy.

    `pause` is that second, between two looks at the file.
    """

    pause = 1.0

    def __init__(self, path: Path, read: Callable[[], Policy], clock: Callable[[], float] = time.monotonic) -> None:
        """`read` makes the policy of that file; raises SettingsError."""
        self._path, self._read, self._clock = path, read, clock
        self._stamp = self._seen = self._look()
        self._next = clock() + self.pause
        self._trouble: SettingsError | None = None

    def door(self, payer: HasPolicy) -> PolicyDenied | None:
        """Give the payer its new policy, or say why it pays nothing: the file cannot be read, or is gone."""
        if self._clock() >= self._next:
            self._next = self._clock() + self.pause
            found = self._look()
            if found != self._stamp and found == self._seen:
                self._again(found, payer)
            self._seen = found
        why = self._trouble
        return None if why is None else PolicyDenied(why.what, rule=why.rule, hint=why.hint)

    @property
    def moving(self) -> bool:
        """Whether the file is another than the one that was read: it may be half written."""
        return self._look() != self._stamp

    def _again(self, stamp: _Stamp, payer: HasPolicy) -> None:
        self._stamp = stamp
        try:
            if stamp is None:  # the default may be wider than what stood there
                raise SettingsError("policy.toml is gone", rule=str(self._path), hint="put it back, or start again")
            payer.policy, self._trouble = self._read(), None
        except SettingsError as why:
            self._trouble = why

    def _look(self) -> _Stamp:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
