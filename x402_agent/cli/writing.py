"""Records for other programs: JSON lines or CSV, to stdout or a new private file."""

from __future__ import annotations

import csv
import json
import os
import sys
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from .. import SettingsError
from ..ledger import cell

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Form", "form", "target", "write"]

Form = Annotated[str, typer.Option("--format", help="jsonl or csv.")]


def form(said: str, *, machine: bool) -> str:
    """The form that was asked for. Raises SettingsError for none of the two."""
    if said not in ("jsonl", "csv") or (machine and said == "csv"):
        raise SettingsError(f"there is no export as {said}", rule="--format", hint="--format jsonl, or --format csv")
    return said


def target(output: Path | None) -> Any:
    """A new file, 0600, or stdout. Raises SettingsError where there is one already."""
    if output is None:
        return nullcontext(sys.stdout)
    try:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(f"{output} exists already", rule="--output makes a new file", hint="another name") from None
    except OSError as cause:
        raise SettingsError(f"{output} cannot be written: {cause.strerror}", rule="--output", hint="--output FILE, in a folder of yours") from None
    return os.fdopen(fd, "w", encoding="utf-8", newline="")


def write(file: IO[str], records: Iterable[dict[str, Any]], said: str) -> int:
    """Each record as a line; in CSV what a spreadsheet would take for a formula begins with an apostrophe. -> how many."""
    if said == "jsonl":
        return sum(bool(file.write(json.dumps(record) + "\n")) for record in records)
    writer, count = csv.writer(file, lineterminator="\n"), 0
    for count, record in enumerate(records, 1):
        if count == 1:
            writer.writerow(record)
        writer.writerow([cell(value) for value in record.values()])
    return count
