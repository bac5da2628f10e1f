"""A purse for another process: it narrows, it dies with its parent, and its token is nowhere."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nursery
from x402_agent import BudgetExceeded, Payer, PolicyDenied, SettingsError, Wallet
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger
from x402_agent.settings import Settings

HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture
def payer(tmp_path):
    """Its sandbox listens, its ledger is a file: what another process needs to pay it."""
    with Payer.sandbox(ledger=tmp_path / "sandbox.db", serve=True) as made:
        yield made


def facts(payer):
    return json.dumps({"key": payer.sandbox.payer_key.hex(), "ledger": str(payer.ledger.path)})


class Child:
    def __init__(self, facts, token):
        env = {**os.environ, "X402_AGENT_SLIP": token, "FACTS": facts}
        self.process = subprocess.Popen(
            [sys.executable, str(HOLDER)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = json.loads(self.process.stdout.readline())

    def __call__(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def child(payer):
    with contextlib.ExitStack() as stack:

        def start(token, told=None):
            made = Child(told or facts(payer), token)
            stack.enter_context(made.process)
            stack.callback(made.process.kill)
            return made

        yield start


def test_a_child_pays_from_its_slip_and_not_past_it(payer, child):
    url = payer.sandbox.url("/joke")
    with payer.task("research", tool="scout"):
        token = payer.slip("0.02")
        holder = child(token)
        assert holder.first[0] == "ready" and holder.first[2] == "research"
        assert [holder(url)[0] for _ in range(3)] == [200, 200, "BudgetExceeded"]
        refused = holder(f"{url} sub")
        assert refused[0] == "BudgetExceeded" and refused[2].endswith("(budget=0.02) in code")
    payer.ledger.flush()
    assert [row.task for row in payer.ledger.payments()] == ["research/own"] * 2


def test_a_childs_payments_count_for_the_tasks_of_its_parent(payer, child):
    url = payer.sandbox.url("/joke")
    with payer.task("a", budget="0.03") as outer, payer.task("b", calls=2), payer.client() as http:
        assert http.get(url).status_code == 200
        holder = child(payer.slip("5.00"))
        assert holder(url) == [200]
        assert holder(url)[2] == "task b (calls=2) in code"
        assert (outer.spent, outer.left) == ("0.02", "0.01")
        with pytest.raises(BudgetExceeded, match="task b"):
            http.get(url)


def test_a_slip_dies_with_the_task_it_was_given_from_under(payer, child):
    url = payer.sandbox.url("/joke")
    with payer.task("a"):
        with payer.task("b"):
            holder = child(payer.slip("1.00"))
            assert holder(url) == [200]
        assert holder(url)[:2] == ["PolicyDenied", holder(url)[1]]
        assert "expired: its task has ended" in holder(url)[1]
        other = child(payer.slip("1.00"))
        assert other(url) == [200]
    assert "its task has ended" in other(url)[1]


def test_a_childs_own_slip_is_narrower_and_dies_with_it(payer, child):
    url = payer.sandbox.url("/joke")
    parent = child(payer.slip("0.02"))
    token = parent("slip 1.00")[1]
    grandchild = child(token)
    assert [grandchild(url)[0] for _ in range(3)] == [200, 200, "BudgetExceeded"]
    third = child(parent("slip 1.00")[1])
    os.kill(parent.process.pid, signal.SIGKILL)
    parent.process.wait()
    assert "the process that gave it is gone" in third(url)[1]
    late = child(token)
    assert late.first[:2] == ["no payer", "PolicyDenied"] and "is gone" in late.first[2]


def test_a_killed_parents_slip_is_dead(payer, child, tmp_path):
    """The parent is a holder itself here, so that it can be killed; its child's child lives on and may pay nothing."""
    code = (
        "import sys; from pathlib import Path; from x402_agent import Payer\n"
        "payer = Payer.sandbox(ledger=Path(sys.argv[1]), serve=True)\n"
        "print(payer.sandbox.payer_key.hex(), payer.sandbox.url('/joke'), ''.join(payer.slip('1.00')), flush=True); sys.stdin.read()"
    )
    path = tmp_path / "other.db"
    args = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent, ending(parent):
        key, url, token = parent.stdout.readline().split()
        told = json.dumps({"key": key, "ledger": str(path)})
        holder = child(token, told)
        assert holder(url) == [200]
        parent.send_signal(signal.SIGKILL)
    # its seller is gone as well: another one, which the same key has money at, stands in for it
    assert "the process that gave it is gone" in child(token, told).first[2]
    said = holder(payer.sandbox.url("/joke"))
    assert said[0] == "PolicyDenied" and "the process that gave it is gone" in said[1]


