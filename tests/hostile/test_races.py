"""Rows X, and T10 to T13: replay, theft, races, clocks, sleep and cancellation."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest

from hostile.arena import CENT
from loopback import reads
from x402_agent import BudgetExceeded, LedgerError, PaymentError, PaymentInDoubt, Policy, PolicyDenied

KEY = "0x" + "01" * 32


def budget(**limits):
    return Policy(**{"networks": ("testnet",), "day": None, **limits})


def get(payer, url, **options):
    with payer.client() as client:
        return client.get(url, **options)


def test_X1_a_nonce_that_comes_twice_pays_once(arena):
    payer = arena.till.payer(nonce=lambda: b"n" * 32)
    get(payer, arena.seller.sells("/a"))
    with pytest.raises(LedgerError):
        get(payer, arena.seller.sells("/b"))
    assert len(arena.seller.proofs) == 1


def test_X2_X10_a_proof_is_in_no_log_no_output_and_no_url(arena, caplog, capfd):
    payer = arena.till.payer(answer_timeout=1.0)
    with caplog.at_level("DEBUG"):
        reply = get(payer, arena.seller.sells("/paid"))
        with payer.client(timeout=reads(1.0)) as client, pytest.raises(PaymentInDoubt) as caught:
            client.get(arena.seller.sells("/hang", arena.seller.hang))
    said = "".join(capfd.readouterr()) + repr((reply, caught.value, payer.ledger.payments(), reply.extensions))
    said += "".join(record.getMessage() for record in caplog.records if record.name.startswith("x402_agent"))
    for proof in arena.seller.proofs:
        secret = arena.seller.payload(proof)["signature"]
        assert proof not in said and secret not in said
        assert not any(secret[2:] in hit.path or proof in hit.path or proof.encode() in hit.body for hit in arena.seller.hits)


def test_X3_an_authorisation_dies_soon_and_pays_nobody_else(arena):
    payer = arena.till.payer()
    get(payer, arena.seller.sells("/paid"))
    (proof,) = arena.proofs
    assert proof["to"].lower() == "0x" + "ab" * 20
    assert int(proof["validBefore"]) - time.time() <= 600


def test_X4_twenty_threads_and_a_budget_for_five(arena):
    payer = arena.till.payer(policy=budget(day=5 * CENT))
    url = arena.seller.sells("/paid")

    def one(_):
        try:
            return client.get(url).status_code
        except BudgetExceeded:
            return "over"

    with payer.client() as client, ThreadPoolExecutor(20) as pool:
        came = list(pool.map(one, range(20)))
    assert (came.count(200), came.count("over"), len(arena.proofs)) == (5, 15, 5)


def test_X5_a_restart_forgets_nothing(arena):
    url = arena.seller.sells("/paid")
    for _ in range(2):
        payer = arena.till.payer(policy=budget(total=2 * CENT))
        get(payer, url)
        payer.close()
    with pytest.raises(BudgetExceeded):
        get(arena.till.payer(policy=budget(total=2 * CENT)), url)
    assert len(arena.proofs) == 2


def test_X6_failures_give_no_budget_back(arena):
    payer = arena.till.payer(policy=budget(day=2 * CENT))
    for path in ("/a", "/b"):
        assert get(payer, arena.seller.sells(path, arena.seller.answer(500))).status_code == 500
    with pytest.raises(BudgetExceeded):
        get(payer, arena.seller.sells("/c"))
    assert len(arena.proofs) == 2


def test_X7_a_payment_in_flight_over_midnight_counts_on_both_days(arena):
    now = [(time.time() // 86400 + 1) * 86400 - 5]
    arena.began = int(now[0])
    payer = arena.till.payer(policy=budget(day=CENT), clock=lambda: now[0])
    get(payer, arena.seller.sells("/a", arena.seller.answer(500)))
    now[0] += 10
    with pytest.raises(BudgetExceeded):
        get(payer, arena.seller.sells("/b"))
    now[0] += 3 * 86400  # past its end and a day
    assert get(payer, arena.seller.url("/b")).status_code == 200


def test_X8_a_key_is_for_one_request(arena):
    payer = arena.till.payer()
    url = arena.seller.sells("/paid")
    key = {"extensions": {"payment": {"key": "order-1"}}}
    with payer.client() as client:
        client.post(url, content=b"one", **key)
        for change in ({"content": b"two"}, {"content": b"one", "params": {"q": "1"}}):
            with pytest.raises(PolicyDenied, match="X8"):
                client.post(url, **change, **key)
    assert len(arena.proofs) == 1


def test_X9_two_names_of_one_recipient_share_the_budget(arena):
    payer = arena.till.payer(policy=budget(day=CENT))
    url = arena.seller.sells("/paid")
    get(payer, url)
    for again in (url.replace("127.0.0.1", "localhost"), arena.other.sells("/paid")):
        with pytest.raises(BudgetExceeded):
            get(payer, again)
    assert len(arena.proofs) == 1


def test_O7_the_paid_leg_goes_where_the_402_came_from(arena, monkeypatch):
    """The name resolves to the seller first and to somebody else afterwards."""
    asked, real = [], socket.getaddrinfo

    def rebinding(host, port, *args, **options):
        if host in ("shop.localhost", b"shop.localhost"):
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = arena.seller.sells("/paid").replace("127.0.0.1", "shop.localhost")
    assert get(arena.till.payer(), url).text == "paid content"
    assert len(asked) == 1 and len(arena.seller.proofs) == 1


@pytest.mark.parametrize("jump", [86_400 * 3650, -86_400])
def test_T10_a_clock_that_jumps_in_flight_frees_nothing_and_stretches_nothing(arena, jump):
    now = [time.time()]

    def hang(hit):
        now[0] += jump
        return arena.seller.hang(hit)

    payer = arena.payer = arena.till.payer(deadline=2.0, clock=lambda: now[0])
    start = time.monotonic()
    with payer.client(timeout=reads(1.0)) as client, pytest.raises(PaymentInDoubt):
        client.get(arena.seller.sells("/paid", hang))
    assert time.monotonic() - start < 20
    assert (arena.counted(), len(arena.proofs)) == (CENT, 1)


SLEEPER = """
import sys, time
from dataclasses import replace
from x402_agent import PaymentInDoubt, Payer, Policy, Settings, Wallet
url, home = sys.argv[1:]
settings = replace(Settings.load({"X402_AGENT_HOME": home}), deadline=5.0, answer_timeout=2.0)
payer = Payer(wallet=Wallet.from_key(sys.stdin.read()), policy=Policy(networks=("testnet",)), settings=settings)
with payer.client(timeout=2.0) as client:
    for _ in range(2):
        try:
            print(client.get(url).text, flush=True)
        except PaymentInDoubt as why:
            print("in doubt", flush=True)
