"""How the shop behaves once it has been paid. A scenario never signs or pays."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SettingsError
from .scene import Scene

__all__ = ["ANSWERS", "Scenario"]

ANSWERS = ("content", "error", "hang", "drop", "challenge", "redirect")


@dataclass(frozen=True, slots=True)
class Scenario(Scene):
    """What happens to a request that carries a valid proof, on every priced route.

    `answer` is content, error (with `status`), hang (`seconds`, then the connection drops), drop, challenge (402 again)
    or redirect (to `to`, on another host name when `other_host`). `settles` says whether the money moves first.
    `seconds` delays the answer. `times` is how many showings of one proof are answered so, 0 for all; later ones get
    the content. `remembers`: a proof that settled here before is never settled again. `receipt` tells whether an
    answer that is not content carries one. `prices` multiplies the price, request by request, in turn.
    """

    answer: str = "content"
    settles: bool = True
    seconds: float = 0.0
    times: int = 0
    status: int = 500
    remembers: bool = True
    receipt: bool = False
    to: str = "/moved"
    other_host: bool = False
    prices: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        Scene.__post_init__(self)  # `super()` finds nobody in a class with slots
        self.bound(status=(400, 599), times=(0, 1_000_000), seconds=(0, 86_400))
        if self.answer not in ANSWERS:
            raise SettingsError(f"scenario {self.name!r}: answer {self.answer!r}", rule=f"one of {', '.join(ANSWERS)}")
        if not self.to.startswith("/"):
            raise SettingsError(f"scenario {self.name!r}: to {self.to!r}", rule="to is a path")
