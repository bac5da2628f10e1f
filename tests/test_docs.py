"""Docs are executed: every python block runs, every command named exists, every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "AGENTS.md", *(ROOT / "docs").rglob("*.md")])
BLOCKS = [
    pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
    for page in PAGES
    for match in re.finditer(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("code", BLOCKS)
def test_a_python_block_runs(code, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_is_short_and_runs(path, tmp_path):
    assert len(path.read_text().splitlines()) <= 40
    done = subprocess.run([sys.executable, "-W", "error", str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_policy_in_the_docs_is_one_that_loads(tmp_path):
    from x402_agent.policy import load

    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    path = tmp_path / "policy.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", text, re.S)[1])
    assert load(path).hosts


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_command_is_documented_and_every_documented_command_exists():
    import typer

    from x402_agent.cli.app import app

    real = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"`x402-agent ([a-z]+)", (ROOT / "docs" / "reference" / "cli.md").read_text()))
    assert named == real


def test_every_dependency_has_a_row_that_says_why():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.match(r"[A-Za-z0-9-]+", d)[0] for d in wanted} - {"x402-agent-sdk"}
    rows = set(re.findall(r"^\| ([a-z0-9-]+) \|", (ROOT / "docs" / "architecture.md").read_text(), re.M))
    assert names <= rows, names - rows


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
