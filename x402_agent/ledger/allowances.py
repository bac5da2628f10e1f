"""What a spender may still take from an account: the approved amount less every counted payment made through it since.

It can only be too low: a payment that was in doubt when the allowance was read from the chain counts against it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..assets import asset, network
from ..errors import NoAcceptableOffer
from ..model import Money
from . import states
from .opened import Opened

if TYPE_CHECKING:

    from ..model import Hold
    from .store import Store
    from .writer import Job

__all__ = ["Allowances", "enough", "took"]

_OWN = ("", "transfer")  # ways by which nobody takes it but we ourselves send it
_IN_DOUBT = states.listed(states.UNSENT | states.IN_DOUBT)
_THROUGH = (
    "FROM x402_payments p JOIN x402_offers o ON o.offer_digest = p.offer_digest "
    "WHERE o.method NOT IN ('', 'transfer') AND p.asset = ? AND p.from_address = ? COLLATE NOCASE AND p.id > ?"
)
_USED = f"SELECT CASE p.charged WHEN '' THEN p.amount ELSE p.charged END, p.fee_cap {_THROUGH} AND p.state NOT IN {states.listed(states.FREED)}"
_FIRST = f"SELECT MIN(p.id) {_THROUGH} AND p.state IN {_IN_DOUBT}"
_READ = "SELECT amount, since FROM x402_allowances WHERE network = ? AND token = ? AND owner = ? AND spender = ?"
_SPENDERS = "SELECT network, token, owner, spender FROM x402_allowances WHERE network = ? AND token = ? AND owner = ?"
_PUT = "INSERT OR REPLACE INTO x402_allowances VALUES (?,?,?,?,?,?,?,?)"


def _key(network_id: str, token: str, owner: str, spender: str) -> tuple[str, str, str, str]:
    """Addresses of EVM are equal whatever their case; those of other chains are not."""
    token = token.rpartition(":")[2]
    if not network_id.startswith("eip155:"):
        return network_id, token, owner, spender
    return network_id, token.lower(), owner.lower(), spender.lower()


class Allowances(Opened):
    """The part of the ledger that knows who may take what."""

    def allowance(self, network_id: str, token: str, owner: str, spender: str) -> int:
        """Atomic units of `token` (its address or CAIP-19 id) that `spender` may still take from `owner`; 0 when unknown.

        From memory while no other process has written. Raises LedgerError.
        """
        key = _key(network_id, token, owner, spender)
        store = self._store
        if store is not None and not self._forked:
            left = store.cache.allowances.get(key)
            if left is not None and store.current():
                return max(0, left)
        found: int = self._job(lambda opened: _left(opened, key), write=False).run()
        return max(0, found)

    def mark(self, network_id: str, token: str, owner: str) -> int:
        """Where payments begin that the chain may not show yet: asked before the chain is read, handed to `allow`."""
        key = _key(network_id, token, owner, "")
        found: int = self._job(lambda store: _mark(store, key), write=False).run()
        return found

    def allow(
        self, network_id: str, token: str, owner: str, spender: str, amount: int, txid: str = "", mark: int | None = None
    ) -> Job[None]:
        """Record what the chain shows `spender` to be allowed, in atomic units; `txid` is the approve that made it so.

        Payments after `mark` count against it, those that were in doubt at it too; left out, it is now.
        """
        key = _key(network_id, token, owner, spender)
        if amount < 0:
            raise ValueError("an allowance is not negative")
        return self._job(lambda store: _record(store, key, amount, txid, mark), write=True, full=True)

    def allowances(self) -> list[tuple[str, str, str, str, int]]:
        """(network, token, owner, spender, left in atomic units), EVM addresses in lower case."""

        def read(store: Store) -> list[tuple[str, str, str, str, int]]:
            keys = store.db.execute("SELECT network, token, owner, spender FROM x402_allowances ORDER BY 1, 2, 3, 4")
            return [(*key, max(0, _left(store, key))) for key in keys.fetchall()]

        return list(self._job(read, write=False).run())


def _asset_id(key: tuple[str, str, str, str]) -> str:
    where = network(key[0])
    found = asset(where, key[1]) if where else None
    return found.id if found else ""


def _left(store: Store, key: tuple[str, str, str, str]) -> int:
    known = store.current()
    row = store.db.execute(_READ, key).fetchone()
    left = 0
    if row is not None:
        used = store.db.execute(_USED, (_asset_id(key), key[2], row[1])).fetchall()
        left = int(row[0]) - sum(int(amount) + int(fee) for amount, fee in used)
    if known and store.current():  # nobody wrote between
        store.cache.allowances[key] = left
    return left


def _mark(store: Store, key: tuple[str, str, str, str]) -> int:
    first = store.db.execute(_FIRST, (_asset_id(key), key[2], 0)).fetchone()[0]
    newest: int = store.db.execute("SELECT COALESCE(MAX(id), 0) FROM x402_payments").fetchone()[0]
    return newest if first is None else int(first) - 1


def _record(store: Store, key: tuple[str, str, str, str], amount: int, txid: str, mark: int | None) -> None:
    since = _mark(store, key) if mark is None else mark
    store.db.execute(_PUT, (*key, str(amount), txid, since, int(store.clock())))
    store.cache.allowances.pop(key, None)


def enough(store: Store, hold: Hold) -> None:
    """Raise NoAcceptableOffer when others have taken, meanwhile, what this payment was chosen for; under the lock."""
    offer = hold.offer
    if offer.method in _OWN:
        return
    where = _key(offer.network.id, offer.asset.address, hold.terms.payer, "")[:3]
    for row in store.db.execute(_SPENDERS, where).fetchall():
        key: tuple[str, str, str, str] = tuple(row)
        left = store.cache.allowances.get(key)
        left = _left(store, key) if left is None else left
        if left < offer.money.amount:
            raise NoAcceptableOffer(
                f"{hold.ask.host} asks {offer.money}, and payments under way have taken what {offer.method} was allowed: "
                f"{Money(max(0, left), offer.asset).text} {offer.asset.symbol} are left",
                rule="no proof beyond the allowance (D3)",
                hint=offer.approval,
            )


def took(store: Store, hold: Hold) -> None:
    """A payment through a spender was written: keep memory in step."""
    if hold.offer.method not in _OWN:
        offer, held = hold.offer, store.cache.allowances
        where = _key(offer.network.id, offer.asset.address, hold.terms.payer, "")[:3]
        for key in [key for key in held if key[:3] == where]:
            held[key] -= offer.money.amount
