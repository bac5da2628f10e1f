"""The closed table: exact names, no look-alikes, and nothing inconsistent in it."""

from __future__ import annotations

import re

import pytest

from x402_agent import assets
from x402_agent.encodings import base58, unbase58, unbase58check, unc32_address
from x402_agent.primitives import checksum


@pytest.mark.parametrize(
    ("name", "caip"), [("base", "eip155:8453"), ("base-sepolia", "eip155:84532"), ("eip155:1", "eip155:1")]
)
def test_networks_by_either_spelling(name, caip):
    found = assets.network(name)
    assert found is not None
    assert found.id == caip


V1_NAMES = {
    "base": 8453, "base-sepolia": 84532, "ethereum": 1, "polygon": 137, "polygon-amoy": 80002, "avalanche": 43114,
    "avalanche-fuji": 43113, "abstract": 2741, "abstract-testnet": 11124, "iotex": 4689, "sei": 1329,
    "sei-testnet": 1328,
    "peaq": 3338, "story": 1513, "educhain": 656476, "skale-base-sepolia": 1444673419, "megaeth": 4326, "monad": 143,
    "monad-testnet": 10143, "stable": 988, "stable-testnet": 2201, "celo": 42220, "flare": 14,
}  # fmt: skip


@pytest.mark.parametrize(("name", "chain_id"), V1_NAMES.items(), ids=V1_NAMES)
def test_every_evm_name_of_x402_v1_is_known(name, chain_id):
    assert assets.network(name) is assets.network(f"eip155:{chain_id}") is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Base",
        "base ",
        " base",
        "eip155:084532",
        "eip155:84532 ",
        "EIP155:8453",
        "8453",
        "eip155:",
        "eip155:*",
        "base-sepolia-2",
    ],
)
def test_A5_near_names_are_unknown(name):
    assert assets.network(name) is None


def test_A3_testnets_are_marked():
    marked = {network.name for network in assets.networks() if network.testnet}
    suspicious = {n.name for n in assets.networks() if re.search(r"test|sepolia|fuji|amoy|apothem|devnet|nile|shasta", n.name)}
    assert marked == suspicious


USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"


def test_an_asset_by_address_in_any_case():
    where = assets.network("base-sepolia")
    assert (
        assets.asset(where, USDC) is assets.asset(where, USDC.lower()) is assets.asset(where, "0x" + USDC[2:].upper())
    )
    assert assets.asset(where, USDC).id == f"eip155:84532/erc20:{USDC}"


@pytest.mark.parametrize(
    "address", ["", USDC[:-1], USDC + "0", USDC + " ", USDC[2:], USDC.replace("0x", "0х"), "ſ" + USDC, "USDC"]
)
def test_A2_look_alike_addresses_are_unknown(address):
    assert assets.asset(assets.network("base-sepolia"), address) is None


def test_A4_a_token_of_another_chain_is_unknown_here():
    assert assets.asset(assets.network("base"), USDC) is None


_COINS = {"eip155": "slip44:60", "solana": "slip44:501", "stacks": "slip44:5757", "tron": "slip44:195"}


def test_ids_are_caip_19_and_find_their_row():
    for asset in assets.assets():
        assert assets.asset_by_id(asset.id) is asset
        kind = {"eip155": "erc20", "solana": "token", "stacks": "sip010", "tron": "trc20"}[asset.network.namespace]
        inside = f".{asset.detail}" if kind == "sip010" else ""
        assert asset.id == f"{asset.network.id}/" + (_COINS[asset.network.namespace] if asset.native else f"{kind}:{asset.address}{inside}")
    assert len({asset.id.lower() for asset in assets.assets()}) == len(assets.assets())
    assert assets.asset_by_id(assets.assets()[0].id.lower()) is None


def _evm(asset):
    if asset.native:
        assert (asset.decimals, asset.peg, asset.eip712) == (18, "", None)  # which nothing but a transfer of our own moves (A6)
        return
    assert checksum(asset.address) == asset.address
    assert int(asset.network.id.removeprefix("eip155:")) > 0


def _solana(asset):
    assert asset.native or (len(unbase58(asset.address)) == 32 and base58(unbase58(asset.address)) == asset.address)


def _stacks(asset):
    if not asset.native:
        contract, _, name = asset.address.partition(".")
        versions = (26, 21) if asset.network.testnet else (22, 20)
        assert unc32_address(contract)[0] in versions and name and asset.detail


def _tron(asset):
    assert asset.native or (len(unbase58check(asset.address)) == 21 and unbase58check(asset.address)[0] == 0x41)


_SOUND = {"eip155": _evm, "solana": _solana, "stacks": _stacks, "tron": _tron}


@pytest.mark.parametrize("asset", assets.assets(), ids=lambda asset: asset.id)
def test_each_row_is_sound(asset):
    _SOUND[asset.network.namespace](asset)
    assert asset.decimals in (6, 8, 9, 18)
    assert asset.peg in ("", "USD")
    if asset.eip712 is not None:
        assert all(part and part.isprintable() for part in asset.eip712)


def test_networks_are_unique():
    ids = [network.id for network in assets.networks()]
    names = [network.name for network in assets.networks()]
    assert len(set(ids)) == len(ids)
    assert len(set(names)) == len(names)
    assert not set(ids) & set(names)


@pytest.mark.parametrize("network", [n for n in assets.networks() if n.explorer], ids=lambda n: n.name)
def test_explorers_are_https_and_take_one_transaction(network):
    assert re.fullmatch(r"https://[a-z0-9.-]+/(tx|txid|#/transaction)/\{tx\}(\?[a-z0-9=-]+)?", network.explorer)
    transaction = {"solana": "5" * 88, "tron": "ab" * 32}.get(network.namespace, "0x" + "ab" * 32)
    assert network.link(transaction) == network.explorer.replace("{tx}", transaction)


@pytest.mark.parametrize("claim", ["", "0x", "0x" + "a" * 63, "0x" + "a" * 65, "0x" + "g" * 64, "a" * 64, "0x" + "a" * 64 + "\n",
                                   "/../../login?to=" + "a" * 50, "\x1b]8;;https://evil.example\x07", "javascript:alert(1)"])  # fmt: skip
def test_what_is_not_a_transaction_id_makes_no_link(claim):
    base = assets.network("base")
    assert base is not None and base.explorer and base.link(claim) == ""
