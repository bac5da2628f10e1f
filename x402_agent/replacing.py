"""A payment of ours that no block takes: the same one again at a higher fee, or nothing in its place. A person's command only.

Each has the payment's account nonce, so of all its forms at most one can ever settle, whoever broadcasts which. Each is written
down (BUILT, then INFLIGHT) before a byte of it leaves. The payment stays counted until its chain shows which form has the
nonce: itself, at whatever fee, is settled; nothing in its place frees it, once that is final by every node's word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import LedgerError, NodeError, PolicyDenied, SettingsError
from .ledger import IN_DOUBT, Transaction
from .policy.fees import gas_of

if TYPE_CHECKING:
    from .chains.replaced import Replacing
    from .model import Hold
    from .payer import Payer
    from .steps import Steps

__all__ = ["REPLACES", "Plan", "follow", "plan", "send"]

Kind = Literal["bump", "cancel"]
REPLACES = ("bump", "cancel")
_RULE = "one account nonce, one transaction (C6)"


@dataclass(frozen=True, slots=True)
class Plan:
    """What would take the place of a payment: `fee` is what it offers, `stands` the most that was offered so far, in atomic
    units of the network's own coin."""

    kind: Kind
    hold: Hold
    stands: int
    fee: int


def plan(payer: Payer, payment_id: str, kind: Kind, *, max_fee: int | None = None) -> Steps[Plan]:
    """What it takes to replace an open payment of one's own. Nothing is signed.

    `max_fee`, in atomic units of the coin, else policy's cap of the chain, is the most it may offer: what a node
    estimates above it is cut to it. Raises LedgerError, SettingsError,
    PolicyDenied (C8), NodeError, SigningFailed.
    """
    hold = _open(payer, payment_id)
    offer, (door, node) = hold.offer, _door(payer, hold)
    done = yield from door.who_spent(offer, hold.terms, node)
    if done is not None:
        raise LedgerError(f"{done.txid} has its account nonce already, in block {done.block}", rule=_RULE,
                          hint=f"x402-agent resume {hold.payment_id[:8]}")  # fmt: skip
    before = payer.ledger.replacements(offer.network.id, hold.terms.payer, hold.terms.anchor.number)
    if kind == "bump" and any(row.kind == "cancel" for row in before):
        raise LedgerError("it is being cancelled", rule="what was cancelled is not paid after all",
                          hint=f"x402-agent resume {hold.payment_id[:8]} --cancel offers more for that")  # fmt: skip
    stands = max([door.offered(hold.terms), *(row.fee_cap for row in before)])
    least, wanted = yield from door.outbid(offer, hold.terms, stands, node, cancel=kind == "cancel")
    coins, most = offer.network.coins, door.most(payer.policy.chains) if max_fee is None else max_fee
    if least > most:
        raise PolicyDenied(
            f"{coins(stands)} of the network's coin are offered, and no less than {coins(least)} would replace it; the limit is {coins(most)}",
            rule="--max-fee, else the chain's cap (C8)", hint=f"--max-fee {coins(least)}",
        )  # fmt: skip
    return Plan(kind, hold, stands, min(wanted, most))


def _open(payer: Payer, payment_id: str) -> Hold:
    whole = payer.ledger.payment(payment_id).payment_id
    found = [each for each in payer.ledger.open_payments() if each.payment_id == whole]
    if not found or found[0].state not in IN_DOUBT or found[0].state == "QUARANTINE":
        raise LedgerError(f"payment {whole[:8]} is not in doubt", rule="only what is open is replaced", hint=f"x402-agent why {whole[:8]}")
    return found[0]


def _door(payer: Payer, hold: Hold) -> tuple[Replacing, str]:
    """How its chain replaces a transaction under its account nonce, and its nodes; raises SettingsError."""
    network = hold.offer.network
    door: Replacing | None = getattr(payer.chains.get(network.namespace), "replacing", None)
    node = payer.settings.nodes.get(network.id, "")
    if door is None or hold.terms.anchor.number < 0:
        raise SettingsError(f"a payment on {network.name} is not replaced", rule="by account nonce, on Stacks",
                            hint=f"x402-agent resume {hold.payment_id[:8]}")  # fmt: skip
    if not node:
        raise SettingsError(f"no node of {network.name} is known", rule="X402_AGENT_NODES", hint=f"export X402_AGENT_NODES={network.name}=https://…")
    return door, node


def send(payer: Payer, made: Plan) -> Steps[tuple[Transaction, str]]:
    """Sign it, write it down, hand it to a node. -> the row, and a node's words ("" for none), which prove nothing (C5).

    Raises SigningFailed, BudgetExceeded for `[gas.NETWORK]`, LedgerError when another process was faster.
    """
    hold, (door, node) = made.hold, _door(payer, made.hold)
    offer, terms, cancel = hold.offer, hold.terms, made.kind == "cancel"
    signer = payer.signer(offer.network.namespace, terms.payer)
    txid, raw = door.signed(offer, terms, signer, made.fee, cancel=cancel)
    row = Transaction(
        txid, offer.network.id, terms.payer, terms.anchor.number, made.kind, offer.asset.id, terms.payer if cancel else offer.pay_to,
        0 if cancel else offer.amount, 1, made.fee, raw,
    )  # fmt: skip
    payer.ledger.replace(row, hold.payment_id, gas_of(payer.policy, offer.network, made.fee))
    row = payer.ledger.launch(row.txid)
    return (yield from _hand(door, hold, row, node))


def _hand(door: Replacing, hold: Hold, row: Transaction, node: str) -> Steps[tuple[Transaction, str]]:
    try:
        yield from door.again(hold.offer.network, row.raw, node)
    except NodeError as why:
        return row, why.what
    return row, ""


def follow(payer: Payer, row: Transaction) -> Steps[tuple[Transaction, str]]:
    """One that has left: the same bytes again while its account nonce is free, else what the chain shows. -> as it stands, in words.

    Raises LedgerError, SettingsError, NodeError.
    """
    hold = payer.ledger.holder(row.network, row.account, row.account_nonce)
    door, node = _door(payer, hold)
    done = yield from door.who_spent(hold.offer, hold.terms, node)
    if done is None:
        after, words = yield from _hand(door, hold, row, node)
        return after, words or "handed over again; no block has its account nonce yet"
    if done.txid == row.txid:
        after = payer.ledger.follow(row.txid, "CONFIRMED" if done.final else "MINED", block=done.block, fee=done.fee)
        return after, f"in block {done.block}{'' if done.final else ', not final yet'}"
    words = f"{done.txid} has its account nonce"
    return (payer.ledger.follow(row.txid, "DEAD", note=words) if done.final else row), words
