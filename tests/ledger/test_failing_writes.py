"""I11: whatever write fails, at whatever byte, no proof leaves that a fresh process would not find written down and counted."""

from __future__ import annotations

import base64
import json
import resource
from contextlib import contextmanager

import httpx
import pytest

from x402_agent import LedgerError, Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger, store

KEY = "0x" + "01" * 32
OFFER = {"scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
         "payTo": "0x" + "ab" * 20, "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}}  # fmt: skip
ASKED = base64.b64encode(json.dumps({"x402Version": 2, "resource": {"url": "http://127.0.0.1/"}, "accepts": [OFFER]}).encode()).decode()


@contextmanager
def no_file_beyond(size):
    """Every write of this process past that byte of a file is short, then fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Books:
    """A seller's: the nonce of each proof that reached him."""

    def __init__(self):
        self.nonces = []

    def __call__(self, request):
        header = request.headers.get("payment-signature")
        if header is None:
            return httpx.Response(402, headers={"payment-required": ASKED})
        self.nonces.append(json.loads(base64.b64decode(header))["payload"]["authorization"]["nonce"])
        return httpx.Response(200, content=b"goods")


def payer(folder):
    settings = Settings.load({"X402_AGENT_HOME": str(folder)})
    return Payer(wallet=Wallet.from_key(KEY), policy=Policy(networks=("testnet",), day=None), settings=settings)


def buys(folder, room, *, first):
    """Three purchases while no file may grow beyond its size plus `room`; -> (what left, what failed)."""
    books, failed = Books(), []
    made = payer(folder)
    with made.client(transport=httpx.MockTransport(books)) as http:
        largest = 0
        if first:
            http.get("http://127.0.0.1/")
            made.ledger.flush()  # so that the first write to fail is that of a commit
            largest = max(each.stat().st_size for each in folder.rglob("*") if each.is_file() and each.suffix != ".db-shm")
        with no_file_beyond(largest + room):
            for number in range(3):
                try:
                    http.get(f"http://127.0.0.1/{number}")
                except LedgerError as why:
                    failed.append(why)
    made.close()
    return books.nonces, failed


def missing(folder, nonces, monkeypatch):
    """What of these a fresh process does not find counted."""
    monkeypatch.setattr(store, "_FAILED", {})
    if not nonces:
        return []
    with payer(folder) as fresh:
        rows = {row.nonce for row in fresh.ledger.payments() if row.outcome != "released"}
        assert fresh.ledger.verify() == []
        return [nonce for nonce in nonces if nonce not in rows]


GROWS = [*range(0, 120, 7), *range(120, 30_000, 211)]
NEW = [*range(0, 700, 13), *range(700, 300_000, 3001)]
PAGES = [*range(0, 50, 12), *range(4096, 40_000, 1381)]


@pytest.mark.parametrize(
    ("first", "rooms"),
    [pytest.param(True, PAGES, id="some bytes"), pytest.param(True, GROWS, id="many bytes", marks=pytest.mark.full),
     pytest.param(False, NEW[::7], id="a new ledger"), pytest.param(False, NEW, id="many bytes of a new ledger", marks=pytest.mark.full)],
)  # fmt: skip
def test_I11_a_write_that_fails_at_any_byte_pays_nothing(tmp_path, monkeypatch, first, rooms):
    left, refused = 0, 0
    for room in rooms:
        nonces, failed = buys(tmp_path / str(room), room, first=first)
        assert missing(tmp_path / str(room), nonces, monkeypatch) == [], room
        left += len(nonces)
        refused += len(failed)
    assert left > 0 and refused > 30, (left, refused)


def test_a_payer_that_does_not_wait_for_its_journal_is_caught(tmp_path, monkeypatch):
    real = SqliteLedger.commit

    class Careless:
        def __init__(self, job, hold):
            self.job, self.hold = job, hold

        def run(self):
            try:
                return self.job.run()
            except LedgerError:
                return self.hold

    monkeypatch.setattr(SqliteLedger, "commit", lambda self, hold, *words: Careless(real(self, hold, *words), hold))
    lost = 0
    for room in (0, 4000):
        nonces, _ = buys(tmp_path / str(room), room, first=True)
        lost += len(missing(tmp_path / str(room), nonces, monkeypatch))
    assert lost
