"""The boundary, with real users: a service under one, agents under two more, and a stranger. Needs root to become them.

Without root only its absence is shown: the protocol's own attacks are in test_attacks.py, under any user.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import x402_agent
from x402_agent import Settings
from x402_agent.cli.signer import _checks
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.secret import Secret
from x402_agent.wallet import Entry, WalletFile

HERE = Path(__file__).parent
SIGNER, RESEARCH, THIEF, STRANGER, GROUP = 61001, 61002, 61003, 61004, 61009
POLICY = """per_call = "0.02"
total = "0.055"

[signer.agents]
61002 = "team/research"
61003 = "thief"

[budgets."agent:thief"]
total = "0.01"
"""


class World:
    """The folders, the seller, the service's process."""

    def __init__(self, base, code):
        self.base, self.code = base, code
        self.home, self.run = base / "home", base / "run"
        self.box = Sandbox("honest")
        self.box.serve()
        for path, mode, uid in ((self.home, 0o700, SIGNER), (self.run, 0o711, SIGNER)):
            path.mkdir(mode=mode)
            path.chmod(mode)
            os.chown(path, uid, uid)
        self.passphrase = secrets.token_urlsafe(20)
        WalletFile.create(self.home / "wallet.json", [Entry("key", Secret(self.box.payer_key))], Secret(self.passphrase), n=4096)
        os.chown(self.home / "wallet.json", SIGNER, SIGNER)
        self.put("policy.toml", POLICY)
        self.put("passphrase", self.passphrase)
        self.socket = str(self.run / "signer.sock")
        self.said = []
        self.service = None

    def put(self, name, text):
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, SIGNER, SIGNER)

    def actor(self, uid, kind, *words, home=None, **options):
        """Start a process under this user; it has a folder of its own."""
        folder = home or self.base / f"user-{uid}"
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, uid, uid)
        env = {"PATH": os.environ["PATH"], "X402_AGENT_HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
        line = [sys.executable, "-W", "error", str(self.code / "actor.py"), str(self.code), str(uid), str(uid), kind, *words]
        return subprocess.Popen(line, env={**env, **options}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")

    def start(self, *words):
        """The service, by the command line."""
        self.service = self.actor(
            SIGNER, "cli", "signer", "run", "--socket", self.socket, "--json", *words, home=self.home,
            X402_AGENT_NETWORKS="testnet", X402_AGENT_PASSPHRASE_FILE=str(self.home / "passphrase"),
        )  # fmt: skip
        line = self.service.stdout.readline()
        assert line and json.loads(line)["ready"], self.service.communicate()
        return json.loads(line)

    def stop(self):
        """End it as systemd does; -> its log."""
        self.service.terminate()
        out, err = self.service.communicate(timeout=120)
        assert self.service.returncode == 0, err
        self.said += [out, err]
        self.service = None
        return err

    def act(self, uid, *do, **facts):
        """What `attacks.act` brings back from a process of this user."""
        told = {"do": do, "home": str(self.home), "run": str(self.run), "socket": self.socket, "url": self.box.url("/joke"),
                "pid": self.service.pid if self.service else 0, "env": {"X402_AGENT_SIGNER": self.socket}, **facts}  # fmt: skip
        process = self.actor(uid, "act", json.dumps(told))
        out, err = process.communicate(timeout=120)
        self.said += [out, err]
        assert process.returncode == 0, err
        made = json.loads(out)
        assert made["uid"] == uid
        return made

    def ledger(self):
        """The signer's own journal, read when the service has ended: by us, as its user would."""
        os.chmod(self.home, 0o700)
        os.setresuid(SIGNER, SIGNER, 0)
        try:
            ledger = SqliteLedger(self.home / "ledger.db")
            assert ledger.verify() == []
            found = ledger.payments()
            ledger.shut()
            return found
        finally:
            os.setresuid(0, 0, 0)


ROOT = os.name == "posix" and os.geteuid() == 0
pytestmark = [] if ROOT else [pytest.mark.full]  # for anybody else they belong to the long run, and fail there


@pytest.fixture(scope="module")
def code():
    """A compiled copy of the package that every user may read."""
    where = Path(tempfile.mkdtemp(prefix="x402-code-"))
    shutil.copytree(Path(x402_agent.__file__).parent, where / "x402_agent", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("actor.py", "attacks.py"):
        shutil.copy(HERE / name, where / name)
    subprocess.run([sys.executable, "-m", "compileall", "-q", where], check=True)
    subprocess.run(["chmod", "-R", "a+rX", where], check=True)
    yield where
    shutil.rmtree(where)


@pytest.fixture
def world(code):
    assert ROOT, "NOT PROVED HERE: becoming other users needs root; run these tests as root"
    base = Path(tempfile.mkdtemp(prefix="x402-two-"))
    base.chmod(0o755)
    made = World(base, code)
    yield made
    if made.service is not None:
        made.service.kill()
        made.service.communicate()
    made.box.stop()
    shutil.rmtree(base)


def offer(world, amount):
    asset = "eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e"
    return {"dialect": "x402", "scheme": "exact", "asset": asset, "amount": str(amount), "pay_to": world.box.pay_to, "lifetime": "60",
            "resource": "", "description": "", "flow": "authorization", "fee_cap": "0", "wire": ["2", "eip155:84532", "{}", "", ""],
            "method": "", "facilitator": ""}  # fmt: skip


def pay(world, key, amount=10_000, **more):
    return {"op": "pay", "method": "GET", "url": world.box.url("/joke"), "key": (key * 64)[:64], "has_body": False, "caller_key": "",
            "dialect": "x402", "offers": [offer(world, amount)], **more}  # fmt: skip


def test_an_agents_user_moves_no_limit_and_learns_no_secret(world):
    policy = (world.home / "policy.toml").read_bytes()
    assert world.start()["agents"] == {"61002": "team/research", "61003": "thief"}

    honest = world.act(RESEARCH, "pay", times=2)["pays"]
    assert [one[0] for one in honest] == [200, 200], honest
    payment_id = honest[0][2]

    found = world.act(THIEF, "files", "commands")
    reached = {name: what for kind in ("files", "processes") for name, what in found[kind].items() if what != "PermissionError"}
    assert not reached
    for name, (code, said) in found["commands"].items():
        assert code != 0 or name.endswith(" ours"), (name, said)
    assert (world.home / "policy.toml").read_bytes() == policy

    wide = {"limits": [], "caps": [{"micros": str(10**15), "rule": "x", "hint": ""}], "agent": "team/research", "group": "team"}
    told = world.act(THIEF, "talk", messages=[
        {"op": "state", "payment_id": payment_id}, {"op": "again", "payment_id": payment_id}, {"op": "open", "payment_id": payment_id},
        {"op": "close", "payment_id": payment_id, "state": "UNKNOWN", "status": 0, "milliseconds": 0},
        pay(world, "a", 20_001, **wide), pay(world, "a", **wide), pay(world, "b", **wide),
    ])["talk"]  # fmt: skip
    assert told[0]["agent"] == "thief" and [one.get("error") for one in told[1:5]] == ["LedgerError"] * 4, told
    assert told[5]["error"] == "BudgetExceeded" and "policy.toml" in told[5]["rule"], told[5]
    assert told[7]["error"] == "BudgetExceeded" and "agent:thief" in told[7]["rule"], told[7]
    assert told[6]["proof"]["nonce"] and told[6]["hold"]["state"] == "INFLIGHT"

    assert world.act(THIEF, "talk", messages=[{"op": "key"}])["talk"][1:] == [None]
    refused = world.act(STRANGER, "talk", messages=[pay(world, "b")])["talk"]
    assert refused[0]["error"] == "PolicyDenied" and refused[1:] in ([None], []), refused

    spent = [one[0] for one in world.act(RESEARCH, "pay", times=4)["pays"]]
    assert spent == [200, 200, "BudgetExceeded", "BudgetExceeded"]  # 5 x 0.01 of 0.055, one of them the thief's, in doubt
    log = world.stop()
    payments = world.ledger()
    assert sorted((one.agent, one.state) for one in payments) == [("research", "CLAIMED")] * 4 + [("thief", "UNKNOWN")]
    assert (world.home / "policy.toml").read_bytes() == policy
    assert "its agent went away" in log
    needles(world, told[6]["proof"])


def needles(world, proof):
    """Nothing that anybody printed holds key or passphrase; the log and the errors hold no proof."""
    said = "\n".join(world.said)
    for secret in (world.box.payer_key.hex(), world.passphrase):
        assert secret not in said
    log = world.said[-1]
    assert proof["payload"]["signature"] not in log and proof["nonce"] not in log


WAYS = {
    "a wallet that others read": lambda w: (w.home / "wallet.json").chmod(0o644),
    "a policy that others write": lambda w: (w.home / "policy.toml").chmod(0o622),
    "a policy that all read": lambda w: (w.home / "policy.toml").chmod(0o644),
    "a policy of the agent's": lambda w: os.chown(w.home / "policy.toml", THIEF, THIEF),
    "a passphrase that others read": lambda w: (w.home / "passphrase").chmod(0o644),
    "a home that others write": lambda w: w.home.chmod(0o777),
    "a socket folder that others write": lambda w: w.run.chmod(0o777),
    "a socket folder of the agent's": lambda w: os.chown(w.run, THIEF, THIEF),
    "a folder above that others write": lambda w: w.base.chmod(0o777),
    "nobody in the table": lambda w: w.put("policy.toml", 'day = "1.00"\n'),
}


@pytest.mark.parametrize("way", WAYS)
def test_its_doctor_sees_whatever_others_can_reach(world, way, monkeypatch):
    WAYS[way](world)
    monkeypatch.setenv("X402_AGENT_HOME", str(world.home))
    monkeypatch.setenv("X402_AGENT_PASSPHRASE_FILE", str(world.home / "passphrase"))
    os.seteuid(SIGNER)
    try:
        found = _checks(Settings.load(), Path(world.socket))
    finally:
        os.seteuid(0)
    assert [each.name for each in found if each.ok is not True], found
    assert all(each.said for each in found)


@pytest.mark.parametrize("way", ["a policy of the agent's", *(pytest.param(each, marks=pytest.mark.full) for each in ("a wallet that others read", "nobody in the table"))])
def test_it_refuses_to_start_where_others_can_reach_it(world, way):
    WAYS[way](world)
    process = world.actor(SIGNER, "cli", "signer", "run", "--socket", world.socket, "--json", home=world.home,
                          X402_AGENT_NETWORKS="testnet", X402_AGENT_PASSPHRASE_FILE=str(world.home / "passphrase"))  # fmt: skip
    out, err = process.communicate(timeout=180)
    assert process.returncode in (1, 2) and "ready" not in out, (out, err)
    assert "Traceback" not in err and not os.path.exists(world.socket)


@pytest.mark.full
def test_only_a_group_reaches_its_socket(world):
    line = ["signer", "run", "--socket", world.socket, "--json", "--group", str(GROUP)]
    env = {"X402_AGENT_NETWORKS": "testnet", "X402_AGENT_PASSPHRASE_FILE": str(world.home / "passphrase")}
    stranger = world.actor(SIGNER, "cli", *line, home=world.home, **env)
    out, err = stranger.communicate(timeout=180)
    assert stranger.returncode == 2 and "member of the group" in out and "Traceback" not in err, (out, err)

    world.put("policy.toml", 'day = "1.00"\n')  # without a table each of the group is an agent of its own
    world.service = world.actor(SIGNER, "cli", *line, home=world.home, ACTOR_GROUPS=str(GROUP), **env)
    assert json.loads(world.service.stdout.readline())["ready"]
    facts = json.dumps({"do": ["talk"], "socket": world.socket, "messages": []})
    member = world.actor(RESEARCH, "act", facts, ACTOR_GROUPS=str(GROUP))
    assert json.loads(member.communicate(timeout=180)[0])["talk"][0]["agent"] == f"uid-{RESEARCH}"
    other = world.actor(THIEF, "act", facts)
    assert "PermissionError" in other.communicate(timeout=180)[1] and other.returncode == 1
    world.stop()


def test_a_link_of_the_agents_does_not_lead_the_service_astray(world):
    """A socket folder reached by a link that the agent's user can turn elsewhere is refused."""
    theirs = world.base / "theirs"
    theirs.mkdir(mode=0o755)
    os.symlink(world.run, theirs / "run")
    os.chown(theirs, THIEF, THIEF)
    process = world.actor(SIGNER, "cli", "signer", "run", "--socket", str(theirs / "run" / "signer.sock"), "--json", home=world.home,
                          X402_AGENT_NETWORKS="testnet", X402_AGENT_PASSPHRASE_FILE=str(world.home / "passphrase"))  # fmt: skip
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 2 and "can change what lies in" in out, out


def test_a_killed_service_counts_what_it_gave_out_and_gives_the_same_proof_again(world):
    world.start()
    first = world.act(THIEF, "talk", messages=[pay(world, "a")])["talk"][1]
    world.service.kill()
    world.service.communicate()
    world.start()
    again = world.act(THIEF, "talk", messages=[pay(world, "a")])["talk"][1]
    assert again["proof"] == first["proof"] and again["hold"]["resumed"]
    world.stop()
    assert len(world.ledger()) == 1


def test_an_honest_agent_resumes_through_the_service(world):
    world.start()
    told = world.act(RESEARCH, "talk", messages=[pay(world, "a")])["talk"]
    start = time.monotonic()
    code, said = world.act(RESEARCH, "commands")["commands"]["resume --json ours"]
    assert code in (0, 5) and time.monotonic() - start < 60, said
    assert told[1]["hold"]["payment_id"] in said
