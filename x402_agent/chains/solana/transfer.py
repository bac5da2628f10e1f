"""Paying first: a transfer of a token or of SOL by ourselves, whose id is what the seller is shown (method `transfer`).

Blockhash, its last height, the price of a compute unit and whether the payee's token account is opened stand in the anchor, the memo
is of the hold's own nonce: so the same hold gives the same bytes, and two equal payments are two transactions. It ends with
its blockhash: after that the chain is asked (fate.py), and nothing is dead by a clock.

Source: Solana's fees (5000 lamports a signature; a priority fee of price times units) and rent (6960 lamports a byte, with 128
bytes more for each account).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ...errors import NoAcceptableOffer, NodeError, PaymentInDoubt, PolicyDenied
from ...model import Anchor
from ...steps import ON_CHAIN, Progress, Sleep
from .. import doors
from . import reads
from .fate import MARGIN
from .message import SIZE, SYSTEM, TOKEN, Anchored, anchored, holder, message, program_of, target, units
from .ready import checked, node_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...model import ChainRules, Offer, Proof, Terms
    from ...steps import Steps
    from .rpc import Node

__all__ = ["CEILING", "PATIENCE", "broadcast", "prepare"]

T = TypeVar("T")

CEILING = 100_000  # lamports that one transaction may cost beside its price where policy says nothing: no rent fits
PATIENCE = ON_CHAIN  # seconds that one conversation waits, should the blocks stand still
_SIGNATURE = 5_000
_PRIORITY = 50_000  # lamports that nobody outbids us beyond, whatever a node says and policy allows
_BYTE, _EXTRA = 6_960, 128
_EMPTY = _BYTE * _EXTRA  # lamports that an account without data keeps, or it is none
_SIZE_2022 = 170  # of a token account: the newer program marks that it has one owner for ever
_AGAIN = 4.0  # seconds after which the same bytes are handed over once more


def prepare(offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
    """Blockhash and fee, within what policy lets the network take and the account has.

    Raises NoAcceptableOffer, PolicyDenied (C8), NodeError, SettingsError.
    """
    asked = node_of(offer, node, "")
    opens = False
    if offer.asset.native:
        yield from _empty(asked, offer)
    else:
        opens = not (yield from checked(asked, offer, payer))
    plain = Anchored(b"", opens=int(opens))
    most = yield from _most(asked, offer, payer, rules, plain)
    offered = yield from reads.priority(asked, holder(offer, payer), target(offer))
    plain = plain._replace(price=max(1, min(offered, most * 1_000_000 // units(plain))))
    blockhash, last, slot = yield from reads.latest(asked)
    made = plain._replace(blockhash=blockhash, last=last, slot=slot)
    return Anchor(made.text, cost=_fee(made) + (_rent(offer) if opens else 0))


def _fee(fixed: Anchored) -> int:
    """Lamports that Solana takes for it, whether it fails or not: by the units that it asks for, not by those that it uses."""
    return _SIGNATURE + -(-fixed.price * units(fixed) // 1_000_000)


def _most(asked: Node, offer: Offer, payer: str, rules: ChainRules, plain: Anchored) -> Steps[int]:
    """Lamports that may go into priority, once policy and the account allow all that this may cost."""
    name, asset = offer.network.name, offer.asset
    rent = _rent(offer) if plain.opens else 0
    allowed = rules.fees.get("solana", CEILING)
    most = min(_PRIORITY, allowed - _SIGNATURE - rent)
    if most < 1:
        what = f" and opens the payee's account of {asset.symbol}" if rent else ""
        raise PolicyDenied(
            f"a transfer on {name} costs {_SIGNATURE + rent + 1} lamports{what}, at most {allowed} are paid", rule="fees of chains (C8, R9)",
            hint='solana = "0.0022" under [chains.fees] in policy.toml' + ("; or the payee opens it" if rent else ""),
        )  # fmt: skip
    owed = _SIGNATURE + rent + most + (offer.amount if asset.native else 0)
    have = yield from reads.native(asked, payer)
    if have < owed + _EMPTY:
        raise NoAcceptableOffer(
            f"{payer} has {have} lamports on {name}; this takes up to {owed}, and {_EMPTY} keep the account there",
            rule="the fee is paid by the account itself", hint="x402-agent wallet fund",
        )  # fmt: skip
    return most


def _rent(offer: Offer) -> int:
    return _BYTE * (_EXTRA + (SIZE if program_of(offer.asset) == TOKEN else _SIZE_2022))


def _empty(asked: Node, offer: Offer) -> Steps[None]:
    """That SOL may go there: no account yet, or one without data that nobody but its key moves money out of (R1, R9)."""
    (found,) = yield from reads.accounts(asked, offer.pay_to)
    has = found.lamports if found is not None else 0
    if found is not None and (found.owner != SYSTEM or found.data):
        why = "is a program's account, or holds data"
    elif has + offer.amount < _EMPTY:
        why = f"would hold {has + offer.amount} lamports, and an account of less than {_EMPTY} is not kept"
    else:
        return
    raise NoAcceptableOffer(f"{offer.money} cannot be paid: the payee {offer.pay_to} {why}", rule="rent of Solana's accounts (R1, R9)",
                            hint="ask the seller for another address or a token")  # fmt: skip


def broadcast(offer: Offer, fixed: Terms, proof: Proof, node: str) -> Steps[None]:
    """Hand over the same bytes to every node until they stand as deep as the network's row wants.

    Returns only when the seller can see the money. Raises NodeError for one that stands there and failed, PaymentInDoubt once
    its blockhash has ended or PATIENCE has; what a node says to a broadcast proves nothing (C5).
    """
    watch = _Watch(node_of(offer, node, "").each(), proof.payload["transaction"], offer, fixed)
    last, waited, sent, pause, why = anchored(fixed.anchor).last, 0.0, -_AGAIN, doors.PAUSE, f"in no block after {PATIENCE:.0f} s"
    while waited < PATIENCE:
        depth = yield from watch.look()
        if watch.stands == "MINED" and depth >= offer.network.confirmations:
            return
        if waited - sent >= _AGAIN:
            sent = waited
            if not (yield from watch.over(last + MARGIN)):
                yield from watch.send(proof.payload["raw"])
            elif depth < 0:
                why = f"in no block that a node shows, and its blockhash has ended at block {last}"
                break
        yield Sleep(pause)
        waited += pause
        pause = min(pause * 1.5, 2.0)
    said = f": {watch.words}" if watch.words else ""
    raise PaymentInDoubt(f"{watch.txid} is {why}{said}", rule="the same bytes go out again, never others (C5)")


class _Watch:
    """One transaction as all nodes of its network see it, and where it `stands` by them. What one does not say the next may."""

    def __init__(self, nodes: list[Node], txid: str, offer: Offer, fixed: Terms) -> None:
        self.nodes, self.txid, self.payer, self.ours = nodes, txid, fixed.payer, message(offer, fixed)
        self.price, self.fee = offer.amount if offer.asset.native else 0, _fee(anchored(fixed.anchor))
        self.stands = self.words = ""

    def _each(self, ask: Callable[[Node], Steps[T]]) -> Steps[list[T]]:
        """What those say that answer."""
        found = []
        for one in self.nodes:
            try:
                found.append((yield from ask(one)))
            except NodeError as why:
                self.words = why.what
        return found

    def look(self) -> Steps[int]:
        """How many blocks count for it by the node that has it deepest, -1 where none has it. Raises NodeError when it failed."""
        said = yield from self._each(lambda one: reads.status(one, self.txid))
        depth: int = max((each.depth for each in said if each is not None), default=-1)
        if depth < 1 and self.stands == "MINED":
            self.stands = "INFLIGHT"
            yield Progress("INFLIGHT", "no longer in a block")
        if depth >= 1 and self.stands != "MINED":
            yield from self._mined()
        return depth

    def _mined(self) -> Steps[None]:
        """A status alone is a word: somebody must show the very message that we signed (C4)."""
        shown = yield from self._each(lambda one: reads.found(one, self.txid))
        ours = [each for each in shown if each is not None and each.message == self.ours]
        if not ours:
            return
        one = min(ours, key=lambda each: each.failed)
        self.stands = "MINED"
        yield Progress("MINED", f"{self.txid} in slot {one.slot}{', where it failed' if one.failed else ''}", self._took(one))
        if one.failed:
            raise NodeError(f"{self.txid} stands in slot {one.slot} and failed", rule="only what is final ends it")

    def _took(self, one: reads.Found) -> int | None:
        """Lamports that it cost beside its price: its fee, and rent of what it opened; None where the node shows no balance of ours."""
        price = 0 if one.failed else self.price
        rows = (each.before - each.after - price for each in one.moved if (each.owner, each.mint) == (self.payer, ""))
        return next((max(self.fee, took) for took in rows), None)

    def over(self, height: int) -> Steps[bool]:
        """Whether every node that answers has made final blocks above this height."""
        said = yield from self._each(reads.final)
        return bool(said) and min(each.height for each in said) > height

    def send(self, raw: str) -> Steps[None]:
        """To each: who takes it may drop it."""
        took = yield from self._each(lambda one: reads.send(one, raw))
        if took and not self.stands:
            self.stands = "SEEN"
            yield Progress("SEEN", f"{self.txid} was taken by a node")
