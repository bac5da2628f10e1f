"""The closed table of networks and tokens: what is not in assets.toml is never paid.

Decimals and signing domains come from here, never from a seller. Network names are matched exactly: CAIP-2 and the
short names of x402 v1 map through this one table and are never built by joining strings.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from .model import Asset, Network

__all__ = ["asset", "asset_by_id", "assets", "coin", "network", "networks"]

# CAIP-2 namespace -> CAIP-19 asset namespace ("erc20" in CAIP-21, "token" and "slip44" in the namespaces' own profiles)
_NAMESPACE = {"eip155": "erc20", "solana": "token", "stacks": "sip010", "tron": "trc20"}
_COIN = {"eip155": "slip44:60", "solana": "slip44:501", "stacks": "slip44:5757", "tron": "slip44:195"}


class _Tables:
    """assets.toml, read once."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.networks: dict[str, Network] = {}
        self.names: dict[str, Network] = {}
        self.assets: dict[tuple[str, str], Asset] = {}
        self.ids: dict[str, Asset] = {}
        for caip, row in data["networks"].items():
            aliases = tuple(row.get("aliases", ()))
            made = Network(caip, row["name"], row.get("testnet", False), aliases, row.get("explorer", ""), row.get("confirmations", 1))
            self.networks[caip] = made
            for name in (caip, made.name, *made.aliases):
                if self.names.setdefault(name, made) is not made:
                    raise ValueError(f"assets.toml: {name} names two networks")
        for row in data["assets"]:
            self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        where = self.networks[row["network"]]
        domain = row.get("eip712")
        made = Asset(
            id=f"{where.id}/{_reference(where, row)}",
            network=where,
            address=row["address"],
            symbol=row["symbol"],
            decimals=row["decimals"],
            peg=row.get("peg", ""),
            eip712=(domain[0], domain[1]) if domain else None,
            detail=row.get("detail", ""),
        )
        for name in (made.address, *row.get("aliases", ())):
            if self.assets.setdefault((where.id, _fold(where, name)), made) is not made:
                raise ValueError(f"assets.toml: {name} names two tokens of {where.name}")
        self.ids[made.id] = made


def _reference(where: Network, row: dict[str, Any]) -> str:
    """The second half of a CAIP-19 id; on Stacks a token's contract and its name inside it."""
    if row["address"] == row["symbol"]:
        return _COIN[where.namespace]
    inside = f".{row['detail']}" if where.namespace == "stacks" else ""
    return f"{_NAMESPACE[where.namespace]}:{row['address']}{inside}"


def _fold(where: Network, address: str) -> str:
    """EVM addresses are equal whatever their case; all others are compared as they are."""
    return address.lower() if where.namespace == "eip155" else address


@cache
def _tables() -> _Tables:
    return _Tables(tomllib.loads(files(__package__).joinpath("assets.toml").read_text("utf-8")))


def network(name: str) -> Network | None:
    """The network with exactly this CAIP-2 id or short name, or None."""
    return _tables().names.get(name)


def networks() -> tuple[Network, ...]:
    """Every network of the table."""
    return tuple(_tables().networks.values())


def asset(where: Network, address: str) -> Asset | None:
    """The token at this address of this network, or None. ASCII only: a homoglyph is another address."""
    return _tables().assets.get((where.id, _fold(where, address))) if address.isascii() else None


def coin(where: Network) -> Asset | None:
    """The network's own coin, in which its fees are paid, or None where the table lacks it."""
    return _tables().ids.get(f"{where.id}/{_COIN[where.namespace]}")


def asset_by_id(caip19: str) -> Asset | None:
    """The token with exactly this CAIP-19 id, or None."""
    return _tables().ids.get(caip19)


def assets() -> tuple[Asset, ...]:
    """Every token of the table."""
    return tuple(_tables().ids.values())
