"""The nodes of Solana's networks: each is asked for the hash of its first block before anything else (C3)."""

from __future__ import annotations

from .. import rpc
from .message import address_bytes

__all__ = ["Node"]


class Node(rpc.Node):
    """The nodes of one Solana network: `getGenesisHash` names it."""

    __slots__ = ()
    asks = ("getGenesisHash",)
    spec = "Solana JSON-RPC"

    def named(self, answer: object) -> str:
        """The first 32 letters of the genesis hash, as CAIP-30 has it; raises ValueError."""
        if not isinstance(answer, str):
            raise ValueError("no hash")
        address_bytes(answer)
        return answer[:32]
