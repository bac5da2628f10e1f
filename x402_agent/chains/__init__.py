"""How a proof is made. A chain knows domains, contracts and clocks of its own; it never reads what sellers write.

Third-party chains are entry points of the group `x402_agent.chains`; found is not trusted: only named ones load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..errors import SettingsError
from .evm import Evm
from .solana import Solana
from .stacks import Stacks
from .tron import Tron

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Anchor, ChainRules, Offer, Proof, Terms
    from ..steps import Steps

__all__ = ["Chain", "Evm", "Signer", "Solana", "Stacks", "Tron", "builtin", "load"]

GROUP = "x402_agent.chains"


class Signer(Protocol):
    """Where a key lives: in this process, in a keyring, behind a service."""

    def address(self, namespace: str) -> str:
        """The account that signs on this CAIP-2 namespace, "" when there is none."""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """The signature over 32 bytes by a secp256k1 key: r, s, v (27 or 28), 65 bytes. Raises SigningFailed."""

    def sign_message(self, namespace: str, message: bytes) -> bytes:
        """The signature over a whole message by an Ed25519 key (Solana): 64 bytes. Raises SigningFailed."""


class Chain(Protocol):
    """One family of chains. Pure: it does no I/O but by yielding steps; the only secret it touches is a Signer.

    It may have `balance(asset, account, node) -> Steps[int]` (atomic units; raises NodeError), `tip(network, node)` (newest block,
    its unix time, 0 where no node says it), `needs(network, account, node) -> Steps[int]` (what a usual transaction of that
    account takes by the node's own prices, in atomic units of the network's coin), and, where the payer pays its network,
    `fee(offer, rules) -> Money`: from memory, the most that this takes beside the price, in its own coin; `gas`, likewise, where
    that is so far above what is usual that no offer is ranked by it. What must be
    set before it can pay at all, `unset(offer, node, rules) -> str` says, in words, or "". `keeps` is what an account must hold of the coin
    to be one, where there is such a rule.

    One with `broadcast(offer, terms, proof, node) -> Steps[Proof | None]` takes offers of the method `transfer`, which pay first. The
    proof's payload names `transaction`, its id as its chain writes it. `broadcast` hands the same bytes to nodes, yields
    `Progress` (SEEN, MINED with the fee that it took, INFLIGHT after a reorg), and returns once the seller can see the money: the
    proof to show where its id is another by now (replaced.py), else None. `allowing()` gives the same doors for approve and revoke
    (offers of the method `approve`), where a chain has allowances and no account nonces: only a person's command takes them. It raises NodeError or PaymentInDoubt within `steps.ON_CHAIN` seconds, and then only `fate` frees anything.
    """

    namespace: str

    def refuses(self, offer: Offer, payer: str) -> str:
        """Why this offer cannot be paid from `payer`, in words, or ""."""

    def spender(self, offer: Offer) -> str:
        """The contract that must already be allowed to move the payer's token for this offer, "" for none."""

    def prepare(self, offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
        """What a node must say before a proof can be made, NO_ANCHOR where none is asked. `node` is "" when none is set.

        Raises NodeError, NoAcceptableOffer when it is refused for what the node says.
        """

    def terms(self, offer: Offer, payer: str, *, now: int, nonce: bytes, max_lifetime: int, anchor: Anchor) -> Terms:
        """What we choose ourselves: nonce (32 fresh bytes) and validity in unix seconds around `now`."""

    def prove(self, offer: Offer, terms: Terms, signer: Signer) -> Proof:
        """The proof: the same bytes for the same offer and terms. Raises SigningFailed."""

    def fate(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """What the chain says: `settled`, `dead` (it can never settle), `failed` (a final block holds it, and it moved nothing:
        only its fee is gone) or `unknown`. It holds no secret: what was signed is made anew from offer and terms."""  # fmt: skip

    def charged(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction, named by the seller, took of a ceiling, in atomic units; None in any doubt."""

    def lookup(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
        """What this transaction, named by the seller, shows of a payment: `paid` (final, ours), `pending`, `missing`,
        `another`, `unnamed` or `unknown`."""  # fmt: skip

    def returned(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction brought back from the payee, in atomic units; None in any doubt."""


def builtin() -> tuple[Chain, ...]:
    """Our own chains."""
    return (Evm(), Solana(), Tron(), Stacks())


def load(names: Iterable[str]) -> tuple[Chain, ...]:
    """The chains named in settings, ours or plug-ins; raises SettingsError for a name that nobody provides."""
    known = {chain.namespace: chain for chain in builtin()}
    return tuple(known.get(name) or _plugin(name) for name in names)


def _plugin(name: str) -> Chain:
    from importlib.metadata import entry_points  # which takes longer to import than all our chains

    for point in entry_points(group=GROUP, name=name):
        made: Chain = point.load()()
        return made
    raise SettingsError(f"no chain is called {name!r}", rule=f"entry points {GROUP}", hint="x402-agent doctor")
