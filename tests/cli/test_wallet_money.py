"""`wallet show|fund|sweep` beside a real chain: what accounts have, what they need, and money that leaves at a person's word alone."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from x402_agent import Settings, assets
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.secret import Secret
from x402_agent.wallet import Entry, KeySigner, WalletFile

PASS = "correct horse battery"
OTHER = "0x00000000000000000000000000000000000a11ce"
SHOP_KEY = "41" * 32
SHOP = KeySigner(SHOP_KEY)


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        one.serve()
        yield one


@pytest.fixture
def run(box, tmp_path, monkeypatch):
    path = tmp_path / "own" / "wallet.json"
    entries = [Entry("key", Secret(box.payer_key)), Entry("key", Secret(b"\x41" * 32), name="shop"), Entry("key", Secret(b"\x42" * 32), namespace="tron", name="t")]
    WalletFile.create(path, entries, Secret(PASS), n=4096)
    for name, value in (("WALLET", path), ("NODES", f"base-sepolia={box.rpc_url}"), ("NETWORKS", "testnet"), ("LEDGER", tmp_path / "ledger.db")):
        monkeypatch.setenv(f"X402_AGENT_{name}", str(value))

    def go(*words, **env):
        monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)
        return CliRunner().invoke(app, ["wallet", *words], env={f"X402_AGENT_{name}": value for name, value in env.items()})

    return go


def test_show_tells_what_an_account_has_where_a_node_is_set(run, box):
    done = run("show")
    assert done.exit_code == 0 and "base-sepolia: " in done.stdout and " USDC, " in done.stdout and " coin" in done.stdout
    facts = json.loads(run("show", "--json").stdout)
    assert float(facts["balances"][0]["eip155"]["base-sepolia"]["USDC"]) * 10**6 == box.balance(box.payer_address)
    assert facts["balances"][1]["eip155"]["base-sepolia"] == {"coin": "0"} and facts["balances"][2] == {"tron": {}}
    assert "balances" not in json.loads(run("show", "--json", NODES="").stdout)
    assert "unknown" in run("show", NODES="base-sepolia=http://127.0.0.1:9").stdout


def test_show_tells_it_of_a_key_in_the_environment_too(run, box, tmp_path):
    env = {"EVM_KEY": SHOP_KEY, "WALLET": str(tmp_path / "none.json")}
    facts = json.loads(run("show", "--json", **env).stdout)
    assert facts["pays"] == SHOP.address("eip155") and facts["balances"] == {"eip155": {"base-sepolia": {"coin": "0"}}}
    assert "base-sepolia: 0 coin" in run("show", **env).stdout


def test_fund_says_where_and_how_much_at_least(run, box):
    facts = {each["network_name"]: each for each in json.loads(run("fund", "--json").stdout)["fund"]}
    here = facts["base-sepolia"]
    assert here["address"] == box.payer_address and "no coin" in here["gas"] and len(facts) > 3
    assert [(each["least"], each["day"]) for each in here["tokens"]] == [("0.1000", "5.0000 is a day's")]
    assert here["tokens"][0]["has"] and all(each["tokens"][0]["has"] == "" for name, each in facts.items() if name != "base-sepolia")
    shop = json.loads(run("fund", "--account", "shop", "--network", "base-sepolia", "--json").stdout)["fund"]
    assert [each["address"] for each in shop] == [SHOP.address("eip155")]
    for words, said in ((("--account", "nobody"), "no account is called"), (("--network", "atlantis"), "no network"), (("--account", "t", "--network", "base-sepolia"), "none of the networks")):
        done = run("fund", *words)
        assert done.exit_code in (1, 2) and said in done.stderr
    assert "at least 0.1000" in run("fund").stdout


def test_sweep_sends_all_of_a_token_once_a_person_says_so(run, box):
    before = box.balance(OTHER)
    done = run("sweep", "--to", OTHER)
    assert done.exit_code == 2 and "nobody can be asked" in done.stderr and box.balance(OTHER) == before
    had = box.balance(box.payer_address)
    done = run("sweep", "--to", OTHER, "--yes", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (int(facts["amount"]), facts["state"], box.balance(box.payer_address), box.balance(OTHER)) == (had, "CONFIRMED", 0, before + had)
    assert [row.kind for row in SqliteLedger(Settings.load().ledger_path).transactions()] == ["transfer"]
    done = run("sweep", "--to", OTHER, "--yes")
    assert done.exit_code == 3 and "nothing is left to send" in done.stderr
    box.fund(box.payer_address, had)


@pytest.mark.parametrize("words, said", [
    (("--to", "TBvJUBXorwBPzqvV38vjDgegj5Eh6g2Tsq", "--network", "tron", "--token", "USDT"), "no node of tron"), (("--to", "0x12", "--network", "base-sepolia"), "recipient"),
    (("--to", "TBvJUBXorwBPzqvV38vjDgegj5Eh6g2Tsq"), "recipient"), (("--to", OTHER, "--account", "nobody"), "no account is called so"),
    (("--to", OTHER, "--token", "DOGE"), "no token"), (("--to", OTHER, "--network", "base"), "no node"), (("--to", OTHER, "--account", "t"), "is no account of base-sepolia"),
], ids=str)  # fmt: skip
def test_what_is_not_swept(run, words, said):
    done = run("sweep", *words, "--yes")
    assert done.exit_code != 0 and said in done.stderr, done.stderr


def test_what_a_payment_in_doubt_may_take_stays(run, box, monkeypatch):
    payee = "0x00000000000000000000000000000000000b0b0b"
    with Sandbox("never_settles") as seller:
        seller.serve()
        assert box.balance(box.payer_address) > 10_000
        monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)
        CliRunner().invoke(app, ["get", seller.url("/joke")])
    kept = sum(hold.offer.money.amount for hold in SqliteLedger(Settings.load().ledger_path).open_payments())
    assert kept == 10_000
    facts = json.loads(run("sweep", "--to", payee, "--yes", "--json").stdout)
    assert int(facts["kept"]) == kept == box.balance(box.payer_address)
    box.fund(box.payer_address, int(facts["amount"]))


def test_an_agent_does_not_sweep(run):
    for name in ("SLIP", "SIGNER"):
        done = run("sweep", "--to", OTHER, "--yes", **{name: "/run/nobody.sock"})
        assert done.exit_code == 2 and "a person sweeps" in done.stderr


@pytest.mark.parametrize("chain, coin", [("evm", "ETH"), ("solana", "SOL"), ("stacks", "STX"), ("tron", "TRX")])
def test_what_a_transaction_takes_is_the_nodes_word_and_a_usual_figure_says_that_it_is_one(chain, coin, tmp_path, monkeypatch):
    with Sandbox(chain=chain) as box:
        box.serve()
        path = tmp_path / "wallet.json"
        where = assets.network(box.network)
        WalletFile.create(path, [Entry("key", Secret(box.payer_key), namespace=where.namespace)], Secret(PASS), n=4096)
        for name, value in (("WALLET", path), ("NETWORKS", where.name), ("LEDGER", tmp_path / "ledger.db")):
            monkeypatch.setenv(f"X402_AGENT_{name}", str(value))
        (bare,) = json.loads(CliRunner().invoke(app, ["wallet", "fund", "--json"]).stdout)["fund"]
        assert "a usual figure" in bare["gas"] and not bare["gas_by_node"]
        dead = CliRunner().invoke(app, ["wallet", "fund", "--json"], env={"X402_AGENT_NODES": f"{where.name}=http://127.0.0.1:9"})
        assert "a usual figure" in json.loads(dead.stdout)["fund"][0]["gas"]
        (told,) = json.loads(CliRunner().invoke(app, ["wallet", "fund", "--json"], env={"X402_AGENT_NODES": f"{where.name}={box.rpc_url}"}).stdout)["fund"]
        amount, symbol = told["gas_by_node"].split()[:2]
        assert symbol == coin and float(amount) > 0 and f"{told['gas_by_node']}" in told["gas"] and "by your node" in told["gas"]
