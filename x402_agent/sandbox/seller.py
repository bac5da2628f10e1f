"""Who answers the requests that come to a sandbox: the seller of one system, whole, on whichever ground it can stand.

A seller is added in three steps: a module or folder with a `Seller` and its `Scene`, a folder `scenarios` beside it,
a line in SELLERS below. Doors, `Payer.sandbox(seller=...)`, `sandbox up --seller` and what `catalogue` publishes of its routes
follow from these. A seller knows the chain by its ground alone, and time by the ground's clock.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import SettingsError
from .ground import GROUNDS
from .scene import Scene, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .books import Books
    from .ground import Ground
    from .messages import Answer, Request
    from .routes import Route

__all__ = ["SELLERS", "Seller", "Visit", "Visits", "books", "chains", "scenario", "scenarios", "seller", "sellers"]

SELLERS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {  # what --seller says: its class, its scenarios' class, the chains it sells on (none: every one)
    "shop": ("paywall:Paywall", "scenario:Scenario", ()),
    "kamiyo": ("kamiyo.app:Kamiyo", "kamiyo.quirks:Quirks", ("evm", "solana")),
    "x402pay": ("x402pay.app:X402Pay", "x402pay.quirks:Quirks", ("stacks",)),
    "mcp": ("mcp.app:Toolshop", "mcp.manners:Manners", ()),
    "catalogue": ("catalogue.app:Listed", "catalogue.lies:Lies", ()),
    "monitor": ("monitor.app:Monitor", "monitor.quirks:Quirks", ("tron",)),
    "lily": ("lily.app:Lily", "lily.quirks:Quirks", ("solana",)),
}

REMEMBERED = 10_000  # requests


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that came to a seller. `digest` is the sha256 of what was shown as payment, "" when there was nothing."""

    method: str
    path: str
    proof: bool
    digest: str
    status: int  # 0: the connection ended without an answer


class Visits:
    """The newest requests that came to a seller, `most` of them: a sandbox may stand for weeks. Any thread may call any method."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._newest: deque[Visit] = deque(maxlen=most)
        self._came = 0
        self._lock = threading.Lock()

    def append(self, visit: Visit) -> None:
        """One more; the oldest makes room."""
        with self._lock:
            self._newest.append(visit)
            self._came += 1

    def since(self, number: int = 0) -> tuple[list[Visit], int]:
        """Those that came after the first `number`, as far as they are remembered, in order; and how many ever came."""
        with self._lock:
            found, came = list(self._newest), self._came
        return found[max(0, len(found) - max(0, came - number)) :], came


class Seller(ABC):
    """The pretend seller of one system. Any thread may call any method.

    `sells` says in a line what it sells, and how; `coins` is what a whole coin without a peg counts here, by symbol, in millionths of a dollar: where prices are in such coins.
    `dialect` is how it asks for money; `asks_node` whether its payers need a node; `slow` how many seconds it waits for depth in its
    chain, by which `try` moves the sandbox's clock on; `database` is where it keeps what it
    sold, where it keeps that at all: "" is memory. `pages` are those of the sandbox's catalogue that it has itself, `tools_at`
    is the path of its MCP server, whose tools are the routes below it.
    """

    name: ClassVar[str]
    sells: ClassVar[str] = ""
    dialect: ClassVar[str] = "x402"
    asks_node: ClassVar[bool] = False
    slow: ClassVar[int] = 0
    coins: ClassVar[Mapping[str, int]] = {}
    pages: ClassVar[frozenset[str]] = frozenset()
    tools_at: ClassVar[str] = ""
    books: ClassVar[type[Books] | None] = None  # what operators look after, where it keeps something

    def __init__(self, ground: Ground, scenario: Scene, database: str = "") -> None:
        self.scenario: Any = scenario
        self.visits = Visits()
        self._ground = ground
        self._database = database

    @property
    @abstractmethod
    def routes(self) -> Mapping[str, Route]:
        """What it sells, by path."""

    @abstractmethod
    def handle(self, request: Request) -> Answer:
        """What happens to a request. Decides and settles at once; the door does the waiting."""

    def lists(self, _route: Route) -> bool:
        """Whether a route's price is what x402 asks for it, so that the catalogue may say it; else its 402 alone does."""
        return self.dialect == "x402"

    def pay_it(self, origin: str) -> str:
        """What to type to pay it."""
        return f"x402-agent get --sandbox {origin}{next(path for path, route in self.routes.items() if route.price)}"

    def keys(self) -> dict[str, str]:
        """What its operator needs, by name: for a private file, never for an output."""
        return {}

    def dialect_settings(self, _origin: str) -> Mapping[str, Mapping[str, str]]:
        """What a payer of this machine needs in `[dialects.NAME."origin"]`, by dialect: keys are in it, so it is for no output."""
        return {}

    def count_in(self, url: str) -> None:
        """Count calls in the Redis at `url`, for several processes; raises SettingsError where nothing is counted so."""
        raise SettingsError(f"the seller {self.name} counts no calls", rule="--redis", hint="--seller kamiyo")

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what it holds open."""


def seller(name: str, ground: Ground, which: str | Scene, database: str) -> Seller:
    """A new seller of this name; raises SettingsError for one, or a scenario of it, that there is not, and for a ground on which it does not sell."""
    kind, stands = _class(name, 0), chains(name)
    if ground.name not in stands:
        raise SettingsError(f"the seller {name} does not sell on {ground.name}", rule=f"it sells on {' and '.join(stands)}", hint=f"--chain {stands[0]} --seller {name}")
    made: Seller = kind(ground, scenario(which, name), database)
    return made


def sellers() -> dict[str, type[Seller]]:
    """Every seller that there is, by the name that --seller takes."""
    return {name: _class(name, 0) for name in SELLERS}


def chains(name: str) -> tuple[str, ...]:
    """The chains on which this seller sells, its usual one first; raises SettingsError for one that there is not."""
    _class(name, 0)
    return SELLERS[name][2] or tuple(GROUNDS)


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
        raise SettingsError(f"{which.name!r} is no scenario of {seller}", rule="a scenario is of one seller", hint=f"x402-agent sandbox scenarios --seller {seller}")
    found = _all(seller).get(which)
    if found is None:
        hint = "x402-agent sandbox scenarios" + ("" if seller == "shop" else f" --seller {seller}")
        raise SettingsError(f"no scenario is called {which!r}", rule=f"one of {', '.join(_all(seller))}", hint=hint)
    return found


def _class(name: str, which: int) -> Any:
    found = SELLERS.get(name)
    if found is None:
        raise SettingsError(f"the sandbox has no seller {name[:40]!r}", rule=f"one of {', '.join(SELLERS)}", hint="x402-agent sandbox sellers")
    module, _, kind = str(found[which]).partition(":")
    return getattr(import_module(f".{module}", __package__), kind)


@cache
def _all(name: str) -> dict[str, Scene]:
    kind = _class(name, 1)
    return load(files(kind.__module__.rpartition(".")[0]) / "scenarios", kind)
