"""What the verbs answer: frozen, of plain types, so that every framework can describe it. Money is text, never a float.

Whatever a seller wrote stands in a `Fenced` and nowhere else. What went wrong stands in `problem`; it is never raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .fence import Fenced

if TYPE_CHECKING:
    from ..errors import PaymentError

__all__ = ["Account", "Amount", "Bought", "Entry", "Handle", "Holdings", "Payment", "Problem", "Quoted", "Room", "Service", "Services", "Settled", "Spending", "Why"]


@dataclass(frozen=True, slots=True)
class Amount:
    """`0.0100`, of `USDC (base)`, which is `10000` atomic units."""

    amount: str
    asset: str
    atomic: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, which rule decided, what to do. `retry_safe`: the same call again cannot pay twice."""

    kind: str
    what: str
    rule: str = ""
    hint: str = ""
    retry_safe: bool = False
    said: Fenced | None = None

    def error(self) -> PaymentError:
        """The same as one of this package's errors, for programs that raise."""
        from .. import errors

        kind: type[PaymentError] = getattr(errors, self.kind, errors.PaymentError)
        return kind(self.what, rule=self.rule, hint=self.hint)


@dataclass(frozen=True, slots=True)
class Handle:
    """A body that is kept here: `uri` reads it again without paying. `shape` is what a JSON one looks like."""

    uri: str
    type: str
    size: int
    sha256: str
    shape: Fenced | None = None


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a URL asks, and what policy says: free, allowed, asks (a person first), denied, or unknown. Nothing was paid.

    `offer_id` buys exactly this, once, within `seconds`; "" where it may not be bought. `bought` is the payment that
    bought the same some minutes ago.
    """

    policy: str
    status: int = 0
    origin: str = ""
    offer_id: str = ""
    seconds: int = 0
    price: Amount | None = None
    usd: str = ""
    pay_to: str = ""
    why: str = ""
    asks: tuple[str, ...] = ()
    bought: str = ""
    says: Fenced | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Bought:
    """What came of a request: free, spent, refused, in_doubt, or unpaid. `repeated`: nothing new was paid.

    A short text is in `body`; of a longer one `body` is the beginning, and `more` says where the whole is kept.
    """

    outcome: str
    status: int = 0
    origin: str = ""
    payment_id: str = ""
    paid: Amount | None = None
    pay_to: str = ""
    transaction: str = ""
    repeated: bool = False
    body: Fenced | None = None
    more: Handle | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the owner's catalogue: the price that it is listed or was asked at, what a probe found and how long ago, why it
    stands there, what is suspicious. `payable`: it can be bought as it stands. URL, name and description are its seller's: in `says`."""

    id: str
    method: str
    price: Amount | None
    usd: str
    payable: bool
    verdict: str
    probed: str
    why: tuple[str, ...]
    suspicious: tuple[str, ...]
    says: Fenced

    @property
    def url(self) -> str:
        """For programs: the first line of what stands in the fence."""
        return self.says.inside.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Services:
    """What a search found, the best evidence first. `note` says whether there is more, or what to do where there is nothing."""

    services: tuple[Service, ...] = ()
    note: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One service whole: every price in tokens that we know, all reasons, who lists it, and what its last probes answered."""

    service: Service | None = None
    prices: tuple[Amount, ...] = ()
    why: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    asked: Fenced | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment of the caller's own; `at` is UTC."""

    payment_id: str
    at: str
    outcome: str
    amount: str
    host: str


@dataclass(frozen=True, slots=True)
class Room:
    """One limit that the caller's payments count against, in dollars or payments."""

    limit: str
    most: str
    left: str


@dataclass(frozen=True, slots=True)
class Spending:
    """What the caller spent, in dollars, what of it is in doubt, and what limits leave. `last` are the newest payments."""

    period: str
    spent: str = "0.00"
    in_doubt: str = "0.00"
    payments: int = 0
    limits: tuple[Room, ...] = ()
    last: tuple[Payment, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """One payment of the caller's own, move by move. `notes` is what was written beside it, in part the seller's words."""

    payment_id: str
    outcome: str = ""
    means: str = ""
    amount: Amount | None = None
    asked: str = ""
    pay_to: str = ""
    status: int = 0
    transaction: str = ""
    moves: tuple[str, ...] = ()
    hint: str = ""
    notes: Fenced | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account that pays, and what it has, where a node says so."""

    network: str
    address: str
    has: tuple[Amount, ...] = ()


@dataclass(frozen=True, slots=True)
class Holdings:
    """The accounts that pay."""

    accounts: tuple[Account, ...] = ()
    note: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the caller's open payments: a line each. `open` is how many still are."""

    payments: tuple[str, ...] = ()
    open: int = 0
    notes: Fenced | None = None
    problem: Problem | None = None
