"""Docs are executed: python and console blocks run, every command named exists, every link leads somewhere.

In a console block a line that starts with `$ ` is run, and the lines below it must come out: `…` stands for anything within a
line, and a line of its own for any number of lines.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nursery

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for folder in (".", "docs", "docs/*", "benchmarks", "mcp_server", "x402_agent/*")
    for page in ROOT.glob(f"{folder}/*.md")
)


def blocks(kind):
    """Each fenced block of that kind, called by its page and line."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in re.finditer(rf"^```(?:{kind})\n(.*?)^```", text, re.S | re.M):
            yield pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}")


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("code", list(blocks("python")))
def test_a_python_block_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = nursery.run(code, warn="error")
    assert done.returncode == 0, done.stderr


def as_pattern(expected):
    lines = expected.strip("\n").splitlines()
    parts = [
        r"(?:.*\n)*?" if line.strip() == "…" else r".*".join(map(re.escape, line.split("…"))) + r"\n" for line in lines
    ]
    return re.compile("".join(parts) + r"(?:.*\n)*")


@pytest.mark.parametrize("block", list(blocks("console|sh|shell|bash")))
def test_a_console_block_runs_and_prints_what_it_shows(block, tmp_path):
    env = os.environ | {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    _, *steps = re.split(r"^\$ ", block, flags=re.M)
    assert steps, "a console block without a line that starts with `$ `"
    for step in steps:
        command, _, expected = step.partition("\n")
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert as_pattern(expected).fullmatch(said), f"{command} printed\n{said}instead of\n{expected}"


def test_a_console_block_that_promises_too_much_is_found():
    assert as_pattern("one\n…\nth…e\n").fullmatch("one\ntwo\nthree\nfour\n")
    assert not as_pattern("one\nthree\n").fullmatch("one\ntwo\nthree\n")
    assert not as_pattern("one\n…\nfive\n").fullmatch("one\ntwo\nthree\n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_is_short_and_runs(path, tmp_path, monkeypatch):
    assert len(path.read_text().splitlines()) <= 40
    monkeypatch.chdir(tmp_path)
    done = nursery.run(path.read_text("utf-8"), warn="error")
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_policy_in_the_docs_is_one_that_loads(tmp_path):
    from x402_agent.policy import load

    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    path = tmp_path / "policy.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", text, re.S)[1])
    assert load(path).budgets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def proofs(page, heading):
    """(page, row, its last cell) of the table below a heading."""
    table = (ROOT / page).read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [pytest.param(page, row[0], row[-1], id=f"{page}: {row[0]}") for row in rows]


PROMISES = [*proofs("README.md", "What it guards against"), *proofs("docs/safety.md", "Invariants")]


@pytest.mark.parametrize(("page", "row", "cell"), PROMISES)
def test_every_promise_links_the_test_that_would_fail(page, row, cell):
    named = re.findall(r"\[(test_\w+)\]\(([^)]+)\)", cell)
    assert named, row
    for name, where in named:
        text = ((ROOT / page).parent / where).read_text("utf-8")
        assert re.search(rf"^(?:async )?def {name}\(", text, re.M), f"{where} has no {name}"


def test_both_tables_of_promises_are_read():
    assert len(PROMISES) > 35


def test_every_command_is_documented_and_every_documented_command_exists():
    import typer

    from x402_agent.cli.app import app

    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    real = typer.main.get_command(app).commands
    assert set(re.findall(r"`x402-agent ([a-z]+)", page)) == set(real)
    for name, command in real.items():
        for verb in getattr(command, "commands", {}):
            assert re.search(rf"{name} {verb}\b", page), f"{name} {verb}"


def commands():
    """Every command that does something, by its words: (words, its click command)."""
    import typer

    from x402_agent.cli.app import app

    def below(command, words):
        for name, each in command.commands.items():
            yield from below(each, (*words, name)) if hasattr(each, "commands") else [((*words, name), each)]

    return below(typer.main.get_command(app), ())


