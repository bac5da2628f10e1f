"""Rows Q: what dependencies do to this process, and which of them there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAY = """
import sys
{before}
limit = sys.getrecursionlimit()
from x402_agent import ChallengeInvalid, Payer, Policy, Wallet
import x402_agent.wallet
assert sys.getrecursionlimit() == limit, "importing changed it"
payer = Payer(wallet={wallet}, policy=Policy(networks=("testnet",)))
with payer.client() as client:
    assert client.get(sys.argv[1]).text == "paid content"
    try:
        client.get(sys.argv[2])
    except ChallengeInvalid:
        pass
    else:
        raise SystemExit("read a body of 20,000 levels")
payer.close()
assert sys.getrecursionlimit() == limit, "a payment changed it"
print(limit)
"""
OURS = 'Wallet.from_key("0x" + "01" * 32)'
THEIRS = 'Wallet(x402_agent.wallet.AccountSigner(Account.from_key("0x" + "01" * 32)))'


@pytest.mark.parametrize(
    ("before", "wallet"),
    [
        ("", OURS),
        ("sys.setrecursionlimit(777)", OURS),
        pytest.param("from eth_account import Account", THEIRS, marks=pytest.mark.full),
        ("import py_ecc\nfrom eth_account import Account", THEIRS),
    ],
)
def test_Q1_the_recursion_limit_is_left_alone(arena, before, wallet):
    deep = b'{"x402Version":1,"accepts":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    urls = [arena.seller.sells("/paid"), arena.seller.serves("/deep", arena.seller.answer(402, deep))]
    source = PAY.format(before=before, wallet=wallet)
    done = subprocess.run([sys.executable, "-c", source, *urls], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert len(arena.proofs) == 1


def test_Q3_the_official_library_of_the_tests_is_none_of_the_vulnerable_ones():
    text = (ROOT / "requirements" / "official.txt").read_text()
    major, minor = map(int, re.search(r"^x402==(\d+)\.(\d+)", text, re.M).groups())
    assert (major, minor) >= (2, 6)
    for name in ("demo", "dev"):
        assert not re.search(r"^x402==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.M)
