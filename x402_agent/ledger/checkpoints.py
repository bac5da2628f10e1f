"""Sealed checkpoints: now and then an entry of the journal says what is counted so far, under the ledger's own seal.

Opening reads from the last of them to the head and no further back. Its sums say how much is counted without the rows
before it; its seal, made with the ledger's secret over the chain up to there, cannot be made again by whoever rewrites
the chain without that secret.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

from . import states
from .events import GENESIS, canonical, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .store import Store

__all__ = ["EVERY", "NAME", "SEALED", "accepts", "chain", "check", "due", "known_gaps", "last_id", "missing", "seal", "tidy", "whole"]

NAME, SEALED = "checkpoint", "SEALED"
EVERY = 1000  # entries of the journal between two of them
_ID = 16  # hex digits of a payment's id; one of our own transactions has more
TIDY = 100  # so many are sealed at a clean end
_UNSEALED = 4 * EVERY  # entries that opening walks where there is no checkpoint yet
_NEW = (
    f"SELECT realm, COUNT(*), SUM(CASE WHEN state IN {states.listed(states.FREED)} THEN 0 ELSE micros END), MAX(id) "
    "FROM x402_payments WHERE id > ? AND id <= ? GROUP BY realm"
)
_FREED = (
    "SELECT p.realm, CASE WHEN substr(e.data, 1, 11) = '{\"charged\":' THEN json_extract(e.data, '$.given_back') ELSE p.micros END "
    "FROM x402_events e CROSS JOIN x402_payments p ON p.payment_id = e.payment_id "
    f"WHERE e.seq > ? AND e.before > 0 AND p.id <= ? AND (e.state IN {states.listed(states.FREED)} "
    f"AND e.from_state NOT IN {states.listed(states.FREED)} "  # staying is recorded, too, and frees nothing twice
    "OR substr(e.data, 1, 11) = '{\"charged\":')"
)
_OPEN = "SELECT realm, SUM(micros) FROM x402_payments WHERE is_open = 1 GROUP BY realm"
_ENTRIES = "SELECT * FROM x402_events WHERE seq >= ? ORDER BY seq"

Entry = tuple[int, str, int, str, str, int, str, str, str]


def due(store: Store) -> bool:
    """Whether the next checkpoint is to be written with this batch. Under the lock, after its entries."""
    return store.journal.seq - store.journal.sealed >= EVERY and not store.broken


def tidy(store: Store) -> None:
    """At a clean end: one more, when it spares the next opening enough."""
    if store.journal.seq - store.journal.sealed > TIDY and not store.broken:
        seal(store)


def seal(store: Store, mended: str = "", gaps: int = 0) -> int:
    """Write one, with the sums of the last one and what has moved since. -> its seq.

    `mended` is a digest over all entries before it as they stand: a person has had them mended, and they are not looked
    at again; `gaps` is how many rows are missing for ever. Its sums are made of all rows.
    """
    journal = store.journal
    last = {} if mended else _data(store, journal.sealed)
    sums, last_id = _moved(store, last, journal.sealed)
    open_sums = dict(store.db.execute(_OPEN).fetchall())
    counted = {realm: [rows, micros, open_sums.get(realm, 0)] for realm, (rows, micros) in sums.items()}
    facts = {"last_id": last_id, "sums": counted, **({"accepts": mended, "gaps": gaps} if mended else {})}
    data = canonical({**facts, "seal": _seal(store, journal.seq + 1, journal.head, facts)})
    moved = (SEALED if journal.sealed else "", SEALED)
    journal.sealed = journal.append(NAME, journal.sealed, moved, int(store.clock() * 1000), data)
    return journal.sealed


def _seal(store: Store, seq: int, prev_hash: str, facts: dict[str, Any]) -> str:
    text = f"x402_agent checkpoint {seq} {prev_hash} {canonical(facts)}"
    return hmac.digest(store.secret, text.encode(), "sha256").hex()


def _data(store: Store, seq: int) -> dict[str, Any]:
    row = store.db.execute("SELECT data FROM x402_events WHERE seq = ?", (seq,)).fetchone() if seq else None
    found: dict[str, Any] = json.loads(row[0]) if row else {}
    return found


def _moved(store: Store, last: dict[str, Any], since: int) -> tuple[dict[str, list[int]], int]:
    """By realm, rows and micro-dollars counted now: what the last checkpoint says and all that came after it."""
    sums = {realm: [rows, micros] for realm, (rows, micros, _) in last.get("sums", {}).items()}
    last_id = newest = last.get("last_id", 0)
    for realm, rows, micros, number in store.db.execute(_NEW, (last_id, 2**62)).fetchall():
        had = sums.setdefault(realm, [0, 0])
        had[0], had[1], newest = had[0] + rows, had[1] + micros, max(newest, number)
    for realm, micros in store.db.execute(_FREED, (since, last_id)):
        sums[realm][1] -= micros
    return sums, newest


# -- trust ------------------------------------------------------------------------------------------------------------


def chain(rows: Iterable[Entry], head: str, expected: int) -> Iterator[tuple[Entry, str]]:
    """Each entry, and what is wrong with its place in the chain ("" when nothing)."""
    for row in rows:
        seq, prev_hash, made = row[0], row[7], row[8]
        wrong = seq != expected or prev_hash != head or digest(prev_hash, row[:7]) != made
        yield row, f"entry {seq} of the journal does not follow from the one before" if wrong else ""
        head, expected = made, seq + 1


def check(store: Store) -> list[str]:
    """At opening: the last checkpoint's seal, and the chain from it to the head. -> what is wrong, in words."""
    journal = store.journal
    first = journal.sealed or max(1, journal.seq - _UNSEALED)
    rows = store.db.execute(_ENTRIES, (first,)).fetchall()
    if not rows:
        return [f"entry {journal.seq} of the journal is missing"] if journal.seq else []
    before = rows[0][7] if first > 1 else GENESIS
    found = [wrong for _, wrong in chain(rows, before, first) if wrong]
    return (_sealed(store, rows[0]) if journal.sealed else []) + found + ([] if found else _rows_missing(store, rows))


