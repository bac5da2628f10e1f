"""A thousand fresh transactions and proofs, byte for byte as tronweb makes them. Needs Node, and tronweb in TRONWEB_DIR."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from x402_agent import assets
from x402_agent.chains.tron import Tron, permit, permit2, transaction
from x402_agent.chains.tron.addresses import address, evm_form
from x402_agent.chains.tron.networks import chain_id
from x402_agent.chains.tron.transaction import Call, Raw, Send
from x402_agent.model import Offer
from x402_agent.wallet import KeySigner

NETWORKS = [each for each in assets.networks() if each.namespace == "tron"]


def _types(struct, made):
    made[struct.name] = [{"type": getattr(kind, "name", kind), "name": name} for kind, name in struct.members]
    for kind, _ in struct.members:
        if not isinstance(kind, str):
            _types(kind, made)
    return made


def _hexed(value):
    if isinstance(value, dict):
        return {name: _hexed(each) for name, each in value.items()}
    return evm_form(value) if isinstance(value, str) and value.startswith("T") else value


@pytest.fixture(scope="module")
def dice():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # pytest shows it with a failure
    return random.Random(seed)


def _transactions(dice, count):
    for _ in range(count):
        key = dice.randbytes(32)
        owner, to = KeySigner(key, "tron").address("tron"), address(dice.randbytes(20))
        made = dice.choice([transaction.transfer, transaction.approve])
        amount = dice.choice([0, 1, dice.randrange(1 << 53), dice.randrange(1 << 256)])
        trx = dice.randrange(1, 1 << dice.randrange(1, 54))
        what = Send(owner, to, trx) if dice.random() < 0.3 else Call(owner, to, made(address(dice.randbytes(20)), amount))
        now = dice.randrange(1 << 42)
        yield key, Raw(
            what, (dice.randbytes(2), dice.randbytes(8)), now, now + dice.randrange(1, 86_400_000),
            dice.choice([0, 1, 30_000_000, 15_000_000_000]), dice.randbytes(dice.choice([0, 1, 20, 200])), dice.choice([0, 0, 2, 9]),
        )  # fmt: skip


def _told(key, made):
    what = made.what
    told = {"kind": "trx", "to": what.to, "amount": what.amount} if isinstance(what, Send) else {"kind": "call", "to": what.contract, "data": what.data.hex()}
    return {
        **told, "owner": what.owner, "key": key.hex(), "ref": [each.hex() for each in made.ref], "timestamp": made.timestamp,
        "expiration": made.expiration, "fee_limit": made.fee_limit, "memo": made.memo.hex(), "permission": made.permission,
    }  # fmt: skip


def _proofs(dice, count):
    for _ in range(count):
        key, network = dice.randbytes(32), dice.choice(NETWORKS)
        asset = next(each for each in assets.assets() if each.network is network)
        amount, fee = dice.randrange(1, 1 << dice.randrange(1, 255)), dice.randrange(1 << 200)
        if dice.random() < 0.5:
            about = {"scheme": "exact", "method": permit2.METHOD}
        else:
            details = {"feeTo": address(dice.randbytes(20)), "paymentId": "0x" + dice.randbytes(16).hex()}
            about = {"scheme": "exact_permit", "method": permit.METHOD, "fee_cap": fee, "details": json.dumps(details),
                     "facilitator": dice.choice(["", address(dice.randbytes(20))])}  # fmt: skip
        offer = Offer(dialect="x402", asset=asset, amount=amount, pay_to=address(dice.randbytes(20)), lifetime=60, **about)
        signer, tron = KeySigner(key, "tron"), Tron()
        terms = tron.terms(offer, signer.address("tron"), now=dice.randrange(1 << 40), nonce=dice.randbytes(32), max_lifetime=60)
        yield key, network.id, tron.prove(offer, terms, signer).payload


def _asked(key, network, payload):
    by_permit = "paymentPermit" in payload
    made = permit if by_permit else permit2
    message = _hexed(payload["paymentPermit" if by_permit else "permit2Authorization"])
    if by_permit:
        message["meta"] |= {"kind": 0}
    domain = {"name": "PaymentPermit" if by_permit else "Permit2", "chainId": chain_id(network), "verifyingContract": evm_form(made.CONTRACTS[network])}
    return {"key": key.hex(), "domain": domain, "types": _types(made.STRUCT, {}), "message": message}


@pytest.mark.proves("tron", "exact_permit", "judge", by="tronweb")
@pytest.mark.proves("tron", "permit2", "judge", by="tronweb")
@pytest.mark.proves("tron", "transfer", "judge", by="tronweb")
@pytest.mark.full
def test_a_thousand_fresh_cases_are_tronwebs(dice):
    folder = os.environ.get("TRONWEB_DIR")
    assert folder, "set TRONWEB_DIR to a folder where `npm install tronweb@6.5.1` ran; make test-all does"
    raws, proofs = list(_transactions(dice, 600)), list(_proofs(dice, 400))
    cases = {"transactions": [_told(*each) for each in raws], "typed": [_asked(*each) for each in proofs]}
    done = subprocess.run(
        ["node", Path(__file__).with_name("tronweb.cjs")], input=json.dumps(cases), capture_output=True, text=True, timeout=300,
        env=os.environ | {"NODE_PATH": str(Path(folder) / "node_modules")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for (key, made), theirs in zip(raws, found["transactions"], strict=True):
        signature = KeySigner(key, "tron").sign_digest("tron", bytes.fromhex(made.txid)).hex()
        assert {"raw": made.data.hex(), "id": made.txid, "signature": signature} == theirs
        assert Raw.read(bytes.fromhex(theirs["raw"])) == made
    for (_, _, payload), theirs in zip(proofs, found["typed"], strict=True):
        assert payload["signature"][2:] == theirs["signature"]
