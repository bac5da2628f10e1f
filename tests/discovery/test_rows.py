"""A catalogue's page is cut into rows without recursion; one bad row costs itself."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x402_agent.discovery import Skip
from x402_agent.discovery.sources import rows as room
from x402_agent.discovery.sources.rows import rows
from x402_agent.errors import ChallengeInvalid

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6)
ENTRIES = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4) | TEXTS, max_size=6)


@given(ENTRIES, st.dictionaries(TEXTS.filter(lambda name: name != "items"), st.integers() | TEXTS, max_size=3), st.booleans(), st.booleans())
def test_what_json_reads_is_what_comes(entries, others, spaced, ascii_only):
    document = {**others, "items": entries, "pagination": {"total": 3}}
    found = rows(json.dumps(document, indent=1 if spaced else None, ensure_ascii=ascii_only).encode(), ("items",))
    assert list(found) == entries
    assert found.fields == {**document, "items": []}


def test_an_array_alone_and_one_that_is_wrapped():
    assert list(rows(b'[{"a":1},"x"]', ("items",))) == [{"a": 1}, "x"]
    assert list(rows(b'{"code":0,"data":{"items":[{"a":[{"items":[1]}]}]}}', ("items",))) == [{"a": [{"items": [1]}]}]


@pytest.mark.parametrize(("bad", "why"), [
    (b'{"a":1,"a":2}', "twice"), (b'{"a":NaN}', "NaN"), (b'{"a":"\\u0000"}', "NUL"), (b'{"a":' + b"[" * 60 + b"]" * 60 + b"}", "32"),
    (b'{"a":"' + b"x" * 70_000 + b'"}', "64 KiB"), (b'{"a":' + b"9" * 90 + b"}", "digits"), (b'{"a":}', "JSON"), (b"[1]", "neither"), (b'{"a":"\xff"}', "UTF-8"),
])  # fmt: skip
def test_a_bad_row_costs_itself(bad, why):
    found = list(rows(b'{"items":[{"n":1},' + bad + b',{"n":2}]}', ("items",)))
    assert [found[0], found[2]] == [{"n": 1}, {"n": 2}]
    assert isinstance(found[1], Skip)
    assert why in found[1].why


@pytest.mark.parametrize("end", [b"", b',{"n":3', b',{"n":"a', b',{"n":"a\\', b',"x', b",["])
def test_what_is_cut_off_keeps_the_rows_that_came_whole(end):
    found = rows(b'{"items":[{"n":1},{"n":2}' + end, ("items",))
    *whole, last = found
    assert whole == [{"n": 1}, {"n": 2}]
    assert (found.cut_off, last.where) == (True, "after row 2")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"other":[1]}', b'"items"', b'{"items":5}', b'{"a":{"b":{"c":{"items":[{}]}}}}'])
def test_a_page_without_rows_says_so(body):
    with pytest.raises(ChallengeInvalid, match="no list called items"):
        rows(body, ("items",))


def test_a_page_is_bounded(monkeypatch):
    monkeypatch.setattr(room, "MAX_PAGE", 100)
    with pytest.raises(ChallengeInvalid, match="bytes"):
        rows(b'{"items":[' + b" " * 100, ("items",))


@pytest.mark.parametrize("piece", [b"[", b'{"a":', b'\\"a', b'x"', b'"', b"\\", b'"\\'])
def test_no_text_takes_longer_than_its_length(piece):
    """Seconds for a million pieces; a pattern that looks twice would take hours."""
    body = b'{"items":["' + piece * 1_000_000
    began = time.process_time()
    list(rows(body, ("items",)))
    assert time.process_time() - began < 30
