"""What settling one payment costs the sandbox: everything checked, the facilitator's own transaction signed, run and kept.

`python benchmarks/settle.py`. Microseconds of CPU for each, the best of several rounds; 2,000 a second are 500 us. The proofs are made
before the clock runs.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from typing import Any, cast

import httpx
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from x402_agent.chains import Evm
from x402_agent.dialects import builtin
from x402_agent.model import NO_ANCHOR, Ask
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.challenge import payment_required, requirements
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.solana.ground import SolanaGround
from x402_agent.sandbox.solana.token import MEMO, TOKEN, transfer
from x402_agent.steps import Reply
from x402_agent.wallet import KeySigner

__all__ = ["settle_microseconds"]



def _evm(box: Sandbox) -> Callable[[], dict[str, Any]]:
    """Proofs as our own client makes them."""
    request = Request("GET", "http://sandbox.localhost", "/joke")
    answer = payment_required(box.routes["/joke"], request, box.ground, 1, "")
    reply = Reply(402, httpx.Headers(list(answer.headers)), b"".join(answer.chunks))
    ask = Ask("GET", request.url, request.origin, "sandbox.localhost", "/joke")
    challenge = next(found for dialect in builtin() if (found := dialect.read(reply, ask)))
    offer, chain, signer = challenge.offers[0], Evm(), KeySigner(box.payer_key)

    def made() -> dict[str, Any]:
        terms = chain.terms(offer, box.payer_address, now=int(time.time()), nonce=secrets.token_bytes(32), max_lifetime=60, anchor=NO_ANCHOR)
        return dict(chain.prove(offer, terms, signer).payload)

    return made


def _solana(box: Sandbox) -> Callable[[], dict[str, Any]]:
    """Proofs as the specification has them."""
    node, key = box.ground.facilitator, Keypair.from_seed(box.payer_key)
    mint = Pubkey.from_string(box.ground.asset.address)
    step = transfer(key.pubkey(), Pubkey.from_string(box.pay_to), 10_000, mint, TOKEN)
    blockhash, _ = cast("SolanaGround", box.ground).chain.blockhash()

    def made() -> dict[str, Any]:
        memo = Instruction(MEMO, secrets.token_hex(16).encode(), [])
        steps = [set_compute_unit_limit(20_000), set_compute_unit_price(1), step, memo]
        message = MessageV0.try_compile(Pubkey.from_string(node.address), steps, [], blockhash)
        signature = key.sign_message(to_bytes_versioned(message))
        tx = VersionedTransaction.populate(message, [Signature.default(), signature])
        return {"transaction": base64.b64encode(bytes(tx)).decode()}

    return made


def settle_microseconds(chain: str, rounds: int = 5, count: int = 400) -> float:
    """CPU of one settlement on a chain of the sandbox, in microseconds."""
    best = float("inf")
    for _ in range(rounds):
        box = Sandbox(chain=chain)
        proof = _PROOFS[chain](box)
        asked = requirements(box.routes["/joke"], Request("GET", "http://sandbox.localhost", "/joke"), 2, box.ground, 1)[0]
        sent = [{"x402Version": 2, "accepted": asked, "payload": proof()} for _ in range(count)]
        bodies = [{"x402Version": 2, "paymentPayload": each, "paymentRequirements": asked} for each in sent]
        start = time.process_time()
        good = [box.facilitator.settle_json(each)["success"] for each in bodies]
        best = min(best, (time.process_time() - start) / count * 1e6)
        if not all(good) or box.balance(box.pay_to) != 10_000 * count:
            raise RuntimeError(f"not everything settled on {chain}")
    return best


_PROOFS = {"evm": _evm, "solana": _solana}

if __name__ == "__main__":
    for name in _PROOFS:
        print(f"{name:8} {settle_microseconds(name):6.0f} us")
