"""A contract call as a payment: `Offer.details` names the function, its arguments and what may move; the contract is the payee.

Arguments are `[kind, value]`, numbers as decimal text, bytes as hex: `["uint","5"]`, `["ascii","a"]`, `["some",["bool",true]]`,
`["list",[…]]`, `["tuple",{…}]`, `["none"]`. Two are ours to fill in: `["payer"]` is our own account, `["nonce"]` the payment's
own 64 hex digits, as text. Nothing else of a call is anybody's to choose: who signs, Deny, and what of ours may move.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ...encodings import unc32_address
from .clarity import NONE, Value
from .payloads import Call, PostCondition

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...model import Asset

__all__ = ["Given", "call", "conditions"]

_DEEPEST = 8
_MOST = 16  # post-conditions for others
_INT = re.compile(r"-?[0-9]{1,39}").fullmatch
_BYTES = re.compile(r"([0-9a-f]{2}){0,4096}").fullmatch


class Given(NamedTuple):
    """What fills the gaps in arguments: our account as the network writes it, and the nonce of the terms (0x and 64 digits)."""

    account: str
    nonce: str


def _whole(text: object) -> int:
    if not isinstance(text, str) or not _INT(text):
        raise ValueError("a number that is no decimal text")
    return int(text)


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError("a text that is none")
    return text


def _raw(text: object) -> bytes:
    if not isinstance(text, str) or not _BYTES(text):
        raise ValueError("bytes that are no hex")
    return bytes.fromhex(text)


def _truth(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError("neither true nor false")
    return value


_PLAIN: dict[str, Callable[[object], Any]] = {
    "int": _whole, "uint": _whole, "ascii": _text, "utf8": _text, "principal": _text, "buffer": _raw, "bool": _truth,
}  # fmt: skip


def argument(told: object, given: Given, depth: int = 0) -> Value:
    """One argument; raises ValueError."""
    if not isinstance(told, list) or not told or not isinstance(told[0], str) or depth > _DEEPEST:
        raise ValueError("an argument is [kind, value]")
    kind, rest = told[0], told[1:]
    if kind in ("none", "payer", "nonce") and not rest:
        own = {"payer": Value("principal", given.account), "nonce": Value("ascii", given.nonce[2:])}
        return own.get(kind, NONE)
    if len(rest) != 1:
        raise ValueError("an argument is [kind, value]")
    (inner,) = rest
    if kind == "some":
        return Value("some", argument(inner, given, depth + 1))
    if kind == "list" and isinstance(inner, list):
        return Value("list", tuple(argument(each, given, depth + 1) for each in inner))
    if kind == "tuple" and isinstance(inner, dict):
        return Value("tuple", {name: argument(each, given, depth + 1) for name, each in inner.items()})
    if kind not in _PLAIN:
        raise ValueError("a kind of argument that there is not")
    return Value(kind, _PLAIN[kind](inner))


def call(contract: str, function: str, arguments: object, given: Given) -> Call:
    """The call of a public function; raises ValueError for what is none. Whose contract it may be is the door's to say (chain.py)."""
    if not isinstance(arguments, list | tuple):
        raise ValueError("the arguments are no list")
    made = Call(contract, function, tuple(argument(each, given) for each in arguments))
    made.wire()
    return made


def conditions(asset: Asset, amount: int, others: object, given: Given, *, exact: bool) -> tuple[PostCondition, ...]:
    """What the call may move: of ours the amount, or at most that, of this asset alone; of others what is named. Raises ValueError.

    `others` are `[account or contract, code, amount, asset]`; none of them may be us.
    """
    named = "" if asset.native else f"{asset.address}::{asset.detail}"
    made = [PostCondition("", "eq" if exact else "le", amount, named)]
    if not isinstance(others, list | tuple) or len(others) > _MOST:
        raise ValueError("post-conditions for others are a short list")
    for each in others:
        who, code, units, what = each if isinstance(each, list) and len(each) == 4 else ("", "", "", "")
        if unc32_address(_text(who).partition(".")[0])[1] == unc32_address(given.account)[1] and "." not in who:
            raise ValueError("a second post-condition for our own account")
        made.append(PostCondition(who, _text(code), _whole(units), _text(what)))
    for condition in made:
        condition.wire()
    return tuple(made)
