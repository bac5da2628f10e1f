"""What the pretend shop sells by ways that only the EVM has: Permit2, ceilings, a choice of networks, signed offers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .evm import NETWORK
from .routes import OVERRIDES, Extra, Route, joke, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from .messages import Answer, Request

__all__ = ["EVM_ROUTES"]


def _metered(charge: int) -> Callable[[Request], Answer]:
    return lambda request: report(request).plus((OVERRIDES, json.dumps({"amount": str(charge)})))


def _upto(path: str, ceiling: int, charge: int, description: str) -> Route:
    return Route(path, ceiling, _metered(charge), description, ways=("upto",), charge=charge)


_USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
_CHOICE_BEFORE = (
    Extra("eip155:421614", "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USD Coin", 30_000),
    Extra(NETWORK, _USDC, "USDC", 20_000),
)
_CHOICE_AFTER = (Extra("eip155:43113", "0x5425890298aed601595a70AB815c96711a31Bc65", "USD Coin", 40_000),)

_TABLE = (
    Route("/choice", 10_000, joke, "several ways to pay", before=_CHOICE_BEFORE, after=_CHOICE_AFTER),
    Route("/permit2", 10_000, joke, "a joke, by Permit2 only", ways=("permit2",)),
    Route("/either", 10_000, joke, "a joke, by EIP-3009 or by Permit2", ways=("eip3009", "permit2")),
    _upto("/upto", 50_000, 12_000, "a report that costs 12000 of at most 50000"),
    _upto("/upto-zero", 50_000, 0, "a report that costs nothing of at most 50000"),
    Route("/signed", 10_000, report, "offers and receipts signed by the payee", signed="eip712"),
    Route("/v1/signed", 10_000, report, "the same in x402 v1, as JWS", wire="v1", signed="jws"),
)
EVM_ROUTES = {each.path: each for each in _TABLE}
