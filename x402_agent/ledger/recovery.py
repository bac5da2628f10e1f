"""What opening a ledger does: give back what provably never left, and check what is still counted. Idempotent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ..assets import asset_by_id
from ..errors import LedgerError
from . import budget, checkpoints, counters, states, transactions
from .events import GENESIS, digest
from .moves import known, move
from .rows import COLUMNS, OFFER_COLUMNS, SELECT, offer_of, true_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store

__all__ = ["entry_at", "nothing", "recover", "row_problems", "trust", "verify"]

RECENT = 5000  # rows that are compared with the index of open ones at opening; `verify` compares all
NEWEST = 300  # closed rows that are compared with the journal at opening: some 10 ms
TOLD = 20_000  # entries after which `verify` says how far it is
SMALL = 4 << 20  # bytes of a file that SQLite checks whole at open: some 15 ms


def nothing(_store: Store) -> None:
    """A job that only waits for its turn."""


def recover(store: Store) -> int:
    """RESERVED and BUILT rows of owners that are gone -> RELEASED: nothing of them left this machine. -> how many."""
    found = 0
    if store.broken:
        return found  # what cannot be trusted frees nothing
    unsent = states.listed(states.UNSENT)
    query = f"SELECT payment_id, owner FROM x402_payments WHERE is_open = 1 AND state IN {unsent}"
    for payment_id, owner in store.db.execute(query).fetchall():
        row = None if store.owners.alive(owner) else known(store, payment_id)
        if row is not None and row.state in states.UNSENT:
            move(store, row, "RELEASED", note="its process ended before anything left")
            found += 1
    found += transactions.release(store)
    counters.sweep(store)
    store.owners.sweep()
    return found


def trust(store: Store) -> None:
    """Compare the open rows and the newest with the journal, and counters with their rows where that is quick; marks the store broken.

    Inside a transaction: with others writing between two reads, honest books would not add up.
    """
    problems = _shape(store)
    if not problems:
        problems = checkpoints.check(store)
        for which in ("is_open = 1", f"is_open = 0 ORDER BY p.id DESC LIMIT {NEWEST}"):
            for row in store.db.execute(f"{SELECT} WHERE {which}").fetchall():
                problems += row_problems(store, row)
        problems += transactions.problems(store, entry_at, whole=False)[0] + budget.problems(store, whole=False)
    if problems and not store.broken:
        store.broken = f"{store.path} has been changed or damaged: {problems[0]}"


def _shape(store: Store) -> list[str]:
    """SQLite's own check of a small file; of a large one, that the index of open rows hides none of the newest (Z1)."""
    (pages,), (size,) = (store.db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    if pages * size <= SMALL:
        return [str(row[0]) for row in store.db.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
    newest = f"SELECT id, is_open FROM x402_payments NOT INDEXED ORDER BY id DESC LIMIT {RECENT}"
    rows = store.db.execute(newest).fetchall()
    by_index = "SELECT id FROM x402_payments INDEXED BY x402_payments_open WHERE is_open = 1 AND id >= ?"
    known_open = {row[0] for row in store.db.execute(by_index, (rows[-1][0] if rows else 0,))}
    hidden = known_open ^ {row[0] for row in rows if row[1] == 1}
    return [f"the index of open payments is wrong about row {number}" for number in sorted(hidden)]


def verify(store: Store, progress: Callable[[int, int], object] | None = None) -> list[str]:
    """Walk the whole chain, every row and every counter. -> what is wrong, in words; [] when all is well."""
    if store.db.in_transaction:
        return _verify(store, progress)
    store.db.execute("BEGIN")  # one snapshot, while others go on writing
    try:
        return _verify(store, progress)
    finally:
        store.db.execute("COMMIT")


def _verify(store: Store, progress: Callable[[int, int], object] | None) -> list[str]:
    (entries,) = store.db.execute("SELECT COALESCE(MAX(seq), 0) FROM x402_events").fetchone()
    problems: list[str] = []
    stood: dict[str, tuple[int, str]] = {}
    mended: set[str] = set()
    sealed, seen = [], hashlib.sha256()
    for event, wrong in checkpoints.chain(store.db.execute("SELECT * FROM x402_events ORDER BY seq"), GENESIS, 1):
        problems += [wrong] if wrong else []
        if event[2:4] != stood.get(event[1], (0, "")):
            problems.append(f"entry {event[0]} does not continue payment {event[1]}")
        stood[event[1]] = (event[0], event[4])
        if event[4] == checkpoints.SEALED:
            sealed.append(event)
            if checkpoints.accepts(store, event, seen.hexdigest()):
                problems, sealed, mended = [], [event], {*mended, *stood}
        seen.update(repr(event).encode("utf-8", "surrogatepass"))
        if progress is not None and (event[0] % TOLD == 0 or event[0] == entries):
            progress(event[0], entries)
    ids = {checkpoints.NAME}
    for row in store.db.execute(SELECT).fetchall():
        ids.add(row[0])
        problems += row_problems(store, row)
    unlike, sent = transactions.problems(store, entry_at, whole=True)
    problems, ids = problems + unlike, ids | sent | mended
    problems += [f"payment {each} is in the journal and has no row" for each in stood if each not in ids]
    problems += checkpoints.whole(store, sealed) + budget.problems(store, whole=True)
    problems += [str(row[0]) for row in store.db.execute("PRAGMA integrity_check") if row[0] != "ok"]
    return problems


def row_problems(store: Store, row: tuple[Any, ...]) -> list[str]:
    """A row must say what its first event said, and stand where its last event left it."""
    named = dict(zip((*COLUMNS, *OFFER_COLUMNS), row, strict=True))
    payment_id, seq = named["payment_id"], named["last_event"]
    event = entry_at(store, seq)
    if event is None or event[1] != payment_id or event[4] != named["state"]:
        return [f"payment {payment_id} is {named['state']}, its journal does not say so"]
    trued_up: list[str] = []
    fees: list[str] = []
    hurt = named["state"] == "QUARANTINE"
    while event[2]:
        hurt = hurt or event[3] == "QUARANTINE"
        trued_up += [event[6]] if event[6].startswith('{"charged":') else []
        fees += [event[6]] if event[6].startswith('{"fee":') else []
        if event[2] >= event[0]:
            return [f"the journal of payment {payment_id} runs backwards"]
        earlier = entry_at(store, event[2])
        if earlier is None or earlier[1] != payment_id:
            return [f"the journal of payment {payment_id} has a hole"]
        event = earlier
    if not true_to(row, event[6]):
        return [f"the row of payment {payment_id} is not what its journal says"]
    charged, given = named["charged"], named["given_back"]
    shown = [f'{{"charged":"{charged}","given_back":{given},'] if charged or given else []
    if [each[: len(shown[0])] if shown else each for each in trued_up] != shown:
        return [f"payment {payment_id} counts another charge than its journal shows"]
    took = f'{{"fee":"{named["gas_paid"]}",' if named["gas_paid"] else ""
    if bool(fees) != bool(took) or (fees and not fees[0].startswith(took)):
        return [f"payment {payment_id} counts another fee than its journal shows"]
    if hurt:
        return []  # it is not presented again, so its offer may be gone
    try:
        offer_of(named)
    except LedgerError as cause:
        return [] if asset_by_id(named["asset"]) is None else [cause.what]
    except (ValueError, TypeError):
        return [f"the offer of payment {payment_id} cannot be read"]
    return []


def entry_at(store: Store, seq: int) -> tuple[Any, ...] | None:
    """One event whose own hash is right, else None."""
    row = store.db.execute("SELECT * FROM x402_events WHERE seq = ?", (seq,)).fetchone()
    if row is None or digest(row[7], tuple(row[:7])) != row[8]:
        return None
    found: tuple[Any, ...] = tuple(row)
    return found
