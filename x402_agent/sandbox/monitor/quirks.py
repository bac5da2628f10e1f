"""How this seller misbehaves, or which deployed one it resembles. One scenario is one set of these; `honest` is the strict seller."""

from __future__ import annotations

from dataclasses import dataclass

from ..scene import Scene

__all__ = ["CALLBACK", "REUSE", "Quirks"]

CALLBACK = ("retried", "once", "lost", "boasted")
REUSE = ("refused", "allowed", "error")


@dataclass(frozen=True, slots=True)
class Quirks(Scene):
    """Times are seconds, `short` atomic units of USDT.

    Watching: `interval` between polls; `window` begins each at the time of the one before; `shared` completes every invoice of a wallet and amount
    by one transfer; `stuck` never polls. `rounds`: decimals that an amount keeps; `short`: so much more than the shop's 402 said is waited for;
    `lax_address` takes addresses whose checksum is wrong.
    Orders: `reuse` of an order's name after its invoice is over is one of REUSE.
    Callbacks: `callback` is one of CALLBACK; `signs` them.
    Status: `forgets` invoices whose day is over; `zone` is added to its times, which have none; `flips` between completed and pending;
    `stranger` tells somebody else's transaction, `mixes` another invoice's id; `down` answers 503 (0: it does not).
    The shop's 402: `checksum` is broken, `number` writes the amount as one, `late` is over already, `elsewhere` names another origin's status page.
    `after` a payment is told as completed the shop answers with content, challenge or error.
    """

    interval: int = 10
    window: bool = False
    shared: bool = False
    stuck: bool = False
    rounds: int = 6
    short: int = 0
    lax_address: bool = False
    reuse: str = "refused"
    callback: str = "retried"
    signs: bool = False
    forgets: bool = False
    zone: int = 0
    flips: bool = False
    stranger: bool = False
    mixes: bool = False
    down: bool = False
    checksum: bool = False
    number: bool = False
    late: bool = False
    elsewhere: bool = False
    after: str = "content"

    def __post_init__(self) -> None:
        Scene.__post_init__(self)  # `super()` finds nobody in a class with slots
        self.bound(interval=(1, 86_400), rounds=(2, 6), short=(0, 10**9), zone=(-86_400, 86_400))
        self.known(callback=CALLBACK, reuse=REUSE, after=("content", "challenge", "error"))
