"""Who may be allowed to move a token on each chain, and allowances that another wallet gave: read on chain, written down.

Nothing here is signed or sent. Where this release sends no approve of its own (TRON), its account's owner makes it elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..chains.evm.permit2 import PERMIT2
from ..errors import NoAcceptableOffer, SettingsError
from ..model import Money
from ..secret import Secret
from ..wallet import KEYS

if TYPE_CHECKING:
    from ..model import Asset, Network
    from ..steps import Steps
    from .payer import Payer

__all__ = ["seen", "spenders"]


def spenders(network: Network) -> dict[str, str]:
    """The contracts that may be allowed on a network, by the name that `--for` takes (Offer.method)."""
    if network.namespace == "eip155":
        return {"permit2": PERMIT2}
    if network.namespace != "tron":
        return {}
    from ..chains.tron import permit, permit2

    return {permit.METHOD: permit.CONTRACTS[network.id], permit2.METHOD: permit2.CONTRACTS[network.id]}


def seen(payer: Payer, asset: Asset, whom: str, amount: int) -> Steps[int]:
    """Count on what the chain shows `whom` to be allowed on TRON, at most `amount` atomic units; 0 counts on nothing any more.

    -> what the chain shows. Raises NoAcceptableOffer, which says what to approve, when that is less (D3); SettingsError
    without a node, NodeError.
    """
    from ..chains.tron import reads
    from ..chains.tron.rpc import Node

    where, owner, spender = asset.network, payer.wallet.address("tron"), spenders(asset.network)[whom]
    nodes, ledger = Secret(payer.settings.nodes.get(where.id, "")), payer.ledger
    if not owner or not len(nodes):
        what = f"no node of {where.name} is known" if owner else f"no key for {where.name}"
        hint = f"export X402_AGENT_NODES={where.name}=https://…" if owner else f"x402-agent wallet new, or export {KEYS[where.namespace]}=…"
        raise SettingsError(what, rule="X402_AGENT_NODES" if owner else "wallet", hint=hint)
    if not amount:  # no offer counts on it from now on, whatever the chain still shows
        ledger.allow(where.id, asset.address, owner, spender, 0).run()
    mark = ledger.mark(where.id, asset.address, owner)
    had = yield from reads.allowance(Node(where, nodes), asset.address, owner, spender)
    if had < amount or (not amount and had):
        raise NoAcceptableOffer(
            f"{whom} ({spender}) is allowed {Money(had, asset)} of {owner} on chain, not {Money(amount, asset).text}; "
            "no transaction is sent on TRON from here",
            rule="an allowance is given by its owner, never for a seller (D3)",
            hint=f"approve({spender}, {amount}) on {asset.address} from {owner}, in a wallet for TRON; then this command again",
        )
    ledger.allow(where.id, asset.address, owner, spender, amount, mark=mark).run()
    return had
