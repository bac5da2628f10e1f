"""tools/tests.sh: a test that fails beside others and passes alone is named and refuses nothing; one that fails twice fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "tests.sh"
FIRST_TIME = "import pathlib\ndef first(name):\n    path = pathlib.Path(__file__).with_name(name)\n    return not path.exists() and path.write_text('') == 0\n"
ONCE = FIRST_TIME + "def test_hiccup():\n    assert not first('hiccup')\ndef test_sound():\n    pass\n"


@pytest.mark.parametrize(
    ("tests", "code", "said"),
    [
        (ONCE, 0, "now alone:\n  test_a.py::test_hiccup\n"),
        (ONCE + "def test_broken():\n    assert 0\n", 1, "1 failed, 1 passed"),
        pytest.param("def test_sound():\n    pass\n", 0, "1 passed", marks=pytest.mark.full),
        pytest.param("import nothing_of_this_name\n", 2, "1 error", marks=pytest.mark.full),
        pytest.param(FIRST_TIME + "".join(f"def test_{n}():\n    assert not first('{n}')\n" for n in range(10)), 1, "10 failed",
                     marks=pytest.mark.full),
    ],
    ids=["fails once", "fails twice", "passes", "is broken", "fails in many places"],
)
def test_what_fails_once_runs_once_more(tmp_path, tests, code, said):
    (tmp_path / "test_a.py").write_text(tests)
    (tmp_path / "pyproject.toml").write_bytes((TOOL.parents[1] / "pyproject.toml").read_bytes())  # warnings are errors, there is no cache
    done = subprocess.run(["sh", TOOL, sys.executable, "0", "-p", "no:hypothesispytest", "-p", "no:anyio", "test_a.py"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
