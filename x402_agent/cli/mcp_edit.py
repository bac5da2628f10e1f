"""One entry of a configuration file that others own: put in its place, every other byte stays, comments and all.

What comes out is parsed again and compared: a file that says anything else than before plus our entry is not written.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from .. import SettingsError
from ..dialects.strict import measure
from ..errors import ChallengeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["in_json", "in_toml", "json_text", "toml_text"]

Entry = dict[str, Any]
_QUIET = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'"(?:[^"\\\n]|\\.)*"|,(?=\s*[}\]])')
_SPACE = re.compile(r"\s*")
_HEADER = re.compile(r"^[ \t]*\[[^\n]*$", re.MULTILINE)
_READ = json.JSONDecoder()
_DEEPEST = 200


def json_text(table: str, name: str, entry: Entry) -> str:
    """The entry alone, as a whole document."""
    return json.dumps({table: {name: entry}}, indent=2) + "\n"


def in_json(text: str, table: str, name: str, entry: Entry) -> tuple[str, Entry | None]:
    """The document with the entry in its table, and the entry that stood there before; comments are kept.

    Raises SettingsError where the document is not JSON (with or without comments and trailing commas), or says a name twice.
    """
    bare = _bare(text)
    if not bare.strip():
        return json_text(table, name, entry), None
    was = _parsed(bare)
    root = _object(bare, _after(bare, 0), "the document")
    found = _one(root, table)
    if found is None:
        fresh = _inserted(text, root, table, {name: entry})
    else:
        inner = _object(bare, found[1], f'"{table}"')
        old = _one(inner, name)
        fresh = _inserted(text, inner, name, entry) if old is None else _replaced(text, old, entry)
    wanted = copy.deepcopy(was)
    before = wanted.setdefault(table, {}).get(name)
    wanted[table][name] = entry
    if _parsed(_bare(fresh)) != wanted:
        raise _unsafe()
    return fresh, before


def _unsafe() -> SettingsError:
    return SettingsError("the entry cannot be put in without touching something else", rule="every other byte stays as it is",
                         hint="put in by hand what --print shows")  # fmt: skip


def _bare(text: str) -> str:
    """The same text with comments and trailing commas as blanks, so that every place stays where it is."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0][0] == '"' else re.sub(r"[^\n]", " ", found[0])

    return _TRAILING.sub(blank, _QUIET.sub(blank, text))


def _parsed(bare: str) -> dict[str, Any]:
    try:
        measure(bare, _DEEPEST)
        found = json.loads(bare)
    except json.JSONDecodeError as why:
        raise SettingsError(f"it is not JSON: {why.msg}", rule=f"line {why.lineno}", hint="mend it first; nothing was written") from None
    except (ChallengeInvalid, RecursionError, ValueError):
        raise SettingsError("it is not JSON that can be read", rule="its depth, or a number", hint="nothing was written") from None
    if not isinstance(found, dict):
        raise SettingsError("it is JSON, and no object", rule="line 1", hint="nothing was written")
    return found


Span = tuple[int, int, int]  # where a member's name begins, its value begins, its value ends


def _after(bare: str, at: int) -> int:
    found = _SPACE.match(bare, at)
    return found.end() if found else at


def _object(bare: str, at: int, what: str) -> tuple[list[tuple[str, Span]], int, int]:
    """Members of the object that begins here, its own place, and that of its closing brace; the text is known to be JSON."""
    if bare[at] != "{":
        raise SettingsError(f"{what} is no object", rule="its type", hint="nothing was written")
    members: list[tuple[str, Span]] = []
    here = _after(bare, at + 1)
    while bare[here] != "}":
        name, end = _READ.raw_decode(bare, here)
        value = _after(bare, _after(bare, end) + 1)
        _, last = _READ.raw_decode(bare, value)
        members.append((name, (here, value, last)))
        here = _after(bare, last)
        here = _after(bare, here + 1) if bare[here] == "," else here
    return members, at, here


def _one(found: tuple[list[tuple[str, Span]], int, int], name: str) -> Span | None:
    spans = [span for each, span in found[0] if each == name]
    if len(spans) > 1:
        raise SettingsError(f'it says "{name}" twice', rule="which one counts differs from reader to reader", hint="mend it first")
    return spans[0] if spans else None


