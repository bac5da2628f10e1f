"""A payer on TRON: amount and fee counted together, no proof beyond an allowance, and what to type when there is none."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from typer.testing import CliRunner

from trontools import World
from x402_agent import BudgetExceeded, NoAcceptableOffer, Payer, PolicyDenied, Settings, Wallet
from x402_agent.chains.tron.addresses import address_bytes
from x402_agent.chains.tron.permit import CONTRACTS
from x402_agent.cli.app import app
from x402_agent.policy import Policy
from x402_agent.sandbox.tron.node import answer_node

KEY = "22" * 32
NILE = "tron:0xcd8690dc"
USDT = "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"
FEE_TO = "TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"


def challenge(**fee):
    entry = {
        "scheme": "exact_permit", "network": "tron:nile", "amount": "1000", "asset": USDT,
        "payTo": "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "maxTimeoutSeconds": 3600,
        "extra": {"fee": {"facilitatorId": "f", "feeTo": FEE_TO, "feeAmount": "100", "caller": FEE_TO, **fee}},
    }  # fmt: skip
    meta = {"kind": "PAYMENT_ONLY", "paymentId": "0x" + "12" * 16, "nonce": "1", "validAfter": 0, "validBefore": 1 << 40}
    return {"x402Version": 2, "resource": {"url": "https://shop.example/"}, "accepts": [entry],
            "extensions": {"paymentPermitContext": {"meta": meta}}}  # fmt: skip


class Shop:
    """Asks, and gives the goods for any proof; `proofs` are the payloads as they came."""

    def __init__(self, **fee):
        self.document, self.proofs = challenge(**fee), []

    def __call__(self, request):
        if proof := request.headers.get("payment-signature"):
            self.proofs.append(json.loads(base64.b64decode(proof)))
            return httpx.Response(200, text="goods")
        return httpx.Response(402, headers={"payment-required": base64.b64encode(json.dumps(self.document).encode()).decode()})


@pytest.fixture
def payer():
    with Payer(wallet=Wallet.from_key(KEY, "tron"), policy=Policy(networks=("testnet",))) as made:
        yield made


def allow(payer, amount):
    payer.ledger.allow(NILE, USDT, payer.wallet.address("tron"), CONTRACTS[NILE], amount).run()


def buy(payer, shop, path="/"):
    with payer.client(transport=httpx.MockTransport(shop)) as http:
        return http.get(f"https://shop.example{path}")


def test_without_an_allowance_the_refusal_says_which(payer):
    shop = Shop()
    with pytest.raises(NoAcceptableOffer) as caught:
        buy(payer, shop)
    said = str(caught.value)
    assert "payment-permit has been allowed to move no USDT of yours on tron-nile" in said
    assert "x402-agent wallet approve USDT --for payment-permit --amount 1 --network tron-nile" in said
    assert not shop.proofs


def test_a_payment_counts_its_fee_against_budget_and_allowance(payer):
    shop = Shop()
    allow(payer, 2 * 1100 + 1099)
    answer = buy(payer, shop, "/1")
    assert answer.text == "goods" and answer.extensions["payment"].money.amount == 1100
    assert payer.ledger.allowance(NILE, USDT, payer.wallet.address("tron"), CONTRACTS[NILE]) == 1100 + 1099
    with Payer(wallet=payer.wallet, settings=payer.settings) as other:  # which knows nothing but what is written
        assert other.ledger.allowance(NILE, USDT, payer.wallet.address("tron"), CONTRACTS[NILE]) == 1100 + 1099
    buy(payer, shop, "/2")
    with pytest.raises(NoAcceptableOffer, match=r"only 0\.001099 USDT"):
        buy(payer, shop, "/3")
    assert len(shop.proofs) == 2
    proof = shop.proofs[0]
    assert proof["accepted"] == shop.document["accepts"][0]
    permit = proof["payload"]["paymentPermit"]
    assert permit["meta"]["nonce"] != "1" and permit["meta"]["validBefore"] < 1 << 40
    assert proof["payload"]["signature"] != shop.proofs[1]["payload"]["signature"]


def test_an_allowance_in_another_spelling_of_the_address_is_another_s(payer):
    allow(payer, 5000)
    assert payer.ledger.allowance(NILE, USDT.lower(), payer.wallet.address("tron"), CONTRACTS[NILE]) == 0


@pytest.mark.parametrize("fee, error", [("50000", PolicyDenied), ("100000000", BudgetExceeded)])
def test_P17_a_fee_trap_is_refused(fee, error, payer):
    allow(payer, 1 << 60)
    shop = Shop(feeAmount=fee)
    with pytest.raises((error, NoAcceptableOffer), match=r"fees of|the limit for one call"):
        buy(payer, shop)
    assert not shop.proofs


@pytest.fixture
def grid(monkeypatch):
    """The pretend chain behind a port of this machine, as the settings name a node."""
    world = World()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = json.dumps(answer_node(world.chain, self.path, body)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("X402_AGENT_NODES", f"tron-nile=http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def approve(grid, monkeypatch):
    """`wallet approve` as a person types it, by a wallet with this key."""
    from x402_agent.cli import wallet_approve

    monkeypatch.setattr(wallet_approve, "own_payer", lambda: Payer(wallet=Wallet.from_key(KEY, "tron"), settings=Settings.load(), clock=lambda: grid.time))
    grid.chain.depth = 0
    return lambda *words: CliRunner().invoke(app, ["wallet", "approve", "USDT", *words])


def test_wallet_approve_sends_exactly_so_much_after_a_yes_and_takes_it_back(grid, approve):
    owner = Wallet.from_key(KEY, "tron").address("tron")
    spender, words = CONTRACTS[NILE], ("--for", "payment-permit", "--amount", "2")
    assert "may burn" in approve(*words, "--yes").output  # an account without TRX
    grid.chain.endow(address_bytes(owner), 1_000_000_000)
    asked = approve(*words)
    assert asked.exit_code == 2 and "nobody can be asked" in asked.output and "of the coin of tron-nile" in asked.output
    found = json.loads(approve(*words, "--yes", "--json").stdout)
    assert (found["left"], found["on_chain_before"], found["spender"], found["state"]) == ("2000000", "0", spender, "CONFIRMED")
    assert int(found["fee"]) > 0 and grid.contracts.allowance(address_bytes(owner), address_bytes(spender)) == 2_000_000
    assert "nothing to do" in approve(*words, "--yes").stdout
    assert approve("--for", "payment-permit", "--revoke", "--yes").exit_code == 0
    assert grid.contracts.allowance(address_bytes(owner), address_bytes(spender)) == 0
    with Payer(wallet=Wallet.from_key(KEY, "tron"), settings=Settings.load()) as payer:
        assert payer.ledger.allowance(NILE, USDT, owner, spender) == 0


@pytest.mark.parametrize("words, said", [(("--for", "uniswap", "--amount", "1"), "payment-permit or permit2"),
                                         (("--for", "permit2", "--amount", "0"), "no amount")])  # fmt: skip
def test_wallet_approve_says_what_it_takes(words, said, approve):
    found = approve(*words)
    assert found.exit_code == 2 and said in found.output
