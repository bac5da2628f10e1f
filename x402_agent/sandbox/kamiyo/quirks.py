"""How this seller misbehaves, or whom it resembles. One scenario is one set of these; `honest` is the strict seller."""

from __future__ import annotations

from dataclasses import dataclass

from ..scene import Scene

__all__ = ["AFTER", "CSRF", "SHAPES", "Quirks"]

SHAPES = ("gateway", "native", "documented")
AFTER = ("content", "challenge", "error", "drop")
CSRF = ("", "works", "broken")


@dataclass(frozen=True, slots=True)
class Quirks(Scene):
    """Amounts are atomic units of USDC, times seconds.

    The 402: `shape` is one of SHAPES; `domain` another token name than the true one, `strangers` adds entries for
    networks where the payee is nobody, `checksum` breaks the payee's, `bare` leaves the domain out of /.well-known/x402,
    `flips` names another payee in every second 402.
    Money: `minimum` is advertised, `demanded` is what verification asks (0: the minimum), `quota` requests per dollar, of which it says `said` (0: the truth), `life` of a payment.
    Verification: `confirmations` (0: the chain's own), `stuck` counts none ever, `blind` finds no payment,
    `broken` answers valid ones with 500, `anything` takes any successful transaction, `token_account` knows only
    transfers to the advertised address itself (Solana), `anyone` lets who knows hash or id use a payment, `careless` ignores expected_amount.
    The gate, after a valid payment: `after` is one of AFTER, with `status`; `times` showings of one facilitator proof are
    answered so, 0 for all, and such a proof never settles twice; `native_402` refuses every native proof, `refuses_tokens` tokens
    alone; `unlimited` counts nothing for x-payment-tx; `chainless` takes it without x-payment-chain; `receipt`: whether one is given; `bearer`:
    any bearer token opens all; `lets_through`: an error in the gate does, too.
    Requests: `patience` says Retry-After in a 429; `crowded` has the limits for the whole site; `csrf` is one of CSRF.
    The verification service: `saas_quota` verifications a month (-1: the tier's), `saas_error` answers who has a key with this status,
    `saas_down` everybody with 503, `forgetful` keeps no cache, `in_seconds` writes X-RateLimit-Reset in seconds.
    """

    shape: str = "gateway"
    domain: bool = False
    strangers: bool = False
    checksum: bool = False
    bare: bool = False
    flips: bool = False
    minimum: int = 100_000
    demanded: int = 0
    quota: int = 1_000
    said: int = 0
    life: int = 86_400
    confirmations: int = 0
    stuck: bool = False
    blind: bool = False
    broken: bool = False
    anything: bool = False
    token_account: bool = False
    anyone: bool = False
    careless: bool = False
    after: str = "content"
    status: int = 500
    times: int = 0
    native_402: bool = False
    refuses_tokens: bool = False
    unlimited: bool = False
    chainless: bool = False
    receipt: bool = True
    bearer: bool = False
    lets_through: bool = False
    patience: bool = True
    crowded: bool = False
    csrf: str = ""
    saas_quota: int = -1
    saas_error: int = 0
    saas_down: bool = False
    forgetful: bool = False
    in_seconds: bool = False

    def __post_init__(self) -> None:
        Scene.__post_init__(self)  # `super()` finds nobody in a class with slots
        self.bound(
            minimum=(1, 10**12), demanded=(0, 10**12), quota=(1, 10**12), said=(0, 10**12), life=(1, 10**10), confirmations=(0, 10_000),
            status=(400, 599), times=(0, 1_000_000), saas_quota=(-1, 10**9), saas_error=(0, 599),
        )  # fmt: skip
        self.known(shape=SHAPES, after=AFTER, csrf=CSRF)