"""


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_T11_a_machine_that_sleeps_in_flight_wakes_in_doubt_and_shows_the_same_proof(arena, tmp_path):
    shown = threading.Event()

    def hang(hit):
        shown.set()
        arena.seller.sells("/paid")
        return arena.seller.hang(hit)

    url = arena.seller.sells("/paid", hang)
    command = [sys.executable, "-c", SLEEPER, url, str(tmp_path / "sleeper")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdin.write(KEY)
        child.stdin.close()
        assert shown.wait(20)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(6)
        os.kill(child.pid, signal.SIGCONT)
        woke = time.monotonic()
        said = child.stdout.read().split("\n")
    assert child.returncode == 0
    assert time.monotonic() - woke < 20
    assert said[:2] == ["in doubt", "paid content"]
    assert len(arena.seller.nonces) == 1


def stalling(listener):
    """Accept, and never shake hands."""
    with contextlib.ExitStack() as kept, contextlib.suppress(OSError):
        while True:
            kept.enter_context(listener.accept()[0])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio: the library's half-made TLS
@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_T12_a_tls_handshake_that_never_comes_ends_at_the_deadline(arena, world):
    listener = socket.create_server(("127.0.0.1", 0))
    stalled = threading.Thread(target=stalling, args=(listener,), daemon=True)
    stalled.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/paid"
    payer = arena.till.payer(deadline=0.6, answer_timeout=0.3)
    patient, start = httpx.Timeout(None, read=0.3), time.monotonic()

    async def go():
        async with payer.async_client(timeout=patient) as client:
            await client.get(url)

    if world == "sync":
        with payer.client(timeout=patient) as client, pytest.raises(httpx.TimeoutException):
            client.get(url)
    else:
        with pytest.raises(httpx.TimeoutException):
            anyio.run(go, backend=world)
    assert time.monotonic() - start < 20
    listener.shutdown(socket.SHUT_RDWR)  # close alone wakes nobody out of accept
    listener.close()
    stalled.join(5)
    gc.collect()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_T12_a_resolver_that_stalls_ends_at_the_deadline(arena, backend, monkeypatch):
    def slow(_host, _port, *rest, flags=0, **_options):
        if (flags or (rest[3] if len(rest) > 3 else 0)) & socket.AI_NUMERICHOST:
            raise socket.gaierror("a name")
        over.wait(30)
        raise socket.gaierror("late")

    payer = arena.till.payer(deadline=0.4, answer_timeout=0.3)
    took, over = [], threading.Event()

    async def go():
        async with payer.async_client(timeout=httpx.Timeout(None, read=0.3)) as client:
            start = time.monotonic()
            with pytest.raises(httpx.TransportError):
                await client.get("http://stall.localhost:9/")
            took.append(time.monotonic() - start)
            over.set()

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", slow)
        anyio.run(go, backend=backend)
    assert took[0] < 15


STEPS = range(1, 9)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("at", STEPS)
def test_T13_a_cancellation_after_any_step_leaves_one_proof_and_stays_one(arena, backend, at):
    """Cancelled at the first await after the n-th step; the same call, repeated, presents the same proof."""
    done, scopes = [], []

    def trace(_ask, step, _value):
        done.append(type(step).__name__)
        if scopes and len(done) == at:
            scopes[0].cancel()

    def settle(hit):
        arena.seller.stop.wait(0.15)
        return arena.seller.ok()

    url = arena.seller.sells("/paid", settle)
    payer = arena.till.payer(trace=trace)

    async def go(*, cancelled):
        async with payer.async_client() as client:
            with anyio.CancelScope() as scope:
                scopes[:] = [scope] if cancelled else []
                return await client.get(url)
            assert scope.cancelled_caught
        return None

    first = anyio.run(lambda: go(cancelled=True), backend=backend)
    payer.ledger.flush()
    before = {payment.nonce: payment.outcome for payment in payer.ledger.payments()}
    assert set(arena.seller.nonces) <= set(before) and "released" not in before.values()
    again = anyio.run(lambda: go(cancelled=False), backend=backend)
    assert again.text == "paid content"
    spent = 1 if first is None else 2  # a call that was answered before it noticed was a purchase of its own
    assert len(arena.seller.nonces) <= spent


@pytest.mark.parametrize(("world", "kind"), [
    *((world, kind) for world in ("sync", "asyncio", "trio") for kind in ("over the cap", "huge and broken")),
    ("sync", "in doubt"), *(pytest.param(world, "in doubt", marks=pytest.mark.full) for world in ("asyncio", "trio"))])  # fmt: skip
def test_S2_a_refusal_gives_its_connection_back(arena, world, kind):
    """Left to the garbage collector, an answer that nobody reads keeps its place, or locks the pool of a sync client."""
    huge = b'{"x402Version":1,"accepts":' + b"[" * 300_000
    url = {
        "over the cap": lambda: arena.seller.sells("/paid", amount=10**9),
        "huge and broken": lambda: arena.seller.serves("/paid", arena.seller.answer(402, huge)),
        "in doubt": lambda: arena.seller.sells("/paid", arena.seller.hang),
    }[kind]()
    read = 0.5 if kind == "in doubt" else 5.0
    payer = arena.till.payer(answer_timeout=read)
    options = {"limits": httpx.Limits(max_connections=1), "timeout": httpx.Timeout(20, read=read)}
    errors = []

    def went(error):
        errors.append(error)
        return len(errors) < 4

    async def go():
        async with payer.async_client(**options) as client:
            while True:
                try:
                    await client.get(url)
                except PaymentError as error:
                    if not went(error):
                        return

    if world == "sync":
        with payer.client(**options) as client:
            while True:
                try:
                    client.get(url)
                except PaymentError as error:
                    if not went(error):
                        break
    else:
        anyio.run(go, backend=world)
    assert len(errors) == 4
