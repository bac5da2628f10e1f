"""What is listed: a row for each route of the seller's that costs something, and for each tool. What a scenario lies, it lies here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ... import assets
from ..challenge import requirements
from ..messages import Request
from ..refusals import AMOUNTS
from .lies import HONEST, Lies

if TYPE_CHECKING:
    from ...model import Asset
    from ..ground import Ground
    from ..seller import Seller

__all__ = ["Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing for sale. `accepts` is as its 402 has it, empty where only the 402 tells; `tool` is one of the MCP server at `url`."""

    method: str
    url: str
    name: str
    description: str
    version: int
    accepts: tuple[dict[str, Any], ...]
    tool: str = ""

    @property
    def price(self) -> tuple[int, Asset] | None:
        """Atomic units and token of the first way to pay that our table knows."""
        for each in self.accepts:
            network = assets.network(each["network"])
            asset = assets.asset(network, each["asset"]) if network else None
            if asset is not None:
                return int(each[AMOUNTS[self.version]]), asset
        return None


def rows(seller: Seller, ground: Ground, origin: str) -> list[Row]:
    """All that it sells, in its own order; tools behind pages."""
    lies = seller.scenario if isinstance(seller.scenario, Lies) else HONEST
    pages, tools = [], []
    for path, route in seller.routes.items():
        if not route.price:
            continue
        version, url = max(route.versions), origin + path
        method = (*route.methods, "GET")[0]
        asked = requirements(route, Request(method, origin, path), version, ground, 1) if seller.lists(route) else ()
        about = (path.strip("/"), route.description, version, tuple(asked))
        pages.append(Row(method, url, *about))
        if seller.tools_at:
            tools.append(Row("POST", origin + seller.tools_at, *about, tool=path.rpartition("/")[2]))
    return [told for each in (*pages, *tools) for told in ([each] if each.url != origin + lies.about else _lied(each, lies, ground.facilitator.address))]


def _lied(row: Row, lies: Lies, stranger: str) -> list[Row]:
    """The row as the scenario tells it: one, or two that differ."""
    made = replace(row, accepts=tuple(_entry(each, lies.cheaper, stranger if lies.payee else "") for each in row.accepts))
    if lies.dead:
        made = replace(made, url=f"{made.url}-gone")
    if lies.words:
        made = replace(made, name=lies.words[:60], description=lies.words)
    if not lies.twice:
        return [made]
    return [made, replace(made, accepts=tuple(_entry(each, 2, stranger) for each in made.accepts))]


def _entry(entry: dict[str, Any], cheaper: int, payee: str) -> dict[str, Any]:
    amount = next(name for name in AMOUNTS.values() if name in entry)
    return {**entry, amount: str(int(entry[amount]) // cheaper), "payTo": payee or entry["payTo"]}
