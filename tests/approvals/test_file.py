"""Requests in a folder, answered by `x402-agent approve`; whatever else lies there is no answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import anyio
import pytest

import nursery
from raw import wait_for
from x402_agent import Payer, Policy, PolicyDenied, SettingsError, Wallet
from x402_agent.approvals import answer, waiting
from x402_agent.approvals.request import digest
from x402_agent.policy import Approval
from x402_agent.sandbox import Sandbox


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "home" / "approvals"


@pytest.fixture
def desk(folder):
    """A person who does this with each request that appears, in a thread; -> the requests seen."""
    seen, stop, threads = [], threading.Event(), []

    def open_(act):
        def work():
            while not stop.wait(0.02):
                for one in waiting(folder, time.time()):
                    if one.id not in [each.id for each in seen]:
                        seen.append(one)
                        act(one)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return seen

    yield open_
    stop.set()
    for thread in threads:
        thread.join()


def run(*words, code=0):
    """The command in a process of its own, as a person's terminal runs it."""
    done = nursery.cli("approve", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def put(folder, name, text, mode=0o600):
    fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT, mode)
    os.write(fd, text.encode())
    os.close(fd)


BY_FILE = {"approval": Approval(how="file", seconds=30)}
BRIEF = {"approval": Approval(how="file", seconds=1)}


def test_a_person_sees_it_and_says_yes(shop, desk, folder, notes):
    payer, told = shop(**BY_FILE), []

    def act(one):
        told.append((oct(folder.stat().st_mode & 0o777), oct((folder / f"{one.id}.json").stat().st_mode & 0o777)))
        told.append(run("list"))
        told.append(run("show", one.id[:6]))
        told.append(json.loads(run("show", one.id, "--json")))
        told.append(run("yes", one.id[:6]))

    (seen,) = [desk(act)]
    with payer.client() as http:
        receipt = http.get(payer.sandbox.url("/joke")).extensions["payment"]
    while len(told) < 5:
        time.sleep(0.01)
    assert receipt.outcome == "spent" and notes(payer, receipt.payment_id)[1] == "approved by file"
    modes, listed, shown, facts, said = told
    assert modes == ("0o700", "0o600") and seen[0].id in listed and "0.0100 USDC (base-sepolia)" in listed
    for word in ("0.0100 USDC", payer.sandbox.pay_to, "/joke", "approve_above in ", "4.9900 USD left today"):
        assert word in shown and word in said
    assert facts["payment_id"] == receipt.payment_id and 0 < facts["seconds"] <= 30 and facts["amount"] == "10000"
    assert "approved, once" in said and list(folder.iterdir()) == [] and json.loads(run("list", "--json")) == []
    run("yes", seen[0].id, code=3)  # it is over


def test_a_person_says_no(shop, get, desk, rows, folder):
    payer = shop(**BY_FILE)
    desk(lambda one: answer(folder, one, yes=False))
    with pytest.raises(PolicyDenied, match="file did not say yes"):
        get(payer)
    assert rows(payer)[0].state == "RELEASED" and payer.sandbox.settlements == []


def test_nobody_answers(shop, folder):
    payer = shop(**BRIEF)
    start = time.monotonic()
    with payer.client() as http, pytest.raises(PolicyDenied, match="did not answer in time"):
        http.get(payer.sandbox.url("/joke"))
    assert 0.9 < time.monotonic() - start < 20 and list(folder.iterdir()) == []


