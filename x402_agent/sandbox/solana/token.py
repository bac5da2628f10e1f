"""SPL Token as the sandbox uses it: addresses, instructions, and what lies in its accounts.

Sources: SPL Token's instructions 7 and 12 and its Account and Mint layouts; SPL Associated Token Account; SPL Memo.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

if TYPE_CHECKING:
    from solders.account import Account

__all__ = ["BUDGET", "LIGHTHOUSE", "MEMO", "TOKEN", "TOKEN_2022", "Holding", "address", "ata", "holding", "mint_to",
           "opened", "transfer"]  # fmt: skip

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
LIGHTHOUSE = Pubkey.from_string("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
_SYSTEM = Pubkey.default()
_SIZE = 165


class Holding(NamedTuple):
    """A token account: its mint, its owner, atomic units in it."""

    mint: Pubkey
    owner: Pubkey
    amount: int


def address(text: object) -> Pubkey:
    """32 bytes in base58; raises ValueError."""
    if not isinstance(text, str) or not 32 <= len(text) <= 44:
        raise ValueError("an address is 32 bytes in base58")
    return Pubkey.from_string(text)


@lru_cache(maxsize=4096)
def ata(owner: Pubkey, mint: Pubkey, program: Pubkey) -> Pubkey:
    """The associated account of an owner."""
    return Pubkey.find_program_address([bytes(owner), bytes(program), bytes(mint)], ASSOCIATED)[0]


def opened(payer: Pubkey, owner: Pubkey, mint: Pubkey, program: Pubkey) -> Instruction:
    """CreateIdempotent: the owner's associated account, at the payer's cost, if it is not there."""
    rows = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        AccountMeta(ata(owner, mint, program), is_signer=False, is_writable=True),
        *(AccountMeta(each, is_signer=False, is_writable=False) for each in (owner, mint, _SYSTEM, program)),
    ]
    return Instruction(ASSOCIATED, b"\x01", rows)


def mint_to(authority: Pubkey, target: Pubkey, amount: int, mint: Pubkey, program: Pubkey) -> Instruction:
    """New units into a token account."""
    rows = [
        AccountMeta(mint, is_signer=False, is_writable=True),
        AccountMeta(target, is_signer=False, is_writable=True),
        AccountMeta(authority, is_signer=True, is_writable=False),
    ]
    return Instruction(program, b"\x07" + amount.to_bytes(8, "little"), rows)


def transfer(owner: Pubkey, to: Pubkey, amount: int, mint: Pubkey, program: Pubkey, decimals: int = 6) -> Instruction:
    """TransferChecked between the associated accounts of two owners."""
    rows = [
        AccountMeta(ata(owner, mint, program), is_signer=False, is_writable=True),
        AccountMeta(mint, is_signer=False, is_writable=False),
        AccountMeta(ata(to, mint, program), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=True, is_writable=False),
    ]
    return Instruction(program, b"\x0c" + amount.to_bytes(8, "little") + bytes([decimals]), rows)


def holding(account: Account | None) -> Holding | None:
    """What lies in a token account of either program, None when it is none."""
    if account is None or account.owner not in (TOKEN, TOKEN_2022):
        return None
    data = bytes(account.data)
    if len(data) < _SIZE or (len(data) > _SIZE and data[_SIZE] != 2) or data[108] not in (1, 2):
        return None
    return Holding(Pubkey(data[:32]), Pubkey(data[32:64]), int.from_bytes(data[64:72], "little"))
