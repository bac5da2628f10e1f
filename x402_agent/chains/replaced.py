"""Several transactions of ours for one account nonce: how a chain makes them, and what it says of the one that got it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from ..model import ChainRules, Network, Offer, Terms
    from ..steps import Steps
    from . import Signer

__all__ = ["Replacing", "Spent"]


class Spent(NamedTuple):
    """The transaction that has it: its id, the fee in atomic units of the network's coin, its block, whether it is the payment
    (in whichever form), and whether it is so deep that it stays."""

    txid: str
    fee: int
    block: int
    ours: bool
    final: bool


class Replacing(Protocol):
    """`Chain.replacing`, where a chain has it: fees are in atomic units of its own coin, all that is signed has the payment's account nonce."""

    def most(self, rules: ChainRules) -> int:
        """The most that one transaction may offer where nobody says otherwise."""

    def offered(self, terms: Terms) -> int:
        """What the payment itself offers; raises SigningFailed."""

    def outbid(self, offer: Offer, terms: Terms, stands: int, node: str, *, cancel: bool) -> Steps[tuple[int, int]]:
        """The least that replaces an offer of `stands`, and what a node thinks is taken by a block soon. Raises NodeError, SigningFailed."""

    def signed(self, offer: Offer, terms: Terms, signer: Signer, units: int, *, cancel: bool) -> tuple[str, bytes]:
        """Id and bytes: the very payment, or with `cancel` what moves nothing. Raises SigningFailed."""

    def again(self, network: Network, raw: bytes, node: str) -> Steps[None]:
        """Hand signed bytes to a node; raises NodeError, which proves nothing (C5)."""

    def who_spent(self, offer: Offer, terms: Terms, node: str) -> Steps[Spent | None]:
        """What has spent the account nonce, where every node shows the same; None else. Raises NodeError, SettingsError."""
