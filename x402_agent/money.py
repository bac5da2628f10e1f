"""The nouns of money: a chain, a token on it, and an integer amount of that token's atomic units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Asset", "Money", "Network"]

_TRANSACTION = {  # what a transaction id looks like, by CAIP-2 namespace
    "eip155": re.compile("0x[0-9a-fA-F]{64}"),
    "solana": re.compile("[1-9A-HJ-NP-Za-km-z]{64,88}"),
    "stacks": re.compile("(0x)?[0-9a-f]{64}"),
    "tron": re.compile("[0-9a-f]{64}"),
}
_DECIMALS = {"eip155": 18, "solana": 9, "stacks": 6, "tron": 6}


@dataclass(frozen=True, slots=True)
class Network:
    """One chain of the closed table. `id` is CAIP-2, `name` what people and x402 v1 call it; `explorer` has `{tx}` in it.

    `confirmations`: blocks, its own included, after which a payment of ours is shown to a seller; what frees money is final.
    """

    id: str
    name: str
    testnet: bool
    aliases: tuple[str, ...] = ()
    explorer: str = ""
    confirmations: int = 1

    @property
    def namespace(self) -> str:
        """The CAIP-2 namespace: `eip155`, `solana`, `stacks`, `tron`."""
        return self.id.partition(":")[0]

    def coins(self, units: int) -> str:
        """So many atomic units of the network's own coin, in whole ones, for people."""
        return f"{Decimal(units).scaleb(-self.decimals).normalize():f}"

    @property
    def decimals(self) -> int:
        """Of the network's own coin: a constant of its protocol."""
        return _DECIMALS[self.namespace]

    @property
    def family(self) -> str:
        """What settings, policy and commands call its namespace: `evm`, `solana`, `stacks`, `tron`."""
        return {"eip155": "evm"}.get(self.namespace, self.namespace)

    def link(self, transaction: str) -> str:
        """Where people look this transaction up, or "". A seller names transactions: what is not plainly an id makes no link."""
        shape = _TRANSACTION.get(self.namespace)
        return self.explorer.replace("{tx}", transaction) if shape and shape.fullmatch(transaction) else ""


@dataclass(frozen=True, slots=True)
class Asset:
    """One token of the closed table. `id` is CAIP-19; `eip712` is the (name, version) of its signing domain.

    A chain's own coin has its symbol as `address`. `detail` is what else its chain must know of it: on Solana the token
    program when it is not the first one, on Stacks the token's name inside its contract.
    """

    id: str
    network: Network
    address: str
    symbol: str
    decimals: int
    peg: str = ""
    eip712: tuple[str, str] | None = None
    detail: str = ""

    @property
    def native(self) -> bool:
        """Whether it is its chain's own coin."""
        return self.address == self.symbol

    def micros(self, amount: int) -> int | None:
        """Millionths of a US dollar that so many atomic units are worth, rounded up; None without a peg to the dollar."""
        if self.peg != "USD":
            return None
        shift = self.decimals - 6
        made: int = amount if shift == 0 else amount * 10**-shift if shift < 0 else -(-amount // 10**shift)
        return made


@dataclass(frozen=True, slots=True)
class Money:
    """An integer amount of atomic units of one asset."""

    amount: int
    asset: Asset

    @property
    def decimal(self) -> Decimal:
        """The amount in whole units, for people. Never used to compute."""
        return Decimal(self.amount).scaleb(-self.asset.decimals)

    @property
    def micros(self) -> int | None:
        """Millionths of a US dollar, rounded up; None when the asset has no peg to the dollar."""
        return self.asset.micros(self.amount)

    @property
    def text(self) -> str:
        """The number alone, at least four decimals: `0.0100`."""
        exponent = self.decimal.normalize().as_tuple().exponent
        places = max(4, -exponent if isinstance(exponent, int) else 0)
        return f"{self.decimal:.{places}f}"

    def __str__(self) -> str:
        return f"{self.text} {self.asset.symbol} ({self.asset.network.name})"
