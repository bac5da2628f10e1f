"""Paying first: an ERC-20 transfer of our own, whose id is what the seller is shown (method `transfer`).

What goes on chain follows from offer and terms alone, so the same hold gives the same bytes: account nonce, gas, fees and the
height at which it was made stand in its anchor, durable before a byte leaves. No clock ends it: it is dead once a final
transaction other than it has its account nonce, or it was mined and failed for good.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import NoAcceptableOffer, NodeError, PaymentInDoubt, PolicyDenied, SettingsError, SigningFailed
from ...model import FOREVER, Anchor, Money, Proof, Terms
from ...primitives import checksum
from ...steps import Sleep
from . import reads, transaction
from .rpc import Node

if TYPE_CHECKING:
    from ...model import ChainRules, Offer
    from ...steps import Steps
    from .. import Signer

__all__ = ["METHOD", "broadcast", "fate", "prepare", "prove", "terms"]

METHOD = "transfer"
CEILING = 2 * 10**15  # wei for one transaction where policy says nothing
PATIENCE = 300.0  # seconds that one conversation waits for a block
_AGAIN = 15.0  # seconds after which the same bytes are handed over once more
_BEHIND = 900  # seconds of the final chain after which a node that shows nothing is believed
_ANCHOR = re.compile(r"([1-9][0-9]{0,6}),([1-9][0-9]{0,28}),([0-9]{0,29}),([0-9]{1,12})", re.ASCII).fullmatch


def prepare(offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
    """Gas, fees, height and the account's next nonce, within what policy lets a network take and the account has.

    Raises NoAcceptableOffer, PolicyDenied (C8), NodeError, SettingsError.
    """
    where = offer.network
    if not node:
        raise NoAcceptableOffer(f"a transfer of our own on {where.name} needs a node", rule="X402_AGENT_NODES",
                                hint=f"export X402_AGENT_NODES={where.name}=https://…")  # fmt: skip
    asked = Node(where, node)
    had = yield from reads.balance(asked, offer.asset.address, payer)
    if had < offer.amount:
        raise NoAcceptableOffer(f"the account has only {Money(had, offer.asset)}, and nothing is ever swapped", rule="balance on chain")
    call = transaction.transfer(offer.pay_to, offer.amount)
    gas = (yield from reads.estimate(asked, payer, offer.asset.address, call)) * 5 // 4
    fees = yield from reads.fees(asked)
    most, cost = min(rules.fees.get("eip155", CEILING), 1 << 64), gas * fees.max_fee
    if gas > transaction.MAX_GAS or cost > most:
        raise PolicyDenied(f"a transfer on {where.name} may cost {cost} wei ({gas} gas), at most {most} are paid", rule="fees of chains (C8)")
    if (yield from reads.native(asked, payer)) < cost:
        raise NoAcceptableOffer(f"{payer} has too little of the coin of {where.name} for {cost} wei of gas", rule="gas is paid by the account itself")
    height = yield from reads.height(asked)
    pending = yield from reads.nonce(asked, payer)
    return Anchor(f"{gas},{fees.max_fee},{'' if fees.tip is None else fees.tip},{height}", pending)


def terms(payer: str, now: int, nonce: bytes, anchor: Anchor) -> Terms:
    """As anchored; `nonce` names the payment in the ledger alone. Raises SigningFailed without an anchor."""
    if len(nonce) != 32 or anchor.number < 0 or _ANCHOR(anchor.text) is None:
        raise SigningFailed("a transfer needs an account nonce, gas and fees", rule="what a node said before (C6)")
    return Terms(checksum(payer), "0x" + nonce.hex(), now, FOREVER, anchor)


def _unsigned(offer: Offer, fixed: Terms) -> transaction.Unsigned:
    found = _ANCHOR(fixed.anchor.text)
    if found is None or fixed.anchor.number < 0:
        raise SigningFailed("the terms hold no gas, fees and account nonce", rule="what a node said before (C6)")
    gas, fee, tip, _ = found.groups()
    chain = int(offer.network.id.partition(":")[2])
    call = transaction.transfer(offer.pay_to, offer.amount)
    return transaction.Unsigned(chain, fixed.anchor.number, offer.asset.address, call, int(gas), int(fee), int(tip) if tip else None)


def prove(offer: Offer, fixed: Terms, signer: Signer) -> Proof:
    """The signed transaction and its id, `raw` and `transaction` in the payload (0x, hex). Raises SigningFailed."""
    made = transaction.sign(_unsigned(offer, fixed), signer)
    payload = {"transaction": made.txid, "raw": "0x" + made.raw.hex()}
    return Proof(payload, checksum(fixed.payer), fixed.nonce, fixed.valid_before)


def broadcast(offer: Offer, fixed: Terms, proof: Proof, node: str) -> Steps[None]:
    """Hand over the same bytes until they stand in a block with as many confirmations as the network's row wants.

    Returns only when the seller can see the money. Raises NodeError for one that was mined and failed, PaymentInDoubt
    when PATIENCE ends first; what a node says to a broadcast proves nothing (C5).
    """
    asked, raw, txid = Node(offer.network, node), bytes.fromhex(proof.payload["raw"][2:]), proof.payload["transaction"]
    waited, sent, pause, words = 0.0, -_AGAIN, 0.25, ""
    while waited < PATIENCE:
        try:
            mined = yield from reads.receipt(asked, txid)
            if mined is not None and not mined.ok:
                raise _Failed(f"{txid} was mined in block {mined.block} and failed", rule="only what is final ends it")
            if mined is not None and _shown(offer, fixed, mined):
                if (yield from reads.height(asked)) - mined.block + 1 >= offer.network.confirmations:
                    return
            elif waited - sent >= _AGAIN:
                sent = waited
                yield from reads.send_raw(asked, raw)
        except _Failed:
            raise
        except NodeError as why:
            words = why.what
        yield Sleep(pause)
        waited += pause
        pause = min(pause * 2, 4.0)
    raise PaymentInDoubt(f"{txid} is without a final block after {PATIENCE:.0f} s{': ' + words if words else ''}",
                         rule="the same bytes go out again, never others (C5)")  # fmt: skip


class _Failed(NodeError):
    """It stands in a block and moved nothing."""


def _shown(offer: Offer, fixed: Terms, mined: reads.Mined) -> bool:
    """Whether the receipt holds the token's own Transfer of exactly this amount: a status alone is a word (C4)."""
    topics = (reads.TRANSFER, *("0x" + who[2:].lower().rjust(64, "0") for who in (fixed.payer, offer.pay_to)))
    token = offer.asset.address.lower()
    return any(log.address == token and log.topics == topics and int.from_bytes(log.data) == offer.amount for log in mined.logs)


