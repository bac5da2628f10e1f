"""Who may import whom, how long a file and a function may be, and what no tracked file may say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "x402_agent"
NOUNS = {"errors", "model", "scopes", "assets", "steps", "secret"}
CRYPTO = {"coincurve", "wallycore", "sha3", "Crypto"}
ROOMS = {
    "errors": set(),
    "money": set(),
    "scopes": {"model"},
    "ask": {"model"},
    "model": {"ask", "errors", "secret", "money", "scopes"},
    "assets": {"model"},
    "steps": {"errors", "model"},
    "secret": set(),
    "encodings": set(),
    "primitives": {"errors", "secret", "encodings", "solders"} | CRYPTO,
    "bought": {"errors", "flow", "model", "steps", "secret"},
    "flow": {"bought", "errors", "model", "steps", "secret"},
    "policy": NOUNS,
    "dialects": NOUNS | {"pydantic", "flow", "encodings"},
    "chains": NOUNS | {"primitives", "encodings", "solders"},
    "ledger": NOUNS,
    "wallet": NOUNS | {"primitives", "encodings"},
    "evidence": NOUNS | {"primitives", "encodings", "dialects"},
    "vault": NOUNS | {"primitives", "wallet", "ledger"},
    "approvals": NOUNS | {"policy"},
    "settings": NOUNS | {"policy", "platformdirs"},
    "transport": NOUNS | {"flow", "policy", "anyio", "httpx", "httpx2", "tenacity", "mcp_types", "pydantic"},
    "guard": NOUNS | {"transport", "anyio", "httpx", "httpx2"},
    "database": {"errors", "secret"},
    "discovery": NOUNS | {"money", "dialects", "encodings", "guard", "database", "anyio", "httpx2"},
    "sandbox": NOUNS
    | {"database", "primitives", "dialects", "chains", "evidence", "pyrevm", "eth", "anyio", "eth_typing", "uvicorn", "starlette", "solders"},
}
ABOVE = {"payer", "tasks", "recovery", "signer", "broadcast", "replacing", "transfers", "tools", "cli", "__init__"}
FILES = sorted(PACKAGE.rglob("*.py"))
MCP = sorted((ROOT / "mcp_server").rglob("*.py"))
STDLIB = sys.stdlib_module_names
CHANGES = set("append add update extend insert pop popitem clear remove discard setdefault appendleft".split())
# What a module may remember between calls: the ledgers and connections that a fork must find again, unlocked wallets.
REMEMBERED = {("opened.py", "_LEDGERS"), ("task.py", "_MADE"), ("store.py", "_GRAVEYARD"), ("store.py", "_FAILED"), ("unlock.py", "_UNLOCKED"), ("link.py", "_LINKS")}


@cache
def parsed(path):
    return ast.parse(path.read_text("utf-8"))


def room(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@cache
def imported(path):
    """Room and package names that a file imports, those for type checking included."""
    return frozenset(_imported(path))


def _imported(path):
    depth = len(path.relative_to(PACKAGE).parts) - 1
    for node in ast.walk(parsed(path)):
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


def test_the_seven_hops_of_a_payment_are_where_the_page_says():
    rows = re.findall(r"^\| (\d) \| (.*?) \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert [number for number, _ in rows] == [*"1234567"]
    for _, where in rows:
        file, *names = re.findall("`(.+?)`", where)
        text = (PACKAGE / file).read_text() + (PACKAGE / "ledger" / "sqlite.py").read_text()
        for name in ".".join(names).split("."):
            assert re.search(rf"^ *(def|class) {name}\b", text, re.MULTILINE), f"{name} is not in {file}"


def test_every_room_has_its_row():
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## Rooms")[2].partition("## Decisions")[0]
    named = {name.removesuffix("/*") for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall("`(.+?)`", row)}
    assert named == {room(path) for path in FILES} - {"__init__"}


def test_C18_the_paying_path_cannot_broadcast():
    for path in FILES:
        if room(path) not in ("broadcast", "replacing", "transfers", "cli"):
            assert not {"broadcast", "replacing", "transfers"} & imported(path), path


def test_Y9_discovery_cannot_reach_a_signer():
    """Whatever it imports, and whatever that imports: no key, no chain, nobody who pays."""
    code = "import sys, x402_agent.discovery.crawler, x402_agent.discovery.search; print(*[m for m in sys.modules if m.startswith('x402_agent.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "x402_agent.dialects.x402" in loaded
    assert not [each for each in loaded if each.split(".")[1] in ABOVE | {"wallet", "vault", "chains", "primitives", "ledger", "flow", "policy"}]


def test_nobody_below_imports_the_payer():
    for path in FILES:
        if room(path) not in ABOVE:
            assert not (ABOVE - {"__init__"}) & imported(path), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400, f"{path.name} is a crowded room"
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name} is too long"


def test_only_drivers_name_an_http_library():
    allowed = {"drivers.py", "_httpx2.py", "payer.py", "task.py", "fetch.py", "lines.py", "guard.py"}
    for path in FILES:
        if room(path) not in ("cli", "sandbox") and path.name not in allowed:
            assert not {"httpx", "httpx2"} & imported(path), path


@pytest.mark.parametrize("path", FILES + MCP, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_offers(path):
    names = [
        name.id
        for node in parsed(path).body
        for name in getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(name, ast.Name)
    ]
    assert "__all__" in names


def changed(tree):
    """Names of the module that code in functions changes in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield getattr(node.value, "id", "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            yield getattr(node.func.value, "id", "")


@pytest.mark.parametrize("path", FILES + MCP, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_keeps_no_state(path):
    tree = parsed(path)
    own = {name.id for node in tree.body for name in ast.walk(node) if isinstance(node, (ast.Assign, ast.AnnAssign))
           and isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}  # fmt: skip
    found = {(path.name, name) for name in own & set(changed(tree))}
    assert found <= REMEMBERED, found


def test_the_mcp_server_and_the_examples_use_public_names_only():
    for path in [*MCP, *sorted((ROOT / "examples").glob("*.py"))]:
        for node in ast.walk(parsed(path)):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            rooms = {f"x402_agent.{room}" for room in ("tools", "approvals", "payer", "secret", "steps", "guard")} if path in MCP else set()
            assert not [name for name in names if name.startswith("x402_agent.") and name not in rooms], path


def tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, names):
        path = ROOT / name.decode()
        if path.is_file():
            yield path, path.read_text("utf-8", errors="replace")


def test_no_machine_path_and_no_registry_in_the_tree():
    words = re.compile(
        "/(?:" + "wo" + "rk|ro" + "ot)/|/home/[a-z]|/Users/[a-z]|py" + r"thonhosted|\.n" + r"pmjs|\bpypi\.o" + "rg"
    )
    for path, text in tracked():
        found = words.search(text)
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_no_near_name_of_the_missing_package_is_depended_on():
    for path in [ROOT / "pyproject.toml", *sorted((ROOT / "requirements").glob("*.txt"))]:
        judge = "x402-stacks==2.0.1" if path.name == "official.txt" else ""  # a seller of others, in an environment of its own
        assert "stacks" not in path.read_text().lower().replace(judge, ""), path.name


def test_the_core_has_no_crypto_and_every_requirement_has_a_hash():
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=; \[]", each)[0] for each in core}
    assert names == {"httpx", "httpx2", "pydantic", "anyio", "tenacity", "typer", "platformdirs"}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        lines = path.read_text().replace("\\\n", " ").splitlines()
        assert lines and all("==" in line and "--hash=sha256:" in line for line in lines), path.name


def test_no_two_migrations_have_one_number():
    numbers = [path.name[:4] for path in sorted((PACKAGE / "ledger" / "migrations").glob("*.sql"))]
    assert len(numbers) == len(set(numbers)), "the ledger applies one file for a number"
