"""A payment's row as its journal tells it: the fold of its entries, from the first to the last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..assets import network
from . import states
from .events import digest
from .rows import under_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .checkpoints import Entry

__all__ = ["fold"]

_FACTS = {
    "amount": "amount", "ask_key": "ask_key", "asset": "asset", "caller_key": "caller_key", "day": "day", "fee_cap": "fee_cap",
    "host": "host", "micros": "micros", "network": "network", "nonce": "nonce", "offer": "offer_digest",
    "payment_id": "payment_id", "realm": "realm", "from": "from_address", "to": "to_address", "valid_before": "valid_before",
}  # fmt: skip


def fold(entries: Sequence[Entry], row: dict[str, Any] | None) -> dict[str, Any] | None:
    """What these entries of one payment make of it, or None when they are not whole; `row` has what they do not say."""
    if not entries or not _whole(entries):
        return None
    try:
        facts = json.loads(entries[0][6])
        told = {column: facts[name] for name, column in _FACTS.items()}
        told["anchor"], told["account_nonce"] = facts.get("anchor", ""), facts.get("account_nonce", -1)
        told.update(_moved(entries, int(facts["micros"])))
        told.update(_more(facts, told) if "under" in facts else {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if row is None and "url" not in told:
        return None  # an entry of an older release does not say what was asked
    where = network(told["network"])
    kept = {"identifier": "", "proof_digest": "", "owner": "", "chain": where.name if where else told["network"], **(row or {})}
    return {**kept, **told, "last_event": entries[-1][0]}


def _whole(entries: Sequence[Entry]) -> bool:
    """Whether they are unhurt, and each continues the one before."""
    seq, state = 0, ""
    for entry in entries:
        if digest(entry[7], entry[:7]) != entry[8] or (entry[2], entry[3]) != (seq, state):
            return False
        seq, state = entry[0], entry[4]
    return state in states.STATES


def _more(facts: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    found = under_of(facts["under"])
    parts = urlsplit(found["url"])
    if not parts.scheme or told["payment_id"] == "":
        raise ValueError("no URL")
    return found


def _moved(entries: Sequence[Entry], micros: int) -> dict[str, Any]:
    """State, answers, charge and what is counted, move by move."""
    made: dict[str, Any] = {"delivered": 0, "refused": 0, "status_code": 0, "tx_hash": "", "note": "", "charged": "",
                            "given_back": 0, "micros": micros}  # fmt: skip
    for entry in entries[1:]:
        data, state = json.loads(entry[6]), entry[4]
        status = int(data["status"])
        if entry[3] == "QUARANTINE":
            made["proof_digest"] = states.NO_PROOF
        came = states.came(entry[3], state, status)
        made["delivered"] = 0 if state == "PAID_UNDELIVERED" else int(made["delivered"] or came)
        made["refused"], made["note"] = int(data["refused"]), str(data["note"])
        made["status_code"], made["tx_hash"] = status or made["status_code"], str(data["tx"]) or made["tx_hash"]
        if "charged" in data:
            made["charged"], made["given_back"] = str(data["charged"]), int(data["given_back"])
            made["micros"] = micros - made["given_back"]
    state = entries[-1][4]
    made["state"], made["is_open"] = state, int(states.is_open(state, delivered=bool(made["delivered"])))
    made["created_at"] = entries[0][5] // 1000
    made["updated_at"] = entries[-1][5] // 1000
    return made
