"""Solana: one signed SPL transfer, completed by the facilitator that pays its fee, or a transfer of our own that pays first.

`chain` is the door, `message` the bytes that are signed, `ready` what a node says before (with `mint`, what a token may do),
`transfer` what paying first needs besides, `fate` what became of a proof, `lookup` what a named transaction shows, `reads` and `rpc` the node.
"""

from __future__ import annotations

from .chain import Solana

__all__ = ["Solana"]
