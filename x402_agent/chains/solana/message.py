"""The two transactions that we sign on Solana, byte for byte: instructions of ours around the seller's numbers.

Compute unit limit, compute unit price, the transfer, memo, in this order and nothing else, so that a durable nonce or another
program's instruction has no place to stand (C13, D14). Scheme `exact` moves a token, and its fee payer, the facilitator, is in no
instruction. A transfer that pays first moves a token or SOL, its fee is our own, and before it may stand the opening of the
payee's token account; or the payee is a token account itself, which is never opened. The bytes are written here and not by a library, since what an open payment signed is made again
from its row, by whatever release comes later.

Source: x402 scheme exact on SVM; the v0 message format of Solana; SPL Token and Token-2022 instruction 12; SPL Associated Token
Account instruction 1; System instruction 2; SPL Memo.
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
    "ITSELF",
    "METHOD",
    "PROGRAMS",
    "SIZE",
    "SYSTEM",
    "TOKEN",
    "TOKEN_2022",
    "Anchored",
    "address_bytes",
    "anchored",
    "associated",
    "detail",
    "given",
    "holder",
    "itself",
    "message",
    "on_curve",
    "program_of",
    "target",
    "transaction",
    "units",
]

TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
_COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
_MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
_ASSOCIATED = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
SYSTEM = "11111111111111111111111111111111"
PROGRAMS = frozenset({TOKEN, TOKEN_2022, _COMPUTE_BUDGET, _MEMO, _ASSOCIATED, SYSTEM})
METHOD = "transfer"  # of offers that are paid first, by a transaction whose fee is ours
ITSELF = '{"account":"itself"}'  # details of such an offer whose payee is a token account, named as one
SIZE = 165  # bytes of an account of the first token program
_READS, _WRITES, _SIGNS = 0, 1, 2
_OPENING = 80_000  # compute units: finding the address and three calls of other programs
_UNITS, _UNITS_A_BYTE, _SHORT = 20_000, 400, 32  # compute units; the older memo program takes some 350 for each byte
_SPREAD = 10_000  # units that nobody pays for: what is left over costs nothing at this price
_PRICE = 1  # micro-lamports for a unit: the facilitator's fee, of which nobody needs more
_EMPTY = bytes(64)  # the place of the fee payer's signature


class Anchored(NamedTuple):
    """The blockhash (32 bytes) of a transaction, the last block height at which it is valid, and the slot that told it.

    Height and slot are 0 for a blockhash of the seller's: nobody that we asked has said them. Where the fee is ours, `price` is in
    micro-lamports for a compute unit, at least 1, and `opens` is 1 where the payee's token account is opened.
    """

    blockhash: bytes
    last: int = 0
    slot: int = 0
    price: int = 0
    opens: int = 0

    @property
    def text(self) -> str:
        """As an Anchor keeps it."""
        made = f"{base58(self.blockhash)}:{self.last}:{self.slot}"
        return f"{made}:{self.price}:{self.opens}" if self.price else made


def anchored(anchor: Anchor) -> Anchored:
    """What an Anchor's text says; raises SigningFailed for a text that is not ours."""
    parts = anchor.text.split(":")
    try:
        if len(parts) not in (1, 3, 5):
            raise ValueError("no anchor")
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


class _Step(NamedTuple):
    """An instruction: its program, its accounts with what it does with each, its data."""

    program: str
    accounts: tuple[tuple[str, int], ...]
    data: bytes


