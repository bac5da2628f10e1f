"""The numbered .sql files of migrations/, applied forward only."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from ..errors import LedgerError

__all__ = ["migrate"]



def migrate(db: sqlite3.Connection) -> None:
    """Apply the numbered files that the ledger has not seen, in their order; raises LedgerError for a newer ledger."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("CREATE TABLE IF NOT EXISTS x402_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        have = {version for (version,) in db.execute("SELECT version FROM x402_schema")}
        folder = files(__package__).joinpath("migrations")
        known = {int(each.name[:4]): each for each in folder.iterdir() if each.name.endswith(".sql")}
        if have - set(known):
            raise LedgerError(
                f"the ledger has schema {max(have)}, this program knows {max(known)}",
                rule="migrations go forward only",
                hint="install the newer x402-agent-sdk that wrote it",
            )
        for version in sorted(set(known) - have):
            for statement in _statements(known[version].read_text("utf-8")):
                db.execute(statement)
            db.execute("INSERT INTO x402_schema (version, name) VALUES (?, ?)", (version, known[version].name))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    found, held = [], ""
    for line in script.splitlines():
        held += line + "\n"
        if sqlite3.complete_statement(held):
            found.append(held)
            held = ""
    return found
