"""Who answers the requests that come to a sandbox: the seller of one system, whole, on whichever ground it can stand.

A seller is added in three steps: a module or folder with a `Seller` and its `Scene`, a folder `scenarios` beside it,
a line in SELLERS below. Doors, `Payer.sandbox(seller=...)` and `sandbox up --seller` follow from these. A seller
knows the chain by its ground alone, and time by the ground's clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import SettingsError
from .scene import Scene, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .books import Books
    from .ground import Ground
    from .messages import Answer, Request
    from .routes import Route

__all__ = ["SELLERS", "Seller", "Visit", "books", "scenario", "scenarios", "seller"]

SELLERS: Mapping[str, tuple[str, str]] = {  # what --seller says: its class, its scenarios' class
    "shop": ("paywall:Paywall", "scenario:Scenario"),
    "kamiyo": ("kamiyo.app:Kamiyo", "kamiyo.quirks:Quirks"),
    "mcp": ("mcp.app:Toolshop", "mcp.manners:Manners"),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that came to a seller. `digest` is the sha256 of what was shown as payment, "" when there was nothing."""

    method: str
    path: str
    proof: bool
    digest: str
    status: int  # 0: the connection ended without an answer


class Seller(ABC):
    """The pretend seller of one system. Any thread may call any method.

    `dialect` is how it asks for money; `asks_node` whether its payers need a node; `database` is where it keeps what it
    sold, where it keeps that at all: "" is memory.
    """

    name: ClassVar[str]
    dialect: ClassVar[str] = "x402"
    asks_node: ClassVar[bool] = False
    books: ClassVar[type[Books] | None] = None  # what operators look after, where it keeps something

    def __init__(self, ground: Ground, scenario: Scene, database: str = "") -> None:
        self.scenario: Any = scenario
        self.visits: list[Visit] = []
        self._ground = ground
        self._database = database

    @property
    @abstractmethod
    def routes(self) -> Mapping[str, Route]:
        """What it sells, by path."""

    @abstractmethod
    def handle(self, request: Request) -> Answer:
        """What happens to a request. Decides and settles at once; the door does the waiting."""

    def pay_it(self, origin: str) -> str:
        """What to type to pay it."""
        return f"x402-agent get --sandbox {origin}{next(path for path, route in self.routes.items() if route.price)}"

    def keys(self) -> dict[str, str]:
        """What its operator needs, by name: for a private file, never for an output."""
        return {}

    def count_in(self, url: str) -> None:
        """Count calls in the Redis at `url`, for several processes; raises SettingsError where nothing is counted so."""
        raise SettingsError(f"the seller {self.name} counts no calls", rule="--redis", hint="--seller kamiyo")

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what it holds open."""


def seller(name: str, ground: Ground, which: str | Scene, database: str) -> Seller:
    """A new seller of this name; raises SettingsError for one, or a scenario of it, that there is not."""
    made: Seller = _class(name, 0)(ground, scenario(which, name), database)
    return made


def books(name: str, url: str) -> Books:
    """The database of the seller with this name; raises SettingsError for one that keeps none."""
    kind: type[Books] | None = _class(name, 0).books
    if kind is None:
        raise SettingsError(f"the seller {name} keeps no database", rule="--seller", hint="--seller kamiyo")
    return kind(url)


def scenarios(seller: str = "shop") -> dict[str, Any]:
    """Every scenario of a seller that comes with the package, by name."""
    return dict(_all(seller))


def scenario(which: str | Scene, seller: str = "shop") -> Any:
    """The seller's scenario with this name; raises SettingsError naming those that exist."""
    if isinstance(which, Scene):
        if isinstance(which, _class(seller, 1)):
            return which
        raise SettingsError(f"{which.name!r} is no scenario of {seller}", rule="a scenario is of one seller")
    found = _all(seller).get(which)
    if found is None:
        hint = "x402-agent sandbox scenarios" + ("" if seller == "shop" else f" --seller {seller}")
        raise SettingsError(f"no scenario is called {which!r}", rule=f"one of {', '.join(_all(seller))}", hint=hint)
    return found


def _class(name: str, which: int) -> Any:
    found = SELLERS.get(name)
    if found is None:
        raise SettingsError(f"the sandbox has no seller {name[:40]!r}", rule=f"one of {', '.join(SELLERS)}")
    module, _, kind = found[which].partition(":")
    return getattr(import_module(f".{module}", __package__), kind)


@cache
def _all(name: str) -> dict[str, Scene]:
    kind = _class(name, 1)
    return load(files(kind.__module__.rpartition(".")[0]) / "scenarios", kind)
