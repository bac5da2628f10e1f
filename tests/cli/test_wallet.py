"""`x402-agent wallet` as people and programs call it: at a terminal, in a pipe, with a secret where it must not be."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

import nursery
from x402_agent.cli.app import app
from x402_agent.wallet import file as wallet_file

PASS = "correct horse battery"
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
EVM = "0x58A57ed9d8d624cBD12e2C467D34787555bB1b25"
MAIN = [sys.executable, "-c", "from x402_agent.cli import main; main()"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A cheap scrypt for what is made in this process; the processes that are started make real ones."""
    monkeypatch.setattr(wallet_file.WalletFile.create.__func__, "__kwdefaults__", {"n": 4096})


@pytest.fixture
def phrase(monkeypatch):
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def run(*words, stdin=None):
    return CliRunner().invoke(app, ["wallet", *words], input=stdin)


def spawn(*words, stdin="", **options):
    return nursery.cli(*words, input=stdin or "", **options)


def at_terminal(words, answers, stdin=None):
    """Run a command with a controlling terminal, type each answer when a prompt ends in `: `; -> (exit code, all that showed)."""
    ours, theirs = pty.openpty()
    options = {"stdin": theirs if stdin is None else subprocess.PIPE, "stdout": theirs, "stderr": theirs}
    # the leader of a session gets the first terminal that it opens as its controlling one
    code = "import os; os.open(os.ttyname(2), os.O_RDWR); from x402_agent.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *words], start_new_session=True, **options)
    if stdin is not None:
        process.stdin.write(stdin.encode())
        process.stdin.close()
    os.close(theirs)
    shown, answered, end = b"", 0, time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([ours], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            more = os.read(ours, 4096)
        except OSError:
            break
        shown += more
        if shown.endswith(b": ") and answered < len(answers):
            os.write(ours, answers[answered].encode() + b"\n")
            answered += 1
            shown += b"\n"
    os.close(ours)
    return process.wait(60), shown.decode()


@pytest.mark.parametrize("words", [[], ["new"], ["import"], ["show"], ["export"]], ids=" ".join)
def test_help_teaches(words):
    done = run(*words, "--help")
    assert done.exit_code == 0 and "Usage" in done.output
    assert "words" in done.output or "passphrase" in done.output


def test_new_then_show_on_all_four_families(phrase, home):
    made = run("new", "--json")
    facts = json.loads(made.stdout)
    assert made.exit_code == 0 and "mnemonic" not in facts and "not shown" in made.stderr
    shown = json.loads(run("show", "--json").stdout)
    assert shown["accounts"] == facts["accounts"] and shown["pays"] == facts["accounts"][0]["eip155"]
    assert set(shown["accounts"][0]) == {"kind", "eip155", "solana", "stacks", "tron"}
    assert os.stat(home / "wallet.json").st_mode & 0o777 == 0o600
    text = run("show").stdout
    assert all(word in text for word in ("EVM", "Solana", "Stacks", "TRON", str(home / "wallet.json"), "pays from 0x"))
    before = (home / "wallet.json").read_bytes()
    again = run("new")
    assert again.exit_code == 1 and "never overwritten" in again.stderr and (home / "wallet.json").read_bytes() == before


@pytest.mark.parametrize("count", [12, 24])
def test_the_words_are_printed_where_no_person_looks_only_when_asked_for(phrase, count):
    words = json.loads(run("new", "--words", str(count), "--json", "--print-mnemonic").stdout)["mnemonic"]
    assert len(words.split()) == count
    assert words not in run("show").output
    assert json.loads(run("export", "--print-mnemonic", "--json").stdout)["mnemonic"] == words


def test_usage(phrase):
    assert run("new", "--words", "13").exit_code == 2
    assert run("export").exit_code == 2
    assert run("show").exit_code == 1 and "x402-agent wallet new" in run("show").stderr


def test_a_person_at_a_terminal_types_the_passphrase_and_sees_the_words(home):
    code, shown = at_terminal(["wallet", "new"], [PASS, PASS])
    assert code == 0 and "Write these words down" in shown and PASS not in shown
    words = re.search(r"((?:[a-z]{3,8} ){11}[a-z]{3,8})\r?\n", shown)[1]
    code, shown = at_terminal(["wallet", "export", "--print-mnemonic"], [PASS])
    assert code == 0 and words in shown
    code, shown = at_terminal(["wallet", "show", "--check"], ["correct horse"])
    assert code == 1 and "does not open" in shown and "correct horse" not in shown.replace("correct horse battery", "")
    code, shown = at_terminal(["wallet", "show", "--json"], [])
    assert code == 0 and words.split()[0] + " " + words.split()[1] not in shown


def test_two_different_passphrases_make_no_wallet(home):
    code, shown = at_terminal(["wallet", "new"], [PASS, PASS + "x"])
    assert code == 1 and "not the same" in shown and not (home / "wallet.json").exists()


def test_json_at_a_terminal_shows_no_words(home):
    code, shown = at_terminal(["wallet", "new", "--json"], [PASS, PASS])
    assert code == 0 and '"mnemonic":' not in shown and "Write these" not in shown


def test_where_nobody_can_be_asked_nothing_waits(home):
    start = time.monotonic()
    for words in (["wallet", "new"], ["wallet", "import"]):
        done = spawn(*words, stdin="22" * 32)
        assert done.returncode == 1 and "X402_AGENT_PASSPHRASE_FILE" in done.stderr, done.stderr
    assert time.monotonic() - start < 60 and not (home / "wallet.json").exists()


def test_a_key_from_a_pipe_with_the_passphrase_typed(home):
    code, shown = at_terminal(["wallet", "import"], [PASS, PASS], stdin="22" * 32 + "\n")
    assert code == 0 and "0x1563915e194D8CfBA1943570603F7606A3115508" in shown, shown


def test_import_of_words_then_of_a_key_that_pays_first(phrase):
    done = run("import", "--json", stdin=WORDS + "\n")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["accounts"][0]["eip155"] == EVM
    assert json.loads(run("import", "--first", "--json", stdin="0x" + "22" * 32).stdout)["accounts"][1]["eip155"] == EVM
    assert json.loads(run("show", "--json").stdout)["pays"].startswith("0x1563")
    again = run("import", stdin=WORDS)
    assert again.exit_code == 1 and "already" in again.stderr


def test_words_with_a_passphrase_of_their_own(phrase, tmp_path):
    own = tmp_path / "own"
    own.write_text("TREZOR\n")
    own.chmod(0o600)
    done = run("import", "--mnemonic-passphrase-file", str(own), "--json", stdin=WORDS)
    assert done.exit_code == 0 and json.loads(done.stdout)["accounts"][0]["eip155"] != EVM


@pytest.mark.parametrize("bad", ["abuot " * 12, "hello", "0x12", "ff" * 32, "", "{}"])
def test_what_cannot_be_imported_is_not_quoted(phrase, bad):
    done = run("import", stdin=bad)
    assert done.exit_code == 1 and "abuot" not in done.output and "ffff" not in done.output and "hello" not in done.output


@pytest.mark.parametrize("argv", [
    ["22" * 32], ["0x" + "22" * 32], WORDS.split(), [WORDS], ["--first", *WORDS.split()], ["--key=" + "22" * 32], ["--mnemonic", WORDS],
    ["-k", "22" * 32], ["22" * 31 + "2"],
], ids=["hex", "0x", "words", "quoted", "option and words", "key=", "mnemonic", "short option", "63 digits"])  # fmt: skip
def test_a_secret_on_the_command_line_is_refused_with_the_reason_and_not_repeated(phrase, argv, home):
    done = run("import", *argv)
    assert done.exit_code == 2 and "2222" not in done.output and "winner" not in done.output
    assert "visible to others" in done.output or "No such option" in done.output
    assert not (home / "wallet.json").exists()


def test_Z10_a_file_with_a_bare_key_must_be_private(phrase, tmp_path):
    path = tmp_path / "key.txt"
    path.write_text("22" * 32)
    path.chmod(0o644)
    done = run("import", str(path))
    assert done.exit_code == 1 and "chmod 600" in done.stderr and "2222" not in done.output
    path.chmod(0o600)
    assert run("import", str(path)).exit_code == 0


def test_a_keystore_goes_out_and_comes_in_again(phrase, tmp_path, monkeypatch):
    from eth_account import Account

    assert run("import", stdin=WORDS).exit_code == 0
    out, own = tmp_path / "out.json", tmp_path / "own"
    own.write_text("another passphrase")
    own.chmod(0o600)
    done = run("export", "--keystore", str(out), "--keystore-passphrase-file", str(own), "--json")
    assert json.loads(done.stdout) == {"keystore": str(out), "address": EVM} and os.stat(out).st_mode & 0o777 == 0o600
    assert Account.from_key(Account.decrypt(out.read_text(), "another passphrase")).address == EVM
    again = run("export", "--keystore", str(out))
    assert again.exit_code == 1 and "never overwritten" in again.stderr
    monkeypatch.setenv("X402_AGENT_WALLET", str(tmp_path / "second.json"))
    out.chmod(0o644)  # it is encrypted
    done = run("import", str(out), "--keystore-passphrase-file", str(own), "--json")
    assert json.loads(done.stdout)["accounts"] == [{"kind": "key", "eip155": EVM}]
    assert run("export", "--print-mnemonic").exit_code == 2
    assert run("export", "--keystore", str(tmp_path / "x.json"), "--account", "0x12").exit_code == 2


def test_the_key_of_the_environment_is_shown_as_the_one_that_pays(phrase, monkeypatch):
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "0x" + "22" * 32)
    assert "pays from 0x1563915e" in run("show").stdout
    assert run("import", stdin=WORDS).exit_code == 0
    facts = json.loads(run("show", "--json").stdout)
    assert facts["from"] == "X402_AGENT_EVM_KEY" and facts["accounts"][0]["eip155"] == EVM
    assert "wins over the file" in run("show").stdout


