"""One counter for each scope and window that a limit has ever named; every payment of that scope moves it.

A counter is nothing but a sum over payments, kept so that it need not be made again: those that are counted, and were
begun in its window or could still settle when that began (X7). So a missing one is made from the rows, and a damaged one
is refused. Only RELEASED, DEAD and a true-up take anything out, and only of the windows that a payment stands in.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..assets import assets
from ..errors import LedgerError
from . import states
from .rows import scopes_of_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .cache import Cache
    from .store import Store

__all__ = ["GRACE", "Counter", "add", "at", "first_payment", "flush", "forget", "known", "load", "look", "made_at", "problems", "sweep", "take", "where"]

GRACE = 86400  # seconds after its expiry during which an open row still counts and blocks (no node: X7)
SLACK = 300  # seconds by which rows of older ledgers may stand out of order
WHOLE = 16  # so many counters are read at once; of more, those that are asked for
MANY = 4096  # scopes that memory knows about
RECENT = 5000  # payments that are summed up at opening, for all counters together
_MAY_SETTLE = states.UNSENT | states.IN_DOUBT
_MAY, _FREED, _NEITHER = map(states.listed, (_MAY_SETTLE, states.FREED, _MAY_SETTLE | states.FREED))
_RUN = re.compile(r"(?:.*\.)?([0-9a-f]{8})[0-9a-f]{12}")  # behind a signer's socket, with the agent's name in front
_READ = "SELECT scope, window, began_at, micros, payments, units, checksum FROM x402_counters"
_PUT = "INSERT OR REPLACE INTO x402_counters VALUES (?,?,?,?,?,?,?)"
_SUM = "SELECT COALESCE(SUM(p.micros), 0), COUNT(*) FROM {}"
_EACH = "SELECT p.micros, 1, CASE p.charged WHEN '' THEN p.amount ELSE p.charged END, p.fee_cap FROM {}"
_EVER = f"x402_payments p WHERE p.state NOT IN {_FREED}"
_BEGUN = f"{_EVER} AND p.id >= ? AND p.created_at >= ?"
_OPEN = f"x402_payments p WHERE p.is_open = 1 AND p.state IN {_MAY} AND p.created_at < ? AND p.valid_before > ?"
_CLOSED = (
    f"(SELECT DISTINCT payment_id FROM x402_events WHERE seq >= ? AND from_state IN {_MAY} AND state NOT IN {_NEITHER}) e "
    "CROSS JOIN x402_payments p ON p.payment_id = e.payment_id "
    f"WHERE p.created_at < ? AND p.valid_before > ? AND p.state NOT IN {_NEITHER}"
)
_ROW = (
    "SELECT realm, origin, host, path, chain, network, asset, to_address, agent, team, task, runs, tool, category, "
    "created_at, valid_before, amount, charged, fee_cap, last_event FROM x402_payments WHERE id = ?"
)
_LEFT = f"SELECT from_state IN {_MAY} AND state NOT IN {_MAY}, at, before FROM x402_events WHERE seq = ?"


@dataclass(slots=True)
class Counter:
    """What is counted in one window of one scope since `began` (unix seconds): micro-dollars, payments, atomic units."""

    scope: str
    window: str
    began: int
    micros: int = 0
    payments: int = 0
    units: int = 0

    def put(self, secret: bytes) -> tuple[object, ...]:
        """Its row."""
        row = (self.scope, self.window, self.began, self.micros, self.payments, str(self.units))
        return (*row, _checksum(secret, row))


def _checksum(secret: bytes, row: tuple[object, ...]) -> str:
    return hashlib.blake2b(repr(row).encode(), key=secret, digest_size=8).hexdigest()


# -- memory -----------------------------------------------------------------------------------------------------------


def load(store: Store, scopes: Iterable[str]) -> None:
    """See to it that memory knows whether these scopes (`REALM/SCOPE`) are counted, and what. A damaged row breaks the
    ledger."""  # fmt: skip
    cache = store.cache
    if cache.whole or not (missing := [each for each in scopes if each not in cache.counters]):
        return
    if cache.whole is None:
        rows = store.db.execute(f"{_READ} LIMIT {WHOLE + 1}").fetchall()
        cache.whole = len(rows) <= WHOLE
        if cache.whole:
            _remember(store, rows)
            return
    rows = store.db.execute(f"{_READ} WHERE scope IN ({','.join('?' * len(missing))})", missing).fetchall()
    for each in missing:
        cache.counters[each] = {}
    _remember(store, rows)


def _remember(store: Store, rows: Iterable[tuple[object, ...]]) -> None:
    for *row, checksum in rows:
        made = _counter(store, tuple(row), checksum)
        if made is None:
            store.broken = store.broken or f"{store.path} is damaged: {_damaged(row)}"
        else:
            store.cache.counters.setdefault(made.scope, {})[made.window] = made


def _counter(store: Store, row: tuple[object, ...], checksum: object) -> Counter | None:
    if _checksum(store.secret, row) != checksum:
        return None
    scope, window, began, micros, payments, units = row
    return Counter(str(scope), str(window), int(began), int(micros), int(payments), int(str(units)))  # type: ignore[call-overload]


def _damaged(row: Iterable[object]) -> str:
    scope, window, *_ = row
    return f"the counter of {scope} per {window} is not what was written"


def look(cache: Cache, scope: str, window: str, began: int) -> Counter | None:
    """What memory knows of a scope in the window that began then. It only looks things up, so any thread may ask."""
    held = cache.counters.get(scope)
    counter = held.get(window) if held else None
    if counter is not None and counter.began == began:
        return counter
    held = cache.ahead.get(scope)
    counter = held.get(window) if held else None
    return counter if counter is not None and counter.began == began else None


def at(store: Store, scope: str, window: str, began: int) -> Counter:
    """The counter of a scope in the window that began then; made from the rows where there is none. After `load`."""
    counter = look(store.cache, scope, window, began)
    if counter is None:
        counter = _sum(store, scope, window, began)
        if began:  # it replaces an older window only together with a payment: a clock may have been wrong
            store.cache.ahead.setdefault(scope, {})[window] = counter
        else:
            _keep(store, counter)
    return counter


def _keep(store: Store, counter: Counter) -> None:
    store.cache.counters.setdefault(counter.scope, {})[counter.window] = counter
    store.cache.dirty[counter.scope, counter.window] = counter


def known(store: Store, scope: str, window: str, began: int) -> Counter:
    """The same for one who only reads: nothing is kept."""
    rows = store.db.execute(f"{_READ} WHERE scope = ? AND window = ?", (scope, window)).fetchall()
    for *row, checksum in rows:
        made = _counter(store, tuple(row), checksum)
        if made is not None and made.began == began:
            return made
    return _sum(store, scope, window, began)


def flush(store: Store) -> None:
    """Write what has changed, once for all payments of a batch."""
    cache = store.cache
    if cache.dirty:
        store.db.executemany(_PUT, [each.put(store.secret) for each in cache.dirty.values()])
        cache.dirty.clear()
    if len(cache.counters) > MANY:
        cache.counters.clear()
        cache.ahead.clear()
        cache.whole = None


def sweep(store: Store) -> int:
    """Forget the counters of tasks and slips made more than two days ago: one that still lives is counted anew, or written
    again by whoever has it in memory. -> how many."""  # fmt: skip
    until, gone = f"{max(0, int(store.clock()) - 2 * 86400):08x}", 0
    for realm in ("real", "test", "sandbox"):
        bounds = f"{realm}/run:0", f"{realm}/run:{until}"
        gone += store.db.execute("DELETE FROM x402_counters WHERE scope >= ? AND scope < ?", bounds).rowcount
    return gone


def forget(store: Store) -> int:
    """Throw all counters away: they are counted anew from the rows when a limit names them. -> how many."""
    store.cache.forget()
    return store.db.execute("DELETE FROM x402_counters").rowcount


# -- counting -----------------------------------------------------------------------------------------------------------


def add(store: Store, scopes: Iterable[str], began: Mapping[str, int], micros: int, units: int) -> None:
    """Count a payment that is about to be written; what its scopes hold was loaded before."""
    cache = store.cache
    for scope in scopes:
        held = cache.counters.get(scope)
        if cache.ahead and (ahead := cache.ahead.pop(scope, None)):
            held = cache.counters[scope] = {**(held or {}), **ahead}
        if not held:
            continue
        for window, counter in held.items():
            if counter.began != began[window]:  # a window has ended: the next begins with what may still settle
                counter = held[window] = _sum(store, scope, window, began[window])  # noqa: PLW2901
            counter.micros += micros
            counter.payments += 1
            if "/asset:" in scope and _is_asset(scope):
                counter.units += units
            cache.dirty[scope, window] = counter


def take(store: Store, number: int, before: str, micros: int, *, charged: int | None = None) -> None:
    """Uncount the payment in row `number`, which stood in state `before`: all of it, or what it was not `charged`."""
    cursor = store.db.cursor()
    row = dict(zip((part[0] for part in cursor.execute(_ROW, (number,)).description), cursor.fetchone(), strict=True))
    units = int(row["amount"]) - charged if charged is not None else int(row["charged"] or row["amount"]) + int(row["fee_cap"])
    scopes = [f"{row['realm']}/{each}" for each in scopes_of_row(row)]
    load(store, scopes)
    store.cache.ahead.clear()
    for scope in scopes:
        for window, counter in store.cache.counters.get(scope, {}).items():
            if _stands_in(store, row, before, counter.began):
                counter.micros -= micros
                counter.payments -= charged is None
                counter.units -= units if _is_asset(scope) else 0
                store.cache.dirty[scope, window] = counter


def _stands_in(store: Store, row: dict[str, int], before: str, began: int) -> bool:
    if row["created_at"] >= began:
        return True
    if row["valid_before"] + GRACE <= began:
        return False
    return before in _MAY_SETTLE or _settled_at(store, row["last_event"]) >= began * 1000


def _settled_at(store: Store, seq: int) -> int:
    """When a payment ceased to be one that may still settle, in unix milliseconds: by the journal's time."""
    while seq and (event := store.db.execute(_LEFT, (seq,)).fetchone()) is not None:
        if event[0]:
            return int(event[1])
        seq = event[2] if event[2] < seq else 0
    return 0