def test_every_help_ends_with_lines_that_can_be_typed():
    from typer.testing import CliRunner

    from x402_agent.cli.app import app
    from x402_agent.cli.examples import EXAMPLES

    real = {" ".join(words): command for words, command in commands()}
    assert set(EXAMPLES) == set(real), set(real) - set(EXAMPLES)
    for name, lines in EXAMPLES.items():
        for line in lines:
            typed = shlex.split(line.partition("x402-agent ")[2].partition(" < ")[0])
            assert " ".join(typed[: len(name.split())]) == name, line
            real[name].make_context(name, typed[len(name.split()) :], resilient_parsing=False)
    shown = CliRunner().invoke(app, ["wallet", "account", "add", "--help"]).output
    assert "Examples:\n" in shown and "\n    x402-agent wallet account add research\n" in shown


def test_every_command_that_a_page_names_exists():
    import typer

    from x402_agent.cli.app import app

    real = set(typer.main.get_command(app).commands) | {"mcp"}
    for page in PAGES:
        named = set(re.findall(r"x402-agent ([a-z]+)", page.read_text("utf-8")))
        assert named <= real, f"{page.name}: {named - real}"


def told(path):
    """Every text of a module's code, `{}` where an f-string puts a value in: (line, what stands behind a command's name)."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
        for typed in text.split("x402-agent ")[1:]:
            yield node.lineno, re.split(r"[`;()\n]| -- ", typed)[0]


def missing(typed, root):
    """What is no command, or no option of it, in words to be typed; "" where all is. A hole may be any command of its group."""
    found = [root]
    for word in typed.split():
        name, _, hole = word.rstrip(",.:").partition("{")
        if not (below := getattr(found[0], "commands", None)):
            break
        if name not in below and (name or not hole):
            return name
        found = [below[name]] if name else [*below.values()]
        if name != word:
            break
    if any(command.context_settings.get("ignore_unknown_options") for command in found):
        return ""
    real = {"--help"}.union(*(option.opts + option.secondary_opts for command in found for option in command.params))
    return " ".join(option for option in re.findall(r"(?<!\S)--?[a-zA-Z][a-z-]*", typed) if option not in real)


def test_every_command_that_a_hint_names_exists_with_its_options():
    import typer

    from x402_agent.cli.app import app

    root = typer.main.get_command(app)
    prose = {"asks", "command", "evidence", "process"}  # words that follow our name, and no commands
    files = [path for folder in ("x402_agent", "mcp_server") for path in sorted((ROOT / folder).rglob("*.py"))]
    named = [(path, *each) for path in files if "x402-agent " in path.read_text("utf-8") for each in told(path)]
    wrong = [f"{path.relative_to(ROOT)}:{line}: {typed}" for path, line, typed in named if missing(typed, root) not in {"", *prose}]
    assert len(named) > 200 and wrong == []


@pytest.mark.parametrize(("typed", "lacks"), [
    ("wallet fund --network {}", ""), ("budget set {}{}", ""), ("credentials {} --sandbox {}", ""), ("resume ID --output FILE writes them", ""),
    ("mcp serve --http", ""), ("slip resume {}, in any process", ""), ("freeze{}", ""), ("{}", ""),
    ("walet new", "walet"), ("wallet nwe", "nwe"), ("get --dry URL", "--dry"), ("wallet{} --nothing", "--nothing"), ("credentials {} --paid", "--paid"),
])  # fmt: skip
def test_a_hint_that_cannot_be_typed_is_found(typed, lacks):
    import typer

    from x402_agent.cli.app import app

    assert missing(typed, typer.main.get_command(app)) == lacks


def test_every_dependency_has_a_row_that_says_why():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.match(r"[A-Za-z0-9-]+", d)[0] for d in wanted} - {"x402-agent-sdk"}
    rows = set(re.findall(r"^\| ([a-z0-9-]+) \|", (ROOT / "docs" / "architecture.md").read_text(), re.M))
    assert names <= rows, names - rows


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
