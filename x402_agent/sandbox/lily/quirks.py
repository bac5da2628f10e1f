"""How this seller misbehaves, or what it sells. One scenario is one set of these; `honest` is the strict seller."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import SettingsError
from ..scene import Scene

__all__ = ["CURRENCIES", "MODELS", "Quirks"]

CURRENCIES = ("USDC", "SOL")
MODELS = ("per_request", "per_minute", "per_kb", "per_token")


@dataclass(frozen=True, slots=True)
class Quirks(Scene):
    """Amounts are in millionths of a dollar.

    What is sold: `price`, `currency` (one of CURRENCIES), `model` (one of MODELS), `least` and `most` of a payment, `most_session` of a session (0: no such
    limit), `preauth`: only for who has authorised it; `calls`: so many a minute for one wallet.
    """

    price: int = 10_000
    currency: str = "USDC"
    model: str = "per_request"
    least: int = 10_000
    most: int = 0
    most_session: int = 10_000_000
    preauth: bool = False
    calls: int = 600

    def __post_init__(self) -> None:
        Scene.__post_init__(self)  # `super()` finds nobody in a class with slots
        self.bound(price=(100, 10**9), least=(0, 10**9), most=(0, 10**12), most_session=(0, 10**12), calls=(1, 10**6))
        for name, known in (("currency", CURRENCIES), ("model", MODELS)):
            if getattr(self, name) not in known:
                raise SettingsError(f"scenario {self.name!r}: {name} is wrong", rule=f"one of {', '.join(known)}")
