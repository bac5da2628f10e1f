"""Rows Z: this machine. A damaged, old, missing, full or read-only ledger pays nothing; no crash costs a second proof."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

import nursery
from loopback import reads
from x402_agent import LedgerError, Payer, PaymentError, PaymentInDoubt, Policy, PolicyDenied, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.wallet import KeySigner

KEY = "0x" + "01" * 32
POLICY = Policy(networks=("testnet",))


@pytest.fixture
def shop(tmp_path):
    """Payers on one home, each with the ledger that Payer itself opens, durable."""
    made = []
    settings = replace(Settings.load({"X402_AGENT_HOME": str(tmp_path / "home")}), answer_timeout=2.0)

    def open_(**options):
        payer = Payer(**{"wallet": Wallet.from_key(KEY), "policy": POLICY, "settings": settings, **options})
        made.append(payer)
        return payer

    open_.ledger = settings.ledger_path
    yield open_
    for payer in made:
        payer.close()


def get(payer, url):
    with payer.client() as client:
        return client.get(url)


def refused(payer, arena, url, match=None):
    before = len(arena.proofs)
    with pytest.raises(LedgerError, match=match) as caught:
        get(payer, url)
    assert caught.value.rule
    assert len(arena.proofs) == before


def paid_once(shop, arena):
    payer = shop()
    assert get(payer, arena.seller.sells("/paid")).text == "paid content"
    payer.close()


def test_Z1_a_ledger_damaged_in_the_middle_pays_nothing(shop, arena):
    paid_once(shop, arena)
    with shop.ledger.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        file.write(os.urandom(4096))
    refused(shop(), arena, arena.seller.sells("/more"))


@pytest.mark.parametrize("what", ["UPDATE x402_payments SET micros = 1", "UPDATE x402_counters SET micros = 0"])
def test_Z1_a_changed_ledger_pays_nothing(shop, arena, what):
    paid_once(shop, arena)
    db = sqlite3.connect(shop.ledger)
    db.execute(what)
    db.commit()
    db.close()
    refused(shop(), arena, arena.seller.sells("/more"), "changed or damaged")


def test_Z3_an_older_copy_pays_nothing(shop, arena):
    paid_once(shop, arena)
    shutil.copy(shop.ledger, shop.ledger.with_suffix(".old"))
    paid_once(shop, arena)
    shutil.move(shop.ledger.with_suffix(".old"), shop.ledger)
    refused(shop(), arena, arena.seller.sells("/more"), "older than its own last commit")


def test_Z4_a_deleted_ledger_pays_nothing(shop, arena):
    paid_once(shop, arena)
    for each in shop.ledger.parent.glob("ledger.db*"):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    refused(shop(), arena, arena.seller.sells("/more"), "deleted or replaced")


def test_Z5_a_folder_where_nothing_can_be_written_pays_nothing(arena):
    settings = replace(Settings.load({}), ledger_path=Path("/proc/x402/ledger.db"))
    payer = Payer(wallet=Wallet.from_key(KEY), policy=POLICY, settings=settings)
    refused(payer, arena, arena.seller.sells("/paid"), "cannot be used")


def test_Z5_a_ledger_that_became_read_only_pays_nothing(shop, arena):
    payer = shop()
    url = arena.seller.sells("/paid")
    get(payer, url)
    payer.ledger._store.db.execute("PRAGMA query_only = ON")
    refused(payer, arena, url, "readonly")


FULL = """
import resource, sys
from x402_agent import LedgerError, Payer, Policy, Settings, Wallet
url, home, room = sys.argv[1:]
settings = Settings.load({"X402_AGENT_HOME": home})
payer = Payer(wallet=Wallet.from_key(sys.stdin.read()), policy=Policy(networks=("testnet",), day=None), settings=settings)
with payer.client() as client:
    if room != "none":
        client.get(url)
        size = settings.ledger_path.with_name("ledger.db-wal").stat().st_size + int(room)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for count in range(60):
        try:
            client.get(url)
        except LedgerError as why:
            print(count, why.rule)
            break
    try:
        client.get(url)
    except LedgerError:
        import os
        sys.stdout.flush()
        os._exit(0)
