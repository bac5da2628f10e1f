"""A catalogue's document, row by row: one hostile row costs itself, never the page that it stands on.

The text is cut along its brackets, without recursion and before any JSON parser sees it; each row is then parsed strictly by
itself. What is cut off in the middle keeps the rows that came whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...dialects import strict
from ...errors import ChallengeInvalid
from ..nouns import Skip

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_PAGE", "MAX_ROW", "MAX_ROWS", "Rows", "parsed", "rows"]

MAX_PAGE = 16 << 20
MAX_ROW = 64 * 1024
MAX_ROWS = 50_000  # of a page: five million empty ones fit into its bytes
_TEXT = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'  # one that is never closed ends with the document: no second look at it
_TOKEN = re.compile(_TEXT + rb"|[\[\]{}]", re.DOTALL)
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _TEXT + rb")*+(?:([\[\]{}])|\Z)", re.DOTALL)  # with what stands before it
_TEXTS = re.compile(_TEXT, re.DOTALL).finditer
_FAR = 10_000  # brackets inside each other, where nobody looks for the end any more


def _nested(deep: int) -> bytes:
    """A pattern for one array or object with at most so many more inside each other; it never tries the same byte twice."""
    inner = b""
    for _ in range(deep + 1):
        inner = rb'[\[{][^"\[\]{}]*+(?:(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"' + (b"|" + inner if inner else b"") + rb')[^"\[\]{}]*+)*+[\]}]'
    return inner


_WHOLE = re.compile(_nested(strict.MAX_DEPTH - 1), re.DOTALL).match
_COLON = re.compile(rb"[ \t\r\n]*:").match
_DEEPEST = 3  # brackets around an array of rows: some catalogues wrap theirs once more


@dataclass(slots=True)
class Rows:
    """A document cut: `fields` of the outer object without its rows, the rows' bytes, and whether the end was missing."""

    fields: dict[str, Any] = field(default_factory=dict)
    raw: list[bytes] = field(default_factory=list)
    cut_off: bool = False

    def __iter__(self) -> Iterator[Any]:
        """Each row's value: a dict or a text; a Skip where it is neither or breaks a rule of strict.parse."""
        for number, raw in enumerate(self.raw):
            yield _row(number, raw)
        if len(self.raw) >= MAX_ROWS:
            yield Skip(f"after row {len(self.raw)}", f"more than {MAX_ROWS} rows on a page")
        elif self.cut_off:
            yield Skip(f"after row {len(self.raw)}", "the document is cut off there")


def rows(body: bytes, names: tuple[str, ...]) -> Rows:
    """The rows of the first array that is the outer value, or is called one of `names` at most two objects deep.

    Raises ChallengeInvalid when there is no such array (W1), or more than MAX_PAGE bytes (S6).
    """
    if len(body) > MAX_PAGE:
        raise ChallengeInvalid(f"a document of {len(body)} bytes", rule=f"a page of at most {MAX_PAGE >> 20} MiB (S6)")
    found = _Cut(body, {name.encode() for name in names})
    found.walk()
    if found.start < 0:
        raise ChallengeInvalid(f"it has no list called {' or '.join(names)}", rule="a catalogue's list of rows (W1)")
    made = Rows(raw=found.raw, cut_off=found.end < 0)
    if found.end >= 0 and body.lstrip()[:1] == b"{":
        try:
            made.fields = strict.parse(b"".join((body[: found.start], b"[]", body[found.end :])), limit=MAX_PAGE).fields
        except ChallengeInvalid:
            made.cut_off = True
    return made


def parsed(body: bytes) -> dict[str, Any]:
    """A document that is one thing and not a list: all of it or none. Raises ChallengeInvalid."""
    return strict.parse(body, limit=MAX_PAGE).fields


class _Cut:
    """One walk along the brackets of a document."""

    def __init__(self, body: bytes, names: set[bytes]) -> None:
        self.body, self.names = body, names
        self.raw: list[bytes] = []
        self.start = self.end = -1  # of the array of rows, brackets included
        self.key = b""  # the last text that a colon followed

    def walk(self) -> None:
        """Find the array, and cut it."""
        depth = 0
        for each in _TOKEN.finditer(self.body):
            mark = each[0]
            if mark == b"[" and (depth == 0 or (depth < _DEEPEST and self.key in self.names)):
                self.start = each.start()
                self._rows()
                return
            if mark in (b"[", b"{"):
                depth, self.key = depth + 1, b""
            elif mark in (b"]", b"}"):
                depth, self.key = depth - 1, b""
            else:
                self.key = mark[1:-1] if _COLON(self.body, each.end()) else b""

    def _rows(self) -> None:
        body, raw, at = self.body, self.raw, self.start + 1
        while len(raw) < MAX_ROWS and (each := _BRACKET.match(body, at)) is not None and each[1] is not None:
            begun = each.end() - 1
            if begun - at > 1:
                raw += [text[0] for text in islice(_TEXTS(body, at, begun), MAX_ROWS - len(raw))]
            if each[1] in b"]}":
                self.end = each.end()
                return
            whole = _WHOLE(body, begun)
            at = whole.end() if whole is not None else _end(body, begun)
            if at < 0:
                return
            raw.append(body[begun:at])


def _end(body: bytes, at: int) -> int:
    """Where a row ends that is nested too deep for any reader; -1 where it does not."""
    depth = 0
    for each in _BRACKET.finditer(body, at):
        if each[1] is None:
            break
        depth += 1 if each[1] in b"{[" else -1
        if depth == 0:
            return each.end()
        if depth > _FAR:
            break
    return -1


def _row(number: int, raw: bytes) -> Any:
    where = f"row {number}"
    if len(raw) > MAX_ROW:
        return Skip(where, f"it has {len(raw)} bytes, more than {MAX_ROW >> 10} KiB")
    if raw[:1] == b"[":
        return Skip(where, "it is neither an object nor a text")
    try:
        return strict.value(raw)
    except ChallengeInvalid as why:
        return Skip(where, f"{why.what}: {why.rule}")
