"""A thousand fresh transactions, built by us and by stacks.js. Needs Node, and @stacks/transactions in STACKS_DIR."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from x402_agent.chains.stacks import (
    EMPTY_SPONSOR,
    PostCondition,
    Spending,
    Transaction,
    Transfer,
    hash160,
    read,
    sip010_transfer,
)
from x402_agent.encodings import c32_address
from x402_agent.primitives import EvmKey, public_key
from x402_agent.secret import Secret


def case(rng):
    key = rng.randbytes(32)
    own, testnet = hash160(public_key(Secret(key))), rng.random() < 0.5
    account = lambda: c32_address(26 if testnet else 22, rng.randbytes(20))  # noqa: E731
    contract = f"{account()}.token-{rng.randrange(1000)}" if rng.random() < 0.6 else None
    memo = "".join(rng.choices("abcXYZ0189:_-=", k=rng.randrange(35))).encode().hex()
    return {
        "key": key.hex() + "01", "hash": own.hex(), "testnet": testnet, "nonce": str(rng.getrandbits(rng.choice([3, 31, 63]))),
        "fee": str(rng.getrandbits(rng.choice([8, 20, 62]))), "sponsored": rng.random() < 0.4, "contract": contract, "token": "coin",
        "amount": str(rng.getrandbits(rng.choice([5, 40, 63])) + 1), "sender": c32_address(26 if testnet else 22, own),
        "recipient": account() + rng.choice(["", ".vault"]), "memo": memo if not contract or rng.random() < 0.7 else None,
    }  # fmt: skip


def built(one):
    amount, memo = int(one["amount"]), None if one["memo"] is None else bytes.fromhex(one["memo"])
    fee = 0 if one["sponsored"] else int(one["fee"])
    origin = Spending(bytes.fromhex(one["hash"]), int(one["nonce"]), fee)
    slot = EMPTY_SPONSOR if one["sponsored"] else None
    if one["contract"] is None:
        payload, limit = Transfer(one["recipient"], amount, memo), ()
    else:
        payload = sip010_transfer(one["contract"], amount, one["sender"], one["recipient"], memo)
        limit = (PostCondition(one["sender"], "eq", amount, f"{one['contract']}::{one['token']}").wire(),)
    sign = EvmKey(bytes.fromhex(one["key"])[:32]).sign
    return Transaction(one["testnet"], origin, payload.wire(), limit, slot).signed(sign)


@pytest.mark.proves("stacks", "exact", "judge", by="stacks.js")
@pytest.mark.proves("stacks", "sponsored", "judge", by="stacks.js")
@pytest.mark.full
def test_a_thousand_transactions_are_those_of_stacks_js():
    packages = os.environ.get("STACKS_DIR", "")
    assert packages, "set STACKS_DIR to a folder with @stacks/transactions; make test-all does"
    seed = random.SystemRandom().getrandbits(64)
    rng = random.Random(seed)
    cases = [case(rng) for _ in range(1000)]
    for one in cases:
        one["fee"] = "0" if one["sponsored"] else one["fee"]
    done = subprocess.run(["node", str(Path(__file__).with_name("stacksjs.cjs")), packages], input=json.dumps(cases), capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for one, (raw, txid) in zip(cases, json.loads(done.stdout), strict=True):
        made = built(one)
        assert (made.wire().hex(), made.txid) == (raw, "0x" + txid.removeprefix("0x")), (seed, one)
        assert read(bytes.fromhex(raw)) == made