def _rows_missing(store: Store, entries: list[Entry]) -> list[str]:
    """Rows are never deleted: there are as many as the checkpoint says and have begun since. An index alone is read."""
    begun = sum(1 for entry in entries if not entry[2] and len(entry[1]) == _ID)
    if entries[0][4] == SEALED:
        begun += sum(rows for rows, _, _ in json.loads(entries[0][6])["sums"].values())
    elif entries[0][0] != 1:
        return []
    (have,) = store.db.execute("SELECT COUNT(*) FROM x402_payments").fetchone()
    return [f"there are {have} payments, the journal has {begun}"] if have != begun else []


def last_id(store: Store) -> int:
    """The number of the last row that a checkpoint of this ledger knows of."""
    return int(_newest(store).get("last_id", 0))


def known_gaps(store: Store) -> int:
    """How many rows were missing when a person last had the ledger mended."""
    return sum(json.loads(row[6]).get("gaps", 0) for row in _checkpoints(store)[:1])


def missing(store: Store) -> dict[str, int]:
    """By realm, micro-dollars that the last checkpoint counted and the rows of its time, whatever became of them, do not."""
    for row in _checkpoints(store, "")[:1]:
        said, have = _compared(store, row)
        return {realm: max(0, micros - have.get(realm, 0)) for realm, micros in said.items()}
    return {}


def _newest(store: Store) -> dict[str, Any]:
    found = _checkpoints(store, "")
    return json.loads(found[0][6]) if found else {}


def _checkpoints(store: Store, that: str = '"accepts":') -> list[Entry]:
    """Our own checkpoints, the newest first, that have this in their data."""
    rows = store.db.execute("SELECT * FROM x402_events WHERE state = 'SEALED' ORDER BY seq DESC").fetchall()
    return [row for row in rows if that in row[6] and digest(row[7], row[:7]) == row[8] and not _sealed(store, row)]


def accepts(store: Store, row: Entry, before: str) -> bool:
    """Whether a person has had everything before this checkpoint mended, and it stands as it stood then."""
    return not _sealed(store, row) and json.loads(row[6]).get("accepts") == before


def _sealed(store: Store, row: Entry) -> list[str]:
    """Whether a checkpoint is this ledger's own."""
    try:
        facts = json.loads(row[6])
        made = facts.pop("seal")
        if row[1] == NAME and hmac.compare_digest(made, _seal(store, row[0], row[7], facts)):
            return []
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return [f"the checkpoint at entry {row[0]} is not sealed by this ledger"]


def whole(store: Store, checkpoints: list[Entry]) -> list[str]:
    """Every seal, and what the last checkpoint says is counted against the rows themselves."""
    found = [wrong for each in checkpoints for wrong in _sealed(store, each)]
    if found or not checkpoints:
        return found
    said, have = _compared(store, checkpoints[-1])
    return [
        f"the checkpoint at entry {checkpoints[-1][0]} counted {said.get(realm, 0)} micro-dollars of {realm} money, "
        f"the rows make {have.get(realm, 0)}"
        for realm in sorted(set(said) | set(have))
        if said.get(realm, 0) != have.get(realm, 0)
    ]


def _compared(store: Store, row: Entry) -> tuple[dict[str, int], dict[str, int]]:
    """By realm, what a checkpoint counted, and what the rows of its time make now and gave back since."""
    last = json.loads(row[6])
    said = {realm: micros for realm, (_, micros, _) in last["sums"].items()}
    have = {realm: micros for realm, _, micros, _ in store.db.execute(_NEW, (0, last["last_id"]))}
    for realm, micros in store.db.execute(_FREED, (row[0], last["last_id"])):
        have[realm] = have.get(realm, 0) + micros
    return said, have
