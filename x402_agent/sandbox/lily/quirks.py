"""How this seller misbehaves, or what it sells. One scenario is one set of these; `honest` is the strict seller."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import SettingsError
from ..scene import Scene

__all__ = ["AFTER", "CURRENCIES", "INSERTS", "MODELS", "SPELLINGS", "Quirks"]

CURRENCIES = ("USDC", "SOL")
MODELS = ("per_request", "per_minute", "per_kb", "per_token")
SPELLINGS = ("seed", "real", "guide")
AFTER = ("content", "challenge", "error", "drop")
INSERTS = ("works", "fails", "booked")


@dataclass(frozen=True, slots=True)
class Quirks(Scene):
    """Amounts are in millionths of a dollar, times in seconds.

    What is sold: `price`, `currency` (one of CURRENCIES), `model` (one of MODELS), `least` and `most` of a payment, `most_session` of a session (0: no such
    limit), `preauth`: only for who has authorised it; `calls`: so many a minute for one wallet; `rate` of a whole SOL (0: what it counts here).
    The 402: `spelling` is one of SPELLINGS: the design's, the real library's codes, or the guide's server, which knows no proofs and no
    credits; `dearer` asks double of what the configuration says; `flips`: the configuration names another payee from its second reading on;
    `named`: a service id that is no uuid.
    Proofs: `any_price` compares no amount, `anything` takes any transaction that mentions the payee, whoever paid what and when.
    Sessions: `deducts` so many times the price of a call; `atomic`: in one statement, else read, reckoned and written a moment later;
    `life` of the longest (0: as asked for); `in_seconds` wants the header's time so; `silent` never says what is left;
    `forbids`: 403 for every one.
    After a valid payment, which is taken and kept: `after` is one of AFTER, with `status`; `times` calls of one proof, session or wallet are answered so, 0 for all.
    `limited`: so many calls with a payment are answered 429; `quiet` says no Retry-After.
    The tables: `inserts` of sessions is one of INSERTS (`booked`: the row is there, the answer a 503), `failing` of them, 0 for all; `unbooked` takes top-ups and
    books none: a PATCH of a balance reaches no row and succeeds; `public`: any key reads every row.
    `hooks_down`: no receiver of a webhook is reached. `lag`: the chain's node shows a transaction so much later.
    """

    price: int = 10_000
    currency: str = "USDC"
    model: str = "per_request"
    least: int = 10_000
    most: int = 0
    most_session: int = 10_000_000
    preauth: bool = False
    calls: int = 600
    rate: int = 0
    spelling: str = "seed"
    dearer: bool = False
    flips: bool = False
    named: str = ""
    any_price: bool = False
    anything: bool = False
    deducts: int = 1
    atomic: bool = True
    life: int = 0
    in_seconds: bool = False
    silent: bool = False
    forbids: bool = False
    after: str = "content"
    status: int = 502
    times: int = 0
    limited: int = 0
    quiet: bool = False
    inserts: str = "works"
    failing: int = 0
    unbooked: bool = False
    public: bool = False
    hooks_down: bool = False
    lag: int = 0

    def __post_init__(self) -> None:
        Scene.__post_init__(self)  # `super()` finds nobody in a class with slots
        self.bound(
            price=(100, 10**9), least=(0, 10**9), most=(0, 10**12), most_session=(0, 10**12), calls=(1, 10**6), rate=(0, 10**12), deducts=(1, 100),
            life=(0, 10**7), status=(400, 599), times=(0, 1_000_000), limited=(0, 1_000_000), failing=(0, 1_000_000), lag=(0, 86_400),
        )  # fmt: skip
        known = {"currency": CURRENCIES, "model": MODELS, "spelling": SPELLINGS, "after": AFTER, "inserts": INSERTS}
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise SettingsError(f"scenario {self.name!r}: {name} is wrong", rule=f"one of {', '.join(words)}")
