"""TRON: `exact_permit` by PaymentPermit, `exact` by TRON's own Permit2; its addresses and raw transactions as bytes.

`chain` is the door, `permit` and `permit2` what is signed off chain (`tip712`), `transaction` what is broadcast (`protobuf`),
`fate` what became of a permit, by what nodes say (`reads`, `rpc`). No node is ever asked what to sign: bytes and ids are made
by ourselves, from the table and our own terms.
"""

from .chain import Tron

__all__ = ["Tron"]
