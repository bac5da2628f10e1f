"""What the pretend shop sells on any chain, for how much and in which dialect. A table; it settles nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .messages import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import Request

__all__ = ["OVERRIDES", "ROUTES", "Extra", "Route", "joke", "report"]

Wire = Literal["v1", "v2", "v2-body", "both"]
Flow = Literal["authorization", "upfront", "escrow"]
OVERRIDES = "settlement-overrides"  # how a handler says what an `upto` request cost; the paywall takes it off
PAUSE = 0.02
JOKES = (
    "Why did the agent cross the network? To settle on the other side.",
    "An agent walks into a bar. The bar says 402.",
    "I would tell you a joke about idempotency, but you have heard it already.",
)


@dataclass(frozen=True, slots=True)
class Extra:
    """One more way to pay, listed before or after the route's own. Only offers on the sandbox's network can be settled."""

    network: str
    asset: str
    name: str
    price: int


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `price` is in atomic units of the sandbox's asset, 0 for free; for `upto` it is the ceiling.

    `ways` are how it may be paid, in order, in the chain's words; none is the chain's usual one. `charge` is what an `upto` request costs, in atomic units.
    """

    path: str
    price: int
    handler: Callable[[Request], Answer]
    description: str
    wire: Wire = "v2"
    flow: Flow = "authorization"
    methods: tuple[str, ...] = ()
    before: tuple[Extra, ...] = ()
    after: tuple[Extra, ...] = ()
    identifier: Literal["", "optional", "required"] = ""
    plain: bool = False  # honest in every scenario
    ways: tuple[str, ...] = ()
    charge: int | None = None
    signed: Literal["", "eip712", "jws"] = ""  # how offers and receipts are signed

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of x402 in which it asks."""
        return {"v1": (1,), "both": (2, 1)}.get(self.wire, (2,))

    @property
    def cost(self) -> int:
        """What a sale moves, in atomic units."""
        return self.price if self.charge is None else self.charge


def joke(request: Request) -> Answer:
    """The shop's usual good."""
    index = hashlib.sha256(request.path.encode()).digest()[0] % len(JOKES) if request.path != "/joke" else 0
    return json_answer(200, {"joke": JOKES[index]})


def report(request: Request) -> Answer:
    """A dearer one."""
    return json_answer(200, {"report": "All quiet on the pretend chain.", "pages": 1})


def _stream(request: Request) -> Answer:
    chunks = tuple(f"data: part {i} of 8\n\n".encode() for i in range(1, 9))
    return Answer(200, (("content-type", "text/event-stream"),), chunks, pause=PAUSE)


def _upload(request: Request) -> Answer:
    digest = hashlib.sha256(request.body).hexdigest()
    return json_answer(200, {"size": len(request.body), "sha256": digest, "method": request.method})


def _fails(request: Request) -> Answer:
    return json_answer(500, {"error": "the handler failed"})


def _free(request: Request) -> Answer:
    return json_answer(200, {"free": True})


_TABLE = (
    Route("/free", 0, _free, "costs nothing"),
    Route("/joke", 10_000, joke, "a joke"),
    Route("/v1/joke", 10_000, joke, "a joke, x402 v1", wire="v1"),
    Route("/v2-body/joke", 10_000, joke, "a joke, x402 v2 with the challenge in the body", wire="v2-body"),
    Route("/both", 10_000, joke, "a joke, v2 in the header and v1 in the body at once", wire="both"),
    Route("/upfront", 10_000, joke, "settled before the handler runs", flow="upfront"),
    Route("/upfront-500", 10_000, _fails, "settled first, then the handler fails", flow="upfront"),
    Route("/escrow", 10_000, joke, "deposited first, kept when the handler succeeds", flow="escrow"),
    Route("/escrow-500", 10_000, _fails, "deposited first, paid back when the handler fails", flow="escrow"),
    Route("/joke-500", 10_000, _fails, "the handler fails, so nothing is settled"),
    Route("/report", 30_000, report, "a report"),
    Route("/dear", 250_000, report, "a report above most limits"),
    Route("/stream", 10_000, _stream, "an answer in eight parts"),
    Route("/upload", 10_000, _upload, "says what arrived", methods=("POST", "PUT")),
    Route("/order", 10_000, report, "payment-identifier advertised", identifier="optional"),
    Route("/order-required", 10_000, report, "payment-identifier required", identifier="required"),
    Route("/moved", 10_000, joke, "where redirects lead: asks for payment too", plain=True),
)
ROUTES = {each.path: each for each in _TABLE}