# -- from the rows -------------------------------------------------------------------------------------------------------


def _sum(store: Store, scope: str, window: str, began: int) -> Counter:
    """What the rows say: begun since, or could still settle then."""
    condition, values = where(scope)
    made = Counter(scope, window, began)
    kind, _, run = scope.partition("/")[2].partition(":")
    since = made_at(run) if kind == "run" else 0
    parts: list[tuple[str, tuple[int, ...]]] = [(_BEGUN, (first_payment(store, since), 0)) if since else (_EVER, ())]
    if began:
        parts = [
            (_BEGUN, (first_payment(store, began), began)),
            (_OPEN, (began, began - GRACE)),
            (_CLOSED, (_first(store, "x402_events", "at", began * 1000), began, began - GRACE)),
        ]
    for part, bounds in parts:
        query = (_EACH if _is_asset(scope) else _SUM).format(part)
        for micros, payments, *units in store.db.execute(f"{query} AND {condition}", (*bounds, *values)):
            made.micros += micros
            made.payments += payments
            made.units += sum(map(int, units))
    return made


def where(scope: str) -> tuple[str, tuple[object, ...]]:
    """Which rows stand in a scope: what `scopes_of` says, as SQL; raises LedgerError for a scope that is none."""
    realm, _, rest = scope.partition("/")
    kind, _, name = rest.partition(":")
    column = {"group": "team", "agent": "agent", "tool": "tool", "category": "category"}.get(kind, kind)
    if rest == "all":
        return "p.realm = ?", (realm,)
    if kind == "asset" and "/" not in name:  # by its symbol, on all networks
        ids = [each.id for each in assets() if each.symbol == name]
        return f"p.realm = ? AND p.asset IN ({','.join('?' * len(ids))})", (realm, *ids)
    if kind in ("host", "origin", "asset"):
        return f"p.realm = ? AND p.{kind} = ?", (realm, name)
    if kind in ("group", "agent", "tool", "category"):
        return f"p.realm = ? AND instr(',' || p.{column} || ',', ?) > 0", (realm, f",{name},")
    if kind == "run":
        return "p.realm = ? AND p.runs <> '' AND instr(p.runs || '/', ?) > 0", (realm, f"/{name}/")
    if kind == "task":
        return "p.realm = ? AND substr(p.task || '/', 1, ?) = ?", (realm, len(name) + 1, name + "/")
    if kind == "payee":
        network, slash, address = name.rpartition("/")
        if not slash:
            same = "(p.to_address = ? OR (p.network LIKE 'eip155:%' AND lower(p.to_address) = ?))"
            return f"p.realm = ? AND {same}", (realm, address, address)
        to = "lower(p.to_address)" if network.startswith("eip155:") else "p.to_address"
        return f"p.realm = ? AND p.network = ? AND {to} = ?", (realm, network, address)
    if kind == "path" and name.count("/") > 2:
        origin, prefix = name[: (cut := name.index("/", name.index("://") + 3))], name[cut + 1 :] + "/"
        return ("p.realm = ? AND p.origin = ? AND substr(trim(p.path, '/') || '/', 1, ?) = ?",
                (realm, origin, len(prefix), prefix))  # fmt: skip
    raise LedgerError(f"nothing counts a limit of scope {rest!r}", rule="scopes of docs/reference/settings.md")


