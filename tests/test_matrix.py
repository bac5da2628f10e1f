"""The chain matrix in the README is made of marks at tests, and of nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_SPEC = importlib.util.spec_from_file_location("matrix", ROOT / "tools" / "matrix.py")
matrix = importlib.util.module_from_spec(_SPEC)
sys.modules["matrix"] = matrix
_SPEC.loader.exec_module(matrix)
HEAD = "import pytest\n"


def test_the_readme_shows_what_the_tests_say():
    text = (ROOT / "README.md").read_text("utf-8")
    assert text == matrix.page(text, matrix.claims()), "python tools/matrix.py --write"


def test_every_way_is_paid_and_found_again_by_some_test():
    found = matrix.claims()
    for family, way in {(each.family, each.way) for each in found}:
        columns = {each.column for each in found if (each.family, each.way) == (family, way)}
        assert {"pays", "fate"} <= columns, (family, way)


def test_a_cell_ends_with_its_test():
    found = matrix.claims()
    for gone in found:
        rest = [each for each in found if each is not gone]
        alone = not [e for e in rest if e[:3] == gone[:3] and e.path == gone.path and e.by == gone.by]
        first = next(e for e in found if (*e[:3], e.by) == (*gone[:3], gone.by)) is gone
        assert (matrix.table(rest) != matrix.table(found)) == (alone and first), gone


@pytest.mark.parametrize(
    "text",
    [
        '@pytest.mark.proves("evm", "exact", "pays")\ndef helper(): pass',
        '@pytest.mark.proves("evm", "exact")\ndef test_it(): pass',
        '@pytest.mark.proves("evm", "barter", "pays")\ndef test_it(): pass',
        '@pytest.mark.proves("evm", "exact", "wins")\ndef test_it(): pass',
        '@pytest.mark.proves("evm", "exact", "judge")\ndef test_it(): pass',
        '@pytest.mark.proves("evm", "exact", "pays", by="me")\ndef test_it(): pass',
        "@pytest.mark.proves(*WORDS)\ndef test_it(): pass",
    ],
)
def test_a_mark_that_says_nothing_is_an_error(text, tmp_path):
    (tmp_path / "test_one.py").write_text(HEAD + text)
    with pytest.raises(ValueError, match="test_one"):
        matrix.claims(tmp_path)


def test_marks_are_read(tmp_path):
    (tmp_path / "test_one.py").write_text(HEAD + '@pytest.mark.proves("evm", "upto", "judge", by="a node")\n@pytest.mark.proves("evm", "exact", "pays", "killed")\ndef test_it(): pass')
    (tmp_path / "helper.py").write_text("no test")
    found = matrix.claims(tmp_path)
    assert {(each.way, each.column, each.by) for each in found} == {("upto", "judge", "a node"), ("exact", "pays", ""), ("exact", "killed", "")}
    made = matrix.page(f"a\n{matrix.BEGIN}\nold\n{matrix.END}\nb\n", found)
    assert made.startswith("a\n") and made.endswith("\nb\n") and "old" not in made and made.count("| [yes](test_one.py) |") == 2
    assert "[a node](test_one.py)" in made and "Solana" not in made
    with pytest.raises(ValueError, match="no "):
        matrix.page("a page without marks", found)
