"""Our own transactions as bytes: `raw_data` built and read, the id that is known before anything is broadcast, signatures.

Two kinds exist, a transfer of TRX and a call of a contract, one to a transaction. What a node would answer is never needed
to know what was signed: the id is the hash of our own bytes. Times are in milliseconds, fees in sun (10^-6 TRX).
Sources: java-tron `core/Tron.proto` and `core/contract/*.proto`; TRC-20.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ...errors import SigningFailed
from ...primitives import recover
from .addresses import PREFIX, address, address_bytes
from .protobuf import number, read, text

if TYPE_CHECKING:
    from .. import Signer

__all__ = [
    "LIFETIME",
    "MAX_FEE_LIMIT",
    "Call",
    "Raw",
    "Send",
    "Signed",
    "approve",
    "read_signed",
    "reference",
    "sign",
    "transfer",
]

LIFETIME = 60_000  # milliseconds until a transaction of ours expires (C10)
MAX_FEE_LIMIT = 100_000_000  # sun; a transfer of USDT to an account without any takes about a quarter of it
MAX_MEMO = 512  # bytes
_APPROVE = bytes.fromhex("095ea7b3")  # approve(address,uint256)
_TRANSFER = bytes.fromhex("a9059cbb")  # transfer(address,uint256)
_SEND, _CALL = 1, 31
_URLS = {_SEND: b"type.googleapis.com/protocol.TransferContract", _CALL: b"type.googleapis.com/protocol.TriggerSmartContract"}
_HALF_ORDER = bytes.fromhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0")


@dataclass(frozen=True, slots=True)
class Send:
    """TransferContract: `amount` sun of TRX to an account."""

    owner: str
    to: str
    amount: int


@dataclass(frozen=True, slots=True)
class Call:
    """TriggerSmartContract: one call of a contract; `value` is the sun that go with it."""

    owner: str
    contract: str
    data: bytes
    value: int = 0


@dataclass(frozen=True, slots=True)
class Raw:
    """A transaction before its signature. `ref` is what `reference` takes from a recent block (TAPOS), 2 and 8 bytes."""

    what: Send | Call
    ref: tuple[bytes, bytes]
    timestamp: int
    expiration: int
    fee_limit: int = 0
    memo: bytes = b""
    permission: int = 0

    @property
    def data(self) -> bytes:
        """The bytes of `raw_data`. Raises ValueError for an address or a number that is none."""
        what = self.what
        if isinstance(what, Send):
            kind, value = _SEND, text(1, _wire(what.owner)) + text(2, _wire(what.to)) + number(3, what.amount)
        else:
            kind = _CALL
            value = text(1, _wire(what.owner)) + text(2, _wire(what.contract)) + number(3, what.value) + text(4, what.data)
        held = text(1, _URLS[kind]) + text(2, value)
        contract = number(1, kind) + text(2, held) + number(5, self.permission)
        head = text(1, self.ref[0]) + text(4, self.ref[1]) + number(8, self.expiration) + text(10, self.memo)
        return head + text(11, contract) + number(14, self.timestamp) + number(18, self.fee_limit)

    @property
    def txid(self) -> str:
        """64 hex digits: the hash of the bytes, by us and never by a node."""
        return sha256(self.data).hexdigest()

    @classmethod
    def read(cls, data: bytes) -> Raw:
        """What these bytes of `raw_data` say; raises ValueError for what is not exactly what `data` writes."""
        head: dict[int, Any] = read(data, (8, 14, 18), (1, 4, 10, 11))
        contract: dict[int, Any] = read(head[11], (1, 5), (2,))
        held: dict[int, Any] = read(contract[2], (), (1, 2))
        kind: int = contract[1]
        if kind not in _URLS or held[1] != _URLS[kind] or len(head[1]) != 2 or len(head[4]) != 8:
            raise ValueError("not a transfer of TRX or a call of a contract")
        value: dict[int, Any] = read(held[2], (3,), (1, 2) if kind == _SEND else (1, 2, 4))
        owner, other = _shown(value[1]), _shown(value[2])
        what = Send(owner, other, value[3]) if kind == _SEND else Call(owner, other, value[4], value[3])
        return cls(what, (head[1], head[4]), head[14], head[8], head[18], head[10], contract[5])


@dataclass(frozen=True, slots=True)
class Signed:
    """`raw` is the bytes of `raw_data`, `txid` their hash in 64 hex digits, `signature` r, s and v (27 or 28)."""

    txid: str
    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def wire(self) -> bytes:
        """The whole Transaction."""
        return text(1, self.raw) + text(2, self.signature)

    @property
    def body(self) -> dict[str, str]:
        """What POST /wallet/broadcasthex takes."""
        return {"transaction": self.wire.hex()}


def _wire(shown: str) -> bytes:
    return PREFIX + address_bytes(shown)


def _shown(raw: bytes) -> str:
    if len(raw) != 21 or raw[:1] != PREFIX:
        raise ValueError("an address that is not of TRON")
    return address(raw[1:])


def reference(block_id: bytes) -> tuple[bytes, bytes]:
    """What a transaction takes of a recent block: its id is 8 bytes of its number and 24 of its hash."""
    if len(block_id) != 32:
        raise ValueError("a block's id is 32 bytes")
    return block_id[6:8], block_id[8:16]


def approve(spender: str, amount: int) -> bytes:
    """Calldata that lets `spender` take this many atomic units. Raises SigningFailed."""
    return _APPROVE + _words(spender, amount)


def transfer(to: str, amount: int) -> bytes:
    """Calldata that sends this many atomic units. Raises SigningFailed."""
    return _TRANSFER + _words(to, amount)


def _words(whom: str, amount: int) -> bytes:
    if not 0 <= amount < 1 << 256:
        raise SigningFailed("the amount is outside uint256", rule="uint256 (P2)")
    try:
        return bytes(12) + address_bytes(whom) + amount.to_bytes(32, "big")
    except ValueError as why:
        raise SigningFailed(f"{whom[:50]!r} {why}", rule="recipients (R2)") from None


def sign(made: Raw, signer: Signer) -> Signed:
    """The signed transaction. Raises SigningFailed when it is none of ours (D16) or the signer's answer is odd.

    Ours are TRX transfers and the calls `transfer` and `approve`, without coin, within the fee limit, for 60 s.
    """
    what = made.what
    if isinstance(what, Call) and (what.value or len(what.data) != 68 or what.data[:4] not in (_APPROVE, _TRANSFER)):
        raise SigningFailed("only approve and transfer are ever called, without coin", rule="no other calldata (D16)")
    if isinstance(what, Call) and int.from_bytes(what.data[36:]) >> 128:
        raise SigningFailed("the amount is no amount of a token", rule='never "unlimited": below 2^128 (D3)')
    if not 0 <= made.fee_limit <= MAX_FEE_LIMIT or not 0 < made.expiration - made.timestamp <= LIFETIME:
        raise SigningFailed(
            "the fee limit or the expiration is out of bounds",
            rule=f"at most {MAX_FEE_LIMIT} sun (C9) and {LIFETIME // 1000} s (C10)",
        )
    if len(made.memo) > MAX_MEMO or not 0 <= made.permission <= 9:
        raise SigningFailed("the memo or the permission is out of bounds", rule=f"memo at most {MAX_MEMO} bytes (D16)")
    try:
        raw = made.data
    except ValueError as why:
        raise SigningFailed(f"the transaction cannot be written: {why}", rule="raw_data of TRON") from None
    digest = sha256(raw).digest()
    signature = signer.sign_digest("tron", digest)
    if not _fits(digest, signature, what.owner):
        raise SigningFailed("the signer did not answer with its own r, s, v and a low s", rule="65 bytes, v 27 or 28")
    return Signed(digest.hex(), raw, signature)


def _fits(digest: bytes, signature: bytes, owner: str) -> bool:
    try:
        own = bytes.fromhex(recover(digest, signature)[2:]) == address_bytes(owner)
    except ValueError:
        return False
    return own and signature[64] in (27, 28) and signature[32:64] <= _HALF_ORDER


def read_signed(wire: bytes) -> tuple[Raw, Signed]:
    """A whole Transaction with one signature, as it is broadcast; raises ValueError. The signature is not judged."""
    held: dict[int, Any] = read(wire, (), (1, 2))
    if len(held[2]) != 65:
        raise ValueError("not one signature of 65 bytes")
    return Raw.read(held[1]), Signed(sha256(held[1]).hexdigest(), held[1], held[2])
