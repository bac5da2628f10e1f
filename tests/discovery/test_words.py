"""docs/discovery.md explains every word that discovery can say of a service, and no word that it cannot."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from x402_agent.discovery import known, rank

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "discovery.md").read_text("utf-8")
HEADS = ("verdict", "agreement", "suspicion", "mark of a row")


def explained():
    """The words in the first cell of each row of the tables of words."""
    found = set()
    for head in HEADS:
        for table in re.findall(rf"^\| {head} \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.M):
            found |= {word for line in table.splitlines() for word in re.findall(r"`([a-z0-9-]+)`", line.split(" | ")[0])}
    return found


def texts(node):
    """Words in a call's argument: of a condition, its outcomes and not its tests."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def flagged():
    """What sources write beside a row: arguments of `.flag(...)`, and of `flags`, `.append`, `.insert` on lists of them."""
    found = set()
    for path in (ROOT / "x402_agent" / "discovery").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr == "flag" or (node.func.attr == "append" and isinstance(node.func.value, ast.Name) and node.func.value.id == "flags"):
                    found |= texts(node.args[0])
    return found


def said():
    return set(rank.VERDICTS) | set(rank.AGREEMENT) | set(rank.HIDDEN) | set(rank._ODD) | flagged()


def test_the_page_explains_every_word_and_no_other():
    assert {"method-unknown", "price-unknown", "hidden-text"} <= flagged() | rank._ODD  # the reading above reads something
    assert explained() - said() == set()
    assert said() - explained() == set()


def test_every_suspicion_that_a_search_can_show_is_one_of_them():
    """Whatever stands in the evidence, `judge` says no word outside of the page."""
    every = rank.Evidence("dead", 0.0, "conflict", micros=10**10, median=1, missed=4, flags=tuple(sorted(said())), payable=True)
    outlier = rank.Evidence("hostile", 0.0, "drift", micros=100, median=1, flags=("made-up",))
    found = {*rank.judge(every, 0.0).suspicious, *rank.judge(outlier, 0.0).suspicious}
    assert found <= explained()
    assert found >= rank.HIDDEN | {"drift"}


def test_the_page_has_the_points_that_count():
    """Each number of a verdict stands in the row of the ranking that names it."""
    table = PAGE.partition("| evidence | points |")[2].partition("\n\n")[0].replace("−", "-")
    for words in (rank.VERDICTS, rank.AGREEMENT):
        for word, points in words.items():
            (row,) = [line for line in table.splitlines() if re.search(rf"(?<![a-z-]){word}(?![a-z-])", line.split(" | ")[0])]
            names = re.findall(r"[a-z][a-z0-9-]+", row.split(" | ")[0])
            assert f"{points:+d}" in re.findall(r"[+-]\d+", row.split(" | ")[1])[: len(names)], word


def test_every_kind_of_source_has_its_row():
    table = PAGE.partition("| kind | what it reads |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.M)) == set(known())


@pytest.mark.parametrize(("days", "words"), [(-1, "today"), (0.9, "today"), (1, "1 day ago"), (9.5, "9 days ago")])
def test_how_long_ago_is_said_as_a_person_says_it(days, words):
    assert rank.judge(rank.Evidence(verdict="free", probed=10 * rank.DAY, payable=True), (10 + days) * rank.DAY).why[0].startswith(f"free, probed {words} (")