def test_a_changed_address_is_found_by_check(phrase, home):
    import hashlib

    assert run("import", stdin=WORDS).exit_code == 0
    facts = json.loads((home / "wallet.json").read_text())
    facts["accounts"][0]["eip155"] = "0x" + "ab" * 20
    sealed, _ = facts.pop("sealed"), facts.pop("sha256")
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(canonical + bytes.fromhex(sealed)).hexdigest()
    (home / "wallet.json").write_text(json.dumps({**facts, "sealed": sealed, "sha256": digest}))
    assert run("show").exit_code == 0
    assert run("show", "--check").exit_code == 1


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_Z11_a_process_with_a_key_leaves_no_core():
    code = ("import ctypes, resource; from x402_agent.cli.secrets import no_dumps; no_dumps();"
            "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(0, 0) 0", done.stderr


def test_get_says_that_the_wallet_is_locked_and_looks_without_a_passphrase(phrase, monkeypatch):
    assert run("import", stdin="22" * 32).exit_code == 0
    monkeypatch.delenv("X402_AGENT_PASSPHRASE", raising=False)
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    process = subprocess.Popen([*MAIN, "sandbox", "up", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        urls = [facts["url"] for facts in map(json.loads, iter(process.stdout.readline, '{"ready": true}\n'))]
        url = next(one for one in urls if one.endswith("/joke"))
        asked = spawn("get", url)
        assert asked.returncode == 1 and "the wallet is locked" in asked.stderr, asked.stderr
        seen = spawn("get", "--dry-run", url)
        assert seen.returncode == 0 and "would pay" in seen.stderr, seen.stderr
        assert spawn("log", "--json").stdout == ""
        _fund(url)
        code, shown = at_terminal(["get", url], [PASS])
        assert code == 0 and "spent" in shown, shown
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def _fund(url):
    import httpx

    origin = url.removesuffix("/joke")
    body = {"address": "0x1563915e194D8CfBA1943570603F7606A3115508", "amount": "1000000"}
    assert httpx.post(f"{origin}/sandbox/fund", json=body, trust_env=False).status_code == 200


def test_keys_of_other_chains_come_in_and_show_their_address(phrase):
    done = run("import", "--chain", "tron", "--name", "shop", "--json", stdin="22" * 32)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["accounts"] == [{"kind": "key", "name": "shop", "tron": "TBvJUBXorwBPzqvV38vjDgegj5Eh6g2Tsq"}]
    done = run("import", stdin="33" * 32 + "01")
    assert done.exit_code == 0 and "SP" in done.stdout and "uncompressed" in done.stderr and "3333" not in done.output
    assert "T" in run("show", "--json").stdout
    done = run("import", "--name", "shop", stdin="44" * 32)
    assert done.exit_code == 1 and "the name shop is in" in done.stderr


def test_a_bare_key_says_what_else_it_could_be(phrase):
    done = run("import", stdin="22" * 32)
    assert done.exit_code == 0 and "TBvJUBXorwBPzqvV38vjDgegj5Eh6g2Tsq (TRON)" in done.stderr
    assert "TRON" not in run("import", "--chain", "evm", stdin="33" * 32).stderr
