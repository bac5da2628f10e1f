"""A dialect for tests that pays first: x402's own challenge, settled by a transfer of ours whose id is shown to the seller.

It serves every chain that has a `transfer`: the id stands in its proof's payload as `transaction`.
"""

from __future__ import annotations

from dataclasses import replace

from x402_agent.dialects import X402
from x402_agent.model import Claim
from x402_agent.sandbox.challenge import requirements
from x402_agent.steps import Presented

__all__ = ["First", "moved", "shop", "states"]


def at_once(ground):
    """TRX for many transfers, and what is in a block is solid at once: TRON's own minute is no part of these tests."""
    ground.chain.endow(bytes.fromhex(ground.payer.address[2:]), 10**13)
    ground.chain.depth = 0


COIN = {  # by chain: what a payer needs besides what the sandbox gives him
    "tron": lambda box: at_once(box.ground),
    "solana": lambda box: box.ground.chain.endow(box.ground.payer.pubkey(), 10**9),
}
PLAIN = {"scheme": "transfer", "method": "transfer", "facilitator": "", "details": "", "fee_cap": 0, "fees": ()}


class First(X402):
    """Every offer is read as one that wants a transfer and then its id in x-transaction."""

    def read(self, reply, ask):
        found = super().read(reply, ask)
        offers = () if found is None else tuple(replace(each, **PLAIN) for each in found.offers)
        return None if found is None else replace(found, offers=offers)

    def present(self, hold, proof):
        return Presented({"x-transaction": proof.payload["transaction"]})
        yield

    def receipt(self, reply, offer):
        return Claim(success=reply.status < 400 or None, transaction="")


def shop(seller, box, path="/first", amount=10_000, paid=lambda hit: None):
    """The seller's side: 402 until the transfer that is named stands on the sandbox's chain and was not used before. -> URL, ids shown."""
    shown, used = [], set()
    COIN.get(box.ground.name, lambda _: None)(box)
    wanted = replace(box.routes["/joke"], price=amount)

    def asked():
        found = {"accepts": requirements(wanted, None, 2, box.ground, 1), "extensions": box.ground.advertised(wanted)}
        return seller.packed({"x402Version": 2, "resource": {"url": seller.url(path)}, **found})

    def route(hit):
        txid = hit.headers.get("x-transaction", "")
        if not txid:
            return seller.answer(402, b"{}", payment_required=asked())
        shown.append(txid)
        if box.transaction(txid) is None or box.balance(box.pay_to) < amount * len(used | {txid}):
            return seller.answer(402, b"{}")
        used.add(txid)
        return paid(hit) or seller.answer(200, b"goods")

    seller.serves(path, route)
    return seller.url(path), shown


def moved(payer):
    """Atomic units that the sandbox's seller has, by its chain."""
    return payer.box.balance(payer.box.pay_to)


def states(payer):
    """The ledger's words, the newest payment first."""
    payer.ledger.flush()
    return [row.state for row in payer.ledger.payments()]
