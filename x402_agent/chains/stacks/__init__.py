"""Stacks: our own transactions, byte for byte those of stacks.js, on the secp256k1 that every chain here signs with.

`clarity` values, `payloads` and their post-conditions, the `transaction` around them, `messages` to sign in with. `chain` is the
door; `ready` asks a node before, `fate` and `lookup` after, by `api`; `signing` says what is signed, `calls` how a contract is
paid; `transfer` broadcasts what pays first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .chain import Stacks

if TYPE_CHECKING:
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
    "Stacks",
    "Transaction",
    "Transfer",
    "Value",
    "hash160",
    "read",
    "sip010_transfer",
    "some",
    "uint",
]

_HOMES = {
    "clarity": "NONE Reader Value some uint",
    "payloads": "Call PostCondition Transfer sip010_transfer",
    "transaction": "ALLOW DENY EMPTY_SPONSOR Spending Transaction hash160 read",
}
_FILES = {name: file for file, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """All but the door is imported when it is first used: who pays on another chain loads none of it."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
