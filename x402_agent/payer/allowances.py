"""Who may be allowed to move a token on each chain: pinned contracts alone (D4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..chains.evm.permit2 import PERMIT2

if TYPE_CHECKING:
    from ..model import Network

__all__ = ["spenders"]


def spenders(network: Network) -> dict[str, str]:
    """The contracts that may be allowed on a network, by the name that `--for` takes (Offer.method)."""
    if network.namespace == "eip155":
        return {"permit2": PERMIT2}
    if network.namespace != "tron":
        return {}
    from ..chains.tron import permit, permit2

    return {permit.METHOD: permit.CONTRACTS[network.id], permit2.METHOD: permit2.CONTRACTS[network.id]}
