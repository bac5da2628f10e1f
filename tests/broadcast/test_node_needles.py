"""A key in a node's URL: in no error, no local of a frame, no log, no repr, even where the node itself quotes it (C19, I14)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from x402_agent import assets
from x402_agent.broadcast import node_of, plan, resume, send
from x402_agent.chains.evm import reads
from x402_agent.chains.evm.permit2 import PERMIT2
from x402_agent.chains.evm.rpc import Node
from x402_agent.errors import PaymentError
from x402_agent.steps import Fetched
from x402_agent.transport.fetch import drive

sys.path.insert(0, str(Path(__file__).parent.parent))
from needles import Needles, Records, leaks, looks

KEY = "key-of-a-node-0451"
URL = f"https://node.example/v2/{KEY}"
NETWORK = assets.network("base-sepolia")
USDC = next(each for each in assets.assets() if each.network is NETWORK and each.symbol == "USDC")
QUOTES = RuntimeError(f"unknown project {KEY} at {URL}, see /v2/{KEY}")
LIES = {"nothing": Fetched(0, {}, b""), "quotes": QUOTES, "page": Fetched(200, {}, f"<html>{URL}".encode()),
        "result": f"0x{KEY}", "other chain": "0x1"}  # fmt: skip


@pytest.fixture
def needles():
    return Needles(node=KEY)


@pytest.fixture
def records():
    with Records() as made:
        yield made


def caught(call, *args, **options):
    with pytest.raises(PaymentError) as found:
        call(*args, **options)
    return found.value


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("method", ["eth_chainId", "eth_call", "eth_estimateGas", "eth_getBalance"])
def test_a_plan_that_fails(lie, method, world, needles, records):
    world.lies[method] = LIES[lie]
    payer = world.payer(nodes=f"{URL}|http://127.0.0.1:1/{KEY}")
    steps = plan(payer, USDC, PERMIT2, 10**10, max_fee=1 if lie == "other chain" else 10**18)  # 0x1 fits some answers
    assert leaks(caught(world.drive, steps), needles) == []
    assert needles.within(records.text) == []


@pytest.mark.parametrize("lie", ["nothing", "quotes", "page"])
def test_a_broadcast_that_fails(lie, world, needles):
    world.lies |= {"eth_sendRawTransaction": LIES[lie], "eth_getTransactionReceipt": LIES[lie]}
    payer = world.payer(nodes=URL)
    made = world.drive(plan(payer, USDC, PERMIT2, 10**10, max_fee=10**18))
    error = caught(world.drive, send(payer, made, patience=1, say=world.say.append))
    assert leaks(error, needles) == [] and needles.within(" ".join(world.say)) == []
    for row, _, words in world.drive(resume(payer, patience=1)):
        assert needles.within(words + looks(row)) == []
    path = world.path
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_file():
            assert needles.within(file.read_bytes()) == [], file.name


def test_the_real_driver(needles, records, world):
    payer = world.payer(nodes=f"http://user:{KEY}@127.0.0.1:1/x?key={KEY}")
    error = caught(drive, plan(payer, USDC, PERMIT2, 1, max_fee=1))
    assert "http://127.0.0.1: no answer" in str(error)
    assert leaks(error, needles) == [] and needles.within(records.text) == []


@pytest.mark.parametrize("url", [f"http://node.example/{KEY}", f"{KEY}", f"https://[{KEY}", f"{URL}|ftp://x/{KEY}"])
def test_a_url_that_is_refused(url, world, needles):
    assert leaks(caught(Node, NETWORK, url), needles) == []
    assert leaks(caught(node_of, world.payer(nodes=url), NETWORK), needles) == []


def test_reprs(world, needles):
    payer = world.payer(nodes=URL)
    asked = node_of(payer, NETWORK)
    steps = reads.native(asked, PERMIT2)
    assert needles.within(looks(asked) + looks(payer.settings) + looks(steps.send(None)) + looks(steps)) == []


def test_the_search_finds_what_is_shown(needles):
    def careless(url):
        raise PaymentError("no")

    assert leaks(caught(careless, URL), needles) == []  # its frame is this file's, which is left out
    assert needles.within(str(PaymentError(f"no answer from {URL}"))) == ["node"]
    assert "node" in needles.within(repr({"url": URL}))
