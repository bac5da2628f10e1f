"""The reading side: plain values for the CLI and for people. Nothing here changes a payment."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ..errors import LedgerError
from ..model import Hold, Limit, Outcome
from . import analytics, budget, counters, recovery, states
from .opened import Opened
from .rows import SELECT, Payment, hold_of, known_offer, payment_of
from .store import day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .store import Store

__all__ = ["By", "Event", "Left", "Reports", "Total", "select"]

_WHERE = {
    "spent": f"state IN {states.listed(states.SPENT)}",
    "released": f"state IN {states.listed(states.FREED | {'REVERTED'})}",
    "refused": "state = 'UNKNOWN' AND refused = 1",
    "in_doubt": f"(state IN {states.listed(states.UNSENT | states.IN_DOUBT)} AND NOT (state = 'UNKNOWN' AND refused = 1))",
}


_PAYEE = "CASE WHEN network LIKE 'eip155:%' THEN lower(to_address) ELSE to_address END"
By: TypeAlias = Literal["host", "agent", "group", "task", "tool", "category", "payee", "day"]


@dataclass(frozen=True, slots=True)
class Event:
    """One move of a payment. `at` is unix milliseconds."""

    seq: int
    from_state: str
    state: str
    at: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Total:
    """What is counted for one host, agent or day, in one realm (real, test, sandbox)."""

    name: str
    realm: str
    payments: int
    micros: int


@dataclass(frozen=True, slots=True)
class Left:
    """One limit and what is counted against it now, in the limit's unit: micro-dollars, payments or atomic units."""

    limit: Limit
    spent: int

    @property
    def left(self) -> int:
        """What may still be spent; never negative."""
        return max(0, self.limit.most - self.spent)


def select(store: Store, where: str, values: Iterable[object]) -> list[sqlite3.Row]:
    """Rows of x402_payments by column name."""
    cursor = store.db.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(f"{SELECT} WHERE {where}", tuple(values)).fetchall()


