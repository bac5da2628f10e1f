"""Hostile bytes become plain values here and nowhere else: bounded, strict, and never deeper than 32 levels.

The nesting is counted before the JSON parser sees the text, so no input and no recursion limit can exhaust the stack.
Every refusal is a ChallengeInvalid that names its row of docs/safety.md; what it quotes of the input is escaped.
"""

from __future__ import annotations

import binascii
import re
from json import JSONDecoder, JSONEncoder
from json.decoder import scanstring  # type: ignore[attr-defined]  # documented in json.decoder's source only
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..errors import ChallengeInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Document", "compact", "decode64", "encode64", "measure", "parse", "value"]

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 80
_SPACE = re.compile(r"[ \t\n\r]*").match
_BRACKETS = re.compile(r"[\[{\]}]").findall
_HAZARD = re.compile(r"\\u(?:0000|[dD][89a-fA-F])").search
_SURROGATE = re.compile("[\ud800-\udfff]").search


class Document(NamedTuple):
    """A JSON object as parsed, with the untouched text of each member, and of each entry of the array `rows`."""

    fields: dict[str, Any]
    raw: dict[str, str]
    rows: list[str]


def _refuse(what: str, rule: str) -> NoReturn:
    raise ChallengeInvalid(what, rule=rule)


def decode64(text: str) -> bytes:
    """Base64 to bytes: standard or URL-safe letters, padding optional, at most MAX_BYTES decoded.

    Raises ChallengeInvalid (rows W1, S6).
    """
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        _refuse(f"a base64 value of {len(text)} characters", "header value at most 64 KiB (S6)")
    core = text.rstrip("=")
    if len(text) - len(core) > 2:
        _refuse("a header is not base64", "base64, padding optional (W1)")
    try:
        standard = core.replace("-", "+").replace("_", "/")
        return binascii.a2b_base64(standard + "=" * (-len(core) % 4), strict_mode=True)
    except ValueError:  # binascii.Error is one
        _refuse("a header is not base64", "base64, padding optional (W1)")


def encode64(text: str) -> str:
    """UTF-8 and standard padded base64: the only form that official servers read."""
    return binascii.b2a_base64(text.encode(), newline=False).decode("ascii")


compact = JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def parse(data: bytes, rows: str = "accepts", limit: int = MAX_BYTES) -> Document:
    """One JSON object from bytes, `limit` of them at most. Members and the entries of the array `rows` keep their exact text.

    Refused, as ChallengeInvalid: more than `limit` bytes (S6), a byte order mark, UTF-16 or other junk (W1), nesting past
    MAX_DEPTH (S5), duplicate keys (P12), NaN and infinities (W2), numbers of more than MAX_DIGITS digits (P7), NUL and
    lone surrogates in any string (W17).
    """
    text = _text(data, limit)
    try:
        found = _walk(text, rows)
    except (ValueError, StopIteration, RecursionError):
        found = None  # raised below: the parser's own error carries the whole text with it
    if found is None:
        _refuse("it is not a JSON object", "one JSON object (W1)")
    if _HAZARD(text):
        _inspect(found.fields)
    return found


def value(data: bytes, limit: int = MAX_BYTES) -> Any:
    """Any JSON value from bytes. Raises ChallengeInvalid for what `parse` refuses, but that it is no object."""
    text = _text(data, limit)
    found: Any = None
    end = -1
    try:
        found, at = _scan(text, _space(text, 0))
        end = _space(text, at)
    except (ValueError, StopIteration, RecursionError):
        pass  # raised below, as in `parse`
    if end != len(text):
        _refuse("it is not JSON", "one JSON value (W1)")
    if _HAZARD(text):
        _inspect(found)
    return found


def _text(data: bytes, limit: int) -> str:
    """What may be parsed at all: its size, letters and nesting are bounded."""
    if len(data) > limit:
        _refuse(f"a document of {len(data)} bytes", f"document at most {limit // 1024} KiB (S6)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\ufeff"
    if text.startswith("\ufeff"):
        _refuse("it is not UTF-8 without a byte order mark", "UTF-8, no byte order mark (W1)")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        measure(text)
    return text


def measure(text: str, most: int = MAX_DEPTH) -> None:
    """Refuse nesting past `most`. Brackets inside strings do not count: strings are cut out, escapes first. Raises ChallengeInvalid (S5)."""
    depth = 0
    for char in _BRACKETS("".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])):
        depth += 1 if char in "[{" else -1
        if depth > most:
            _refuse(f"JSON nested more than {most} levels deep", f"nesting at most {most} (S5)")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        _refuse("a JSON object names a key twice", "no duplicate keys (P12)")
    return made


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        _refuse(f"a number of {len(digits)} digits", f"numbers of at most {MAX_DIGITS} digits (P7)")
    return int(digits)


def _float(digits: str) -> float:
    made = float(digits)
    if made in (float("inf"), float("-inf")):
        _refuse("a number too large for JSON readers", "no infinities (W2)")
    return made


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} stands where JSON has numbers", "no NaN, no infinities (W2)")


_decoder = JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _space(text: str, at: int) -> int:
    """The next position that is not white space."""
    if text[at : at + 1] > " ":
        return at
    return _SPACE(text, at).end()  # type: ignore[union-attr]  # matches the empty string too


def _walk(text: str, rows: str) -> Document:
    """The members of the outer object one by one. Raises ValueError or StopIteration where it is not JSON."""
    found = Document({}, {}, [])
    at = _space(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError
    at = _space(text, at + 1)
    closed = text[at : at + 1] == "}"
    while not closed:
        if text[at : at + 1] != '"':
            raise ValueError
        key, at = scanstring(text, at + 1, True)
        at = _space(text, at)
        if text[at : at + 1] != ":":
            raise ValueError
        start = _space(text, at + 1)
        value, at = _array(text, start, found.rows) if key == rows else _scan(text, start)
        if key in found.fields:
            _refuse("a JSON object names a key twice", "no duplicate keys (P12)")
        found.fields[key] = value
        found.raw[key] = text[start:at]
        at, closed = _next(text, at, "}")
    if _space(text, at + 1) != len(text):
        raise ValueError
    return found


def _array(text: str, at: int, raw: list[str]) -> tuple[Any, int]:
    """Like _scan, and the exact text of each entry goes to `raw` when it is an array."""
    if text[at : at + 1] != "[":
        return _scan(text, at)
    values: list[Any] = []
    at = _space(text, at + 1)
    closed = text[at : at + 1] == "]"
    while not closed:
        value, end = _scan(text, at)
        values.append(value)
        raw.append(text[at:end])
        at, closed = _next(text, end, "]")
    return values, at + 1


def _next(text: str, at: int, end: str) -> tuple[int, bool]:
    """After a value: the position of the next one, or of the closing bracket and True."""
    at = _space(text, at)
    mark = text[at : at + 1]
    if mark == end:
        return at, True
    if mark != ",":
        raise ValueError
    return _space(text, at + 1), False


def _inspect(value: Any) -> None:
    """Refuse NUL and lone surrogates wherever they stand: what we echo, sign and log must survive every reader."""
    if isinstance(value, str):
        if "\0" in value or _SURROGATE(value):
            _refuse("a string holds NUL or half a character", "no NUL, no lone surrogates (W17)")
    elif isinstance(value, dict):
        for key, member in value.items():
            _inspect(key)
            _inspect(member)
    elif isinstance(value, list):
        for member in value:
            _inspect(member)
