"""Key, words, passphrase and proof appear in no log, error, repr, pickle, output or file (I14, M6), and the search finds them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from loopback import reads
from x402_agent import Payer, Settings, Wallet
from x402_agent.encodings import base58
from x402_agent.errors import PaymentError, SettingsError
from x402_agent.primitives import ed25519_public
from x402_agent.secret import Secret
from x402_agent.wallet import hd, intake, keystore, unlock
from x402_agent.wallet.file import Entry, WalletFile

sys.path.insert(0, str(Path(__file__).parent.parent))
from needles import Needles, Records, leaks, looks

WORDS = "renew stay biology evidence goat welcome casual join adapt armor shuffle fault little machine walk stumble urge swap"
PASS = "plinth gargoyle ostrich"
KEY = bytes.fromhex("c3a9" * 16)
PAIR = KEY + ed25519_public(Secret(KEY))
NODE = "key-of-a-node-0451"


@pytest.fixture
def needles():
    words = Secret(WORDS)
    forms = {"base58": base58(KEY), "base58 pair": base58(PAIR), "array": json.dumps(list(PAIR)), "pair": PAIR, "stacks": KEY.hex() + "01"}
    forms |= {f"{each} 1": hd.key(hd.seed(words), each, 1).raw for each in hd.PATHS}
    return Needles(key=KEY, node=NODE, **forms, words=WORDS, passphrase=PASS, seed=hd.seed(words).raw,
                   derived=hd.key(hd.seed(words), "eip155").raw, solana=hd.key(hd.seed(words), "solana").raw)  # fmt: skip


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(unlock, "_UNLOCKED", {})
    where = tmp_path / "home" / "wallet.json"
    where.parent.mkdir(mode=0o700)
    WalletFile.create(where, [Entry("mnemonic", Secret(WORDS)), Entry("key", Secret(KEY))], Secret(PASS), n=4096)
    return where


@pytest.fixture
def logs():
    with Records() as made:
        yield made


def raises(call, *args, **options):
    try:
        call(*args, **options)
    except BaseException as why:
        return why
    raise AssertionError("it should have raised")


def test_objects_and_the_file_show_nothing(path, needles):
    wallet = Wallet.from_file(path, PASS)
    file = WalletFile.read(path)
    entries = file.unlock(Secret(PASS))
    things = [wallet, *wallet.signers, file, file.accounts, *entries, Secret(PASS), [Secret(KEY)], wallet.signers[0]._key,
              Payer(wallet=wallet), unlock._UNLOCKED, Wallet.from_key(KEY), Settings.load({"X402_AGENT_NODES": f"base=https://n.test/{NODE}"})]  # fmt: skip
    assert [needles.within(looks(thing)) for thing in things] == [[]] * len(things)
    assert needles.within(path.read_bytes()) == []


def failures(path, monkeypatch):
    """(name, error) for the ways in which a wallet can fail, secrets in hand."""
    text = KEY.hex()
    yield "odd hex", raises(Wallet.from_key, text + "zz")
    yield "no key", raises(Wallet.from_key, KEY + b"x")
    for bad in (text + "0", "zz" + text[2:]):
        monkeypatch.setenv("X402_AGENT_EVM_KEY", bad)
        yield "env key", raises(Wallet.from_env)
        yield "payer from env", raises(Payer.from_env)
    monkeypatch.setenv("X402_AGENT_EVM_KEY", text)
    monkeypatch.setenv("X402_AGENT_NODES", "nowhere=http://x")
    yield "settings", raises(Settings.load)
    yield "payer with bad settings", raises(Payer.from_env)
    monkeypatch.setenv("X402_AGENT_NODES", f"base=https://node.test/{NODE}|https://x.test/{NODE},polygon=http://node.test/{NODE}")
    yield "a node that is not https", raises(Settings.load)
    monkeypatch.delenv("X402_AGENT_NODES")
    monkeypatch.setenv("X402_AGENT_LEDGER", f"postgres://me:{NODE}@db.test/x")
    yield "a ledger elsewhere", raises(Settings.load)
    monkeypatch.delenv("X402_AGENT_LEDGER")
    monkeypatch.delenv("X402_AGENT_EVM_KEY")
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS + "x")
    yield "wrong passphrase", raises(Payer.from_env)
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)
    path.chmod(0o644)
    yield "others can read", raises(Payer.from_env)
    path.chmod(0o600)
    yield "exists", raises(WalletFile.create, path, [Entry("key", Secret(KEY))], Secret(PASS), n=4096)
    yield "twice", raises(WalletFile.add, path, Entry("key", Secret(KEY)), Secret(PASS))
    yield "short", raises(WalletFile.create, path.with_name("x"), [Entry("key", Secret(KEY))], Secret(PASS[:5]), n=4096)
    yield "two words swapped", raises(hd.checked, Secret(" ".join(reversed(WORDS.split()))))
    yield "words misspelt", raises(intake.entry, Secret(WORDS + " swapp"), opens=lambda: Secret(PASS))
    yield "key misspelt", raises(intake.entry, Secret(text + "c"), opens=lambda: Secret(PASS))
    pair = PAIR
    for form in (base58(pair)[:-1], base58(KEY), json.dumps([*pair[:63], 300]), json.dumps([*pair[:63], pair[63] ^ 1]), pair.hex() + "0", text + "02"):
        for chain in ("", "solana", "stacks", "tron"):
            yield f"{form[:4]} as {chain}", raises(intake.entry, Secret(form + "!" * (chain in ("", "solana") and form == base58(KEY))), opens=lambda: Secret(PASS), chain=chain)
        for name in ("SOLANA", "STACKS", "TRON"):
            monkeypatch.setenv(f"X402_AGENT_{name}_KEY", form + "!")
            yield f"{name} key", raises(Wallet.from_env)
            monkeypatch.delenv(f"X402_AGENT_{name}_KEY")
    stored = keystore.write(Secret(KEY), Secret(PASS), n=4096)
    yield "keystore", raises(keystore.read, stored, Secret(PASS + "x"))
    yield (
        "keystore address",
        raises(keystore.read, json.dumps(json.loads(stored) | {"address": "00"}).encode(), Secret(PASS)),
    )


def interrupted(path, monkeypatch):
    """(name, error) when something breaks in the middle: each crypto call raises, as on ^C."""
    from x402_agent import primitives

    def stop(*args, **options):
        raise KeyboardInterrupt

    places = [(hashlib, "scrypt"), (hashlib, "pbkdf2_hmac"), (primitives, "_crypto"), (primitives, "_curve"), (primitives, "_hasher"),
              (hd, "_hmac"), (hd, "secp256k1"), (hd, "ed25519"), (hd, "keys"), (hd, "address"), (hd, "ripemd160"), (hd, "base58check")]  # fmt: skip
    for module, name in places:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stop)
            yield f"{name} stopped", raises(Wallet.from_file, path, PASS)
    for module in ("Crypto.Cipher.AES", "Crypto.PublicKey.ECC", "Crypto.Hash.RIPEMD160"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            yield f"without {module}", raises(Wallet.from_file, path, PASS)
    for number, name in enumerate(("link", "replace", "fsync", "open")):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, stop)
            if name == "link":
                yield (
                    "os.link stopped",
                    raises(WalletFile.create, path.with_name("new"), [Entry("key", Secret(KEY))], Secret(PASS), n=4096),
                )
            else:
                yield (
                    f"os.{name} stopped",
                    raises(WalletFile.add, path, Entry("key", Secret(bytes([number]) * 32)), Secret(PASS)),
                )


def test_no_error_shows_them_nor_the_locals_of_any_frame(path, needles, monkeypatch, logs, capfd):
    tried = 0
    for name, error in (*failures(path, monkeypatch), *interrupted(path, monkeypatch)):
        assert leaks(error, needles) == [], name
        assert isinstance(error, PaymentError | KeyboardInterrupt | TypeError), (name, error)
        tried += 1
    assert tried > 30
    assert needles.within(logs.text) == [] and needles.within("".join(capfd.readouterr())) == []


@pytest.mark.parametrize("what", ["KeySigner", "Secret", "Env", "str"])
def test_the_search_finds_a_repr_that_leaks(path, needles, monkeypatch, what):
    """The control: with one repr that shows what it holds, the searches above are not empty."""
    from x402_agent import secret
    from x402_agent.wallet import keys

    if what == "KeySigner":
        monkeypatch.setattr(keys.KeySigner, "__repr__", lambda self: f"KeySigner({KEY.hex()})")
        assert needles.within(looks(Wallet.from_key(KEY))) == ["key"]
    elif what == "Secret":
        monkeypatch.setattr(secret.Secret, "__repr__", lambda self: f"Secret({self.raw!r})")
        found = leaks(raises(WalletFile.read(path).unlock, Secret(PASS + "x")), needles)
        assert any("passphrase" in line for line in found)
    elif what == "Env":
        monkeypatch.setattr(secret.Env, "__repr__", lambda self: f"Env({dict(self)})")
        monkeypatch.setenv("X402_AGENT_EVM_KEY", KEY.hex() + "0")
        assert any("key" in line for line in leaks(raises(Payer.from_env), needles))
    else:
        code = compile("def careless(key):\n    raise ValueError", "careless.py", "exec")
        module = types.ModuleType("careless")
        exec(code, vars(module))  # noqa: S102
        assert leaks(raises(module.careless, WORDS), needles)


SCENARIOS = ["honest", "settles_then_hangs", "settles_then_500", "asks_again_after_payment", "answer_lost", "redirects_after_payment",
             "never_settles"]  # fmt: skip


def header_of(payer, commit):
    """The header in which this proof travels, as its dialect writes it."""
    try:
        next(payer.dialects[0].present(commit.hold, commit.proof))
    except StopIteration as end:
        return next(iter(end.value.headers.values()))


@pytest.fixture
def paying(tmp_path, needles):
    """A sandbox's payer whose key lies in a wallet file, and the steps of its conversations."""
    opened = []

    def make(scenario):
        steps = []
        settings = replace(Settings.load(), deadline=5, answer_timeout=1.5)
        payer = Payer.sandbox(scenario, ledger=tmp_path / "ledger.db", settings=settings, serve=True,
                              trace=lambda ask, step, result: steps.append((step, result)))  # fmt: skip
        opened.append(payer)
        needles.add("paying key", payer.box.payer_key)
        tmp_path.chmod(0o700)
        where = tmp_path / "wallet.json"
        WalletFile.create(where, [Entry("key", Secret(payer.box.payer_key))], Secret(PASS), n=4096)
        payer.wallet = Wallet.from_file(where, PASS)
        return payer, steps

    yield make
    for payer in opened:
        payer.close()


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_payment_shows_neither_key_nor_proof(scenario, library, tmp_path, paying, needles, logs, capfd):
    payer, steps = paying(scenario)
    error = reply = None
    with payer.client(library=library, timeout=reads(1.5)) as http:
        try:
            reply = http.get(payer.sandbox.url("/joke"), follow_redirects=True)
        except Exception as why:
            error = why
    commit = next(step for step, _ in steps if type(step).__name__ == "Commit")
    needles.add("signature", commit.proof.payload["signature"])
    needles.add("header", header_of(payer, commit))
    assert error is None or leaks(error, needles) == []
    if reply is not None:
        assert needles.within(looks(reply.extensions["payment"]) + looks(reply)) == []
        assert [needles.within(looks(one.request.headers)) for one in (reply, *reply.history)] == [[]] * (
            1 + len(reply.history)
        )
    assert {type(each).__name__ for pair in steps for each in pair if needles.within(looks(each))} == set()
    rows = payer.ledger.payments()
    assert needles.within(repr(rows) + repr([payer.ledger.events(row.payment_id) for row in rows])) == []
    payer.close()
    data = b"".join(each.read_bytes() for each in sorted(tmp_path.glob("ledger*")) if each.is_file())
    assert len(data) > 1000 and needles.within(data) == []
    assert "httpcore" in logs.text and needles.within(logs.text) == []
    assert needles.within("".join(capfd.readouterr())) == []