class Reports(Opened):
    """The part of the ledger that only reads."""

    def _read(self, operation: Callable[[Store], Any]) -> Any:
        return self._job(operation, write=False).run()

    def payments(
        self,
        *,
        today: bool = False,
        host: str = "",
        outcome: Outcome | Literal[""] = "",
        in_doubt: bool = False,
        agent: str = "",
        limit: int = 1000,
    ) -> list[Payment]:
        """Payments, newest first. `in_doubt` takes refused ones too: their money may still move."""

        def read(store: Store) -> list[Payment]:
            where, values = ["1"], list[object]()
            if today:
                now = store.clock()
                where.append("p.id >= ? AND day = ?")  # rows run with time, so no index is kept for this alone
                values += [counters.first_payment(store, int(now - now % 86400)), day_of(now)]
            if host:
                where.append("host = ?")
                values.append(host)
            if agent:
                where.append("agent = ?")
                values.append(agent)
            if outcome:
                where.append(_WHERE[outcome])
            if in_doubt:
                where.append(f"({_WHERE['in_doubt']} OR {_WHERE['refused']})")
            found = select(store, f"{' AND '.join(where)} ORDER BY p.id DESC LIMIT ?", (*values, limit))
            return [payment_of(row) for row in found]

        return list(self._read(read))

    def changed(self, since: float) -> list[Payment]:
        """Payments that moved at this unix second or later, oldest first."""

        def read(store: Store) -> list[Payment]:
            seq = counters.first_event(store, int(since))
            found = select(store, "p.payment_id IN (SELECT payment_id FROM x402_events WHERE seq >= ?) ORDER BY p.id", (seq,))
            return [payment_of(row) for row in found]

        made: list[Payment] = self._read(read)
        return made

    def payment(self, prefix: str) -> Payment:
        """The one payment whose id begins so (at least 4 characters); raises LedgerError for none or several."""

        def read(store: Store) -> Payment:
            if len(prefix) < 4 or not prefix.isalnum():
                raise LedgerError(f"{prefix[:20]!r} is no payment id", rule="at least 4 characters of the id", hint="x402-agent log")
            found = select(store, "payment_id >= ? AND payment_id < ? LIMIT 2", (prefix, prefix + "g"))
            if len(found) != 1:
                many = "more than one payment begins" if found else "no payment begins"
                raise LedgerError(f"{many} with {prefix}", hint="x402-agent log")
            return payment_of(found[0])

        made: Payment = self._read(read)
        return made

    def events(self, payment_id: str) -> list[Event]:
        """Every move of one payment, oldest first."""

        def read(store: Store) -> list[Event]:
            row = store.db.execute(
                "SELECT last_event FROM x402_payments WHERE payment_id = ?", (payment_id,)
            ).fetchone()
            found: list[Event] = []
            seq = row[0] if row else 0
            query = "SELECT seq, from_state, state, at, data, before FROM x402_events WHERE seq = ?"
            while seq and (event := store.db.execute(query, (seq,)).fetchone()) is not None:
                found.append(Event(event[0], event[1], event[2], event[3], json.loads(event[4])))
                seq = event[5] if event[5] < seq else 0
            return found[::-1]

        return list(self._read(read))

    def open_payments(self) -> list[Hold]:
        """What may still settle or is paid and undelivered, as Holds to present again; oldest first.

        The Ask of a Hold with a body carries no body: the caller must repeat it.
        """

        def read(store: Store) -> list[Hold]:
            found = select(store, f"is_open = 1 AND state NOT IN {states.listed(states.UNSENT)} ORDER BY id", ())
            told = [row for row in found if row["state"] != "QUARANTINE" or known_offer(row)]
            return [hold_of(row) for row in told if not self._busy(store, row)]

        return list(self._read(read))

    def bought(self, key: str) -> list[tuple[str, str]]:
        """The newest payments that this purchase (`Ask.key`) has had and that were spent, two at most, with their transactions."""
        where = f"p.ask_key = ? AND {_WHERE['spent']} AND p.tx_hash <> '' ORDER BY p.id DESC LIMIT 2".replace("state IN", "p.state IN")
        found: list[tuple[str, str]] = self._read(lambda store: [(row["payment_id"], row["tx_hash"]) for row in select(store, where, (key,))])
        return found

    def namesakes(self, payment: Payment) -> int:
        """For how many other payments a seller named this payment's transaction. Some settle many at once; some lie (V8)."""
        query = "SELECT COUNT(*) FROM x402_payments WHERE tx_hash = ? AND payment_id <> ?"
        values = payment.transaction, payment.payment_id
        found: int = self._read(lambda store: store.db.execute(query, values).fetchone()[0]) if payment.transaction else 0
        return found

    def of_agent(self, agent: str, prefix: str = "", *, closed: bool = False) -> list[Hold]:
        """Open payments of one agent, oldest first, those of a live call too; with `closed` also what is settled."""
        which = "agent = ? AND payment_id >= ? AND payment_id < ?" + ("" if closed else " AND is_open = 1")
        return list(self._read(lambda store: [
            hold_of(row) for row in select(store, f"{which} ORDER BY id LIMIT 1000", (agent, prefix, prefix + "g"))
        ]))  # fmt: skip

    def totals(self, by: By) -> list[Total]:
        """What is counted, by host, agent, group, task, tool, category, payee or UTC day; the largest first, days in their order."""
        order = "name" if by == "day" else "micros DESC"
        if by not in get_args(By):
            raise LedgerError(f"there are no totals by {by!r}", rule=", ".join(get_args(By)), hint='totals("host")')
        column = {"group": "team", "payee": _PAYEE}.get(by, by)
        query = (
            f"SELECT {column} AS name, realm, COUNT(*), SUM(micros) AS micros FROM x402_payments "
            f"WHERE state NOT IN {states.listed(states.FREED)} GROUP BY name, realm ORDER BY {order}"
        )
        return [Total(*row) for row in self._read(lambda store: store.db.execute(query).fetchall())]

    def spent(self, limits: Iterable[Limit], *, realm: str = "") -> list[Left]:
        """What is counted against each limit now; `realm` is real, test or sandbox (real, or this sandbox's own)."""
        purse = realm or ("sandbox" if self.sandbox else "real")
        wanted = tuple(limits)

        def read(store: Store) -> list[Left]:
            now = store.time()
            return [Left(each, budget.spent(store, purse, each, now)) for each in wanted]

        return list(self._read(read))

    def counted(self, scope: str) -> int:
        """Micro-dollars ever counted in a scope, in this sandbox, or in real and test money together."""
        realms = ("sandbox",) if self.sandbox else ("real", "test")
        return sum(self.spent([Limit(scope, "total", 0)], realm=realm)[0].spent for realm in realms)

    def verify(self, progress: Callable[[int, int], object] | None = None) -> list[str]:
        """Walk the whole journal, every row, counter and seal. -> what is wrong, [] when all is well.

        `progress` is told now and then how many entries of how many are done.
        """

        def read(store: Store) -> list[str]:
            return ([store.broken] if store.broken else []) + recovery.verify(store, progress)

        return list(self._read(read))

    def update_analytics(self, hours: int = 2) -> int:
        """Refresh x402_analytics for the last `hours` hours. -> rows written."""
        found: int = self._job(lambda store: analytics.update(store, hours), write=True).run()
        return found

    def cleanup(self) -> int:
        """Forget expired credentials, counters of windows that are over, old hourly sums and the files of owners that are
        gone. Payments and events stay. -> how many."""  # fmt: skip
        found: int = self._job(analytics.cleanup, write=True).run()
        return found
