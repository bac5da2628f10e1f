"""A dialect for tests that sells tokens: x402, and what an answer gives in x-token opens the door for later requests."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from x402_agent.dialects import X402
from x402_agent.model import Credential

__all__ = ["Counter", "Meter"]


def number(reply: Any, name: str) -> int | None:
    found = reply.headers.get_list(name)
    return int(found[0]) if len(found) == 1 and found[0].isdigit() else None


class Meter(X402):
    """Reads x-token, x-left, x-path, x-origin and x-expires of an answer. `early`: the token is known before the paid leg.
    `serial`: its tokens serve one call at a time."""

    def __init__(self, early: str = "", *, serial: bool = False) -> None:
        self.early, self.serial = early, serial

    def present(self, hold, proof):
        presented = yield from super().present(hold, proof)
        if not self.early:
            return presented
        token = Credential("", "/", {"x-token": self.early}, uses_left=5, serial=self.serial)
        return presented._replace(headers={**presented.headers, "x-token": self.early}, credential=token)

    def receipt(self, reply, offer):
        claim = super().receipt(reply, offer)
        token = reply.headers.get_list("x-token")
        if not token:
            return claim
        path, origin = (reply.headers.get_list(name) for name in ("x-path", "x-origin"))
        bought = Credential(origin[0] if origin else "", path[0] if path else "/", {"x-token": token[0]},
                            uses_left=number(reply, "x-uses"), expires=number(reply, "x-expires"), serial=self.serial)  # fmt: skip
        return replace(claim, credential=bought)

    def left(self, reply, credential):
        return number(reply, "x-left")


class Counter:
    """The seller's side: what it sold, how many calls each token has left, how often each was shown."""

    def __init__(self, seller, uses=3, path="/", tells=True):
        self.seller, self.uses, self.path, self.tells = seller, uses, path, tells
        self.left: dict[str, int] = {}
        self.shown: list[str] = []
        self.over = 0
        self.slow = 0.0  # seconds between reading what is left and writing it, as sellers do it who do not lock
        self.lock = threading.Lock()

    def __call__(self, hit):
        if self.slow and not hit.proof:
            return self.lax(hit)
        with self.lock:
            token = hit.headers.get("x-token", "")
            if hit.proof:
                return self.sell(hit)
            if token:
                self.shown.append(token)
                if self.left.get(token, 0) > 0:
                    self.left[token] -= 1
                    told = {"x_left": str(self.left[token])} if self.tells else {}
                    return self.seller.answer(200, b"metered", **told)
                self.over += 1
            return self.seller.ask(hit.path)

    def lax(self, hit):
        """Read, compute, write."""
        token = hit.headers.get("x-token", "")
        left = self.left.get(token, 0)
        if not left:
            return self.seller.ask(hit.path)
        self.shown.append(token)
        time.sleep(self.slow)
        self.left[token] = left - 1
        return self.seller.answer(200, b"metered", x_left=str(left - 1))

    def sell(self, hit):
        token = f"token-{hit.proof[-40:-4]}-{len(hit.proof)}"  # the same proof buys the same token
        self.left.setdefault(token, self.uses)
        return self.seller.ok(x_token=token, x_uses=str(self.left[token]), x_path=self.path)
