"""Signing on TRON: a transaction of ours built, signed and serialised, and a proof by PaymentPermit, in microseconds of CPU."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from x402_agent.assets import assets
from x402_agent.chains.tron import Tron, permit, transaction
from x402_agent.model import Offer
from x402_agent.wallet import KeySigner

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["signing"]

PAYEE = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"
USDT = next(each for each in assets() if each.network.name == "tron-nile")
SIGNER = KeySigner(bytes([7] * 32), "tron")
PAYER = SIGNER.address("tron")
DETAILS = json.dumps({"feeTo": PAYEE, "paymentId": "0x" + "12" * 16})
OFFER = Offer("x402", "exact_permit", USDT, 1000, PAYEE, 60, method=permit.METHOD, fee_cap=5, facilitator=PAYEE, details=DETAILS)


def _transaction(number: int) -> None:
    call = transaction.Call(PAYER, USDT.address, transaction.transfer(PAYEE, 1000 + number))
    made = transaction.Raw(call, (b"ab", b"12345678"), 10**12, 10**12 + transaction.LIFETIME, 30_000_000)
    assert transaction.sign(made, SIGNER).wire


def _proof(number: int) -> None:
    tron = Tron()
    assert tron.prove(OFFER, tron.terms(OFFER, PAYER, now=10**9, nonce=number.to_bytes(32), max_lifetime=60), SIGNER)


def _best(work: Callable[[int], None]) -> float:
    found = []
    for _ in range(9):
        start = time.process_time()
        for number in range(200):
            work(number)
        found.append((time.process_time() - start) / 200)
    return min(found) * 1e6


def signing() -> tuple[float, float]:
    """The best of nine rounds: a TRC-20 transfer, signed and serialised, and a proof of `exact_permit`."""
    return _best(_transaction), _best(_proof)


if __name__ == "__main__":
    print("transfer {:.0f} us, exact_permit {:.0f} us of CPU".format(*signing()))
