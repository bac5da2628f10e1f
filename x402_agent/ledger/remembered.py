"""What sellers asked lately, so that a proof may go on the first send. Nothing here moves money or decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LedgerError
from .opened import Opened
from .rows import offer_of
from .writer import Late

if TYPE_CHECKING:
    from ..model import Ask, Offer
    from .store import Store

__all__ = ["Asked", "Remembered"]

MOST = 1024  # URLs that are read back, the newest
_PUT = "INSERT OR REPLACE INTO x402_remembered (method, url, origin, offer_digest, seen_at) VALUES (?,?,?,?,?)"
_DROP = "DELETE FROM x402_remembered WHERE (method = ? AND url = ?) OR seen_at < ?"
_READ = (
    "SELECT r.method, r.url, r.origin, r.seen_at, r.offer_digest, o.dialect, o.scheme, o.asset, o.amount, o.to_address, "
    "o.lifetime, o.resource, o.description, o.flow, o.fee_cap, o.wire, o.method AS transfer_method, o.facilitator, o.details, "
    "'' AS payment_id FROM x402_remembered r LEFT JOIN x402_offers o ON o.offer_digest = r.offer_digest "
    "WHERE r.seen_at >= ? ORDER BY r.seen_at DESC LIMIT ?"
)


class Asked(NamedTuple):
    """What was asked for one URL, at `seen` (unix seconds); no offer where a proof on the first send was refused."""

    method: str
    url: str
    origin: str
    offer: Offer | None
    seen: int


class Remembered(Opened):
    """The part of the ledger that remembers offers. What cannot be written is only forgotten."""

    def remember(self, ask: Ask, offer: Offer | None, seen: float, *, since: float) -> None:
        """Write down, with the next batch, what was asked (None: refused); what is older than `since` goes."""
        digest = offer.digest if offer else ""
        method, url = (ask.method, ask.url) if offer else ("", ask.origin)

        def put(store: Store) -> None:
            store.db.execute(_DROP, (ask.method, ask.url, int(since)))
            store.db.execute(_PUT, (method, url, ask.origin, digest, int(seen)))

        self._later(put)

    def forget(self, ask: Ask) -> None:
        """This URL is asked first again."""
        self._later(lambda store: store.db.execute(_DROP, (ask.method, ask.url, 0)))

    def remembered(self, since: float) -> list[Asked]:
        """What was asked since then (unix seconds), the newest first."""
        found: list[Asked] = self._job(lambda store: _read(store, since), write=False).run()
        return found

    def _later(self, operation: Any) -> None:
        if self._store is not None and not self._forked:
            Late(self._writer, operation, write=True, full=False).run()


def _read(store: Store, since: float) -> list[Asked]:
    found = []
    cursor = store.db.execute(_READ, (int(since), MOST))
    names = [each[0] for each in cursor.description]
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        try:
            offer = offer_of(row) if row["offer_digest"] else None
        except LedgerError:  # its asset left the table, or the row was changed
            continue
        found.append(Asked(row["method"], row["url"], row["origin"], offer, row["seen_at"]))
    return found
