"""Who may import whom, how long a file and a function may be, and what no tracked file may say."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "x402_agent"
NOUNS = {"errors", "model", "assets", "steps"}
CRYPTO = {"coincurve", "wallycore", "sha3", "Crypto"}
ROOMS = {
    "errors": set(),
    "model": {"errors"},
    "assets": {"model"},
    "steps": {"errors", "model"},
    "primitives": {"errors"} | CRYPTO,
    "flow": {"errors", "model", "steps"},
    "policy": NOUNS,
    "dialects": NOUNS | {"pydantic", "flow"},
    "chains": NOUNS | {"primitives"},
    "ledger": NOUNS,
    "wallet": NOUNS | {"primitives"},
    "deadline": set(),
    "fetch": {"steps", "httpx2"},
    "wire": NOUNS | {"policy", "transport"},
    "settings": NOUNS | {"policy", "platformdirs"},
    "transport": NOUNS | {"flow", "wire", "deadline", "fetch", "anyio", "httpx"},
    "_httpx2": {"transport", "httpx2"},
    "sandbox": NOUNS | {"primitives", "dialects", "chains", "pyrevm", "eth", "anyio", "eth_typing", "uvicorn", "starlette"},
}
ABOVE = {"payer", "kit", "recovery", "cli", "__init__"}
FILES = sorted(PACKAGE.rglob("*.py"))
STDLIB = __import__("sys").stdlib_module_names


def room(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path):
    """Room and package names that a file imports, those for type checking included."""
    depth = len(path.relative_to(PACKAGE).parts) - 1
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module.partition(".")[0]
            elif node.level > depth:
                yield from [node.module.partition(".")[0]] if node.module else [name.name for name in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path):
    own = room(path)
    if own in ABOVE:
        return
    found = {name for name in imported(path) if name not in STDLIB and name not in ("x402_agent", "__future__", own)}
    assert found <= ROOMS[own], f"{own} imports {sorted(found - ROOMS[own])}"


def test_nobody_below_imports_the_payer():
    for path in FILES:
        if room(path) not in ABOVE:
            assert not {"payer", "kit", "recovery", "cli"} & set(imported(path)), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400, f"{path.name} is a crowded room"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name} is too long"


def test_only_drivers_name_an_http_library():
    allowed = {"transport.py", "_httpx2.py", "payer.py", "fetch.py"}
    for path in FILES:
        if room(path) not in ("cli", "sandbox") and path.name not in allowed:
            assert not {"httpx", "httpx2"} & set(imported(path)), path


def tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, names):
        path = ROOT / name.decode()
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".txt", ".sh", ".sql", ".json", ".sol", ".js", ""):
            yield path, path.read_text("utf-8", errors="replace")


def test_no_machine_path_and_no_registry_in_the_tree():
    words = re.compile("/(" + "wo" + "rk|ro" + "ot)/|py" + r"thonhosted|registry\.n" + r"pmjs|\bpypi\.o" + "rg")
    for path, text in tracked():
        found = words.search(text)
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_no_near_name_of_the_missing_package_is_depended_on():
    for name in ("pyproject.toml", *(f"requirements/{n}.txt" for n in ("demo", "dev", "build"))):
        assert "stacks" not in (ROOT / name).read_text().lower(), name
