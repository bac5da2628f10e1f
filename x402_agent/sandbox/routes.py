"""What the pretend shop sells, for how much and in which dialect. A table; it settles nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .evm import NETWORK
from .messages import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import Request

__all__ = ["OVERRIDES", "ROUTES", "Extra", "Route"]

Wire = Literal["v1", "v2", "v2-body", "both"]
Flow = Literal["authorization", "upfront", "escrow"]
Way = Literal["eip3009", "permit2", "upto"]
OVERRIDES = "settlement-overrides"  # how a handler says what an `upto` request cost; the paywall takes it off
PAUSE = 0.02
JOKES = (
    "Why did the agent cross the network? To settle on the other side.",
    "An agent walks into a bar. The bar says 402.",
    "I would tell you a joke about idempotency, but you have heard it already.",
)


@dataclass(frozen=True, slots=True)
class Extra:
    """One more way to pay, listed before or after the route's own. Only offers on Base Sepolia can be settled."""

    network: str
    asset: str
    name: str
    price: int


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `price` is in atomic units of USDC (6 decimals), 0 for free; for `upto` it is the ceiling.

    `ways` are how it may be paid, in order; `charge` is what an `upto` request costs, in atomic units.
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
    ways: tuple[Way, ...] = ("eip3009",)
    charge: int | None = None
    signed: Literal["", "eip712", "jws"] = ""  # how offers and receipts are signed

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of x402 in which it asks."""
        return {"v1": (1,), "both": (2, 1)}.get(self.wire, (2,))

    @property
    def cost(self) -> int:
        """What a sale moves, in atomic units of USDC."""
        return self.price if self.charge is None else self.charge


def _joke(request: Request) -> Answer:
    index = hashlib.sha256(request.path.encode()).digest()[0] % len(JOKES) if request.path != "/joke" else 0
    return json_answer(200, {"joke": JOKES[index]})


def _report(request: Request) -> Answer:
    return json_answer(200, {"report": "All quiet on the pretend chain.", "pages": 1})


def _stream(request: Request) -> Answer:
    chunks = tuple(f"data: part {i} of 8\n\n".encode() for i in range(1, 9))
    return Answer(200, (("content-type", "text/event-stream"),), chunks, pause=PAUSE)


def _upload(request: Request) -> Answer:
    digest = hashlib.sha256(request.body).hexdigest()
    return json_answer(200, {"size": len(request.body), "sha256": digest, "method": request.method})


def _metered(charge: int) -> Callable[[Request], Answer]:
    return lambda request: _report(request).plus((OVERRIDES, json.dumps({"amount": str(charge)})))


def _upto(path: str, ceiling: int, charge: int, description: str) -> Route:
    return Route(path, ceiling, _metered(charge), description, ways=("upto",), charge=charge)


def _fails(request: Request) -> Answer:
    return json_answer(500, {"error": "the handler failed"})


def _free(request: Request) -> Answer:
    return json_answer(200, {"free": True})


def _index(request: Request) -> Answer:
    rows = [
        {
            "path": each.path,
            "price": str(each.price),
            "wire": each.wire,
            "flow": each.flow,
            "ways": list(each.ways),
            "description": each.description,
        }
        for each in ROUTES.values()
    ]
    return json_answer(200, {"sandbox": True, "network": NETWORK, "routes": rows})


_USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
_CHOICE_BEFORE = (
    Extra("eip155:421614", "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USD Coin", 30_000),
    Extra(NETWORK, _USDC, "USDC", 20_000),
)
_CHOICE_AFTER = (Extra("eip155:43113", "0x5425890298aed601595a70AB815c96711a31Bc65", "USD Coin", 40_000),)

_TABLE = (
    Route("/", 0, _index, "this list"),
    Route("/free", 0, _free, "costs nothing"),
    Route("/joke", 10_000, _joke, "a joke"),
    Route("/v1/joke", 10_000, _joke, "a joke, x402 v1", wire="v1"),
    Route("/v2-body/joke", 10_000, _joke, "a joke, x402 v2 with the challenge in the body", wire="v2-body"),
    Route("/both", 10_000, _joke, "a joke, v2 in the header and v1 in the body at once", wire="both"),
    Route("/upfront", 10_000, _joke, "settled before the handler runs", flow="upfront"),
    Route("/upfront-500", 10_000, _fails, "settled first, then the handler fails", flow="upfront"),
    Route("/escrow", 10_000, _joke, "deposited first, kept when the handler succeeds", flow="escrow"),
    Route("/escrow-500", 10_000, _fails, "deposited first, paid back when the handler fails", flow="escrow"),
    Route("/joke-500", 10_000, _fails, "the handler fails, so nothing is settled"),
    Route("/report", 30_000, _report, "a report"),
    Route("/dear", 250_000, _report, "a report above most limits"),
    Route("/stream", 10_000, _stream, "an answer in eight parts"),
    Route("/upload", 10_000, _upload, "says what arrived", methods=("POST", "PUT")),
    Route("/choice", 10_000, _joke, "several ways to pay", before=_CHOICE_BEFORE, after=_CHOICE_AFTER),
    Route("/permit2", 10_000, _joke, "a joke, by Permit2 only", ways=("permit2",)),
    Route("/either", 10_000, _joke, "a joke, by EIP-3009 or by Permit2", ways=("eip3009", "permit2")),
    _upto("/upto", 50_000, 12_000, "a report that costs 12000 of at most 50000"),
    _upto("/upto-zero", 50_000, 0, "a report that costs nothing of at most 50000"),
    Route("/order", 10_000, _report, "payment-identifier advertised", identifier="optional"),
    Route("/order-required", 10_000, _report, "payment-identifier required", identifier="required"),
    Route("/signed", 10_000, _report, "offers and receipts signed by the payee", signed="eip712"),
    Route("/v1/signed", 10_000, _report, "the same in x402 v1, as JWS", wire="v1", signed="jws"),
    Route("/moved", 10_000, _joke, "where redirects lead: asks for payment too", plain=True),
)
ROUTES = {each.path: each for each in _TABLE}
