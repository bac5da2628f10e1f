"""Paying first: a TRC-20 transfer or TRX of our own, whose id is what the seller is shown (method `transfer`).

The bytes follow from offer and terms alone, so the same hold gives the same ones: the block they refer to, the chain's time and
the fee limit stand in its anchor, durable before a byte leaves, and so does the id, which is the hash of our own bytes and never
a node's word. TRON has no account nonce: a transaction is over once the solid chain is past its expiration, or shows that
it failed. Sources: java-tron `Wallet.broadcastTransaction`, TAPOS; TRC-20.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import NoAcceptableOffer, NodeError, PaymentInDoubt, PolicyDenied, SettingsError, SigningFailed
from ...model import FOREVER, Anchor, Money, Proof, Terms
from ...steps import Progress, Sleep
from .. import doors
from ..doors import Failed
from ..rpc import verdict
from . import prices, reads, transaction
from .fate import LAG
from .rpc import Node

if TYPE_CHECKING:
    from ...model import ChainRules, Offer
    from ...steps import Steps
    from .. import Signer

__all__ = ["APPROVE", "CEILING", "METHOD", "broadcast", "fate", "lookup", "most", "prepare", "prove", "terms"]

METHOD = "transfer"
APPROVE = "approve"  # the same by another call, never a payment (see approval.py)
CEILING = 50_000_000  # sun for one transaction where policy says nothing: a transfer of USDT without staked energy and some more
PATIENCE = 180.0  # seconds that one conversation waits: a minute to get into a block, another until that is solid
APART = 300  # seconds between our clock and the newest block, beyond which one of the two is not believed (C1)
_AGAIN = 15.0  # seconds after which the same bytes are handed over once more
_SPREAD = 32_768  # milliseconds over which our own nonce spreads the timestamp, which no node reads
_ANCHOR = re.compile(r"([0-9a-f]{20}),([1-9][0-9]{9,13}),([0-9]{1,9})", re.ASCII).fullmatch


def prepare(offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
    """A recent block, the chain's time and a fee limit, within what policy lets a network take and the account has.

    Raises NoAcceptableOffer, PolicyDenied (C9), NodeError, SettingsError.
    """
    where, asset = offer.network, offer.asset
    if not node:
        raise NoAcceptableOffer(f"a transfer of our own on {where.name} needs a node", rule="X402_AGENT_NODES",
                                hint=f"export X402_AGENT_NODES={where.name}=https://…")  # fmt: skip
    asked = Node(where, node)
    block, stamp = yield from reads.head(asked)
    coins = yield from reads.native(asked, payer)
    had = coins if asset.native else (yield from reads.balance(asked, asset.address, payer))
    if had < offer.amount and offer.method != APPROVE:
        raise NoAcceptableOffer(f"the account has only {Money(had, asset)}, and nothing is ever swapped", rule="balance on chain",
                                hint=f"x402-agent wallet fund --network {where.name}")  # fmt: skip
    limit, cost, burnt = yield from _cost(asked, offer, payer)
    if cost > (most_paid := most(rules)):
        raise PolicyDenied(f"a transfer on {where.name} may cost {cost} sun of TRX, at most {most_paid} are paid", rule="fees of chains (C9)",
                           hint='stake TRX for energy, or tron = "…" in [chains.fees]')  # fmt: skip
    owed = burnt + offer.amount if asset.native else burnt
    if coins < owed:
        raise NoAcceptableOffer(f"{payer} has {coins} sun of TRX, and energy and bandwidth may burn {burnt}",
                                rule="fees are paid by the account itself", hint=f"send {owed - coins} sun of TRX to {payer}, or stake for energy")  # fmt: skip
    ref = b"".join(transaction.reference(block))
    return Anchor(f"{ref.hex()},{stamp},{limit}", cost=cost)


def most(rules: ChainRules) -> int:
    """Sun that one transfer may burn, by policy's word or CEILING."""
    return min(rules.fees.get("tron", CEILING), transaction.MAX_FEE_LIMIT)


