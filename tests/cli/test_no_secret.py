"""I14: every command there is, for people and as JSON, in front of every kind of secret: key, words, passphrase, proof, token, slip,
webhook secret, keys in the URLs of a node and a webhook. None is printed or logged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent))
from meter import Counter, Meter
from needles import Needles, Records
from x402_agent import Payer
from x402_agent.cli.app import app
from x402_agent.secret import Secret
from x402_agent.wallet.file import Entry, WalletFile

KEY = bytes.fromhex("5ac3" * 16)
OTHER = bytes.fromhex("a7d1" * 16)
WORDS = "renew stay biology evidence goat welcome casual join adapt armor shuffle fault little machine walk stumble urge swap"
PASS = "plinth gargoyle ostrich"
NODE, HOOK, SECRET, TOKEN = "node-key-0451", "hook-path-8817", "whsec-of-nobody-but-us-4242", "token-needle-7f3a"
POLICY = """networks = ["testnet"]
approve_above = "0.05"
[approval]
how = "webhook"
url = "https://127.0.0.1:9/{hook}"
secret_env = "MY_HOOK"
seconds = 1
"""
WAITS = {"sandbox up", "signer run"}  # they serve until they are stopped: tests/signer and test_cli.py look at them
WORDS_OF = {
    "try": [], "get": ["URL"], "plan": ["JOB"], "log": ["--by", "host"], "why": ["ID"], "receipt": ["ID"], "claim": ["ID"], "refund": ["ID", "0x" + "12" * 32],
    "resume": [], "doctor": [], "freeze": ["--host", "b.example"], "unfreeze": ["--host", "b.example"], "pins": [],
    "pin": ["https://c.example", "0x" + "77" * 20, "--network", "base-sepolia"], "unpin": ["https://c.example"],
    "approve list": [], "approve show": ["abcd"], "approve yes": ["abcd"], "approve no": ["abcd"],
    "budget show": [], "budget set": ["3/day", "--host", "b.example"], "budget pause": ["host:b.example"],
    "budget resume": ["host:b.example"], "budget revoke": ["host:b.example"],
    "credentials list": ["--all"], "credentials show": ["CREDENTIAL"], "credentials renew": ["CREDENTIAL"], "credentials revoke": ["CREDENTIAL"],
    "ledger verify": [], "ledger repair": ["--dry-run"], "ledger export": ["--events"], "ledger stats": [], "ledger decide": ["ID"], "ledger cleanup": [], "ledger test": [],
    "policy check": [], "slip list": ["--all"], "slip pause": ["SLIP"], "slip resume": ["SLIP"], "slip revoke": ["SLIP"],
    "slip run": ["0.01", "--", sys.executable, "-c", "import os; assert os.environ['X402_AGENT_SLIP']"],
    "wallet new": [], "wallet import": ["FILE"], "wallet show": ["--check"], "wallet export": ["--keystore", "KEYSTORE"],
    "wallet approve": ["USDC", "--for", "permit2", "--amount", "1", "--network", "base-sepolia", "--yes"],
    "wallet transactions": [], "wallet keyring": ["passphrase"], "sandbox scenarios": [], "sandbox db create-tables": [], "sandbox db stats": [], "sandbox db test": [], "sandbox db cleanup": [],
    "sandbox db cleanup-logs": ["--seller", "kamiyo"], "sandbox db analytics": [], "sandbox db migrate": ["--dry-run"], "sandbox db reset": ["--yes"], "signer status": [], "signer doctor": [],
}  # fmt: skip
PRIVATE = {"slip run"}  # --json would end option parsing behind `--`


def commands():
    """The words of every command."""
    found, waiting = [], [((), typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        inner = getattr(command, "commands", {})
        waiting += [((*words, name), one) for name, one in inner.items()]
        found += [" ".join(words)] if not inner else []
    return sorted(found)


@pytest.fixture
def world(monkeypatch, tmp_path, seller):
    """A home in which all of it lies, with a purchase in doubt, a credential and a slip; -> (needles, what stands for a word)."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name, value in (("X402_AGENT_HOME", home), ("X402_AGENT_EVM_KEY", "0x" + KEY.hex()), ("MY_HOOK", SECRET), ("X402_AGENT_DEADLINE", "1"),
                        ("X402_AGENT_NODES", f"base-sepolia=https://127.0.0.1:9/{NODE}"), ("X402_AGENT_PASSPHRASE", PASS)):  # fmt: skip
        monkeypatch.setenv(name, str(value))
    (home / "policy.toml").write_text(POLICY.format(hook=HOOK))
    WalletFile.create(home / "wallet.json", [Entry("mnemonic", Secret(WORDS)), Entry("key", Secret(OTHER))], Secret(PASS), n=4096)
    needles = Needles(key=KEY, other=OTHER, words=WORDS, passphrase=PASS, node=NODE, hook=HOOK, secret=SECRET, token=TOKEN)

    class Named(Counter):
        def sell(self, hit):
            return self.seller.ok(x_token=TOKEN, x_uses="3", x_path="/m")

    seller.serves("/m", Named(seller))
    seller.sells("/lost", seller.answer(500))
    seller.sells("/dear", amount=60_000)
    payer = Payer.from_env()
    payer.dialects = (Meter(),)
    with payer.client() as http:
        assert [http.get(seller.url(path)).status_code for path in ("/m", "/lost")] == [200, 500]
    token = payer.slip("0.05", minutes=60)
    needles.add("slip", "".join(token)[5:])
    for number, proof in enumerate(seller.proofs):
        needles.add(f"proof {number}", proof)
        needles.add(f"signature {number}", seller.payload(proof)["signature"])
    payer.ledger.flush()
    bare = tmp_path / "key.hex"
    bare.write_text("0x" + bytes.fromhex("b1c9" * 16).hex())
    bare.chmod(0o600)
    (job := tmp_path / "job.txt").write_text(seller.url("/dear"))
    stand = {"URL": seller.url("/dear"), "ID": payer.ledger.payments()[0].payment_id, "SLIP": payer.ledger.slips()[0].slip_id,
             "CREDENTIAL": payer.ledger.tokens()[0].name, "FILE": str(bare), "JOB": str(job), "KEYSTORE": str(tmp_path / "keystore.json")}  # fmt: skip
    needles.add("imported", bytes.fromhex("b1c9" * 16))
    yield needles, stand
    payer.close()


