"""What an agent bought and may show again: in its own memory, for as long as it runs. A credential is no key of the signer's."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from ..vault.credentials import canonical, covers, sound

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Credential
    from ..steps import Return

__all__ = ["Bought"]

MOST = 256


class Bought:
    """As credentials.Credentials, without a ledger. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: list[Credential] = []
        self._lock = threading.Lock()

    def keeps(self, origin: str) -> bool:
        """Whether there is one for this origin."""
        return any(each.origin == origin for each in self._kept)

    def look(self, ask: Ask) -> Credential | None:
        """The one to show for this Ask, or None: the narrowest path that covers it."""
        now = self._clock()
        fit = [each for each in self._kept if each.origin == ask.origin and covers(each.path, ask.path) and each.uses_left != 0
               and (each.expires is None or now < each.expires)]  # fmt: skip
        return max(fit, key=lambda each: len(canonical(each.path) or ()), default=None)

    def use(self, credential: Credential) -> Credential | None:
        """Take one use of it, before it is sent; None when the last one went elsewhere."""
        with self._lock:
            left = credential.uses_left
            if credential not in self._kept or left is None:
                return None
            self._kept.remove(credential)
            taken = replace(credential, uses_left=left - 1)
            self._kept.append(taken)
            return replace(taken, lease=1)

    def returned(self, step: Return) -> None:
        """What came of one that was shown: forgotten when it was refused, else the smaller count holds."""
        shown = replace(step.credential, lease=0)
        with self._lock:
            for each in [one for one in self._kept if one.headers == shown.headers and one.origin == shown.origin]:
                self._kept.remove(each)
                left = each.uses_left
                if step.unsent and left is not None:
                    left += 1
                if step.left is not None:
                    left = step.left if left is None else min(left, step.left)
                if not step.refused:
                    self._kept.append(replace(each, uses_left=left))

    def keep(self, credential: Credential, ask: Ask) -> None:
        """Remember one that was just bought; of another origin than the Ask's it is not kept (K6)."""
        if sound(credential, ask):
            with self._lock:
                self._kept = [*self._kept, credential][-MOST:]