"""


@pytest.mark.parametrize("room", ["none", "9000"])
def test_Z5_a_full_disk_pays_nothing_that_it_cannot_write_down(arena, tmp_path, room):
    url = arena.seller.sells("/paid")
    command = [sys.executable, "-W", "ignore", "-c", FULL, url, str(tmp_path / "full"), room]
    done = subprocess.run(command, input=KEY, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "no journal" in done.stdout) == (0, True), done.stderr
    if room == "none":
        assert arena.proofs == []
        return
    ledger = SqliteLedger(tmp_path / "full" / "ledger.db")
    written = {payment.nonce for payment in ledger.payments(limit=1000)}
    ledger.shut()
    assert {proof["nonce"] for proof in arena.proofs} <= written


def test_Z9_a_forked_child_pays_with_a_nonce_of_its_own_under_the_same_budget(shop, arena):
    payer = shop(policy=Policy(networks=("testnet",), day=30_000))
    url = arena.seller.sells("/paid")
    get(payer, url)
    child = os.fork()
    if not child:
        try:
            get(payer, url)
            payer.ledger.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    get(payer, url)
    with pytest.raises(PolicyDenied):
        get(payer, url)
    assert len(arena.proofs) == 3


@pytest.mark.parametrize(("jump", "paid"), [(-3600, False), (-200, True), (3600, True)])
def test_Z12_a_clock_minutes_behind_the_newest_row_pays_nothing(shop, arena, jump, paid):
    now = [time.time()]
    payer = shop(clock=lambda: now[0])
    url = arena.seller.sells("/paid")
    get(payer, url)
    now[0] += jump
    if paid:
        assert get(payer, url).status_code == 200
    else:
        refused(payer, arena, url, "the clock stands")


def test_Z14_a_policy_edited_while_we_run_changes_nothing(arena, tmp_path):
    home = tmp_path / "edited"
    home.mkdir()
    policy = home / "policy.toml"
    policy.write_text('per_call = "0.001"\nnetworks = ["testnet"]\n')
    payer = Payer.from_env(env={"X402_AGENT_HOME": str(home), "X402_AGENT_EVM_KEY": KEY})
    policy.write_text('per_call = "100"\nnetworks = ["testnet"]\n')
    with pytest.raises(PolicyDenied, match="the limit for one call"):
        get(payer, arena.seller.sells("/paid"))
    payer.close()
    assert arena.proofs == []


STEPS = ["Send", "Find", "Hold", "Approve", "Sign", "Commit", "Close"]


@pytest.mark.parametrize("step", [*STEPS, "the second Send"])
def test_Z15_a_hook_that_raises_after_any_step_costs_no_second_proof(shop, arena, step):
    seen = []

    def trace(_ask, done, _value):
        seen.append(type(done).__name__)
        if armed and seen.count(step.split()[-1]) == 1 + step.startswith("the") and seen[-1] == step.split()[-1]:
            raise ZeroDivisionError(step)

    armed, url = True, arena.seller.sells("/paid")
    payer = shop(trace=trace)
    with pytest.raises((ZeroDivisionError, PaymentInDoubt)):
        get(payer, url)
    armed = False
    payer.ledger.flush()
    shown = {proof["nonce"] for proof in arena.proofs}
    rows = {payment.nonce: payment.outcome for payment in payer.ledger.payments()}
    assert shown <= set(rows) and "released" not in rows.values()
    assert get(payer, url).text == "paid content"
    assert len(arena.proofs) == (2 if step == "Close" else 1)  # Close: the first purchase was delivered to nobody


DEEP = """
import sys
sys.setrecursionlimit(100_000)  # as importing py_ecc, web3 or the official client leaves it
import httpx
from x402_agent import PaymentError, Payer, Policy, Wallet
payer = Payer(wallet=Wallet.from_key(sys.stdin.read()), policy=Policy(networks=("testnet",)))
with payer.client() as client:
    for url in sys.argv[1:]:
        try:
            print(client.get(url).status_code)
        except PaymentError as why:
            print(type(why).__name__)
"""


def test_Z16_deep_json_does_not_crash_the_process_whatever_the_recursion_limit(arena):
    deep = b"[" * 200_000
    urls = [
        arena.seller.serves("/a", arena.seller.answer(402, deep)),
        arena.seller.serves("/b", arena.seller.answer(402, b'{"x402Version":1,"accepts":' + deep)),
        arena.seller.serves("/c", arena.seller.answer(402, b"", payment_required=arena.seller.packed(b'{"a":' + deep[:45_000]))),
        arena.seller.sells("/d", arena.seller.ok(deep, payment_response=arena.seller.packed(deep[:11_000]))),
    ]
    done = nursery.run(DEEP, *urls, input=KEY)
    assert (done.returncode, done.stdout.split()) == (0, ["402", "ChallengeInvalid", "ChallengeInvalid", "200"]), done.stderr


def test_Z17_a_traceback_with_all_its_locals_shows_neither_key_nor_signature(shop, arena):
    url = arena.seller.sells("/paid", arena.seller.hang)
    payer = shop(settings=replace(Settings.load({"X402_AGENT_HOME": str(shop.ledger.parent)}), answer_timeout=1.0))
    with payer.client(timeout=reads(1.0)) as client, pytest.raises(PaymentError) as caught:
        client.get(url)
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "PaymentInDoubt" in text and "payer = " in text
    for secret in (KEY[2:], arena.seller.proofs[0], arena.seller.payload(arena.seller.proofs[0])["signature"]):
        assert secret not in text
    assert KEY[2:] not in repr((payer, payer.wallet, KeySigner(KEY)))