def message(offer: Offer, terms: Terms) -> bytes:
    """The bytes that are signed, by us and for scheme exact by the facilitator, with the leading 0x80 of version 0.

    Raises SigningFailed without a blockhash, ValueError for an address.
    """
    fixed, memo = anchored(terms.anchor), detail(offer, "memo").encode()
    if offer.method == METHOD:
        opening = [_opening(offer, terms.payer)] if fixed.opens else []
        moving, limit, price, payer = [*opening, _moving(offer, terms.payer)], units(fixed), fixed.price, terms.payer
    else:
        limit = _UNITS + _UNITS_A_BYTE * max(0, len(memo) - _SHORT)
        if memo:  # under one blockhash two payments with one memo would be one transaction
            limit += int(terms.nonce[34:42], 16) % _SPREAD
        moving, price, payer = [_moving(offer, terms.payer)], _PRICE, offer.facilitator
    steps = [
        _Step(_COMPUTE_BUDGET, (), b"\x02" + limit.to_bytes(4, "little")),
        _Step(_COMPUTE_BUDGET, (), b"\x03" + price.to_bytes(8, "little")),
        *moving,
        _Step(_MEMO, (), memo or terms.nonce[2:34].encode()),
    ]
    return _compiled(payer, steps, fixed.blockhash)


def units(fixed: Anchored) -> int:
    """The compute units that a transfer of ours may use: what its priority fee is counted by."""
    return _UNITS + (_OPENING if fixed.opens else 0)


def holder(offer: Offer, owner: str) -> str:
    """The account of this owner that an offer's money moves out of or into: for SOL his own, else the associated one."""
    return owner if offer.asset.native else associated(owner, offer.asset.address, program_of(offer.asset))


def itself(offer: Offer) -> bool:
    """Whether the payee is a token account, and no owner whose associated account is meant."""
    return offer.method == METHOD and offer.details == ITSELF


def target(offer: Offer) -> str:
    """The account that an offer's money moves into: the payee itself where that is one of a token, and never one derived of it."""
    return offer.pay_to if itself(offer) else holder(offer, offer.pay_to)


def _moving(offer: Offer, payer: str) -> _Step:
    source, into = (holder(offer, payer), _WRITES), (target(offer), _WRITES)
    amount, asset = offer.amount.to_bytes(8, "little"), offer.asset
    if asset.native:
        return _Step(SYSTEM, ((payer, _SIGNS | _WRITES), into), b"\2\0\0\0" + amount)
    accounts = (source, (asset.address, _READS), into, (payer, _SIGNS))
    return _Step(program_of(asset), accounts, b"\x0c" + amount + bytes((asset.decimals,)))


def _opening(offer: Offer, payer: str) -> _Step:
    """CreateIdempotent: nothing happens, and nothing is paid, where the account is there by then."""
    reads = (offer.pay_to, offer.asset.address, SYSTEM, program_of(offer.asset))
    accounts = ((payer, _SIGNS | _WRITES), (holder(offer, offer.pay_to), _WRITES), *((each, _READS) for each in reads))
    return _Step(_ASSOCIATED, accounts, b"\1")


def _compiled(payer: str, steps: list[_Step], blockhash: bytes) -> bytes:
    """A message of version 0 whose fee `payer` pays. Keys stand as Solana's own compiler sorts them: who signs and writes, who
    signs, what is written, what is read, each kind by its bytes."""  # fmt: skip
    does: dict[bytes, int] = {}
    rows = []
    for step in steps:
        accounts = [(address_bytes(each), how) for each, how in step.accounts]
        for key, how in (*accounts, (address_bytes(step.program), _READS)):
            does[key] = does.get(key, _READS) | how
        rows.append((address_bytes(step.program), [key for key, _ in accounts], step.data))
    first = address_bytes(payer)
    does[first] = _SIGNS | _WRITES
    keys = sorted(does, key=lambda key: (key != first, -does[key], key))
    kinds = list(does.values())
    at = {key: index for index, key in enumerate(keys)}
    written = b"".join(
        bytes((at[who], len(of), *(at[key] for key in of))) + _short(len(data)) + data for who, of, data in rows
    )
    signs, reading = kinds.count(_SIGNS), kinds.count(_READS)
    head = bytes((0x80, signs + kinds.count(_SIGNS | _WRITES), signs, reading, len(keys)))
    return b"".join((head, *keys, blockhash, bytes((len(rows),)), written, b"\0"))


def transaction(signed: bytes, signature: bytes) -> bytes:
    """The transaction with our signature; where another pays the fee, his is still to come before it."""
    return b"\x02" + _EMPTY + signature + signed if signed[1] == 2 else b"\x01" + signature + signed
