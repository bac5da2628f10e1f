"""The mutants themselves: each is a program, differs from what is there, and the simplest kind of hole is noticed."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("mutants", Path(__file__).with_name("mutants.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
mutants = importlib.util.module_from_spec(_SPEC)
sys.modules["mutants"] = mutants
_SPEC.loader.exec_module(mutants)


@pytest.mark.parametrize("file", mutants.TESTS)
def test_every_mutant_is_another_program(file):
    source = (mutants.ROOT / mutants.ROOM / file).read_bytes()
    same = ast.dump(ast.parse(source))
    found = list(mutants.mutants(file, source))
    assert len(found) > 5
    for each in found[:: max(1, len(found) // 5)]:
        assert ast.dump(ast.parse(each.apply(source))) != same, each.told(source)
    assert all((mutants.ROOT / path).exists() for path in mutants.TESTS[file])


def test_a_sample_has_a_share_of_every_file_and_repeats_by_its_seed():
    sample = mutants.chosen(150, 7, "")
    assert {each.file for each in sample} == set(mutants.TESTS)
    assert sample == mutants.chosen(150, 7, "")


def test_what_is_called_equivalent_still_stands_there():
    told = {
        each.told(source)
        for file in mutants.TESTS
        for source in [(mutants.ROOT / mutants.ROOM / file).read_bytes()]
        for each in mutants.mutants(file, source)
    }
    assert mutants.equivalent() <= told