def _cost(asked: Node, offer: Offer, payer: str) -> Steps[tuple[int, int, int]]:
    """The fee limit, the most that a transfer can burn, and what it would burn now, in sun."""
    price, have = (yield from prices.prices(asked)), (yield from prices.staked(asked, payer))
    like = _raw(offer, Terms(payer, "0x" + bytes(32).hex(), 0, FOREVER, Anchor(f"{'ff' * 10},{10**13 - 1},{transaction.MAX_FEE_LIMIT}")))
    bandwidth = have.burnt(len(transaction.Signed("", like.data, bytes(65)).wire), price.byte)
    if offer.asset.native:
        if (yield from reads.is_contract(asked, offer.pay_to)):
            raise NoAcceptableOffer("payTo is a contract, to which no TRX is sent", rule="recipients (R1)", hint="ask the seller for another address or a token")
        cost = bandwidth if (yield from reads.exists(asked, offer.pay_to)) else price.account + bandwidth
        return 0, cost, cost
    units = (yield from prices.energy(asked, payer, offer.asset.address, offer.method, offer.pay_to, offer.amount)) * 5 // 4
    limit = units * price.energy
    return limit, limit + bandwidth, max(0, units - have.energy) * price.energy + bandwidth


def terms(payer: str, now: int, nonce: bytes, anchor: Anchor) -> Terms:
    """As anchored; `nonce` (32 bytes) makes two equal transfers two transactions. Raises SigningFailed without an anchor, and
    where our clock and the newest block are APART."""  # fmt: skip
    found = _ANCHOR(anchor.text)
    if len(nonce) != 32 or found is None or anchor.number >= 0:
        raise SigningFailed("a transfer needs a recent block and a fee limit", rule="what a node said before")
    if abs(apart := now - int(found[2]) // 1000) > APART:
        raise SigningFailed(f"the newest block of the node is {abs(apart)} s {'behind' if apart > 0 else 'ahead of'} our clock",
                            rule=f"at most {APART} s apart (C1)", hint="set the clock, or name another node: X402_AGENT_NODES")  # fmt: skip
    return Terms(payer, "0x" + nonce.hex(), now, FOREVER, anchor)


def _raw(offer: Offer, fixed: Terms) -> transaction.Raw:
    """What the terms stand for, expiring a minute after the block that it was made at. Raises SigningFailed."""
    found = _ANCHOR(fixed.anchor.text)
    if found is None:
        raise SigningFailed("the terms hold no block and no fee limit", rule="what a node said before")
    ref, stamp, limit = bytes.fromhex(found[1]), int(found[2]), int(found[3])
    own = int(fixed.nonce, 16)
    expiration = stamp + transaction.LIFETIME - own % 1000
    timestamp = expiration - transaction.LIFETIME + own // 1000 % _SPREAD
    if offer.asset.native:
        what: transaction.Send | transaction.Call = transaction.Send(fixed.payer, offer.pay_to, offer.amount)
    else:
        call = transaction.approve if offer.method == APPROVE else transaction.transfer
        what = transaction.Call(fixed.payer, offer.asset.address, call(offer.pay_to, offer.amount))
    return transaction.Raw(what, (ref[:2], ref[2:]), timestamp, expiration, limit)


def prove(offer: Offer, fixed: Terms, signer: Signer) -> Proof:
    """The signed transaction and its id, `raw` and `transaction` in the payload (hex). Raises SigningFailed."""
    made = transaction.sign(_raw(offer, fixed), signer)
    return Proof({"transaction": made.txid, "raw": made.wire.hex()}, fixed.payer, fixed.nonce, fixed.valid_before, made.txid)


def broadcast(offer: Offer, fixed: Terms, proof: Proof, node: str) -> Steps[None]:
    """Hand over the same bytes until they stand in a solid block, where as many confirmations as TRON has are behind them.

    Every node is handed them, and asked by turns: one that says yes and does nothing costs time alone (C5). Raises NodeError
    for a transaction that failed in a block, PaymentInDoubt when PATIENCE ends first.
    """
    raw, nodes = _raw(offer, fixed), Node(offer.network, node).each()
    waited, sent, pause, stands, words = 0.0, -_AGAIN, doors.PAUSE, "", ""
    while waited < PATIENCE:
        again = waited - sent >= _AGAIN
        sent = waited if again else sent
        for one in nodes if again else nodes[:1]:
            try:
                seen = yield from _seen(one, offer, fixed, raw)
                if seen is not None:
                    if stands != "MINED":
                        stands = "MINED"
                        yield Progress(stands, f"{raw.txid} in block {seen.block}{', where it failed' if seen.failed else ''}", seen.fee)
                    if seen.failed:
                        raise Failed(f"{raw.txid} is in block {seen.block} and failed", rule="only what is solid ends it")
                    if (yield from _seen(one, offer, fixed, raw, solid=True)) is not None:
                        return
                elif again:
                    yield from reads.send_raw(one, proof.payload["raw"])
                    if stands != "SEEN":
                        stands, told = ("INFLIGHT", "no longer in a block") if stands == "MINED" else ("SEEN", f"{raw.txid} was handed to a node")
                        yield Progress(stands, told)
            except Failed:
                raise
            except NodeError as why:
                words = why.what
        nodes = [*nodes[1:], nodes[0]]
        yield Sleep(pause)
        waited += pause
        pause = min(pause * 2, 3.0)
    raise PaymentInDoubt(f"{raw.txid} is in no solid block after {PATIENCE:.0f} s{': ' + words if words else ''}",
                         rule="the same bytes go out again, never others (C5)")  # fmt: skip


def _seen(asked: Node, offer: Offer, fixed: Terms, raw: transaction.Raw, *, solid: bool = False) -> Steps[reads.Mined | None]:
    """It in a block (with `solid` in a solid one), paid or `failed`, None while it is in none. Raises NodeError for anything odd.

    For a token the Transfer, or Approval, of exactly this amount decides, for TRX the bytes that the node shows: a status alone is a word (C4).
    """
    mined = yield from reads.transaction(asked, raw.txid, solid=solid)
    if mined is None or mined.failed:
        return mined
    if offer.asset.native:
        fine = (yield from reads.succeeded(asked, raw.txid, raw.data, solid=solid))
    else:
        event = reads.APPROVAL if offer.method == APPROVE else reads.TRANSFER
        fine = mined.ok and offer.amount in reads.moved(mined, offer.asset.address, fixed.payer, offer.pay_to, event)
    if not fine:
        raise NodeError(f"{asked!r} shows a success without what was signed", rule="status and logs (C4)", hint="name another node: X402_AGENT_NODES")
    return mined


def fate(offer: Offer, fixed: Terms, node: str) -> Steps[str]:
    """`settled`, `failed`, `dead` or `unknown`, by the solid state alone (rpc.verdict): its id follows from the terms, without a key.

    `dead`: every node says that it is unknown a minute past its expiration, on the chain's own clock (C10).
    """
    try:
        raw = _raw(offer, fixed)
    except SigningFailed:
        return "unknown"
    return (yield from verdict(Node, offer.network, node, lambda one: _one(one, offer, fixed, raw)))


def _one(asked: Node, offer: Offer, fixed: Terms, raw: transaction.Raw) -> Steps[str]:
    try:
        _, now = yield from reads.solid(asked)  # before the transaction is looked for: what is solid later shows then
        seen = yield from _seen(asked, offer, fixed, raw, solid=True)
        if seen is not None:
            return "failed" if seen.failed else "settled"
        if (yield from _seen(asked, offer, fixed, raw)) is not None:
            return "unknown"
    except NodeError:
        return "unknown"
    return "dead" if now * 1000 > raw.expiration + LAG * 1000 else "unknown"


def lookup(offer: Offer, fixed: Terms, node: str) -> Steps[str]:
    """`paid` once it is solid, `pending` in a younger block, `missing`, `unknown`: it is found by our own id, whatever a seller names."""
    if (word := (yield from fate(offer, fixed, node))) != "unknown":
        return "paid" if word == "settled" else "missing"
    try:
        seen = yield from _seen(Node(offer.network, node), offer, fixed, _raw(offer, fixed))
    except (NodeError, SettingsError, SigningFailed):
        return "unknown"
    return "pending" if seen is not None and not seen.failed else "unknown"
