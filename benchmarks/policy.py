"""One decision of policy: 50 rules, 10 scopes that the payment belongs to, four offers, every rule that looks something up.

Best and median of several rounds, in microseconds of this thread's CPU; warm, as in a process that has paid before.
"""

from __future__ import annotations

import statistics
import time
from fractions import Fraction

from x402_agent.assets import assets
from x402_agent.model import Ask, Challenge, Offer, Under
from x402_agent.policy import Bounds, Policy, choose
from x402_agent.policy.facts import Nothing

__all__ = ["decisions"]

PAYEE = "0x209693bc6afc0c5328ba36faf03c514ef312287c"
USDC = [each for each in assets() if each.symbol == "USDC" and not each.network.testnet][:4]
URL = "https://api.example.com"
MINE = ("agent:scout", "group:team", "task:research", "tool:search", "category:weather", "host:api.example.com", f"origin:{URL}",
        f"path:{URL}/v1", f"payee:{PAYEE}", "asset:USDC")  # fmt: skip


class Facts(Nothing):
    """Answers from memory, as those of a payer that has paid here before."""

    def now(self) -> float:
        return 1.8e9

    def paid(self, ask: Ask) -> tuple[tuple[str, int], ...]:
        return tuple((f"2026-11-{day:02}", 10_000) for day in range(1, 31))

    def knows_origin(self, ask: Ask) -> bool:
        return True

    def knows_payee(self, offer: Offer) -> bool:
        return True


def policy() -> Policy:
    """50 limits: each of the ten scopes has four and a cap; 40 hosts beside, which the payment does not belong to."""
    mine = {scope: Bounds(per_call=10**6, hour=10**7, day=10**8, month=10**9, calls=((100, "minute"),)) for scope in MINE}
    others = {f"host:h{number}.example": Bounds(day=10**6) for number in range(40)}
    return Policy(per_call=10**6, budgets={**mine, **others}, categories={"weather": (URL,)}, drift=Fraction(2), ask_new_origin=True,
                  ask_new_payee=True, allow=("api.example.com",), deny=("bad.example",))  # fmt: skip


def decisions(rounds: int = 15, calls: int = 300) -> tuple[float, float]:
    """Microseconds of CPU for one decision: the best round's and the median's."""
    rules, facts = policy(), Facts()
    challenge = Challenge("x402", tuple(Offer("x402", "exact", each, 10_000, PAYEE, 60) for each in USDC))
    took = []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(calls):
            ask = Ask("GET", f"{URL}/v1/day", URL, "api.example.com", "/v1/day", under=Under("scout", "team", "research", (), "search"))
            found = choose(rules, ask, challenge, lambda _: "", facts=facts)
        took.append((time.thread_time() - start) / calls * 1e6)
    assert found.offer is not None and len(found.limits) == 41 and not found.asks
    return min(took), statistics.median(took)


if __name__ == "__main__":
    best, median = decisions()
    print(f"one decision, 50 rules, 10 scopes, 4 offers: best {best:.0f} us, median {median:.0f} us of CPU")
