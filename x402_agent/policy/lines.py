"""Which lines of a TOML file each key stands on, since tomllib does not tell; and how one line is changed among the others."""

from __future__ import annotations

import re
import tomllib
from typing import Any, NamedTuple

from ..errors import SettingsError

__all__ = ["Lines", "Span", "spans"]

Path = tuple[str, ...]
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=""")
_TABLE = re.compile(r"\s*\[([^\[].*)\]\s*(?:#.*)?$")


class Span(NamedTuple):
    """From one line to another, both included, counted from 0."""

    first: int
    last: int


def spans(text: str) -> dict[Path, Span]:
    """Each table and key of a TOML text that tomllib has read, as a path of names, and where it stands."""
    found: dict[Path, Span] = {}
    table: Path = ()
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        first = number
        number += 1
        if header := _TABLE.match(lines[first]):
            table = _names(header[1] + " = 0") or table
            found[table] = Span(first, first)
        elif (key := _KEY.match(lines[first])) and (names := _names(key[1] + " = 0")):
            while not _whole("\n".join(lines[first:number])) and number < len(lines):
                number += 1
            found[table + names] = Span(first, number - 1)
    return found


def _names(text: str) -> Path:
    """`budgets."host:a" = 0` -> budgets, host:a."""
    try:
        data: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return ()
    names = []
    while isinstance(data, dict):
        name, data = next(iter(data.items()))
        names.append(name)
    return tuple(names)


def _whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


class Lines:
    """A TOML text to be changed key by key; every other line and its comments stay."""

    def __init__(self, text: str) -> None:
        self.before = tomllib.loads(text)
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.wanted: Any = tomllib.loads(text)

    def at(self) -> dict[Path, Span]:
        """Where everything stands now."""
        return spans("\n".join(self.lines))

    def put(self, table: Path, key: str, value: str) -> None:
        """Set one key to a value in TOML's own spelling, in place or at the end of its table's first lines."""
        data = self.wanted
        for name in table:
            data = data.setdefault(name, {})
        data[key] = tomllib.loads(f"v = {value}")["v"]
        at = self.at()
        line = f"{key} = {value}"
        if (*table, key) in at:
            first, last = at[*table, key]
            self.lines[first : last + 1] = [line + self._comment(first, last)]
        elif table in at:
            own = [span.last for names, span in at.items() if names[:-1] == table and span.first > at[table].first]
            self.lines.insert(max(own, default=at[table].last) + 1, line)
        elif table:
            header = ".".join(each if re.fullmatch("[A-Za-z0-9_-]+", each) else f'"{each}"' for each in table)
            self.lines += ["", f"[{header}]", line] if self.lines else [f"[{header}]", line]
        else:
            first_table = min((span.first for names, span in at.items() if _TABLE.match(self.lines[span.first])),
                              default=len(self.lines))  # fmt: skip
            tops = [span.last for span in at.values() if span.last < first_table]
            place = max(tops) + 1 if tops else 0
            self.lines[place:place] = [line, ""] if place == first_table < len(self.lines) else [line]

    def _comment(self, first: int, last: int) -> str:
        """The comment behind a value that stands on one line."""
        line = self.lines[first]
        for place in [each.start() for each in re.finditer("#", line)] if first == last else ():
            if _whole(line[:place]):
                return "   " + line[place:]
        return ""

    def text(self, where: str) -> str:
        """The new text, which says what was meant and nothing else; raises SettingsError when it would not."""
        made = "\n".join(self.lines) + "\n"
        try:
            same = tomllib.loads(made) == self.wanted
        except tomllib.TOMLDecodeError:
            same = False
        if not same:
            raise SettingsError(f"{where} is written in a way that this command cannot change safely", rule=where,
                                hint="change it by hand")  # fmt: skip
        return made