def fate(offer: Offer, fixed: Terms, node: str) -> Steps[str]:
    """`settled`, `dead` or `unknown`, by the account's nonce and the token's own Transfers: it holds no key and no id.

    One node's word is enough for `settled`; `dead` frees money, so every node must say it (C2).
    """
    words = []
    try:
        unsigned = _unsigned(offer, fixed)
        for one in Node(offer.network, node).each():
            words.append((yield from _one(one, offer, fixed, unsigned)))
            if words[-1] == "settled":
                return "settled"
    except (SettingsError, SigningFailed):
        return "unknown"
    return "dead" if set(words) == {"dead"} else "unknown"


def _one(asked: Node, offer: Offer, fixed: Terms, unsigned: transaction.Unsigned) -> Steps[str]:
    try:
        if (yield from reads.nonce(asked, fixed.payer, "latest")) <= unsigned.nonce:
            return "unknown"
        block = yield from reads.final(asked)
        gone = (yield from reads.nonce(asked, fixed.payer, "finalized")) > unsigned.nonce
        first = int(fixed.anchor.text.rpartition(",")[2])
        logs = yield from reads.transfer_logs(asked, offer.asset.address, sender=fixed.payer, to=offer.pay_to, first=first)
        for log in logs:
            if log.value == offer.amount and (yield from reads.sent(asked, log.transaction)) == _as_sent(fixed, unsigned):
                return "settled"
    except NodeError:
        return "unknown"
    late = block is not None and block[1] > fixed.valid_after + _BEHIND
    return "dead" if gone and late else "unknown"


def _as_sent(fixed: Terms, unsigned: transaction.Unsigned) -> tuple[str, int, str, bytes]:
    return fixed.payer.lower(), unsigned.nonce, unsigned.to.lower(), unsigned.data
