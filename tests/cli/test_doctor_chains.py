"""`doctor` beside the doubles of all four families: what each lacks, what an account has, and which node is wrong, behind or silent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from x402_agent import Settings, assets
from x402_agent.cli import doctor_chains
from x402_agent.cli.app import app
from x402_agent.sandbox import GROUNDS, Sandbox
from x402_agent.wallet import FAMILIES, KEYS

FAMILY = {"evm": "eip155", "solana": "solana", "stacks": "stacks", "tron": "tron"}


@pytest.fixture(scope="module")
def worlds():
    made = {name: Sandbox(chain=name) for name in GROUNDS}
    for box in made.values():
        box.serve()
    yield made
    for box in made.values():
        box.stop()


@pytest.fixture
def doctor(monkeypatch):
    def go(*words, **env):
        for name, value in ({"NETWORKS": "testnet"} | env).items():
            monkeypatch.setenv(f"X402_AGENT_{name}", value)
        return CliRunner().invoke(app, ["doctor", *words])

    return go


def facts_of(done):
    return {each["check"]: each for each in json.loads(done.output)}


def key_of(box):
    return box.payer_key.hex() + ("01" if box.ground.name == "stacks" else "")


@pytest.mark.parametrize("chain", GROUNDS)
def test_an_account_and_what_it_has_by_a_node_of_each_family(doctor, worlds, chain, monkeypatch):
    box, namespace = worlds[chain], FAMILY[chain]
    key = key_of(box)
    if chain == "solana":
        from solders.keypair import Keypair

        key = str(Keypair.from_seed(box.payer_key))
    monkeypatch.setenv(KEYS[namespace], key)
    where = assets.network(box.network)
    found = facts_of(doctor("--json", NODES=f"{where.name}={box.rpc_url}"))
    node = found[f"node {where.name}"]
    assert node["ok"] is True, node
    assert node["address"] == box.payer_address and node["balances"][box.ground.asset.id], node
    assert float(node["balances"][box.ground.asset.id]) > 0 and f"{box.payer_address} has " in node["said"]
    assert node["nodes"][0]["block"] > 0 and node["nodes"][0]["seconds"] is not None
    family = found[f"pays {FAMILIES[namespace]}"]
    assert family["ok"] is True and family["ready"] and family["nodes"] == [box.network] and not family["missing"]
    others = [each for name, each in found.items() if name.startswith("pays ") and each is not family]
    assert len(others) == 3
    for each in others:
        assert each["ok"] is None and any(KEYS[n] in " ".join(each["missing"]) for n in KEYS), each


@pytest.mark.parametrize("chain", GROUNDS)
def test_a_node_of_another_chain_is_named_and_the_next_one_serves(doctor, worlds, chain):
    box = worlds[chain]
    where = assets.network(box.network)
    real = next(each for each in assets.networks() if each.namespace == FAMILY[chain] and not each.testnet)
    wrong = facts_of(doctor("--json", NODES=f"{real.name}={box.rpc_url}"))[f"node {real.name}"]
    assert wrong["ok"] is False and "(C3)" in wrong["said"]
    down = "http://127.0.0.1:9/needle"
    both = facts_of(doctor("--json", NODES=f"{where.name}={down}|{box.rpc_url}"))[f"node {where.name}"]
    assert both["ok"] is None and [each["ok"] for each in both["nodes"]] == [False, True]
    assert "is asked instead" in both["said"] and "needle" not in json.dumps(both)
    none = doctor("--json", NODES=f"{where.name}={down}")
    assert none.exit_code == 1 and facts_of(none)[f"node {where.name}"]["ok"] is False


def test_a_node_that_stands_still_or_is_behind_is_named(monkeypatch):
    where = assets.network("base-sepolia")
    heights = {"https://one.example/needle": (5000, 1_000_000), "https://two.example": (4000, 1_000_000), "https://three.example": (4999, 0)}
    monkeypatch.setattr(doctor_chains.time, "time", lambda: 1_000_010)

    class Told:
        namespace = "eip155"

        def tip(self, network, node):
            return heights[node]
            yield

    monkeypatch.setattr(doctor_chains.chains, "builtin", lambda: (Told(),))
    settings = Settings.load({"X402_AGENT_NODES": f"base-sepolia={'|'.join(heights)}"})
    (check,) = doctor_chains.nodes(settings)
    assert check.ok is None and [row["ok"] for row in check.facts["nodes"]] == [True, False, True]
    assert "https://two.example: behind, at block 4000: another node of it is at 5000" in check.said and "needle" not in check.said
    monkeypatch.setattr(doctor_chains.time, "time", lambda: 1_000_000 + 3 * 86400)
    (check,) = doctor_chains.nodes(settings)
    assert "https://one.example: stale: its newest block, 5000, is 3 days old" in check.said and check.facts["nodes"][2]["ok"]
    assert where.name in check.name


CHAIN = {"base-sepolia": b'{"jsonrpc":"2.0","id":ID,"result":"0x14a34"}',
         "solana-devnet": b'{"jsonrpc":"2.0","id":ID,"result":"EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"}',
         "stacks-testnet": b'{"network_id": 2147483648, "stacks_tip_height": "\\u001b[31m"}',
         "tron-nile": b'{"blockID": "0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc"}'}  # fmt: skip


@pytest.mark.parametrize("name", CHAIN)
def test_a_node_that_names_its_chain_and_babbles_is_no_node(doctor, name):
    class Babbles(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = self.rfile.read(int(self.headers.get("content-length", 0)))
            number = str(json.loads(asked or b"{}").get("id")).encode()
            said = CHAIN[name].replace(b"ID", number) if b"jsonrpc" in asked else CHAIN[name]
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_GET(self):
            self.do_POST()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Babbles) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = doctor("--json", NODES=f"{name}=http://127.0.0.1:{server.server_port}/needle")
        server.shutdown()
    found = facts_of(done)[f"node {name}"]
    assert done.exit_code == 1 and found["ok"] is False and found["nodes"][0]["block"] == 0
    assert "needle" not in done.output and "\x1b" not in found["said"] and "(C3)" not in found["said"], found["said"]


def test_each_family_says_what_to_type(doctor, monkeypatch):
    text = doctor(NETWORKS="mainnet", NODES="").output
    for words in ("X402_AGENT_NODES='solana=https://…'", "a fresh blockhash", "the account's next nonce", "export X402_AGENT_TRON_KEY=…", "x402-agent wallet new"):
        assert words in text, words
    monkeypatch.setattr(doctor_chains.importlib.util, "find_spec", lambda name: None)
    text = doctor(NETWORKS="base", NODES="base=http://127.0.0.1:9").output
    assert "pip install 'x402-agent-sdk[solana]'" in text and "policy pays on no network of it" in text
    monkeypatch.setenv(KEYS["eip155"], "0x" + "41" * 32)
    text = doctor(NETWORKS="mainnet", NODES="base=http://127.0.0.1:9").output
    assert "add ,solana=https://… to X402_AGENT_NODES" in text and "your wallet has no key of it" in text
