"""What a transaction of ours costs on TRON, by a node's word: energy and bandwidth, and the TRX that burns where neither is left.

Who has staked TRX pays in energy and bandwidth that come back every day; what these do not cover is burnt, in sun (10^-6 TRX).
All are generators of steps and raise NodeError. Source: java-tron HTTP API `getchainparameters`, `getaccountresource`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .reads import number, view, word

if TYPE_CHECKING:
    from ...steps import Steps
    from .rpc import Node

__all__ = ["TYPICAL", "Prices", "Staked", "energy", "prices", "staked", "usual"]

TYPICAL = 65_000  # energy of one transfer of USDT to an account that has some; twice that to one that has none
_BYTES = 345  # of bandwidth that it takes
_RESULT = 64  # bytes that a transaction's result takes, whatever it is
_DEAREST = 1 << 40  # sun: what is above is no price


class Prices(NamedTuple):
    """Sun for a unit of energy, for a byte of bandwidth, and for the first TRX to an address that nobody has used."""

    energy: int
    byte: int
    account: int


class Staked(NamedTuple):
    """Energy and bytes of bandwidth that an account has left today; a transaction takes its bytes from one of the two alone."""

    energy: int
    net: int
    free: int

    def burnt(self, size: int, price: int) -> int:
        """Sun that burn for the bandwidth of a transaction of so many bytes."""
        size += _RESULT
        return 0 if size <= max(self.net, self.free) else size * price


def prices(node: Node) -> Steps[Prices]:
    """The chain's own parameters."""

    def read(found: Any) -> Prices:
        told = {each["key"]: each.get("value", 0) for each in found["chainParameter"]}
        names = ("getEnergyFee", "getTransactionFee", "getCreateNewAccountFeeInSystemContract", "getCreateAccountFee")
        energy, byte, account, bandwidth = (number(told[name]) for name in names)
        if not 0 < energy < _DEAREST or not 0 < byte < _DEAREST or account + bandwidth >= _DEAREST:
            raise ValueError("no price")
        return Prices(energy, byte, account + bandwidth)

    made: Prices = yield from node.read(read, "wallet/getchainparameters", {})
    return made


def usual(node: Node) -> Steps[int]:
    """Sun that a transfer of USDT burns for an account without anything staked, to one that has some USDT."""
    price = yield from prices(node)
    return TYPICAL * price.energy + _BYTES * price.byte


def staked(node: Node, owner: str) -> Steps[Staked]:
    """What an account has left; zeros for one that does not exist yet."""

    def read(found: Any) -> Staked:
        def left(limit: str, used: str) -> int:
            return max(0, number(found.get(limit, 0)) - number(found.get(used, 0)))

        return Staked(left("EnergyLimit", "EnergyUsed"), left("NetLimit", "NetUsed"), left("freeNetLimit", "freeNetUsed"))

    made: Staked = yield from node.read(read, "wallet/getaccountresource", {"address": owner, "visible": True})
    return made


def energy(node: Node, owner: str, token: str, call: str, to: str, amount: int) -> Steps[int]:
    """Energy that a TRC-20 `transfer` or `approve` would use now; NodeError where it would revert, which is all that a dry run proves."""
    made: int = yield from view(
        node, owner, token, f"{call}(address,uint256)", f"{word(to)}{amount:064x}", lambda found: number(found["energy_used"]) or None
    )
    return made
