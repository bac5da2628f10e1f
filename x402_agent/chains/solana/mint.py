"""What a mint may do to whoever holds its token. Harmless extensions of Token-2022 are named here; every other is refused (A10).

Source: SPL Token's Mint (82 bytes), Token-2022's account type at byte 165 and its list of extensions after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .message import TOKEN_2022, program_of

if TYPE_CHECKING:
    from ...model import Asset
    from .reads import Account

__all__ = ["unfit"]

_HARMLESS = frozenset({3, 18, 19, 20, 21, 22, 23})  # closing an empty mint, metadata, groups
_KNOWN = {
    1: "a transfer fee",
    4: "confidential transfers",
    6: "a default state of accounts",
    9: "a ban on transfers",
    10: "interest",
    12: "a permanent delegate, who may take what anybody holds",
    14: "a transfer hook",
    16: "a confidential transfer fee",
    24: "confidential minting",
    25: "scaled amounts",
    26: "a pause of all transfers",
}


def unfit(asset: Asset, account: Account | None) -> str:
    """Why this is not the mint that the table means, or one whose token can be taken or stopped; or "" (A10, A13)."""
    program = program_of(asset)
    if account is None or account.owner != program:
        return f"{asset.symbol} is no mint of its token program there (A13)"
    data = account.data
    if len(data) < 82 or data[45] != 1 or (len(data) > 82 and program != TOKEN_2022):
        return f"{asset.symbol} is no mint there (A13)"
    if data[44] != asset.decimals:
        return f"{asset.symbol} has {data[44]} decimals there, not {asset.decimals} (A13)"
    return _extended(asset, data) if len(data) > 82 else ""


def _extended(asset: Asset, data: bytes) -> str:
    if len(data) < 166 or data[165] != 1:
        return f"{asset.symbol} is no mint there (A13)"
    at = 166
    while at + 4 <= len(data):
        kind, size = (int.from_bytes(data[place : place + 2], "little") for place in (at, at + 2))
        if kind == 0:  # what follows is empty
            break
        if kind not in _HARMLESS:
            return f"{asset.symbol} has {_KNOWN.get(kind, f'extension {kind}')} (A10)"
        at += 4 + size
    return ""
