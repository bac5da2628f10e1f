"""What an entry on Stacks says in `extra`: the nonce that binds a payment, a sponsor, and by which draft it speaks.

npm's and PyPI's x402-stacks and the sponsor relay take `payload.transaction`; the foundation's draft, known by `tokenType` or
`tokenContract` in `extra` and by x402's version 1, takes `payload.signedTransaction`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ... import assets
from .passed import Passed, broken, show
from .told import Told, Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Asset

__all__ = ["MEMO", "bound", "named", "stacks"]

MEMO = 34  # bytes of a transfer's memo: of a longer nonce the first ones, as published servers cut it
_NONCE = re.compile(r"[A-Za-z0-9_.:+/=-]{1,128}").fullmatch


def stacks(told: Told) -> Way:
    """A whole signed transaction, which anybody may broadcast; its details are canonical JSON of `memo`, `sponsored` and `field`, "" for none. Raises Passed."""
    if told.scheme != "exact":
        raise Passed(f"scheme {show(told.scheme)} is not one we pay on Stacks (A7)", broken=False)
    extra = told.extra
    contract, kind = extra.get("tokenContract"), extra.get("tokenType")
    named(told.asset, kind, contract)
    found: dict[str, Any] = bound(extra.get("nonce"))
    if told.version == 1 or kind is not None or contract is not None:
        found["field"] = "signedTransaction"
    sponsored = extra.get("sponsored")
    if sponsored is not None and type(sponsored) is not bool:
        raise broken(f"sponsored {show(sponsored)} is neither true nor false (W4)")
    if sponsored:
        found["sponsored"] = True
    return Way(details=json.dumps(found, sort_keys=True, separators=(",", ":")) if found else "")


def bound(nonce: object) -> dict[str, Any]:
    """The memo that a seller's nonce asks for, nothing where there is none; raises Passed."""
    if nonce is None or nonce == "":
        return {}
    if not isinstance(nonce, str) or not _NONCE(nonce):
        raise broken(f"nonce {show(nonce)} is not a short word (W4)")
    return {"memo": nonce[:MEMO]}


def named(asset: Asset, kind: object, contract: object) -> None:
    """A token that is named a second time must be the same one; raises Passed (A4)."""
    same = assets.asset(asset.network, kind) if isinstance(kind, str) else None
    if kind is not None and (same is None or same.symbol != asset.symbol):  # a word names one of two contracts where a testnet was made anew
        raise broken(f"tokenType {show(kind)} is not {asset.symbol} (A4)")
    if contract is None:
        return
    parts: Mapping[str, Any] = contract if isinstance(contract, dict) else {}
    if f"{parts.get('address')}.{parts.get('name')}" != asset.address:
        raise broken(f"tokenContract {show(contract)} is not that of {asset.symbol} (A4)")
