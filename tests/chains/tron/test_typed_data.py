"""Typed data, byte for byte as tronweb signs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from x402_agent.chains.tron import permit, permit2
from x402_agent.chains.tron.addresses import address
from x402_agent.chains.tron.tip712 import Struct, digest
from x402_agent.primitives import EvmKey

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tron" / "vectors.json").read_text())["typed_data"]
OURS = {"PaymentPermitDetails": permit.STRUCT, "PermitWitnessTransferFrom": permit2.STRUCT}


def struct(types, name):
    members = ((each["type"], each["name"]) for each in types[name])
    return Struct(name, tuple((struct(types, kind) if kind in types else kind, member) for kind, member in members))


def raw(kind, value):
    if isinstance(kind, Struct):
        return {name: raw(each, value[name]) for each, name in kind.members}
    return bytes.fromhex(value[2:]) if kind.startswith("bytes") else value


def spelt(kind, value):
    """The same with T… for every address."""
    if isinstance(kind, Struct):
        return {name: spelt(each, value[name]) for each, name in kind.members}
    return address(bytes.fromhex(value[2:])) if kind == "address" else value


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["primaryType"])
def test_tronweb_signed_the_same(case):
    kind = struct(case["types"], case["primaryType"])
    assert OURS.get(kind.name, kind) == kind
    domain = case["domain"]
    where = {
        "name": domain["name"], "version": domain.get("version", ""), "chain_id": domain["chainId"],
        "contract": domain["verifyingContract"],
    }  # fmt: skip
    value = raw(kind, case["message"])
    made = digest(kind, value, **where)
    assert made == digest(kind, spelt(kind, value), **where)
    assert "0x" + made.hex() == case["hash"]
    assert "0x" + EvmKey(bytes.fromhex(case["key"])).sign(made).hex() == case["signature"]


def test_there_are_twenty_four():
    assert len(VECTORS) == 24


@pytest.mark.parametrize("kind, value", [("uint8", 256), ("uint256", -1), ("uint256", 1 << 256), ("bytes16", bytes(15)),
                                         ("address", "0x11"), ("address", "TJRabPrwbZy45sbavfcjinPJC18kjpRTv9")])  # fmt: skip
def test_values_that_a_type_does_not_have(kind, value):
    with pytest.raises((ValueError, OverflowError)):
        digest(Struct("A", ((kind, "a"),)), {"a": value}, name="A", chain_id=1, contract=address(bytes(20)))
