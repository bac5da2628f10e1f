"""Merchants are told what was paid: from a worker's thread, again when nobody took it, each attempt recorded as it went.

Only this machine is called: http to a loopback address. An attempt is counted before it is made, so a process that is
killed has made no attempt that nobody counted.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

from ..posting import Said, loopback, post
from .store import MICRO

if TYPE_CHECKING:
    from threading import Event

    from .quirks import Quirks
    from .store import Payment, Store

__all__ = ["SIGNED", "TRIES", "Callbacks", "document"]

TRIES = 6  # the first one, and 1, 2, 4, 8, 16 seconds after the one before
PATIENCE = 5.0  # seconds for one attempt, all of it
SIGNED = "X-Callback-Signature"
ELSEWHERE = "the sandbox calls http on this machine alone"
_AT_ONCE = 200


def document(paid: Payment) -> dict[str, object]:
    """What a merchant is told."""
    return {
        "payment_id": paid.id,
        "order_id": paid.order,
        "wallet_address": paid.wallet,
        "currency": "USDT_TRC20",
        "expected_amount_usdt": paid.expected / MICRO,
        "received_amount_usdt": paid.received / MICRO,
        "transaction_hash": paid.tx,
        "block_timestamp": paid.stamp,
        "status": "completed",
    }


class Callbacks:
    """`key` signs, where the scenario wants that: hex of HMAC-SHA256 over the body."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store, self._key = store, key

    def run(self, quirks: Quirks, stop: Event) -> None:
        """Make every attempt that is due, until told to stop. A merchant who was silent is asked once in a round: others wait behind him."""
        silent = set()
        for each in self._store.untold(_AT_ONCE):
            where = loopback(each.callback)
            if stop.is_set():
                return
            last = where is None or quirks.callback != "retried" or each.attempts + 1 >= TRIES
            if where not in silent and self._store.claim(each, None if last else 2.0**each.attempts) and not self._attempt(each, where, quirks):
                silent.add(where)

    def _attempt(self, each: Payment, where: tuple[str, int] | None, quirks: Quirks) -> bool:
        """One attempt, and what came of it; whether anybody answered."""
        if where is None or quirks.callback == "lost":
            said = Said(0, ELSEWHERE if where is None else "nobody answered")
        else:
            body = json.dumps(document(each)).encode()
            signed = {SIGNED: hmac.new(self._key, body, "sha256").hexdigest()} if quirks.signs else {}
            said = post(each.callback, body, signed, PATIENCE)
        good = said.good or (bool(said.status) and quirks.callback == "boasted")
        self._store.told(each.id, said.words, said.status, success=good)
        return bool(said.status) or where is None
