"""What a payment by a signed transaction costs us: from parsed offer and terms to its bytes as they are shown."""

from __future__ import annotations

import time

from x402_agent import assets
from x402_agent.chains.solana import Solana
from x402_agent.chains.stacks import Stacks
from x402_agent.model import Anchor, Offer
from x402_agent.wallet import KeySigner

__all__ = ["proof_microseconds", "stacks_microseconds"]

_TOKEN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/token:EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
_PAYEE, _FEE_PAYER = "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk", "9B5XszUGdMaxCZ7uSQhPzdks5ZQSmWxrmzCSvtJ6Ns6g"


def proof_microseconds(rounds: int = 500) -> float:
    """CPU of one proof: a new nonce, the message, its signature, base64; the best of five runs."""
    chain, signer, asset = Solana(), KeySigner(bytes([7] * 32), "solana"), assets.asset_by_id(_TOKEN)
    assert asset is not None
    offer = Offer("x402", "exact", asset, 10_000, _PAYEE, 60, facilitator=_FEE_PAYER)
    payer, best = signer.address("solana"), 1.0
    for _ in range(5):
        start = time.process_time()
        for number in range(rounds):
            terms = chain.terms(offer, payer, now=1_800_000_000, nonce=number.to_bytes(32, "big"), max_lifetime=60,
                                anchor=Anchor("4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi:1000:700"))  # fmt: skip
            chain.prove(offer, terms, signer)
        best = min(best, (time.process_time() - start) / rounds)
    return best * 1e6


def stacks_microseconds(symbol: str, rounds: int = 500) -> float:
    """The same on Stacks: of STX a token transfer, of another symbol SIP-010's transfer with its post-condition."""
    chain, signer, where = Stacks(), KeySigner(bytes([7] * 32), "stacks"), assets.network("stacks-testnet")
    assert where is not None
    asset = assets.asset(where, symbol)
    assert asset is not None
    offer = Offer("x402", "exact", asset, 10_000, "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG", 60)
    payer, best = signer.address("stacks"), 1.0
    for _ in range(5):
        start = time.process_time()
        for number in range(rounds):
            terms = chain.terms(offer, payer, now=1_800_000_000, nonce=number.to_bytes(32, "big"), max_lifetime=60,
                                anchor=Anchor("fee=400", number))  # fmt: skip
            chain.prove(offer, terms, signer)
        best = min(best, (time.process_time() - start) / rounds)
    return best * 1e6


if __name__ == "__main__":
    print(f"Solana {proof_microseconds():.0f}, STX {stacks_microseconds('STX'):.0f}, sBTC {stacks_microseconds('sBTC'):.0f} us of CPU")
