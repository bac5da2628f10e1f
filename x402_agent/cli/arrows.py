"""The conversation as it happens, printed from the steps of the trace."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..model import Hold as HeldBudget
from ..policy import dollars
from ..steps import Close, Commit, Hold, Progress, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Limit

__all__ = ["Arrows"]


class Arrows:
    """A trace for people. `left` tells what is spent under a limit; `settled` reads a transaction back, or says ""."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        ledger: str,
        per_call: int,
        label: str = "",
        spent: Callable[[tuple[Limit, ...]], int] = lambda _: 0,
        settled: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.write, self.ledger, self.per_call, self.label = write, ledger, per_call, label
        self.spent, self.settled = spent, settled
        self._start = 0.0
        self._answer = ""

    def __call__(self, ask: Ask, step: Any, value: Any) -> None:
        """Called by the driver after each step."""
        if isinstance(step, Send):
            self.flush()
            self._start = self._start or time.monotonic()
            proof = f"   + {'  '.join(step.headers)}" if step.paid else ""
            self.write(f"  --> {ask.method:4} {ask.path}{proof}")
            self._answer = f"  <-- {value.status}"
        elif isinstance(step, Hold) and isinstance(value, HeldBudget):  # else another call is before it
            self._held(value)
        elif isinstance(step, Commit) and value is not None:
            nonce = step.proof.nonce
            self.write(f"      proof    {nonce[2:6]}…{nonce[-2:]}   written down, then sent")
        elif isinstance(step, Progress):
            self.flush()
            self.write(f"      {step.state.lower():8} {step.words}")
        elif isinstance(step, Close) and step.receipt is not None:
            took = int((time.monotonic() - self._start) * 1000)
            claim = step.receipt.transaction
            said = self.settled(claim) if claim else ""
            tail = f"settled   tx {claim[:6]}… {said}" if claim else f"{step.receipt.outcome}   payment {step.hold.payment_id}"
            self._answer += f"  {tail}   {took} ms"

    def flush(self) -> None:
        """Print the answer that waits for its second half."""
        if self._answer:
            self.write(self._answer.rstrip())
            self._answer = ""

    def _held(self, hold: HeldBudget) -> None:
        offer, money = hold.offer, hold.offer.money
        version = f" v{offer.wire[0]}" if offer.wire and offer.wire[0].isdigit() else ""
        where = f"{offer.network.id}{self.label}"
        scheme = f"{offer.scheme} by {offer.method}" if offer.method not in ("", offer.scheme) else offer.scheme
        most = "at most " if offer.scheme == "upto" else ""
        if not self._answer:
            self._answer = "      prepaid"
        self._answer += f"  asks {most}{money.text} {offer.asset.symbol}  ({offer.dialect}{version}, {scheme}, {where})"
        self.flush()
        limits = "".join(
            f" · {dollars(self.spent((limit,)))} of {dollars(limit.most)} {'today' if limit.window == 'day' else 'in total'}"
            for limit in hold.limits
        )
        self.write(f"      policy   allowed   {money.text} <= {dollars(self.per_call)} per call{limits}")
        self.write(f"      hold     {money.text}    ledger {self.ledger}")
