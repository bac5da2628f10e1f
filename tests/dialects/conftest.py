"""Challenges as sellers write them, made from one honest document each."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest

from x402_agent.dialects.x402 import X402
from x402_agent.model import Ask
from x402_agent.steps import Reply

URL = "https://api.example.com/weather?city=Oslo"


class Headers:
    """Header lines in order, names in any case: what httpx and httpx2 give a dialect."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self.lines = lines

    def get_list(self, key: str, /) -> list[str]:
        return [value for name, value in self.lines if name.lower() == key.lower()]


def _entry_v2() -> dict[str, Any]:
    return {
        "scheme": "exact",
        "network": "eip155:84532",
        "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60,
        "extra": {"name": "USDC", "version": "2"},
    }


def _entry_v1() -> dict[str, Any]:
    return {
        "scheme": "exact",
        "network": "base-sepolia",
        "maxAmountRequired": "10000",
        "resource": URL,
        "description": "Weather by city",
        "mimeType": "application/json",
        "outputSchema": None,
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60,
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "extra": {"name": "USDC", "version": "2"},
    }


def _changed(made: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if value is ...:
            made.pop(key, None)
        else:
            made[key] = value
    return made


@pytest.fixture
def entry2():
    """An honest v2 entry with changes; `...` removes a field."""
    return lambda **changes: _changed(_entry_v2(), changes)


@pytest.fixture
def entry1():
    """An honest v1 entry with changes; `...` removes a field."""
    return lambda **changes: _changed(_entry_v1(), changes)


@pytest.fixture
def v2():
    """An honest v2 document with changes at its top."""
    honest = {
        "x402Version": 2,
        "error": "Payment required",
        "resource": {"url": URL, "description": "Weather by city", "mimeType": "application/json"},
        "accepts": [_entry_v2()],
    }
    return lambda **changes: _changed(copy.deepcopy(honest), changes)


@pytest.fixture
def v1():
    """An honest v1 document with changes at its top."""
    honest = {"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [_entry_v1()]}
    return lambda **changes: _changed(copy.deepcopy(honest), changes)


@pytest.fixture
def ask() -> Ask:
    return Ask("GET", URL, "https://api.example.com", "api.example.com", "/weather")


@pytest.fixture
def dialect() -> X402:
    return X402()


@pytest.fixture
def b64():
    """Base64 text of a document (dict), of text, or of bytes."""

    def encode(document: Any) -> str:
        if not isinstance(document, (str, bytes)):
            document = json.dumps(document)
        data = document.encode() if isinstance(document, str) else document
        return base64.b64encode(data).decode()

    return encode


@pytest.fixture
def in_header(b64):
    """A 402 whose PAYMENT-REQUIRED header holds the document."""
    return lambda document, status=402: Reply(status, Headers([("Payment-Required", b64(document))]))


@pytest.fixture
def in_body():
    """A 402 whose body holds the document (dict, text or bytes)."""

    def make(document: Any, headers: tuple[tuple[str, str], ...] = (), **rest: Any) -> Reply:
        if not isinstance(document, (str, bytes)):
            document = json.dumps(document)
        raw = document.encode() if isinstance(document, str) else document
        return Reply(402, Headers([("Content-Type", "application/json"), *headers]), raw, **rest)

    return make


@pytest.fixture
def with_headers():
    """Any answer with these header lines and body."""
    return lambda *lines, status=402, raw=b"": Reply(status, Headers(list(lines)), raw)
