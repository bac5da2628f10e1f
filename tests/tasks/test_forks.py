"""A task and the processes that fork makes under it: they keep its limits, and learn of its end."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nursery
from x402_agent import Payer, PaymentError, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


@pytest.fixture
def payer(tmp_path):
    with Payer.sandbox(ledger=tmp_path / "sandbox.db", serve=True) as made:
        yield made


def said(http, url):
    try:
        return str(http.get(url).status_code)
    except PaymentError as why:
        return f"{type(why).__name__}: {why.what}"


class Forked:
    """A forked child that pays once for each URL it is told, and says what came of it."""

    def __init__(self, http):
        told, self.tell = os.pipe()
        self.hear, saying = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.tell), os.close(self.hear)
            _serve(http, told, saying)
        os.close(told), os.close(saying)

    def __call__(self, url):
        os.write(self.tell, f"{url}\n".encode())
        return os.read(self.hear, 4096).decode()

    def ends(self):
        os.close(self.tell), os.close(self.hear)
        assert os.waitpid(self.pid, 0)[1] == 0


def _serve(http, told, saying):
    with contextlib.suppress(BaseException), os.fdopen(told) as lines:
        for line in lines:
            os.write(saying, said(http, line.strip()).encode())
        os._exit(0)
    os._exit(1)


def test_a_forked_child_pays_under_the_task_and_learns_of_its_end(payer):
    url = payer.sandbox.url("/joke")
    with payer.client() as http:
        with payer.task("research", budget="0.03") as outer, payer.task("prices"):
            child = Forked(http)
            assert child(url) == "200"
            assert http.get(url).status_code == 200 and outer.spent == "0.02", "one budget for both"
            assert child(url) == "200"
            assert child(url).startswith("BudgetExceeded")
        assert child(url) == "PolicyDenied: task research has ended: nothing new is paid under it"
        child.ends()


def test_a_child_that_leaves_its_copy_of_the_block_ends_nothing_for_its_parent(payer):
    url = payer.sandbox.url("/joke")
    with payer.client() as http, payer.task("a") as task:
        pid = os.fork()
        if pid == 0:
            task.end()
            os._exit(0 if said(http, url) == "200" and "has ended" in said(task.client(), url) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert http.get(url).status_code == 200
        payer.ledger.flush()
    assert [row.task for row in payer.ledger.payments()] == ["a", ""]


def test_a_task_bound_to_a_client_ends_for_children_of_children(payer):
    url = payer.sandbox.url("/joke")
    task = payer.task("bound")
    with task.client() as http:
        hear, saying = os.pipe()
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            grandchild = os.fork()
            if grandchild == 0:
                os.write(saying, said(http, url).encode())
                os.read(told, 1)
                os.write(saying, said(http, url).encode())
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        assert os.read(hear, 4096) == b"200"
        task.end()
        os.write(tell, b".")
        assert b"task bound has ended" in os.read(hear, 4096)
        assert os.waitpid(pid, 0)[1] == 0
    for fd in (hear, saying, told, tell):
        os.close(fd)


ORPHAN = """
import os, signal, sys
from x402_agent import Payer, PaymentError, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from pathlib import Path
key, ledger, url, out = sys.argv[1:]
payer = Payer(wallet=Wallet.from_key(bytes.fromhex(key)), policy=Policy(networks=("base-sepolia",)), settings=Settings.load(),
              ledger=SqliteLedger(Path(ledger), sandbox=True))
parent = os.getpid()
with payer.client() as http, payer.task("a"):
    assert http.get(url).status_code == 200
    payer.ledger.flush()
    if os.fork() == 0:
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            pass
        try:
            said = str(http.get(url).status_code)
        except PaymentError as why:
            said = why.what
        Path(out + ".part").write_text(said)
        os.rename(out + ".part", out)
        os._exit(0)
    signal.pause()
"""


def test_the_child_of_a_killed_process_pays_nothing_new_under_its_task(payer, tmp_path):
    out = tmp_path / "said"
    facts = [payer.sandbox.payer_key.hex(), str(payer.ledger.path), payer.sandbox.url("/joke"), str(out)]
    assert nursery.run(ORPHAN, *facts).returncode == -signal.SIGKILL
    end = time.monotonic() + 30
    while not out.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert out.read_text() == "task a was of a process that is gone: nothing new is paid under it"


def _work(http, url, ended, answers):
    answers.put(said(http, url))
    ended.wait(30)
    answers.put(said(http, url))


def test_a_forked_worker_of_multiprocessing_learns_of_the_end(payer):
    url, world = payer.sandbox.url("/joke"), multiprocessing.get_context("fork")
    ended, answers = world.Event(), world.Queue()
    with payer.client() as http:
        with payer.task("a"):
            worker = world.Process(target=_work, args=(http, url, ended, answers))
            worker.start()
            assert answers.get(timeout=120) == "200"
        ended.set()
        assert answers.get(timeout=120) == "PolicyDenied: task a has ended: nothing new is paid under it"
        worker.join(30)
    assert worker.exitcode == 0


def spawned(facts, url, ended, answers):
    """A spawned worker inherits no task; what narrows it is its slip."""
    told = json.loads(facts)
    payer = Payer(
        wallet=Wallet.from_key(told["key"]), policy=Policy(networks=("base-sepolia",)), settings=Settings.load(),
        ledger=SqliteLedger(Path(told["ledger"]), sandbox=True),
    )  # fmt: skip
    with payer, payer.under(told["slip"]), payer.client() as http:
        _work(http, url, ended, answers)


def test_a_spawned_worker_of_multiprocessing_learns_of_the_end_by_its_slip(payer):
    url, world = payer.sandbox.url("/joke"), multiprocessing.get_context("spawn")
    ended, answers = world.Event(), world.Queue()
    with payer.task("a"):
        facts = {"key": payer.sandbox.payer_key.hex(), "ledger": str(payer.ledger.path), "slip": payer.slip("0.05")}
        worker = world.Process(target=spawned, args=(json.dumps(facts), url, ended, answers))
        worker.start()
        assert answers.get(timeout=120) == "200"
    ended.set()
    assert "its task has ended" in answers.get(timeout=120)
    worker.join(30)
    assert worker.exitcode == 0


def test_no_page_is_made_where_nothing_forks(payer):
    with payer.task("a") as task:
        subprocess.run([sys.executable, "-c", ""], check=True)
        assert task._shared is None