def test_time_and_hosts_narrow_a_slip(payer):
    url = payer.sandbox.url("/joke")
    short, elsewhere = payer.slip("1.00", minutes=0.05), payer.slip("1.00", hosts=["b.example"])
    with payer.under(elsewhere).client() as http, pytest.raises(PolicyDenied, match="not among the hosts"):
        http.get(url)
    with payer.under(short), payer.client() as http:
        assert http.get(url).status_code == 200
        time.sleep(3.1)
        with pytest.raises(PolicyDenied, match="expired: its time is over"):
            http.get(url)
    with pytest.raises(PolicyDenied, match="its time is over"):
        payer.under(short)
    with payer.task("a", deadline=2):
        payer.slip("1.00", minutes=60)
    newest = max(payer.ledger.slips(), key=lambda slip: slip.expires_at - slip.created_at if slip.why == "its task has ended" else 0)
    assert newest.expires_at - newest.created_at <= 2


def test_a_person_pauses_resumes_and_revokes(payer, tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    token, url = payer.slip("1.00", calls=2, per_call="0.50"), payer.sandbox.url("/joke")
    number = payer.ledger.slips()[0].slip_id

    def run(*args):
        done = CliRunner().invoke(app, ["slip", *args])
        assert token[5:] not in done.output
        return done.exit_code, done.output

    with payer.under(token), payer.client() as http:
        http.get(url)
        payer.ledger.flush()
        listed = json.loads(run("list", "--json")[1])
        assert (listed[0]["slip_id"], listed[0]["state"], listed[0]["spent_micros"]) == (number, "active", 10_000)
        assert "0.01 of 1.00 USD spent" in run("list")[1]
        assert run("pause", number[:6])[0] == 0
        with pytest.raises(PolicyDenied, match="is paused") as why:
            http.get(url)
        assert why.value.hint == f"x402-agent slip resume {number}"
        assert json.loads(run("resume", number, "--json")[1])["state"] == "active"
        assert http.get(url).status_code == 200
        assert run("revoke", number)[0] == 0
        with pytest.raises(PolicyDenied, match="is revoked"):
            http.get(url)
    assert run("resume", number)[0] == 3
    assert run("pause", "nothing")[0] == 1
    assert "no slip may be paid from" in run("list")[1]
    assert "revoked" in run("list", "--all")[1]


def test_no_token_no_payer(payer, tmp_path, monkeypatch):
    for wrong in ("nothing", "slip-" + "A" * 43, "x" * 10_000):
        with pytest.raises(SettingsError, match="no slip of this ledger") as why:
            payer.under(wrong)
        assert wrong not in str(why.value)
    monkeypatch.setenv("X402_AGENT_SLIP", "slip-wrong")
    with pytest.raises(SettingsError, match="no slip of this ledger"):
        Payer.from_env()
    with pytest.raises(SettingsError, match="no slip of this ledger"):
        Payer.sandbox(ledger=tmp_path / "sandbox.db")
    with Payer.sandbox() as other:  # a ledger that goes with it: nothing of the slip's parent is in it
        assert other.bounds.under.slip == ""


def test_the_token_is_shown_nowhere(payer, caplog):
    token = payer.slip("1.00")
    plain = "".join(token)
    assert plain.startswith("slip-") and len(plain) > 40
    settings = Settings.load({"X402_AGENT_SLIP": token, "X402_AGENT_HOME": "h"})
    shown = [repr(token), str(token), f"{token}", repr([token]), repr(settings), repr(payer.under(token)),
             repr(payer.ledger.slips()), caplog.text]  # fmt: skip
    payer.ledger.flush()
    files = [each.read_bytes() for each in payer.ledger.path.parent.rglob("*") if each.is_file()]
    assert not [each for each in shown if plain[5:] in each]
    assert not [each for each in files if plain[5:].encode() in each]
    assert "".join(pickle.loads(pickle.dumps(token))) == plain and settings.slip.text == plain  # noqa: S301 - our own


def test_a_changed_slip_is_no_slip(payer):
    token = payer.slip("0.01", hosts=["b.example"])
    payer.ledger.flush()
    for change in ("state = 'active', expires_at = expires_at + 1", "terms = replace(terms, '10000', '90000')", "owner = ''",
                   "budget = 2", "runs = '/x'"):  # fmt: skip
        db = payer.ledger._store.db
        before = db.execute("SELECT * FROM x402_slips").fetchone()
        db.execute(f"UPDATE x402_slips SET {change}")
        with pytest.raises(Exception, match="has been changed or damaged"):
            payer.under(token)
        db.execute("DELETE FROM x402_slips")
        db.execute(f"INSERT INTO x402_slips VALUES ({','.join('?' * len(before))})", before)
    assert payer.under(token)


def test_a_slip_larger_than_what_is_left_is_said(payer, caplog):
    with payer.task("a", budget="0.50"):
        payer.slip("0.60")
    assert "names 0.60 USD, what is around it leaves 0.50" in caplog.text


@pytest.mark.parametrize(("budget", "options"), [
    (0.5, {}), ("x", {}), ("1", {"minutes": 0}), ("1", {"minutes": -1}), ("1", {"minutes": True}), (None, {"calls": 1}), ("1", {"minutes": float("inf")}),
    ("1", {"minutes": "10"}), ("1", {"calls": -1}),
    ("1", {"hosts": "a.example"}), ("1", {"per_call": 0.1}),
])  # fmt: skip
def test_what_is_no_purse_is_refused(payer, budget, options):
    with pytest.raises(SettingsError):
        payer.slip(budget, **options)


def test_a_task_that_is_over_gives_no_slip(payer):
    with payer.task("a", deadline=0.001):
        time.sleep(0.01)
        with pytest.raises(PolicyDenied, match="past its deadline"):
            payer.slip("1.00")


def test_a_closed_ledger_ends_quietly(tmp_path):
    payer = Payer.sandbox(ledger=tmp_path / "sandbox.db")
    with payer.task("a"):
        payer.slip("1.00")
        payer.close()
    ledger = SqliteLedger(tmp_path / "sandbox.db", sandbox=True)
    assert [slip.why for slip in ledger.slips()] == ["the process that gave it is gone"]
    ledger.shut()


@contextlib.contextmanager
def ending(process):
    """Whatever a test comes to, nobody waits for a process that nobody ends."""
    try:
        yield
    finally:
        process.kill()


def test_a_program_run_under_a_slip_pays_from_it_alone():
    main = [sys.executable, "-c", "from x402_agent.cli import main; main()"]
    with subprocess.Popen([*main, "sandbox", "up", "--json"], stdout=subprocess.PIPE, text=True) as box, ending(box):
        url = next(found for line in box.stdout if (found := json.loads(line)["url"]).endswith("/joke"))
        get = [*main, "get", "--sandbox", "--json", url]
        code = f"import subprocess, sys; codes = [subprocess.run({get!r}).returncode for _ in range(2)]; sys.exit(codes[1] + 10 * codes[0])"
        slip = [*main, "slip", "run", "0.01", "--sandbox", "--"]
        done = subprocess.run([*slip, sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
        assert done.returncode == 3, done.stdout + done.stderr  # the first is paid, the second is denied
        assert done.stdout.count('"outcome": "spent"') == 1 and "(budget=0.01)" in done.stdout
        wider = subprocess.run([*slip, *main, "slip", "run", "5", "--sandbox", "--", *get[:-1], url.replace("joke", "report")],
                               capture_output=True, text=True, timeout=180)  # fmt: skip
        assert wider.returncode == 3 and "(budget=0.01)" in wider.stdout, wider.stdout + wider.stderr
        none = subprocess.run([*slip, "no-such-program"], capture_output=True, text=True, timeout=180)
        assert none.returncode == 2 and "cannot be run" in none.stderr


def test_doctor_says_which_purse_this_environment_pays_from(monkeypatch):
    def doctor():
        done = CliRunner().invoke(app, ["doctor", "--json"])
        return done.exit_code, next(one for one in json.loads(done.output) if one["check"] == "slip")

    with Payer(wallet=Wallet()) as real:
        token = real.slip("0.50")
        monkeypatch.setenv("X402_AGENT_SLIP", token)
        code, said = doctor()
        assert code == 0 and said["ok"] and "active, 0.50 USD left, until " in said["said"]
    code, said = doctor()
    assert (code, said["ok"]) == (1, False) and "the process that gave it is gone; no payment is made" in said["said"]
    done = CliRunner().invoke(app, ["get", "http://127.0.0.1:9/x", "--json"])
    assert done.exit_code == 3 and "is gone" in json.loads(done.output)["what"]
    monkeypatch.setenv("X402_AGENT_SLIP", "slip-wrong")
    assert CliRunner().invoke(app, ["get", "http://127.0.0.1:9/x"]).exit_code == 2


FORKED = """
import os, sys
from pathlib import Path
from x402_agent import BudgetExceeded, Payer, PolicyDenied

payer = Payer.sandbox(ledger=Path(sys.argv[1]))
url = payer.sandbox.url("/joke")
with payer.task("a", budget="0.02"):
    token = payer.slip("1.00")
    payer.client().get(url)
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        payer.under(token)  # alive: it was a copy of the block that the child left
        try:
            payer.client().get(url)
        except BudgetExceeded as why:
            print(why.rule)
    else:
        payer.client().get(url)
        payer.ledger.flush()
if not child:
    os._exit(0)
try:
    payer.under(token)
except PolicyDenied as why:
    print(why.what)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_pays_under_the_task_and_ends_no_slip_of_its_parent(tmp_path):
    done = nursery.run(FORKED, tmp_path / "l.db")
    assert done.returncode == 0, done.stderr
    rule, what = done.stdout.splitlines()
    assert rule == "task a (budget=0.02) in code" and what.endswith("is expired: its task has ended")