FORGED = {
    "empty": "",
    "a plain yes": "yes",
    "no digest": '{"answer": "yes"}',
    "another digest": json.dumps({"answer": "yes", "digest": "0" * 64}),
    "a list": '["yes"]',
    "deep": "[" * 60_000,
    "large": '{"answer": "yes", "x": "' + "y" * 100_000 + '"}',
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_what_is_no_answer_to_this_request_is_a_no(shop, desk, folder, text):
    payer = shop(**BY_FILE)
    desk(lambda one: put(folder, f"{one.id}.answer", text))
    with payer.client() as http, pytest.raises(PolicyDenied, match="about another request"):
        http.get(payer.sandbox.url("/joke"))
    assert payer.sandbox.settlements == [] and list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_an_answer_is_a_plain_file(shop, desk, folder, tmp_path, kind):
    payer = shop(**BY_FILE)

    def act(one):
        path = folder / f"{one.id}.answer"
        real = {"answer": "yes", "digest": json.loads((folder / f"{one.id}.json").read_text())["digest"]}
        (tmp_path / "real").write_text(json.dumps(real))
        {"link": lambda: path.symlink_to(tmp_path / "real"), "pipe": lambda: os.mkfifo(path), "folder": lambda: path.mkdir()}[kind]()

    desk(act)
    with payer.client() as http, pytest.raises(PolicyDenied):
        http.get(payer.sandbox.url("/joke"))
    assert payer.sandbox.settlements == []


def test_an_old_answer_counts_for_nothing(shop, desk, folder):
    """Replay: the very file that said yes a moment ago, put under the next request's name."""
    payer, kept = shop(**BY_FILE), []

    def act(one):
        if kept:
            put(folder, f"{one.id}.answer", kept[0])
        else:
            kept.append(json.dumps({"answer": "yes", "digest": digest(one.facts)}))
            assert answer(folder, one, yes=True)

    desk(act)
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
        with pytest.raises(PolicyDenied, match="about another request"):
            http.get(payer.sandbox.url("/joke"))
    assert len(payer.sandbox.settlements) == 1


def test_a_request_that_was_changed_is_not_shown(shop, desk, folder):
    payer = shop(approval=Approval(how="file", seconds=2))

    def act(one):
        path = folder / f"{one.id}.json"
        path.write_text(path.read_text().replace('"amount": "10000"', '"amount": "1"'))
        assert waiting(folder, time.time()) == []
        run("no", one.id, code=3)

    seen = desk(act)
    with payer.client() as http, pytest.raises(PolicyDenied, match="in time"):
        http.get(payer.sandbox.url("/joke"))
    assert len(seen) == 1


def test_a_request_is_answered_once(shop, desk, folder):
    payer, said = shop(**BY_FILE), []

    def act(one):
        assert answer(folder, one, yes=False)
        said.append(answer(folder, one, yes=True))

    desk(act)
    with payer.client() as http, pytest.raises(PolicyDenied, match="did not say yes"):
        http.get(payer.sandbox.url("/joke"))
    wait_for(lambda: said)
    assert said == [False]


def test_a_folder_that_others_may_write_to_is_refused(shop, get, folder):
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    payer = shop(**BY_FILE)
    with pytest.raises(PolicyDenied, match="could not be asked") as denied:
        get(payer)
    assert isinstance(denied.value.__cause__, SettingsError) and denied.value.hint.startswith("chmod 700 ")
    run("list", code=2)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancellation_takes_the_request_back(shop, backend, folder, rows):
    payer = shop(**BY_FILE)

    async def go():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            group.start_soon(http.get, payer.sandbox.url("/joke"))
            with anyio.fail_after(60):
                while not waiting(folder, time.time()):  # noqa: ASYNC110 - files tell nobody
                    await anyio.sleep(0.02)
            group.cancel_scope.cancel()

    anyio.run(go, backend=backend)
    assert list(folder.iterdir()) == [] and rows(payer)[0].state == "RELEASED"


def test_what_a_killed_process_left_is_swept_away(shop, folder):
    folder.mkdir(parents=True, mode=0o700)
    put(folder, "0123456789abcdef.json", "{}")
    os.utime(folder / "0123456789abcdef.json", (1, 1))
    payer = shop(**BRIEF)
    with payer.client() as http, pytest.raises(PolicyDenied):
        http.get(payer.sandbox.url("/joke"))
    assert list(folder.iterdir()) == []


def test_the_policy_file_names_the_channel_and_wins_over_code(tmp_path, desk):
    home = tmp_path / "home"
    home.mkdir()
    (home / "policy.toml").write_text('networks = ["testnet"]\napprove_above = "0"\n\n[approval]\nhow = "file"\nseconds = 30\n')
    seen = desk(lambda one: run("yes", one.id))
    with Sandbox() as box:
        box.serve()
        env = {"X402_AGENT_HOME": str(home), "X402_AGENT_EVM_KEY": box.payer_key.hex()}
        payer = Payer.from_env(env=env, approve=lambda *_: pytest.fail("asked"))
        with payer, payer.client() as http:
            assert http.get(box.url("/joke")).extensions["payment"].outcome == "spent"
    assert len(seen) == 1 and seen[0].facts["reasons"][0]["rule"] == f"approve_above in {home / 'policy.toml'}:2"


@pytest.mark.parametrize(
    "text, line",
    [
        ('how = "phone"', 1), ("how = 1", 2), ("seconds = 1.5", 2), ("seconds = true", 2), ("seconds = 0", 1), ('whom = "me"', 2),
        ('how = "webhook"', 1), ('url = "https://a.example"', 1),
    ],
)  # fmt: skip
def test_a_wrong_approval_table_names_its_line(tmp_path, text, line):
    from x402_agent.policy import load

    path = tmp_path / "policy.toml"
    path.write_text(f"[approval]\n{text}\n")
    with pytest.raises(SettingsError) as wrong:
        load(path)
    assert wrong.value.rule.endswith(f"{path}:{line}")


KILLED = """
import sys
from dataclasses import replace
from x402_agent import Payer, Policy, Wallet
from x402_agent.policy import Approval
from x402_agent.sandbox import Sandbox

policy = Policy(networks=("testnet",), approve_above=0, approval=Approval(how="file"))
with Payer(wallet=Wallet.from_key(bytes.fromhex(sys.argv[1])), policy=policy).client() as http:
    http.get(sys.argv[2])
"""


def test_kill_9_while_somebody_is_asked_leaves_no_debt_and_no_yes(folder):
    with Sandbox() as box:
        box.serve()
        child = subprocess.Popen([sys.executable, "-c", KILLED, box.payer_key.hex(), box.url("/joke")], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not waiting(folder, time.time()):
            assert time.monotonic() < end
            time.sleep(0.02)
        child.kill()
        child.wait()
        (left,) = waiting(folder, time.time())
        assert json.loads(run("yes", left.id, "--json"))["taken"] is False
        policy = Policy(networks=("testnet",), approve_above=0, approval=Approval(how="file", seconds=1))
        with Payer(wallet=Wallet.from_key(box.payer_key), policy=policy) as payer:
            (row,) = payer.ledger.payments()
            assert row.state == "RELEASED" and row.payment_id == left.facts["payment_id"]
            with payer.client() as http, pytest.raises(PolicyDenied, match="in time"):
                http.get(box.url("/joke"))
        assert box.settlements == []
