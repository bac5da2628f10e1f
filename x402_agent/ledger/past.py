"""What was paid before, for the rules of policy: prices, the recipients that are pinned, and payments to judge again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import LedgerError
from ..model import Hold
from .purchase import index_asks
from .reports import Reports, select
from .rows import hold_of

if TYPE_CHECKING:
    from ..model import Ask
    from .store import Store

__all__ = ["Past", "PastPayment"]

_PRICES = (
    "SELECT day, MIN(micros + given_back) FROM x402_payments WHERE origin = ? AND path = ? AND method = ? AND day >= ? "
    "AND state NOT IN ('RESERVED', 'RELEASED', 'DEAD') GROUP BY day ORDER BY day"
)
_INDEX = (
    "CREATE INDEX IF NOT EXISTS x402_payments_prices ON x402_payments (origin, path, method, day, micros, given_back, state)"
)
_REPEATS = "SELECT COUNT(*) FROM x402_payments WHERE ask_key = ? AND created_at > ? AND state <> 'RELEASED'"
_KNOWN = "SELECT 1 FROM x402_pins WHERE {} LIMIT 1"
_PIN = "INSERT OR REPLACE INTO x402_pins (origin, network, pay_to, created_at) VALUES (?,?,?,?)"


class PastPayment(NamedTuple):
    """A payment as policy would meet it again. `at` is unix seconds, `micros` what is counted for it now."""

    hold: Hold
    at: int
    micros: int
    agent: str


class Past(Reports):
    """The part of the ledger that rules about the past look at."""

    def prices(self, method: str, origin: str, path: str, *, since: str) -> tuple[tuple[str, int], ...]:
        """(UTC day, least price in millionths of a dollar) of what was paid for this since a day, oldest first."""

        def read(store: Store) -> tuple[tuple[str, int], ...]:
            store.db.execute(_INDEX)  # made on first use: only rules about prices need it, and every payment pays for it
            return tuple(store.db.execute(_PRICES, (origin, path, method, since)).fetchall())

        made: tuple[tuple[str, int], ...] = self._job(read, write=True).run()
        return made

    def repeats(self, ask: Ask, seconds: int) -> int:
        """How often this very purchase was made in the last `seconds`, what was released aside."""
        key = ask.key

        def read(store: Store) -> int:
            index_asks(store)
            found: int = store.db.execute(_REPEATS, (key, int(store.time()) - seconds)).fetchone()[0]
            return found

        made: int = self._job(read, write=True).run()
        return made

    def past(self, since: float) -> list[PastPayment]:
        """Every payment since a unix second that is counted, oldest first, those whose asset left the table aside."""

        def read(store: Store) -> list[PastPayment]:
            found = select(store, "p.created_at >= ? AND p.state NOT IN ('RELEASED', 'DEAD') ORDER BY p.id", (int(since),))
            made = []
            for row in found:
                try:
                    made.append(PastPayment(hold_of(row), row["created_at"], row["micros"], row["agent"]))
                except LedgerError:
                    continue
            return made

        return list(self._read(read))

    def pinned_origin(self, origin: str) -> bool:
        """Whether a recipient is pinned for this origin on any network."""
        return bool(self._read(lambda store: store.db.execute(_KNOWN.format("origin = ?"), (origin,)).fetchone()))

    def pinned_payee(self, network: str, pay_to: str) -> bool:
        """Whether this recipient is pinned on this network for any origin."""
        same = "lower(pay_to) = lower(?)" if network.startswith("eip155:") else "pay_to = ?"
        return bool(self._read(lambda store: store.db.execute(_KNOWN.format(f"network = ? AND {same}"), (network, pay_to)).fetchone()))

    def pins(self) -> list[tuple[str, str, str]]:
        """Recipients that are pinned, by a first payment or by a person: (origin, network, pay_to)."""
        query = "SELECT origin, network, pay_to FROM x402_pins ORDER BY origin, network"
        return [tuple(row) for row in self._read(lambda store: store.db.execute(query).fetchall())]

    def pin(self, origin: str, network: str, pay_to: str) -> str:
        """Pay only this recipient for an origin on a network (CAIP-2) from now on. -> who it was before, or ""."""

        def write(store: Store) -> str:
            query = "SELECT pay_to FROM x402_pins WHERE origin = ? AND network = ?"
            before = store.db.execute(query, (origin, network)).fetchone()
            store.db.execute(_PIN, (origin, network, pay_to, int(store.clock())))
            store.cache.pins[origin, network] = pay_to
            return before[0] if before else ""

        found: str = self._job(write, write=True).run()
        return found

    def unpin(self, origin: str, network: str = "") -> int:
        """Forget the recipients of an origin, or that of one network: the next payment pins anew. -> how many."""

        def write(store: Store) -> int:
            store.cache.pins.clear()
            query = "DELETE FROM x402_pins WHERE origin = ? AND (? = '' OR network = ?)"
            return store.db.execute(query, (origin, network, network)).rowcount

        found: int = self._job(write, write=True).run()
        return found
