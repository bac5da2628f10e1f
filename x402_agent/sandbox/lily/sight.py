"""Whether a transaction paid us, read from the ground's node as any seller would read it. It books nothing.

Source: Solana's getTransaction: balances before and after, whatever instructions moved them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages import Request

if TYPE_CHECKING:
    from ..ground import Ground

__all__ = ["MAX_AGE", "Seen", "Sight", "Unpaid"]

MAX_AGE = 600  # seconds: what was paid before is no proof for a call


class Unpaid(Exception):
    """Why a transaction is no payment. `missing`: it may still come."""

    def __init__(self, words: str, *, missing: bool = False) -> None:
        super().__init__(words)
        self.missing = missing


class Seen(NamedTuple):
    """A payment: `amount` in atomic units (USDC) or lamports that reached us and that the wallet lost, `time` of its block in unix seconds."""

    amount: int
    currency: str
    time: int


class Sight:
    """Reads one ground."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def _node(self, method: str, *params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        answer = self._ground.answer(Request("POST", "", self._ground.node_path, body=body))
        return (json.loads(b"".join(answer.chunks)) if answer else {}).get("result")

    def look(self, signature: str, wallet: str, payee: str, currency: str, oldest: int = MAX_AGE) -> Seen:
        """What a transaction moved from a wallet to a payee, at most `oldest` seconds ago; raises Unpaid."""
        found = self._node("getTransaction", signature, {"encoding": "json", "maxSupportedTransactionVersion": 0, "commitment": "confirmed"})
        if found is None:
            raise Unpaid("Transaction not found", missing=True)
        meta = found["meta"]
        if meta["err"] is not None:
            raise Unpaid("Transaction failed")
        age = self._ground.now() - int(found["blockTime"])
        if age > oldest:
            raise Unpaid(f"Transaction is older than {oldest // 60} minutes")
        moved = self._lamports(found) if currency == "SOL" else self._tokens(meta)
        gained = moved.get(payee, 0)
        if gained <= 0:
            raise Unpaid(f"No {currency} reached the service's wallet")
        if -moved.get(wallet, 0) < gained:
            raise Unpaid("Another wallet paid this transaction")
        return Seen(gained, currency, int(found["blockTime"]))

    def mentions(self, signature: str, payee: str) -> bool:
        """Whether a transaction that did not fail has an account of ours in it: all that the real check asks."""
        found = self._node("getTransaction", signature, {"encoding": "json", "maxSupportedTransactionVersion": 0, "commitment": "confirmed"})
        if found is None or found["meta"]["err"] is not None:
            return False
        owners = {each["owner"] for each in found["meta"]["postTokenBalances"]}
        return payee in {*found["transaction"]["message"]["accountKeys"], *owners}

    def _lamports(self, found: dict[str, Any]) -> dict[str, int]:
        """By address, what it gained."""
        keys, meta = found["transaction"]["message"]["accountKeys"], found["meta"]
        return {key: after - before for key, before, after in zip(keys, meta["preBalances"], meta["postBalances"], strict=True)}

    def _tokens(self, meta: dict[str, Any]) -> dict[str, int]:
        """By owner, what he gained of our token."""
        gained: dict[str, int] = {}
        for side, sign in (("preTokenBalances", -1), ("postTokenBalances", 1)):
            for each in meta[side]:
                if each["mint"] == self._ground.asset.address:
                    gained[each["owner"]] = gained.get(each["owner"], 0) + sign * int(each["uiTokenAmount"]["amount"])
        return gained
