"""Which number a network of TRON signs for: its CAIP-2 reference, the end of its genesis block's id."""

from __future__ import annotations

__all__ = ["chain_id"]


def chain_id(network: str) -> int:
    """The chain id of a CAIP-2 id like `tron:0x2b6653dc`, as TIP-712 and `eth_chainId` have it."""
    return int(network.partition(":")[2], 16)
