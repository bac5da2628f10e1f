"""What a transaction does, and what it may move at most: payloads and post-conditions (SIP-005), both ways."""

from __future__ import annotations

from typing import NamedTuple

from .clarity import NONE, Reader, Value, address, contract_name, name, principal, some, split, uint

__all__ = ["MEMO", "Call", "PostCondition", "Transfer", "read_payload", "read_post_condition", "sip010_transfer"]

MEMO = 34  # bytes, of a token transfer and of SIP-010's transfer
_CODES = {"eq": 1, "gt": 2, "ge": 3, "lt": 4, "le": 5}
_NFT_CODES = {"sends": 0x10, "keeps": 0x11}
_CODE_OF = {code: word for word, code in (*_CODES.items(), *_NFT_CODES.items())}


class Transfer(NamedTuple):
    """STX to an account or contract: `amount` in microSTX, below 2**64; `memo` at most 34 bytes, zeros at its end are none."""

    recipient: str
    amount: int
    memo: bytes = b""

    def wire(self) -> bytes:
        """The payload's bytes; raises ValueError."""
        if len(self.memo) > MEMO or not 0 <= self.amount < 1 << 64:
            raise ValueError("an amount above 2**64, or a memo of more than 34 bytes")
        return b"\0" + principal(self.recipient) + self.amount.to_bytes(8, "big") + self.memo.ljust(MEMO, b"\0")


class Call(NamedTuple):
    """A public function of a contract `S….name`, called with these arguments."""

    contract: str
    function: str
    arguments: tuple[Value, ...] = ()

    def wire(self) -> bytes:
        """The payload's bytes; raises ValueError."""
        own = b"".join(each.wire() for each in self.arguments)
        return b"\2" + split(self.contract) + name(self.function) + len(self.arguments).to_bytes(4, "big") + own


def sip010_transfer(contract: str, amount: int, sender: str, recipient: str, memo: bytes | None = None) -> Call:
    """SIP-010's `transfer`: `amount` in atomic units below 2**128, `memo` at most 34 bytes. Raises ValueError."""
    if memo is not None and len(memo) > MEMO:
        raise ValueError("a memo of more than 34 bytes")
    said = NONE if memo is None else some(Value("buffer", memo))
    return Call(contract, "transfer", (uint(amount), Value("principal", sender), Value("principal", recipient), said))


def read_payload(data: bytes) -> Transfer | Call:
    """A token transfer or a contract call; raises ValueError for every other payload, and for bytes behind it."""
    found = Reader(data)
    kind = found.number(1)
    made: Transfer | Call
    if kind == 0:
        made = Transfer(_recipient(found), found.number(8), found.take(MEMO).rstrip(b"\0"))
    elif kind == 2:
        contract, function = found.contract(), found.name()
        made = Call(contract, function, tuple(found.value() for _ in range(found.number(4))))
    else:
        raise ValueError("neither a token transfer nor a contract call")
    found.end()
    return made


def _recipient(found: Reader) -> str:
    value = found.value()
    if value.kind != "principal":
        raise ValueError("a recipient that is no principal")
    text: str = value.value
    return text


class PostCondition(NamedTuple):
    """What must have been moved by `who` when all is done: `code` eq, gt, ge, lt or le, `amount` below 2**64.

    `who` is "" for whoever signed, else an account or contract; `asset` is "" for STX, else `S….contract::token`. Of a token
    that is one of a kind `value` says which, and `code` is sends or keeps.
    """

    who: str
    code: str
    amount: int = 0
    asset: str = ""
    value: Value | None = None

    def wire(self) -> bytes:
        """Its bytes; raises ValueError."""
        if not 0 <= self.amount < 1 << 64 or self.code not in (_CODES if self.value is None else _NFT_CODES):
            raise ValueError("an amount above 2**64, or a code of another kind")
        kind = b"\2" if self.value is not None else b"\1" if self.asset else b"\0"
        asset = _asset(self.asset) if self.asset else b""
        if self.value is not None:
            return kind + _who(self.who) + asset + self.value.wire() + bytes((_NFT_CODES[self.code],))
        return kind + _who(self.who) + asset + bytes((_CODES[self.code],)) + self.amount.to_bytes(8, "big")


def _who(who: str) -> bytes:
    if not who:
        return b"\1"
    account, dot, own = who.partition(".")
    return (b"\3" + address(account) + contract_name(own)) if dot else b"\2" + address(account)


def _asset(asset: str) -> bytes:
    contract, mark, own = asset.partition("::")
    if not mark:
        raise ValueError("an asset is S….contract::token")
    return split(contract) + name(own)


def read_post_condition(found: Reader) -> PostCondition:
    """The next one; raises ValueError."""
    kind, mark = found.number(1), found.number(1)
    if kind > 2 or mark not in (1, 2, 3):
        raise ValueError("not a post-condition")
    who = "" if mark == 1 else found.address() if mark == 2 else found.contract()
    asset = f"{found.contract()}::{found.name()}" if kind else ""
    value = found.value() if kind == 2 else None
    code = _CODE_OF.get(found.number(1), "")
    if code not in (_NFT_CODES if kind == 2 else _CODES):
        raise ValueError("not a code of its kind of post-condition")
    return PostCondition(who, code, 0 if kind == 2 else found.number(8), asset, value)
