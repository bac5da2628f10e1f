"""Agents of other people's frameworks, with a scripted model, buy through the adapters: once, within policy, nothing else."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from x402_agent import Payer
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
