"""tronweb beside the double: as a client of its node, and as a judge of the same transactions. Needs Node, TRONWEB_DIR."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from trontools import Call, Send, World, raw, transfer
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.tron.chain import show
from x402_agent.sandbox.tron.envelope import whole

SCRIPT = Path(__file__).with_name("tronweb.cjs")
pytestmark = pytest.mark.full


def tronweb(*arguments, sent=""):
    folder = os.environ.get("TRONWEB_DIR", "")
    assert folder, "set TRONWEB_DIR to a folder where `npm install tronweb@6.5.1` ran; make test-all does"
    env = os.environ | {"NODE_PATH": str(Path(folder) / "node_modules")}
    ran = subprocess.run(["node", str(SCRIPT), *arguments], capture_output=True, text=True, env=env, input=sent, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_tronweb_uses_the_node_unchanged():
    with Sandbox(chain="tron") as box:
        box.serve()
        found = json.loads(tronweb("client", box.rpc_url, box.payer_key.hex(), box.pay_to, box.ground.asset.address))
        assert (found["own"], found["held"], found["seller"]) == (box.payer_address, "100000000", "2000000")
        assert found["trx"]["result"] is True
        assert box.transaction(found["trx"]["txid"]).result == box.transaction(found["moved"]).result == "SUCCESS"
        assert found["shown"]["ret"] == [{"contractRet": "SUCCESS"}]
        assert found["info"] == {}, "tronweb asks the solid node, which has it only nineteen blocks later"
        assert found["refused"]["code"] == "SIGERROR"
        assert box.balance(box.pay_to) == 2_000_000


def mutated(world, rng, made, signature):
    """The same transaction, wrong in one way: bytes, signer, owner, or what was signed."""
    data = bytearray(made.data)
    kind = rng.randrange(5)
    if kind == 0:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        place = rng.randrange(64)
        signature = signature[:place] + bytes((signature[place] ^ 1 << rng.randrange(8),)) + signature[place + 1 :]
    elif kind == 2:
        signature = world.seller.sign(bytes.fromhex(made.txid))
    elif kind == 3:
        data = data[: rng.randrange(1, len(data))]
    else:
        changed = replace(made, fee_limit=made.fee_limit + 1)
        data = bytearray(changed.data)
    return bytes(data), signature


def test_two_hundred_transactions_half_of_them_wrong_get_one_verdict():
    rng, world = random.Random(402), World()
    lines, verdicts = [], []
    for number in range(200):
        what = Send(world.me, world.shop, number + 1) if number % 3 else Call(world.me, world.usdt, transfer(world.shop, number + 1))
        made = world.build(what)
        data, signature = made.data, world.payer.sign(bytes.fromhex(made.txid))
        if number % 2:
            data, signature = mutated(world, rng, made, signature)
        world.chain.endow(raw(world.payer), 10**12)
        answer = world.ask("broadcasthex", transaction=whole(data, signature).hex())
        assert answer.get("result") or answer["code"] in ("SIGERROR", "OTHER_ERROR"), answer
        verdicts.append(bool(answer.get("result")))
        lines.append(json.dumps({"raw": data.hex(), "signature": signature.hex()}))
    judged = [line == "true" for line in tronweb("judge", sent="\n".join(lines)).split()]
    assert judged == verdicts
    assert sum(verdicts) == 100
    assert show(raw(world.payer)) == world.me
