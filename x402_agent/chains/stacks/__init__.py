"""Stacks: our own transactions, byte for byte those of stacks.js, on the secp256k1 that every chain here signs with.

`clarity` values, `payloads` and their post-conditions, the `transaction` around them, `messages` to sign in with.
"""

from .clarity import NONE, Reader, Value, some, uint
from .payloads import Call, PostCondition, Transfer, sip010_transfer
from .transaction import ALLOW, DENY, EMPTY_SPONSOR, Spending, Transaction, hash160, read

__all__ = [
    "ALLOW",
    "DENY",
    "EMPTY_SPONSOR",
    "NONE",
    "Call",
    "PostCondition",
    "Reader",
    "Spending",
    "Transaction",
    "Transfer",
    "Value",
    "hash160",
    "read",
    "sip010_transfer",
    "some",
    "uint",
]
