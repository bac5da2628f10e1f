"""Paying first: a transfer of our own, of a token (ERC-20) or of the network's coin, whose id is what the seller is shown.

What goes on chain follows from offer and terms alone, so the same hold gives the same bytes: account nonce, gas, fees and the
height at which it was made stand in its anchor, durable before a byte leaves. No clock ends it: it is dead once a final
transaction other than it has its account nonce, and it has failed where it was mined without moving anything. A coin leaves
no log, so such a transfer is known again by its id, which the ledger keeps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import NoAcceptableOffer, NodeError, PolicyDenied, SigningFailed
from ...model import FOREVER, Anchor, Money, Proof, Terms
from ...primitives import checksum
from ...steps import ON_CHAIN
from ..doors import Stands
from ..rpc import verdict
from . import reads, transaction
from .rpc import Node

if TYPE_CHECKING:
    from ...model import ChainRules, Offer
    from ...steps import Steps
    from .. import Signer

__all__ = ["METHOD", "broadcast", "fate", "lookup", "most", "prepare", "prove", "terms"]

METHOD = "transfer"
CEILING = 2 * 10**15  # wei for one transaction where policy says nothing
PATIENCE = ON_CHAIN  # seconds that one conversation waits for a block
_BEHIND = 900  # seconds of the final chain after which a node that shows nothing is believed
_ANCHOR = re.compile(r"([1-9][0-9]{0,6}),([1-9][0-9]{0,28}),([0-9]{0,29}),([0-9]{1,12})", re.ASCII).fullmatch


def prepare(offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
    """Gas, fees, height and the account's next nonce, within what policy lets a network take and the account has.

    A coin goes to no contract: its code may refuse it, which costs the fee, or keep it for ever. An account whose key delegated
    to code (EIP-7702) is none. Raises NoAcceptableOffer, PolicyDenied (C8), NodeError, SettingsError.
    """
    where = offer.network
    if not node:
        raise NoAcceptableOffer(f"a transfer of our own on {where.name} needs a node", rule="X402_AGENT_NODES",
                                hint=f"export X402_AGENT_NODES={where.name}=https://…")  # fmt: skip
    asked = Node(where, node)
    own = yield from reads.native(asked, payer)
    had = own if offer.asset.native else (yield from reads.balance(asked, offer.asset.address, payer))
    if had < offer.amount:
        raise NoAcceptableOffer(f"the account has only {Money(had, offer.asset)}, and nothing is ever swapped", rule="balance on chain",
                                hint=f"x402-agent wallet fund --network {where.name}")  # fmt: skip
    if offer.asset.native and not (yield from reads.is_account(asked, offer.pay_to)):
        raise NoAcceptableOffer(f"{offer.pay_to} is a contract, and a coin is sent to none", rule="coins go to accounts (R1)",
                                hint="ask the seller for another address or a token")  # fmt: skip
    to, value, call = _call(offer)
    gas = (yield from reads.estimate(asked, payer, to, call, value)) * 5 // 4
    fees = yield from reads.fees(asked)
    cost = gas * fees.max_fee
    if gas > transaction.MAX_GAS or cost > (most_paid := most(rules)):
        raise PolicyDenied(f"a transfer on {where.name} may cost {cost} wei ({gas} gas), at most {most_paid} are paid", rule="fees of chains (C8)",
                           hint='evm = "…" under [chains.fees] in policy.toml, or try later')  # fmt: skip
    if own < value + cost:
        raise NoAcceptableOffer(f"{payer} has too little of the coin of {where.name} for {cost} wei of gas", rule="gas is paid by the account itself",
                                hint=f"x402-agent wallet fund --network {where.name}")  # fmt: skip
    height = yield from reads.height(asked)
    pending = yield from reads.nonce(asked, payer)
    return Anchor(f"{gas},{fees.max_fee},{'' if fees.tip is None else fees.tip},{height}", pending, cost)


def most(rules: ChainRules) -> int:
    """Wei that one transfer may cost, by policy's word or CEILING."""
    return min(rules.fees.get("eip155", CEILING), 1 << 64)


def _call(offer: Offer) -> tuple[str, int, bytes]:
    """Whom the transaction calls, with how many wei and which bytes."""
    if offer.asset.native:
        return offer.pay_to, offer.amount, b""
    return offer.asset.address, 0, transaction.transfer(offer.pay_to, offer.amount)


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
    to, value, call = _call(offer)
    return transaction.Unsigned(chain, fixed.anchor.number, to, call, int(gas), int(fee), int(tip) if tip else None, value)


def prove(offer: Offer, fixed: Terms, signer: Signer) -> Proof:
    """The signed transaction and its id, `raw` and `transaction` in the payload (0x, hex). Raises SigningFailed."""
    made = transaction.sign(_unsigned(offer, fixed), signer)
    payload = {"transaction": made.txid, "raw": "0x" + made.raw.hex()}
    return Proof(payload, checksum(fixed.payer), fixed.nonce, fixed.valid_before, made.txid[2:])


