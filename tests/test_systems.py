"""docs/systems.md is made of the tables of each system's pages; every row of them names tests that exist, or says why it is left out."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from x402_agent.sandbox import SELLERS, scenarios

ROOT = Path(__file__).parent.parent
_SPEC = importlib.util.spec_from_file_location("systems", ROOT / "tools" / "systems.py")
systems = importlib.util.module_from_spec(_SPEC)
sys.modules["systems"] = systems
_SPEC.loader.exec_module(systems)
SOLD_BY = {"shop": "x402", "mcp": "x402", "catalogue": "x402", "kamiyo": "KAMIYO", "x402pay": "x402Pay", "lily": "Lily", "monitor": "TRON invoices"}
TEST = "[test_the_page_shows_what_the_tables_say](../tests/test_systems.py)"


def read(tmp_path, *rows, page="docs/kamiyo.md"):
    (tmp_path / "docs" / "wire").mkdir(parents=True, exist_ok=True)
    (tmp_path / page).write_text("\n".join(("# K", "", "## Its 402", "", "| feature | what becomes of it | test |", "|---|---|---|", *rows, "", "words | of | others", "")))
    (tmp_path / "tests").mkdir(exist_ok=True)
    (tmp_path / "tests" / "test_systems.py").write_text("def test_the_page_shows_what_the_tables_say(): pass\n")
    return systems.features(tmp_path)


def test_the_page_shows_what_the_tables_say():
    found = systems.features()
    assert (ROOT / systems.SHOWN).read_text("utf-8") == systems.page(found), "python tools/systems.py --write"


def test_every_feature_has_its_tests_or_its_reason():
    assert systems.wrong(systems.features()) == []


def test_every_seller_is_of_a_system_whose_both_sides_are_told():
    found = systems.features()
    for name in SELLERS:
        assert {each.side for each in found if each.system == SOLD_BY[name]} == set(systems.SIDES), name


@pytest.mark.parametrize("name", [name for name in SELLERS if SOLD_BY.get(name) != "x402"])
def test_every_scenario_stands_on_its_sellers_page(name):
    path = systems.PAGES[SOLD_BY[name]][1]
    table = (ROOT / path).read_text("utf-8").partition("\n## Scenarios\n")[2]
    told = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| "))))
    assert set(scenarios(name)) - {"honest"} == told - {"honest"}
    assert systems.scenarios(ROOT, path) == len(scenarios(name)), "as many as `sandbox sellers` says"


def test_a_row_is_read_with_its_result_and_its_links_lead_on_from_the_new_page(tmp_path):
    found = read(
        tmp_path, f"| `a` | works: see [there](#its-402) and [that](wire/x402.md) | {TEST} |", f"| b | refused (R1): it is nobody's, at all | {TEST} |",
        "| c | an operator's, with his key | |", "| d | works | the same |",
    )  # fmt: skip
    assert [(each.part, each.name, each.result, len(each.tests)) for each in found] == [
        ("Its 402", "`a`", "works", 1), ("Its 402", "b", "refused", 1), ("Its 402", "c", "left out", 0), ("Its 402", "d", "works", 0)]  # fmt: skip
    made = systems.page(found, tmp_path)
    assert "| [KAMIYO](#kamiyo-paid) | paid | 2 | 1 | 1 | |" in made and "[there](kamiyo.md#its-402) and [that](wire/x402.md)" in made
    assert "| Its 402 | `a` | works | see " in made and f"| | b | **refused** | (R1): it is nobody's, at all | {TEST} |" in made


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["| a | works | |"], "works, and no test says so"),
        ([f"| a | refused (R1) | {TEST} |"], "refused, and nobody says why"),
        (["| a | left out | |"], "left out, and nobody says why"),
        (["| a | works | [test_gone](../tests/test_systems.py) |"], "has no test_gone"),
        (["| a | works | [test_gone](../tests/test_gone.py) |"], "has no test_gone"),
        ([f"| a | works | {TEST} |"] * 2, "a: twice"),
    ],
    ids=["no test", "no reason", "no word", "no such test", "no such file", "twice"],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, rows, said):
    (wrong,) = systems.wrong(read(tmp_path, *rows), tmp_path)
    assert said in wrong and "docs/kamiyo.md: a" in wrong


def test_a_page_that_comes_later_is_taken_when_it_is_there(tmp_path):
    assert {each.system for each in read(tmp_path, f"| a | works | {TEST} |")} == {"KAMIYO"}
    assert {each.system for each in read(tmp_path, f"| a | works | {TEST} |", page="docs/lily.md")} == {"KAMIYO", "Lily"}
