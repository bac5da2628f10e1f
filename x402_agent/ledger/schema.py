"""The numbered .sql files of migrations/, applied forward only."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from ..errors import LedgerError

__all__ = ["SCHEMA", "migrate"]

SCHEMA = 3


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema to SCHEMA, one numbered file at a time; raises LedgerError for a newer one."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("CREATE TABLE IF NOT EXISTS x402_schema (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        have = db.execute("SELECT COALESCE(MAX(version), 0) FROM x402_schema").fetchone()[0]
        if have > SCHEMA:
            raise LedgerError(
                f"the ledger has schema {have}, this program knows {SCHEMA}",
                rule="migrations go forward only",
                hint="install the newer x402-agent-sdk that wrote it",
            )
        for name in sorted(each.name for each in files(__package__).joinpath("migrations").iterdir()):
            if not name.endswith(".sql") or int(name[:4]) <= have:
                continue
            for statement in _statements(files(__package__).joinpath("migrations", name).read_text("utf-8")):
                db.execute(statement)
            db.execute("INSERT INTO x402_schema (version, name) VALUES (?, ?)", (int(name[:4]), name))
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