def made_at(run: str) -> int:
    """A day before a task or slip was made, in unix seconds, 0 when nobody knows: its id says when (`model.run_id`), and a
    clock may be set back. No payment under it is older (`sqlite._admit`)."""  # fmt: skip
    found = _RUN.fullmatch(run)
    return max(0, int(found[1], 16) - 86400) if found else 0


def _is_asset(scope: str) -> bool:
    """Whether atomic units are counted in a scope (`REALM/SCOPE`): of one asset alone do they make a sum."""
    return scope.partition("/")[2].startswith("asset:") and scope.count("/") > 1


def first_payment(store: Store, began: int) -> int:
    """The first row that may have been made at `began` (unix seconds) or later, without an index on time."""
    return _first(store, "x402_payments", "created_at", began - SLACK) if began else 1


def first_event(store: Store, began: int) -> int:
    """The first event that was written at `began` (unix seconds) or later."""
    return _first(store, "x402_events", "at", began * 1000) if began > 0 else 1


def _first(store: Store, table: str, column: str, at: int) -> int:
    """The first row (by id or seq, which run with time) that is not before `at`; found in few steps when it is recent."""
    key = "id" if table == "x402_payments" else "seq"
    query = f"SELECT {key}, {column} FROM {table} WHERE {key} <= ? ORDER BY {key} DESC LIMIT 1"
    low, high, step, probe = 0, 0, 1, 2**63 - 1
    while probe > 0 and (row := store.db.execute(query, (probe,)).fetchone()) is not None:
        if row[1] < at:
            low = row[0]
            break
        high, probe, step = row[0], row[0] - step, step * 2
    if not high:
        return low + 1
    while high - low > 1:
        middle = (low + high) // 2
        row = store.db.execute(query, (middle,)).fetchone()
        if row is None or row[0] <= low or row[1] < at:
            low = middle
        else:
            high = row[0]
    return high


# -- trust ---------------------------------------------------------------------------------------------------------------


def problems(store: Store, *, whole: bool) -> list[str]:
    """What is wrong with the counters, in words: each is its checksum's and its rows'; at opening, where that is cheap."""
    found, left = [], RECENT
    newest = store.db.execute("SELECT COALESCE(MAX(id), 0) FROM x402_payments").fetchone()[0]
    for *row, checksum in store.db.execute(_READ + ("" if whole else f" LIMIT {WHOLE}")).fetchall():
        counter = _counter(store, tuple(row), checksum)
        if counter is None:
            found.append(_damaged(row))
            continue
        if not whole:
            rows = newest - first_payment(store, counter.began)
            if rows >= left:
                continue
            left -= rows
        made = _sum(store, counter.scope, counter.window, counter.began)
        if made != counter:
            found.append(
                f"the counter of {counter.scope} per {counter.window} is {counter.micros} micro-dollars of {counter.payments} "
                f"payments, its rows make {made.micros} of {made.payments}"
            )
    return found