def broadcast(offer: Offer, fixed: Terms, proof: Proof, node: str) -> Steps[None]:
    """Hand over the same bytes until they stand in a block with as many confirmations as the network's row wants.

    Returns only when the seller can see the money. Raises NodeError for one that was mined and failed, PaymentInDoubt
    when PATIENCE ends first; what a node says to a broadcast proves nothing (C5).
    """
    asked, raw, txid = Node(offer.network, node), bytes.fromhex(proof.payload["raw"][2:]), proof.payload["transaction"]
    stands = Stands(txid)

    def look() -> Steps[tuple[bool, bool | None]]:
        mined = yield from _mined(asked, offer, fixed, txid)
        if mined is None:
            yield from stands.nowhere()
            return False, None
        yield from stands.block(mined.block, mined.fee, failed="" if mined.ok else "failed")
        return True, (yield from reads.height(asked)) - mined.block + 1 >= offer.network.confirmations or None

    yield from stands.followed(look, lambda: reads.send_raw(asked, raw), PATIENCE)


def _mined(asked: Node, offer: Offer, fixed: Terms, txid: str) -> Steps[reads.Mined | None]:
    """Its receipt, once a block holds what was signed: a status alone is a word (C4). Raises NodeError for a success that shows nothing."""
    mined = yield from reads.receipt(asked, txid)
    if mined is None or not mined.ok:
        return mined
    unsigned = _unsigned(offer, fixed)
    if offer.asset.native:
        fine = (yield from reads.sent(asked, txid)) == _as_sent(fixed, unsigned)
    else:
        topics = (reads.TRANSFER, *("0x" + who[2:].lower().rjust(64, "0") for who in (fixed.payer, offer.pay_to)))
        fine = any(log.address == unsigned.to.lower() and log.topics == topics and int.from_bytes(log.data) == offer.amount
                   for log in mined.logs)  # fmt: skip
    if not fine:
        raise NodeError(f"{asked!r} shows a success without what was signed", rule="status and logs (C4)", hint="name another node: X402_AGENT_NODES")
    return mined


def fate(offer: Offer, fixed: Terms, node: str) -> Steps[str]:
    """`settled`, `dead`, `failed` or `unknown`, by the account's nonce and the token's own Transfers, a coin's by its id.

    It holds no key. One node's word is enough for `settled`; the others free money, so every node must say them (C2).
    """
    try:
        unsigned = _unsigned(offer, fixed)
    except SigningFailed:
        return "unknown"
    return (yield from verdict(Node, offer.network, node, lambda one: _one(one, offer, fixed, unsigned)))


def _one(asked: Node, offer: Offer, fixed: Terms, unsigned: transaction.Unsigned) -> Steps[str]:
    try:
        if (yield from reads.nonce(asked, fixed.payer, "latest")) <= unsigned.nonce:
            return "unknown"
        block = yield from reads.final(asked)
        gone = (yield from reads.nonce(asked, fixed.payer, "finalized")) > unsigned.nonce
        if (word := (yield from _by_logs(asked, offer, fixed, unsigned)) or (yield from _by_id(asked, offer, fixed, block))):
            return word
    except NodeError:
        return "unknown"
    late = block is not None and block[1] > fixed.valid_after + _BEHIND
    return "dead" if gone and late else "unknown"


def _by_logs(asked: Node, offer: Offer, fixed: Terms, unsigned: transaction.Unsigned) -> Steps[str]:
    """`settled` where one of the token's Transfers is ours, whatever its id; else ""."""
    if offer.asset.native:
        return ""
    first = int(fixed.anchor.text.rpartition(",")[2])
    for log in (yield from reads.transfer_logs(asked, offer.asset.address, sender=fixed.payer, to=offer.pay_to, first=first)):
        if log.value == offer.amount and (yield from reads.sent(asked, log.transaction)) == _as_sent(fixed, unsigned):
            return "settled"
    return ""


def _by_id(asked: Node, offer: Offer, fixed: Terms, block: tuple[str, int] | None) -> Steps[str]:
    """What its receipt says; "" where no block has it. One without an id of its own is `unknown`, a coin's without any."""
    txid = "0x" + fixed.proved
    if reads.TXID(txid) is None:
        return "unknown" if offer.asset.native else ""
    mined = yield from _mined(asked, offer, fixed, txid)
    if mined is None:
        return ""
    if mined.ok:
        return "settled"
    return "failed" if block is not None and mined.block <= int(block[0], 16) else "unknown"


def _as_sent(fixed: Terms, unsigned: transaction.Unsigned) -> tuple[str, int, str, int, bytes]:
    return fixed.payer.lower(), unsigned.nonce, unsigned.to.lower(), unsigned.value, unsigned.data


def lookup(offer: Offer, fixed: Terms, node: str) -> Steps[str]:
    """`paid` once it is final, `pending` in a younger block, `unknown`: it is found by what was signed, whatever id a seller names."""
    if (yield from fate(offer, fixed, node)) != "settled":
        return "unknown"
    asked = Node(offer.network, node)
    try:
        count = yield from reads.nonce(asked, fixed.payer, "finalized")
    except NodeError:
        return "unknown"
    return "paid" if count > fixed.anchor.number else "pending"