def test_no_word_is_kept_for_a_command_that_is_gone():
    assert set(WORDS_OF) | WAITS <= set(commands())


@pytest.mark.parametrize("machine", [pytest.param(False, id="people"), pytest.param(True, id="json", marks=pytest.mark.full)])
def test_no_command_prints_a_secret(world, machine):
    needles, stand = world
    codes = {}
    with Records() as records:
        for name in commands():
            words = WORDS_OF.get(name, ["--help"])
            os.environ["X402_AGENT_PASSPHRASE"] = PASS  # it is taken away once it was used
            words = [stand.get(word, word) for word in words] + ["--json"] * (machine and name not in PRIVATE)
            done = CliRunner().invoke(app, [*name.split(), *words])
            assert done.exception is None or isinstance(done.exception, SystemExit), (name, done.exception)
            assert needles.within(done.stdout + done.stderr) == [], name
            codes[name] = done.exit_code
    assert needles.within(records.text) == []
    worked = {name for name, code in codes.items() if code == 0}
    assert len(worked) >= 34, sorted(set(codes) - worked)


def test_the_search_sees_what_a_command_prints(world, monkeypatch):
    """The control: one command that prints what it was given."""
    needles, _ = world
    monkeypatch.setattr("x402_agent.cli.checks.print", lambda *words: sys.stdout.write(os.environ["MY_HOOK"]), raising=False)
    assert needles.within(CliRunner().invoke(app, ["doctor"]).output) == ["secret"]
