"""What policy must be told, since it looks nowhere itself: the time, what was paid before, and what a token is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from ..model import Ask, Asset, Money, Offer

__all__ = ["NOTHING", "Facts", "Listed", "Nothing", "Price", "PriceSource"]


class Price(NamedTuple):
    """What one whole unit of an asset is worth: millionths of a dollar, give or take `spread` (the same unit).

    `at` is the unix second it was true at. Integers: money is no float.
    """

    micros: int
    spread: int
    at: int


class PriceSource(Protocol):
    """Somebody trusted who knows what an asset without a peg is worth: `Payer(prices=…)`.

    It is asked while a payment is decided, so it answers from memory. None, an exception and nonsense mean unknown.
    """

    def price(self, asset: Asset) -> Price | None:
        """The newest price it knows."""


class Listed(NamedTuple):
    """What the payer's catalogue knows of one URL: the last probe's verdict and time (unix seconds), whether catalogues agree with it,
    payers as they count them and when they last did, its price in millionths of a dollar, and the (asset id, recipient in lower case) of its prices."""

    id: str
    verdict: str
    probed: float | None
    agreement: str
    payers: int | None
    seen: float
    micros: int | None
    terms: frozenset[tuple[str, str]]


class Facts(Protocol):
    """What the payer knows; each is asked only where a rule needs it."""

    def now(self) -> float:
        """Unix seconds."""

    def paid(self, ask: Ask) -> tuple[tuple[str, int], ...]:
        """Of the last 30 UTC days, oldest first: (day, least price in millionths of a dollar) for this method, origin and path."""

    def knows_origin(self, ask: Ask) -> bool:
        """Whether this origin was paid before, or a person pinned it."""

    def knows_payee(self, offer: Offer) -> bool:
        """Whether this recipient was paid before on this network, or a person pinned it."""

    def repeats(self, ask: Ask, seconds: int) -> int:
        """How often this very purchase was made in the last `seconds`."""

    def price(self, asset: Asset) -> Price | None:
        """What its price source says."""

    def fee(self, offer: Offer) -> Money | None:
        """What its network takes of us beside the price, at most, in its own coin; None where others pay that."""

    def listed(self, ask: Ask) -> Listed | None:
        """What the payer's catalogue knows of this URL. Raises SettingsError where there is no catalogue, or it cannot be read."""

    def balance(self, offer: Offer) -> int | None:
        """What the payer has of the offer's asset, in atomic units, if a node said so a moment ago; else None."""


class Nothing:
    """Nothing was ever paid, at no time in particular."""

    def now(self) -> float:
        return 0.0

    def paid(self, ask: Ask) -> tuple[tuple[str, int], ...]:
        return ()

    def knows_origin(self, ask: Ask) -> bool:
        return False

    def knows_payee(self, offer: Offer) -> bool:
        return False

    def repeats(self, ask: Ask, seconds: int) -> int:
        return 0

    def price(self, asset: Asset) -> Price | None:
        return None

    def fee(self, offer: Offer) -> Money | None:
        return None

    def listed(self, ask: Ask) -> Listed | None:
        return None

    def balance(self, offer: Offer) -> int | None:
        return None


NOTHING = Nothing()
