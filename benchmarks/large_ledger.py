"""A ledger of a million payments: how long opening it takes, and the query behind `log --today`.

The ledger is genuine to the last hash (`--verify` walks it whole): rows and events are those that paying writes, only put
in by the hundred thousand. Three years of 50 sellers; some payments are open, some were released.

    python benchmarks/large_ledger.py [PAYMENTS] [--verify]
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x402_agent import assets
from x402_agent.ledger import SqliteLedger
from x402_agent.ledger.events import digest
from x402_agent.ledger.rows import COLUMNS, INSERT, facts
from x402_agent.model import Ask, Offer, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["build", "opened", "today"]

DAYS = 1000
CLAIMED = '{"ms":41,"note":"","refused":0,"status":200,"tx":""}'
EVENT = "INSERT INTO x402_events VALUES (?,?,?,?,?,?,?,?,?)"
PAYEE, PAYER = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
CHANGED = (
    "payment_id", "ask_key", "nonce", "url", "origin", "host", "valid_after", "valid_before", "state", "is_open", "delivered",
    "day", "created_at", "updated_at", "last_event",
)  # fmt: skip
ENDS = {3: ("UNKNOWN", 1, 0), 5: ("PAID_UNDELIVERED", 1, 0), 7: ("DEAD", 0, 0)}


def build(path: Path, count: int) -> None:
    """Write `count` payments, the last of them now."""
    first = int(time.time()) - DAYS * 86400
    ledger = SqliteLedger(path, clock=lambda: first)
    usdc = next(each for each in assets.assets() if each.symbol == "USDC" and each.network.name == "base")
    offer = Offer("x402", "exact", usdc, 10_000, PAYEE, 60, "r", "d", wire=("2", "base", "{}", "", ""))
    ask = Ask("GET", "https://api0.example.com/report", "https://api0.example.com", "api0.example.com", "/report")
    hold = ledger.hold(ask, offer, Terms(PAYER, "0x" + "0" * 64, first, first + 60), ()).run()
    assert ledger.commit(hold).run() is not None
    ledger.close(hold, "CLAIMED", status=200, milliseconds=41).run()
    ledger.flush()
    store = ledger._store
    assert store is not None
    db = store.db
    template = list(db.execute(f"SELECT {', '.join(COLUMNS)} FROM x402_payments").fetchone())
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    db.execute("DROP INDEX x402_payments_payment_id")
    made = _payments(template, count, first, store.journal.head)
    while batch := [next(made, None) for _ in range(20_000)]:
        rows = [each for each in batch if each is not None]
        db.executemany(INSERT, [row for row, _, _ in rows])
        db.executemany(EVENT, (event for _, *events in rows for event in events))
        if len(rows) < len(batch):
            break
    db.execute("CREATE UNIQUE INDEX x402_payments_payment_id ON x402_payments (payment_id)")
    db.execute("DELETE FROM x402_counters")
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.shut()
    SqliteLedger(path).shut()  # seals its first checkpoint


def _payments(template: list[Any], count: int, first: int, head: str) -> Iterator[tuple[list[Any], Any, Any]]:
    """Row, first event and last event of each payment after the first."""
    at = [COLUMNS.index(name) for name in CHANGED]
    told = template.copy()
    for name, place in zip(CHANGED, at, strict=True):
        told[place] = f"@{name}@"
    text = facts(told).replace("%", "%%").replace("@url@", "%(origin)s/report")
    for name in CHANGED:
        text = text.replace(f"@{name}@", f"%({name})s")
    network, seq, day, seconds = template[COLUMNS.index("network")], 2, "", 0
    for number in range(1, count):
        row, now = template.copy(), first + number * DAYS * 86400 // count
        nonce = "0x" + hashlib.sha256(b"%d" % number).hexdigest()
        name, host = hashlib.sha256(f"{network} {nonce}".encode()).hexdigest()[:16], f"api{number % 50}.example.com"
        if now // 86400 != seconds:
            seconds, day = now // 86400, time.strftime("%Y-%m-%d", time.gmtime(now))
        state, is_open, delivered = ENDS.get(number % 10_000, ("CLAIMED", 0, 1))
        values = (name, nonce[2:], nonce, f"https://{host}/report", f"https://{host}", host, now - 600, now + 60, state, is_open,
                  delivered, day, now, now, seq + 2)  # fmt: skip
        for place, value in zip(at, values, strict=True):
            row[place] = value
        opened = (seq + 1, name, 0, "", "INFLIGHT", now * 1000, text % dict(zip(CHANGED, values, strict=True)))
        middle = digest(head, opened)
        ended = (seq + 2, name, seq + 1, "INFLIGHT", state, now * 1000 + 41, CLAIMED)
        last = digest(middle, ended)
        yield row, (*opened, head, middle), (*ended, middle, last)
        head, seq = last, seq + 2


def opened(path: Path, rounds: int = 5) -> float:
    """Milliseconds from the call until it may be paid from, the best of some rounds."""
    best = 1e9
    for _ in range(rounds):
        start = time.perf_counter()
        ledger = SqliteLedger(path)
        best = min(best, (time.perf_counter() - start) * 1000)
        ledger.shut()
    return best


def today(path: Path, rounds: int = 5) -> float:
    """Milliseconds of the query behind `log --today`, the best of some rounds."""
    ledger, best = SqliteLedger(path), 1e9
    for _ in range(rounds):
        start = time.perf_counter()
        assert ledger.payments(today=True)
        best = min(best, (time.perf_counter() - start) * 1000)
    ledger.shut()
    return best


def main(count: int = 1_000_000, *, verify: bool = False) -> None:
    """Build, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        start = time.perf_counter()
        build(path, count)
        print(f"{count} payments, {path.stat().st_size >> 20} MiB, written in {time.perf_counter() - start:.1f} s")
        print(f"open          {opened(path):7.1f} ms")
        print(f"log --today   {today(path):7.1f} ms")
        if verify:
            ledger, start = SqliteLedger(path), time.perf_counter()
            print(ledger.verify()[:3] or "all is well", f"verified in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    main(*numbers, verify="--verify" in sys.argv)
