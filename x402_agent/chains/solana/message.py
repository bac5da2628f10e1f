"""The one transaction that we sign on Solana, byte for byte: four instructions of ours around the seller's numbers.

Compute unit limit, compute unit price, TransferChecked, memo, in this order and nothing else, so that a durable nonce or
another program's instruction has no place to stand (C13, D14). The fee payer is in no instruction. The bytes are written here
and not by a library, since what an open payment signed is made again from its row, by whatever release comes later.

Source: x402 scheme exact on SVM; the v0 message format of Solana; SPL Token and Token-2022 instruction 12; SPL Memo.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ...encodings import base58, unbase58
from ...errors import SigningFailed

if TYPE_CHECKING:
    from ...model import Anchor, Asset, Offer, Terms

__all__ = [
    "PROGRAMS",
    "TOKEN",
    "TOKEN_2022",
    "Anchored",
    "address_bytes",
    "anchored",
    "associated",
    "detail",
    "given",
    "message",
    "on_curve",
    "program_of",
    "transaction",
]

TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
_COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
_MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
_ASSOCIATED = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
_SYSTEM = "11111111111111111111111111111111"
PROGRAMS = frozenset({TOKEN, TOKEN_2022, _COMPUTE_BUDGET, _MEMO, _ASSOCIATED, _SYSTEM})
_UNITS, _UNITS_A_BYTE, _SHORT = 20_000, 400, 32  # compute units; the older memo program takes some 350 for each byte
_SPREAD = 10_000  # units that nobody pays for: what is left over costs nothing at this price
_PRICE = 1  # micro-lamports for a unit: the facilitator's fee, of which nobody needs more
_EMPTY = bytes(64)  # the place of the fee payer's signature


class Anchored(NamedTuple):
    """The blockhash (32 bytes) of a transaction, the last block height at which it is valid, and the slot that told it.

    Height and slot are 0 for a blockhash of the seller's: nobody that we asked has said them.
    """

    blockhash: bytes
    last: int = 0
    slot: int = 0

    @property
    def text(self) -> str:
        """As an Anchor keeps it."""
        return f"{base58(self.blockhash)}:{self.last}:{self.slot}"


def anchored(anchor: Anchor) -> Anchored:
    """What an Anchor's text says; raises SigningFailed for a text that is not ours."""
    parts = anchor.text.split(":")
    try:
        return Anchored(address_bytes(parts[0]), *map(_count, parts[1:]))
    except (ValueError, TypeError):
        raise SigningFailed("there is no blockhash in the terms", rule="own blockhash (C12)") from None


def _count(digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ValueError("no number")
    return int(digits)


@lru_cache(maxsize=4096)
def address_bytes(text: str) -> bytes:
    """The 32 bytes that an address or blockhash stands for; raises ValueError for anything else in base58."""
    try:
        found = unbase58(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ValueError("is not 32 bytes in base58 (R2)")
    return found


def _pubkey() -> Any:
    try:
        from solders.pubkey import Pubkey
    except ImportError:
        raise SigningFailed("solders is not installed", rule="extra `solana`", hint="uv add 'x402-agent-sdk[solana]'") from None
    return Pubkey


@lru_cache(maxsize=4096)
def on_curve(text: str) -> bool:
    """Whether somebody can hold the key of this address; False for what only a program can sign for."""
    return bool(_pubkey()(address_bytes(text)).is_on_curve())


@lru_cache(maxsize=4096)
def associated(owner: str, mint: str, program: str) -> str:
    """The associated token account of this owner for a mint of this token program."""
    key = _pubkey()
    seeds = [address_bytes(each) for each in (owner, program, mint)]
    return str(key.find_program_address(seeds, key(address_bytes(_ASSOCIATED)))[0])


def program_of(asset: Asset) -> str:
    """The token program of a token of the table: the first one unless its row names the other."""
    return asset.detail or TOKEN


def detail(offer: Offer, name: str) -> str:
    """`memo` or `recentBlockhash` of what the dialect has checked, "" when the seller gave none."""
    return str(json.loads(offer.details).get(name, "")) if offer.details else ""


def given(offer: Offer) -> bytes:
    """The seller's own blockhash, b"" when there is none that can be one."""
    try:
        return address_bytes(detail(offer, "recentBlockhash"))
    except ValueError:
        return b""


def _short(number: int) -> bytes:
    """compact-u16: seven bits a byte, the low ones first."""
    return bytes((number,)) if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7))


def message(offer: Offer, terms: Terms) -> bytes:
    """The bytes that payer and facilitator sign, with the leading 0x80 of version 0.

    Keys stand as Solana's own compiler sorts them. Raises SigningFailed without a blockhash, ValueError for an address.
    """
    asset, program = offer.asset, program_of(offer.asset)
    source, target = (address_bytes(associated(owner, asset.address, program)) for owner in (terms.payer, offer.pay_to))
    owner, mint, mover, limits, notes = map(address_bytes, (terms.payer, asset.address, program, _COMPUTE_BUDGET, _MEMO))
    readable = sorted((mint, mover, limits, notes))
    keys = [address_bytes(offer.facilitator), owner, *sorted((source, target)), *readable]
    at = {key: index for index, key in enumerate(keys)}
    memo = detail(offer, "memo").encode()
    units = _UNITS + _UNITS_A_BYTE * max(0, len(memo) - _SHORT)
    if memo:  # under one blockhash two payments with one memo would be one transaction
        units += int(terms.nonce[34:42], 16) % _SPREAD
    moved = [at[each] for each in (source, mint, target, owner)]
    instructions: tuple[tuple[int, list[int], bytes], ...] = (
        (at[limits], [], b"\x02" + units.to_bytes(4, "little")),
        (at[limits], [], b"\x03" + _PRICE.to_bytes(8, "little")),
        (at[mover], moved, b"\x0c" + offer.amount.to_bytes(8, "little") + bytes((asset.decimals,))),
        (at[notes], [], memo or terms.nonce[2:34].encode()),
    )
    written = b"".join(
        bytes((who, len(accounts), *accounts)) + _short(len(data)) + data for who, accounts, data in instructions
    )
    head = bytes((0x80, 2, 1, len(readable), len(keys)))  # two sign, one of them only reads
    return b"".join((head, *keys, anchored(terms.anchor).blockhash, bytes((len(instructions),)), written, b"\0"))


def transaction(signed: bytes, signature: bytes) -> bytes:
    """The transaction with our signature, the facilitator's still to come."""
    return b"\x02" + _EMPTY + signature + signed
