"""What an entry on Solana says in `extra`: who pays the network's fee, a memo, a blockhash (scheme_exact_svm, version 1 and 2)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .passed import Passed, broken, show
from .told import Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .told import Told

__all__ = ["MEMO", "solana"]

MEMO = 256  # bytes of UTF-8
_KEY = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}").fullmatch


def solana(told: Told) -> Way:
    """One signed transfer, whose facilitator is the fee payer; raises Passed. Details are `memo` and `recentBlockhash`."""
    if told.scheme != "exact":
        raise Passed(f"scheme {show(told.scheme)} is not one we pay on Solana (A7)", broken=False)
    payer = told.extra.get("feePayer")
    if not isinstance(payer, str) or not _KEY(payer):
        raise broken(f"feePayer {show(payer)} is not an account of Solana (R2)")
    details = _memo(told.extra) | _blockhash(told.extra)
    text = json.dumps(details, sort_keys=True, separators=(",", ":")) if details else ""
    return Way(facilitator=payer, details=text)


def _memo(extra: Mapping[str, Any]) -> dict[str, str]:
    """The seller's memo; an empty one is none."""
    memo = extra.get("memo")
    if memo is None or memo == "":
        return {}
    if not isinstance(memo, str):
        raise broken(f"memo {show(memo)} is not text (W4)")
    if (size := len(memo.encode())) > MEMO:  # half a character has no place in a challenge (W17)
        raise broken(f"memo is {size} bytes long, {MEMO} at most (S6)")
    return {"memo": memo}


def _blockhash(extra: Mapping[str, Any]) -> dict[str, str]:
    """The seller's blockhash where it looks like one; any other is as good as none, since the client may take its own."""
    given = extra.get("recentBlockhash")
    return {"recentBlockhash": given} if isinstance(given, str) and _KEY(given) else {}
