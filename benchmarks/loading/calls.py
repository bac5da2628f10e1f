"""What stands before a payment: calls of a seller without a socket, money that moves on its chain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from x402_agent.sandbox.messages import Request

if TYPE_CHECKING:
    from x402_agent.sandbox import Sandbox

__all__ = ["CALLER", "RETURNED", "Shot", "called", "solana_paid"]

Shot = tuple[str, str, dict[str, str], str]  # method, path, header lines, body
CALLER = "127.0.0.1"  # from where the load comes
RETURNED = {"prefer": "return=representation"}


def called(box: Sandbox, method: str, path: str, document: object = None, **headers: str) -> Any:
    """A call of the seller without a socket, for what stands before a payment: the JSON that it answers."""
    body = b"" if document is None else json.dumps(document).encode()
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = box.app.handle(Request(method, box.origin, path, lines, body, client=CALLER))
    found = json.loads(b"".join(answer.chunks))
    if answer.status not in (200, 201, 402):
        raise RuntimeError(f"{method} {path}: {answer.status} {found}")
    return found


def solana_paid(box: Sandbox, who: Any, amount: int) -> str:
    """USDC to the seller, of a key that has some; the transaction's signature."""
    from x402_agent.sandbox.solana.token import TOKEN, address, transfer

    ground: Any = box.ground
    return str(ground.send([transfer(who.pubkey(), address(box.pay_to), amount, ground.mint, TOKEN)], who).signature)