LIBRARY = """
class Inner(lib.BaseTransport, lib.AsyncBaseTransport):
    def __init__(self, inner):
        self.inner = inner

    def handle_request(self, request):
        buffer = repr(request.headers.raw)
        if "PAYMENT-SIGNATURE" in buffer:
            raise lib.WriteError("broken pipe")
        return self.inner.handle_request(request)

    def close(self):
        self.inner.close()

    async def aclose(self):
        await self.inner.aclose()

    async def handle_async_request(self, request):
        buffer = repr(request.headers.raw)
        if "PAYMENT-SIGNATURE" in buffer:
            raise lib.WriteError("broken pipe")
        return await self.inner.handle_async_request(request)
"""


def inner(library, transport):
    """An inner transport, in a file that is not this one, that breaks while the proof is in its locals."""
    lib = __import__(library)
    scope = {"lib": lib}
    exec(compile(LIBRARY, "another_library.py", "exec"), scope)  # noqa: S102
    return scope["Inner"](transport)


async def got(payer, library):
    client = payer.async_client(library=library, transport=inner(library, __import__(library).AsyncHTTPTransport()))
    async with client as http:
        try:
            await http.get(payer.sandbox.url("/joke"))
        except Exception as why:
            return why


@pytest.mark.parametrize("control", [False, True], ids=["", "control"])
@pytest.mark.parametrize("backend", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_library_that_breaks_with_the_proof_in_its_locals(library, backend, control, paying, needles, monkeypatch):
    import anyio

    from x402_agent.transport import talk

    payer, steps = paying("honest")
    if control:
        monkeypatch.setattr(talk, "without_frames", lambda error: None)
    if backend == "sync":
        with payer.client(library=library, transport=inner(library, __import__(library).HTTPTransport())) as http:
            error = raises(http.get, payer.sandbox.url("/joke"))
    else:
        error = anyio.run(got, payer, library, backend=backend)
    assert type(error).__name__ == "PaymentInDoubt"
    needles.add("header", header_of(payer, next(step for step, _ in steps if type(step).__name__ == "Commit")))
    found = leaks(error, needles)
    assert any("another_library.py" in line for line in found) if control else found == []


# Each line of its input is [words, what is typed, more environment]; one process answers them all, and says {code, said}.
COMMANDS = """
import contextlib, io, json, os, sys, traceback
from x402_agent.cli import main
from x402_agent.wallet import keystore, unlock
from x402_agent.wallet.file import WalletFile

for written in (WalletFile.create.__func__, keystore.write):  # what scrypt costs shows nothing
    written.__kwdefaults__["n"] = 4096
before = dict(os.environ)
for line in sys.stdin.read().splitlines():
    words, typed, more = json.loads(line)
    os.environ.clear()
    os.environ.update(before | more)
    unlock._UNLOCKED.clear()
    said, code = io.StringIO(), 0
    sys.argv, sys.stdin = ["x402-agent", *words], io.TextIOWrapper(io.BytesIO(typed.encode()))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 70
    print(json.dumps({"code": code, "said": said.getvalue()}))
"""


def commands(env, lines):
    done = subprocess.run([sys.executable, "-c", COMMANDS], input="\n".join(map(json.dumps, lines)), env=env, capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_commands_print_none_of_it(path, needles):
    env = os.environ | {"X402_AGENT_PASSPHRASE": PASS, "X402_AGENT_WALLET": str(path)}
    every = (["wallet", "show"], ["wallet", "show", "--json", "--check"], ["doctor", "--json"], ["wallet", "new"], ["get", "http://127.0.0.1:1/"],
             ["wallet", "import", KEY.hex()], ["wallet", "import", *WORDS.split()], ["wallet", "export", "--keystore", str(path.with_name("k"))],
             ["wallet", "import", base58(PAIR)], ["wallet", "import", json.dumps(list(PAIR))],
             ["wallet", "account", "add", "research"], ["wallet", "rotate", "research", "--json"], ["wallet", "account", "list"],
             ["wallet", "fund", "--account", "research"], ["wallet", "sweep", "--to", "0x" + "11" * 20, "--yes", "--network", "base"])  # fmt: skip
    for words, done in zip(every, commands(env, [[words, "", {}] for words in every]), strict=True):
        assert done["said"] and "Traceback" not in done["said"] and needles.within(done["said"]) == [], (words, done)
    assert needles.within(path.with_name("k").read_bytes()) == []
    forms = ((base58(PAIR), ""), (json.dumps(list(PAIR)), ""), (base58(KEY), "solana"), (KEY.hex() + "01", ""), (KEY.hex(), "tron"))
    lines = [[["wallet", "import", *(["--chain", chain] if chain else [])], form, {"X402_AGENT_WALLET": str(path.with_name(f"{number}.json"))}]
             for number, (form, chain) in enumerate(forms)]  # fmt: skip
    for number, done in enumerate(commands(env, lines)):
        assert done["code"] in (0, None) and "Traceback" not in done["said"] and needles.within(done["said"]) == [], number
        assert needles.within(path.with_name(f"{number}.json").read_bytes()) == []


def test_a_setting_error_is_one(monkeypatch):
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "x")
    assert isinstance(raises(Payer.from_env), SettingsError)
