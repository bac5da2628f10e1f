"""How this seller misbehaves, or whom it resembles. One scenario is one set of these; `honest` is the strict seller."""

from __future__ import annotations

from dataclasses import dataclass

from ..scene import Scene

__all__ = ["AFTER", "ASSETS", "CONTRACTS", "SPELLINGS", "Quirks"]

SPELLINGS = ("prd", "openapi", "gateway", "bearer")
CONTRACTS = ("own", "none", "two", "four", "payers")
ASSETS = ("STX", "sBTC", "USDCx")
AFTER = ("content", "challenge", "error", "drop")


@dataclass(frozen=True, slots=True)
class Quirks(Scene):
    """Amounts are in the smallest unit, times in seconds.

    The 402: `spelling` is one of SPELLINGS; `contract` one of CONTRACTS (`own`: what each piece of content is sold by; `payers`: a
    contract whose owner is the payer); `asset` one of ASSETS; `price` in its smallest unit (0: the content's own); `to_self` names the
    payer as recipient, `mainnet` writes every address as the main network does, `dearer` asks double, `flips` another recipient, from the second 402 on.
    Proofs: `nonce_life`, `challenge_life`; `stale`: so many nonces or challenges for a piece of content have ended when they are first
    shown; `pending`: for so many showings a transaction that is mined is called pending; `confirmations` blocks on top are needed;
    `blind` takes nothing that was paid; `anything` takes any transaction that the chain has; `reuses` takes one for several contents;
    `anyone` lets whoever knows a payment use it; `spends`: a transaction shown itself buys one answer and no second.
    The gate, after a valid payment: `after` is one of AFTER, with `status`; `times` showings are answered so, 0 for all.
    Tokens: `token_life`; `opens_all`: the token of one opens every other; `refuses_tokens`.
    The API: `verify_fails`: so many answers of /payments/verify are a 500, once booked (-1: all); `history_down`, `api_down`: 503;
    `history_lies` lists what others paid; `quiet` says no Retry-After; `hooks_down`: no receiver of a webhook is reached.
    The routes that are simulated where they are deployed: `simulated` takes any 64 hex digits.
    """

    spelling: str = "prd"
    contract: str = "own"
    asset: str = "STX"
    price: int = 0
    to_self: bool = False
    mainnet: bool = False
    dearer: bool = False
    flips: bool = False
    nonce_life: int = 300
    challenge_life: int = 900
    stale: int = 0
    pending: int = 0
    confirmations: int = 0
    blind: bool = False
    anything: bool = False
    reuses: bool = False
    anyone: bool = False
    spends: bool = False
    after: str = "content"
    status: int = 500
    times: int = 0
    token_life: int = 86_400
    opens_all: bool = False
    refuses_tokens: bool = False
    verify_fails: int = 0
    history_down: bool = False
    history_lies: bool = False
    api_down: bool = False
    quiet: bool = False
    hooks_down: bool = False
    simulated: bool = False

    def __post_init__(self) -> None:
        Scene.__post_init__(self)  # `super()` finds nobody in a class with slots
        self.bound(
            price=(0, 10**12), nonce_life=(0, 86_400), challenge_life=(0, 86_400), stale=(0, 1_000), pending=(0, 1_000_000),
            confirmations=(0, 10_000), status=(400, 599), times=(0, 1_000_000), token_life=(1, 86_400), verify_fails=(-1, 1_000_000),
        )  # fmt: skip
        self.known(spelling=SPELLINGS, contract=CONTRACTS, asset=ASSETS, after=AFTER)