def _written(entry: Entry, text: str, indent: str, unit: str) -> str:
    """The entry as it stands behind its name; on one line where the whole file is."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if newline not in text.strip():
        return json.dumps(entry)
    return json.dumps(entry, indent=unit).replace("\n", newline + indent)


def _indent(text: str, at: int) -> str:
    """The blanks that the line of this place begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    found = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return found[1] if found else "  "


def _replaced(text: str, old: Span, entry: Entry) -> str:
    return text[: old[1]] + _written(entry, text, _indent(text, old[0]), _unit(text)) + text[old[2] :]


def _inserted(text: str, place: tuple[list[tuple[str, Span]], int, int], name: str, entry: Entry) -> str:
    """As the last member: a comma behind the last value, unless one stands there; the rest behind its line's comment."""
    members, start, close = place
    newline = "\r\n" if "\r\n" in text else "\n"
    flat = newline not in text.strip()
    unit = _unit(text)
    indent = _indent(text, members[-1][1][0]) if members else _indent(text, start) + unit
    end = len(text[:close].rstrip())  # behind whatever stands last, a comment perhaps
    member = f"{json.dumps(name)}: {_written(entry, text, indent, unit)}"
    tail = "" if flat or newline in text[end:close] else newline + _indent(text, start)
    body = (" " if flat and members else "") if flat else newline + indent
    fresh = text[:end] + body + member + tail + text[end:]
    if members and "," not in _QUIET.sub("", text[members[-1][1][2] : close]):
        last = members[-1][1][2]
        fresh = fresh[:last] + "," + fresh[last:]
    return fresh


def toml_text(table: str, name: str, entry: Entry) -> str:
    """The entry alone, as TOML: strings, lists of strings, and one level of tables."""
    lines = [f"[{table}.{name}]"]
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items() if not isinstance(value, dict)]
    for key, inner in entry.items():
        if isinstance(inner, dict):
            lines += ["", f"[{table}.{name}.{key}]", *(f"{each} = {json.dumps(value, ensure_ascii=False)}" for each, value in inner.items())]
    return "\n".join(lines).replace("\x7f", "\\u007f") + "\n"


def in_toml(text: str, table: str, name: str, entry: Entry) -> tuple[str, Entry | None]:
    """The same for TOML: our own tables replaced where they stand, else put at the end."""
    was = _tables(text)
    holder = was.get(table, {})
    before = holder.get(name) if isinstance(holder, dict) else None
    newline = "\r\n" if "\r\n" in text else "\n"
    ours = toml_text(table, name, entry).replace("\n", newline)
    kept, at = _without(text, f"{table}.{name}") if before is not None else (text, None)
    if at is None:
        gap = "" if not kept.strip() else newline if kept.endswith("\n") else newline * 2
        fresh = kept + gap + ours
    else:
        fresh = kept[:at] + ours + (newline if kept[at:].strip() else "") + kept[at:]
    wanted: dict[str, Any] = copy.deepcopy(was)
    if isinstance(wanted.setdefault(table, {}), dict):
        wanted[table][name] = entry
    try:
        right = _tables(fresh) == wanted
    except SettingsError:
        right = False
    if not right:
        raise _unsafe()
    return fresh, before


def _tables(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as why:
        raise SettingsError(f"it is not TOML: {why}", rule="the TOML reader", hint="mend it first; nothing was written") from None


def _without(text: str, ours: str) -> tuple[str, int | None]:
    """The text less the tables of this name and below, each up to the next header; and where the first of them stood.

    Comments right above the next header are that header's.
    """
    own = re.compile(rf'^\s*\[\s*{re.escape(ours.partition(".")[0])}\s*\.\s*"?{re.escape(ours.partition(".")[2])}"?\s*[].]')
    heads = [*_HEADER.finditer(text)]
    cuts: list[Mapping[str, int]] = []
    for head, after in zip(heads, [*heads, None][1:], strict=True):
        if own.match(head[0]):
            end = after.start() if after else len(text)
            part = text[head.start() : end]
            notes = re.search(r"(?:[ \t]*#[^\n]*\n|[ \t]*\r?\n)*\Z", part)
            kept = notes[0].lstrip("\r\n") if notes and after and "#" in notes[0] else ""
            cuts.append({"start": head.start(), "end": end - len(kept)})
    for cut in reversed(cuts):
        text = text[: cut["start"]] + text[cut["end"] :]
    return text, cuts[0]["start"] if cuts else None
