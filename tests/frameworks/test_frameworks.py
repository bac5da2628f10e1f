"""Agents of other people's frameworks, with a scripted model, buy through the adapters: once, within policy, nothing else."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from x402_agent import Payer, __version__
from x402_agent.tools import Tools
from x402_agent.tools.verbs import VERBS, verbs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WHERE = {"openai_agents": "X402_FRAMEWORKS_PYTHON", "langchain": "X402_FRAMEWORKS_PYTHON", "pydantic_ai": "X402_FRAMEWORKS_PYTHON", "crewai": "X402_CREWAI_PYTHON"}


def play(python, framework, home, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "X402_AGENT_HOME": str(home), "HOME": str(home), **more}
    done = subprocess.run([python, HERE / "play.py", framework], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def schema(kind):
    """What a schema says, without the titles that one framework makes up and another drops."""
    return {name: schema(each) if isinstance(each, dict) else each for name, each in kind.items() if name != "title"}


@pytest.mark.full
@pytest.mark.parametrize(("framework", "more"), [*((each, {}) for each in WHERE), ("langchain", {"SYNC": "1"})])
def test_an_agent_buys_what_it_was_quoted_and_no_more(framework, more, python_of, tmp_path):
    found = play(python_of(WHERE[framework]), framework, tmp_path, **more)
    assert found["said"] == "done" and found["reached"] == []
    assert found["ledger"] == [["spent", "10000"]]
    quoted, bought, again, odd, spent = found["heard"]
    assert quoted["policy"] == "allowed" and bought["outcome"] == "spent" and not bought["repeated"]
    assert again["payment_id"] == bought["payment_id"] and again["repeated"]
    assert odd.get("repeated") if framework == "crewai" else "pay_to" in odd["problem"]["what"]  # CrewAI drops what a tool does not take
    assert spent["spent"] == "0.01" and spent["payments"] == 1
    with Payer.sandbox() as payer:
        own = {each.name: [each.says, schema(each.schema)] for each in verbs(Tools(payer))}
    assert {name: [says, schema(kind)] for name, (says, kind) in found["offered"].items()} == own


def test_an_adapter_is_short_and_says_nothing_that_is_said_elsewhere():
    for framework in WHERE:
        text = (ROOT / "x402_agent" / "tools" / f"{framework}.py").read_text()
        assert len(text.splitlines()) <= 40
        assert not any(word in text for word in ("SPENDS", "offer_id", '"properties"'))


def test_a_verb_takes_what_its_signature_says_and_nothing_else():
    with Payer.sandbox() as payer:
        tools = Tools(payer)
        for verb in verbs(tools):
            own = inspect.signature(getattr(Tools, verb.name)).parameters
            assert set(verb.schema["properties"]) == set(own) - {"self"} and verb.schema["additionalProperties"] is False
            assert verb.schema.get("required", []) == [name for name, each in own.items() if each.default is each.empty and name != "self"]
        assert [each.name for each in verbs(tools)] == list(VERBS)


@pytest.mark.parametrize("arguments", [
    '{"url": 1}', '{"url": "http://127.0.0.1:1/", "again": "yes"}', '{"url": "http://127.0.0.1:1/", "max_price": 0.05}', "[]", "", "{", "null",
    '{"url": "http://127.0.0.1:1/", "amount": "1"}', {"url": "http://127.0.0.1:1/", "pay_to": "0x0"}, {"url": b"http://127.0.0.1:1/"},
])  # fmt: skip
def test_arguments_that_are_no_arguments_do_nothing(arguments):
    with Payer.sandbox() as payer:
        fetch = next(each for each in verbs(Tools(payer, loopback=True)) if each.name == "fetch")
        problem = json.loads(fetch.now(arguments))["problem"]
        assert problem["kind"] == "Arguments" and "was not called" in problem["what"] and "url, max_price" in problem["hint"]
        assert not [*payer.ledger.payments()]


def test_an_agent_that_forgets_to_close_ends_all_the_same(tmp_path):
    code = "from x402_agent import Payer; from x402_agent.tools import Tools; print(Tools(Payer.sandbox()).sync.spending().spent)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "X402_AGENT_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "0.00\n", done.stderr


def test_the_readme_says_it_in_six_lines():
    section = (ROOT / "README.md").read_text("utf-8").partition("## In Claude, Cursor and other MCP hosts\n")[2].partition("\n## ")[0]
    assert len([line for line in section.splitlines() if line.strip()]) == 6


def test_server_json_says_what_the_package_says():
    facts = json.loads((ROOT / "mcp_server" / "server.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (package,) = facts["packages"]
    assert facts["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", facts["name"]) and len(facts["description"]) <= 100 and len(facts["title"]) <= 100
    assert f"mcp-name: {facts['name']} " in (ROOT / "README.md").read_text("utf-8")
    assert package["identifier"] == project["name"] and project["scripts"][project["name"]] == project["scripts"]["x402-agent"]
    assert facts["version"] == package["version"] == project["version"] == __version__
    extras = re.fullmatch(rf"{project['name']}\[(.*)\]=={re.escape(__version__)}", package["runtimeArguments"][0]["value"])[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    assert [each["value"] for each in package["packageArguments"]] == ["mcp", "serve"] and package["transport"] == {"type": "stdio"}
    secret = {each["name"] for each in package["environmentVariables"] if each.get("isSecret")}
    assert secret == {"X402_AGENT_NODES"}
    source = "".join(path.read_text("utf-8") for path in (ROOT / "x402_agent").rglob("*.py"))
    assert all(each["name"] in source for each in package["environmentVariables"])


def test_what_the_image_is_made_of_is_there():
    lines = (ROOT / "mcp_server" / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split() for line in lines if line and not line.startswith("#")]
    copied = [word for step in steps if step[0] == "COPY" and not step[1].startswith("--") for word in step[1:-1]]
    assert copied and all((ROOT / word).exists() for word in copied)
    assert {step[0] for step in steps} <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "ENTRYPOINT"}
    last = {step[0]: step for step in steps}
    assert last["USER"][1] not in ("root", "0") and "x402-agent-mcp" in last["ENTRYPOINT"][1]
    assert all("--require-hashes" in line or "--no-deps" in line for line in lines if "pip install" in line)
    kept = (ROOT / "mcp_server" / "Dockerfile.dockerignore").read_text().splitlines()
    assert kept[0] == "*" and {line[1:].partition("/*")[0] for line in kept if line.startswith("!")} >= {word.partition("/")[0] if "requirements" in word else word for word in copied}
