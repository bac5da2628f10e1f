"""What Lily's payers show: sessions and credits that were really paid on the pretend chain, signed headers, transactions.

A wallet may call 600 times a minute, so requests come from as many wallets as that needs.
"""

from __future__ import annotations

import itertools
import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from loading.calls import RETURNED, Shot, called, solana_paid
from solders.keypair import Keypair

from x402_agent.sandbox.lily.store import AGENT, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from x402_agent.sandbox import Sandbox

__all__ = ["PATH", "PRICE", "Payer", "by_credits", "by_session", "credits", "payer", "proofs", "sessions"]

PATH, PRICE = "/joke", 10_000  # millionths of a dollar
CALLS = 300  # of one wallet
_moments = itertools.count()


class Payer(NamedTuple):
    """A wallet with money, and what its program shows at the database's door."""

    key: Keypair
    lines: dict[str, str]

    @property
    def name(self) -> str:
        """Its address."""
        return str(self.key.pubkey())


def payer(box: Sandbox, dollars: int) -> Payer:
    """A new wallet with so much."""
    ground: Any = box.ground
    seller: Any = box.seller
    key = Keypair()
    ground.chain.endow(key.pubkey(), 10**8)
    ground.fund(str(key.pubkey()), 1_000_000 * dollars)
    token = seller.key(str(key.pubkey()))
    return Payer(key, {"apikey": token, "authorization": f"Bearer {token}", **RETURNED})


def opened(box: Sandbox, who: Payer, micros: int) -> str:
    """A session of so many millionths, paid on the chain and inserted as its client does it; its token."""
    token = secrets.token_hex(32)
    dollars = micros / 1_000_000
    row = {
        "wallet_address": who.name, "session_token": token, "authorized_amount": dollars, "remaining_amount": dollars, "currency": "USDC",
        "resource_pattern": f"agent/{SERVICE}/*", "service_id": SERVICE, "service_type": AGENT, "auto_renew": False, "status": "active",
        "initial_payment_signature": solana_paid(box, who.key, micros), "usd_amount": dollars,
    }  # fmt: skip
    called(box, "POST", "/rest/v1/x402_payment_sessions", row, **who.lines)
    return token


def topped_up(box: Sandbox, who: Payer, micros: int) -> None:
    """Credits of so many millionths."""
    row = {"transaction_signature": solana_paid(box, who.key, micros), "wallet_address": who.name, "service_id": SERVICE, "service_type": AGENT,
           "amount": micros / 1_000_000, "currency": "USDC", "status": "completed", "resource_type": AGENT, "http_method": "POST", "purpose": "credit_top_up"}  # fmt: skip
    called(box, "POST", "/rest/v1/x402_transactions", row, **who.lines)


def _header(who: Payer, shown: str = "") -> str:
    now = int(time.time() * 1000) - next(_moments) % 60_000  # no two headers of a wallet are the same
    return f"{shown}wallet={who.name}; amount=0.01; currency=USDC; timestamp={now}"


def by_session(who: Payer, token: str) -> Shot:
    """A call paid by a session."""
    return "GET", PATH, {"X-402-Payment": _header(who, f"session={token}; ")}, ""


def by_credits(who: Payer) -> Shot:
    """A call paid by credits: the wallet signs the header."""
    text = _header(who)
    return "GET", PATH, {"X-402-Payment": f"{text}; signature={who.key.sign_message(text.encode())}"}, ""


def _wallets(box: Sandbox, count: int) -> list[Payer]:
    return [payer(box, 10) for _ in range(-(-count // CALLS))]


def sessions(box: Sandbox, count: int) -> Iterator[Shot]:
    """Sessions in turn, each with calls left for all that are its own."""
    held = [(each, opened(box, each, CALLS * PRICE)) for each in _wallets(box, count)]
    for number in range(count):
        yield by_session(*held[number % len(held)])


def credits(box: Sandbox, count: int) -> Iterator[Shot]:  # noqa: A001 - the word that this system has for it
    """The same with credits."""
    held = _wallets(box, count)
    for each in held:
        topped_up(box, each, CALLS * PRICE)
    for number in range(count):
        yield by_credits(held[number % len(held)])


def proofs(box: Sandbox, count: int) -> Iterator[Shot]:
    """A transaction for each request."""
    held = _wallets(box, count)
    for number in range(count):
        who = held[number % len(held)]
        yield "GET", PATH, {"X-402-Payment": _header(who, f"proof={solana_paid(box, who.key, PRICE)}; ")}, ""
