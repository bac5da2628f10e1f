"""What the chain doors have in common: a row of the table, permissions that others bring to the chain, and standing in a block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from .. import assets
from ..errors import NodeError, PaymentInDoubt, SigningFailed
from ..model import NO_ANCHOR, Terms
from ..steps import Progress, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Anchor, Asset, ChainRules, Offer
    from ..steps import Steps
    from . import Signer

__all__ = ["FIRST", "MAX_LIFETIME", "SKEW", "Failed", "Permits", "Stands", "unlisted"]

T = TypeVar("T")
FIRST = "transfer"  # the method of a transfer of our own
PAUSE = 0.25  # seconds between the first two looks for it on its chain; each is longer than the one before
AGAIN = 15.0  # seconds after which the same bytes are handed over once more
SKEW = 600
MAX_LIFETIME = 3600
_NONCE = re.compile(r"0x[0-9a-f]{64}").fullmatch
_HALF_ORDER = bytes.fromhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0")


def unlisted(asset: Asset, namespace: str) -> str:
    """Why this asset is none of the table on this family, or "" (A1)."""
    if assets.asset_by_id(asset.id) == asset and asset.network.namespace == namespace:
        return ""
    return f"{asset.symbol} on {asset.network.id} is not a token of the table (A1)"


class Permits:
    """The door of a family where permissions are signed, valid for an hour at most, beside transfers of our own.

    Most payments are permissions: what belongs to transfers is loaded for them alone (`own`).
    """

    namespace = ""

    @staticmethod
    def own() -> Any:
        """The family's module of transfers."""
        raise SigningFailed("this family has no transfers of our own")

    @staticmethod
    def spelled(account: str) -> str:
        """An account as this family writes it."""
        return account

    def prepare(self, offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
        """Nothing for a permission, which is signed without a node; for a transfer what `own` asks."""
        if offer.method != FIRST:
            return NO_ANCHOR
        found: Anchor = yield from self.own().prepare(offer, payer, node, rules)
        return found

    def terms(self, offer: Offer, payer: str, *, now: int, nonce: bytes, max_lifetime: int, anchor: Anchor = NO_ANCHOR) -> Terms:
        """Valid from `now` - 600 s until the shortest of what the seller asks, `max_lifetime` and one hour (D5, D8).

        `nonce` is 32 fresh random bytes (D13); raises SigningFailed for another length or an empty window.
        """
        if offer.method == FIRST:
            made: Terms = self.own().terms(payer, now, nonce, anchor)
            return made
        seconds = min(offer.lifetime, max_lifetime, MAX_LIFETIME)
        if len(nonce) != 32 or seconds <= 0 or now < SKEW:
            raise SigningFailed("what is signed needs a nonce of 32 bytes and a lifetime", rule="lifetime above 0 s (D6)")
        return Terms(self.spelled(payer), "0x" + nonce.hex(), now - SKEW, now + seconds)

    @staticmethod
    def sound(terms: Terms) -> None:
        """Raises SigningFailed for terms that no permission is signed on."""
        if not 0 <= terms.valid_after < terms.valid_before <= terms.valid_after + SKEW + MAX_LIFETIME:
            raise SigningFailed("the terms are valid for longer than an hour", rule="lifetime at most 3600 s (D5)")
        if not _NONCE(terms.nonce):
            raise SigningFailed("the nonce of the terms is not 32 bytes", rule="own nonce (D13)")

    def signed(self, message: bytes, signer: Signer) -> str:
        """The signature over a permission's 32 bytes, 0x and hex. Raises SigningFailed for an answer that is none."""
        signature = signer.sign_digest(self.namespace, message)
        if len(signature) != 65 or signature[64] not in (27, 28) or signature[32:64] > _HALF_ORDER:
            raise SigningFailed("the signer did not answer with r, s, v and a low s", rule="65 bytes, v 27 or 28")
        return "0x" + signature.hex()


class Failed(NodeError):
    """A block holds it, and it moved nothing."""


class Stands:
    """How far a transaction of ours has come, told once a change, and the end of waiting for it."""

    def __init__(self, txid: str) -> None:
        self.txid, self.at, self.words = txid, "", ""

    def taken(self) -> Steps[None]:
        """A node took it."""
        if not self.at:
            self.at = "SEEN"
            yield Progress("SEEN", f"{self.txid} was taken by a node")

    def nowhere(self) -> Steps[None]:
        """No block has it."""
        if self.at == "MINED":
            self.at = "INFLIGHT"
            yield Progress("INFLIGHT", "no longer in a block")

    def block(self, number: int, fee: int | None = None, *, failed: str = "", txid: str = "") -> Steps[None]:
        """It is in this block, perhaps under another id. Raises Failed where it moved nothing there."""
        if self.at != "MINED":
            self.at = "MINED"
            yield Progress("MINED", f"{txid or self.txid} in block {number}{', where it failed' if failed else ''}", fee)
        if failed:
            raise Failed(f"{txid or self.txid} was mined in block {number} and {failed}", rule="only what is final ends it")

    def followed(self, look: Callable[[], Steps[tuple[bool, T | None]]], hand: Callable[[], Steps[None]], patience: float) -> Steps[T]:
        """What `look` returns once it stands deep enough: (whether a block has it, that or None).

        While no block has it, `hand` hands the bytes over, at once and every AGAIN seconds; what a node says to that proves nothing
        (C5). Raises Failed, PaymentInDoubt when `patience` (seconds) ends first.
        """
        waited, sent, pause = 0.0, -AGAIN, PAUSE
        while waited < patience:
            try:
                stood, done = yield from look()
                if done is not None:
                    return done
                if not stood and waited - sent >= AGAIN:
                    sent = waited
                    yield from hand()
                    yield from self.taken()
            except Failed:
                raise
            except NodeError as why:
                self.words = why.what
            yield Sleep(pause)
            waited += pause
            pause = min(pause * 2, 4.0)
        raise PaymentInDoubt(f"{self.txid} is without a final block after {patience:.0f} s{': ' + self.words if self.words else ''}",
                             rule="the same bytes go out again, never others (C5)")  # fmt: skip
