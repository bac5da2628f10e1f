"""Offers, terms and signers for Solana."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from solders.hash import Hash

from chains.solana.svm import DEVNET, FACILITATOR, PAYEE, PAYER, USDC, Node, World, text
from x402_agent import assets
from x402_agent.chains.solana import Solana
from x402_agent.chains.solana.message import Anchored
from x402_agent.model import Anchor, Offer
from x402_agent.wallet.keys import KeySigner


@pytest.fixture
def solana() -> Solana:
    return Solana()


@pytest.fixture(scope="session")
def signer() -> KeySigner:
    return KeySigner(bytes([1] * 32), "solana")


@pytest.fixture
def offer():
    """An honest offer with changes; details as keywords of their own."""

    def make(memo: str = "", blockhash: str = "", **changes: Any) -> Offer:
        given = {"memo": memo, "recentBlockhash": blockhash}
        details = {name: value for name, value in given.items() if value}
        asset = assets.asset_by_id(f"{DEVNET}/token:{USDC}")
        honest = {"amount": 10_000, "pay_to": text(PAYEE), "lifetime": 60, "scheme": "exact", "asset": asset,
                  "facilitator": text(FACILITATOR), "details": json.dumps(details) if details else ""}  # fmt: skip
        return Offer(dialect="x402", **{**honest, **changes})

    return make


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def proven(solana, signer):
    """The transaction that we sign for an offer under this anchor."""

    def make(offer: Offer, anchor: Anchor, nonce: bytes = bytes(range(32))) -> bytes:
        terms = solana.terms(offer, text(PAYER), now=1_800_000_000, nonce=nonce, max_lifetime=600, anchor=anchor)
        return base64.b64decode(solana.prove(offer, terms, signer).payload["transaction"], validate=True)

    return make


@pytest.fixture
def node():
    return Node


@pytest.fixture
def anchor() -> Anchor:
    return Anchor(Anchored(bytes(Hash.hash(b"one")), 1000, 700).text)
