"""Who owns what on the pretend Stacks: STX and tokens, what one transaction moved, and how it is undone.

`STX` names the chain's own coin, a token is named `ADDR.contract::asset`. Sources: SIP-002 (`stx-transfer?`,
`ft-transfer?` and their errors), SIP-005 (what post-conditions see).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STX", "Move", "State"]

STX = "STX"


@dataclass(frozen=True, slots=True)
class Move:
    """`amount` atomic units of `asset` that went from one principal to another, "" when they were minted."""

    asset: str
    sender: str
    recipient: str
    amount: int


class State:
    """Balances and the maps of contracts, with a journal: `begin`, then `undo` or nothing. Not thread-safe."""

    def __init__(self) -> None:
        self._balances: dict[tuple[str, str], int] = {}
        self._data: dict[tuple[str, object], object] = {}
        self._journal: list[tuple[dict, object, object]] = []  # type: ignore[type-arg]
        self.moves: list[Move] = []
        self.height = 0  # of the block that is being made: contracts may ask

    def begin(self) -> None:
        """From here on everything can be undone; what moved is counted anew."""
        self._journal.clear()
        self.moves = []

    def undo(self) -> None:
        """Back to `begin`."""
        for table, key, old in reversed(self._journal):
            if old is None:
                del table[key]
            else:
                table[key] = old
        self.begin()

    def balance(self, asset: str, principal: str) -> int:
        """Atomic units."""
        return self._balances.get((asset, principal), 0)

    def owned(self, principal: str) -> dict[str, int]:
        """Every asset that a principal has ever had, with its balance."""
        return {asset: amount for (asset, owner), amount in self._balances.items() if owner == principal}

    def supply(self, asset: str) -> int:
        """All units of an asset that there are."""
        return sum(amount for (each, _), amount in self._balances.items() if each == asset)

    def mint(self, asset: str, recipient: str, amount: int) -> None:
        """New units; no post-condition sees them."""
        self._set(asset, recipient, self.balance(asset, recipient) + amount)

    def burn(self, asset: str, sender: str, amount: int) -> None:
        """Take units away, as a fee is taken: it is no move."""
        self._set(asset, sender, self.balance(asset, sender) - amount)

    def transfer(self, asset: str, amount: int, sender: str, recipient: str) -> int:
        """Move units; 0, or the error that Clarity gives: 1 too few, 2 to itself, 3 nothing (SIP-002)."""
        if amount <= 0:
            return 3
        if sender == recipient:
            return 2
        if self.balance(asset, sender) < amount:
            return 1
        self._set(asset, sender, self.balance(asset, sender) - amount)
        self._set(asset, recipient, self.balance(asset, recipient) + amount)
        self.moves.append(Move(asset, sender, recipient, amount))
        return 0

    def get(self, contract: str, key: object) -> object:
        """An entry of a contract's data, None when there is none."""
        return self._data.get((contract, key))

    def put(self, contract: str, key: object, value: object) -> None:
        """Write an entry of a contract's data; `value` is not None."""
        self._write(self._data, (contract, key), value)

    def _set(self, asset: str, owner: str, amount: int) -> None:
        self._write(self._balances, (asset, owner), amount)

    def _write(self, table: dict, key: object, value: object) -> None:  # type: ignore[type-arg]
        self._journal.append((table, key, table.get(key)))
        table[key] = value
