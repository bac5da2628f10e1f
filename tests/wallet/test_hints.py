"""A missing key is hinted by the variable of its own family, wherever it is missed."""

from __future__ import annotations

import pytest

from x402_agent import NoAcceptableOffer, Payer, SigningFailed, Wallet, assets
from x402_agent.ask import Ask
from x402_agent.model import Challenge, Offer
from x402_agent.policy import Policy
from x402_agent.wallet import FAMILIES, KEYS

PAYEES = {"eip155": "0x" + "ab" * 20, "solana": "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
          "stacks": "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG", "tron": "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"}  # fmt: skip


def test_a_family_is_called_as_its_variable_is():
    assert {each.namespace: f"X402_AGENT_{each.family.upper()}_KEY" for each in assets.networks()} == KEYS
    assert {each.namespace: each.family for each in assets.networks()} == {name: word.lower() for name, word in FAMILIES.items()}


@pytest.mark.parametrize("namespace", KEYS)
def test_the_hint_names_the_variable_of_the_family_that_is_asked_for(namespace):
    asset = next(each for each in assets.assets() if each.network.namespace == namespace and each.network.testnet and each.peg)
    offer = Offer("x402", "exact", asset, 1, PAYEES[namespace], 60)
    others = [name for name in KEYS.values() if name != KEYS[namespace]]
    with Payer(wallet=Wallet(), policy=Policy(networks=("testnet",))) as payer:
        ask = Ask("GET", "https://shop.example/", "https://shop.example", "shop.example", "/")
        with pytest.raises(NoAcceptableOffer) as caught:
            payer.talk(ask).choose(ask, Challenge("x402", (offer,)))
        assert KEYS[namespace] in caught.value.hint and not any(name in caught.value.hint for name in others)
        with pytest.raises(SigningFailed) as missed:
            payer.signer(namespace)
        assert KEYS[namespace] in missed.value.hint and not any(name in missed.value.hint for name in others)
    if namespace != "solana":
        with pytest.raises(SigningFailed) as odd:
            Wallet.from_key("no key", namespace)
        assert KEYS[namespace] in odd.value.hint


def test_of_several_each_is_named():
    found = [next(each for each in assets.assets() if each.network.namespace == name and each.network.testnet and each.peg) for name in ("tron", "solana")]
    offers = tuple(Offer("x402", "exact", each, 1, PAYEES[each.network.namespace], 60) for each in found)
    with Payer(wallet=Wallet(), policy=Policy(networks=("testnet",))) as payer:
        ask = Ask("GET", "https://shop.example/", "https://shop.example", "shop.example", "/")
        with pytest.raises(NoAcceptableOffer) as caught:
            payer.talk(ask).choose(ask, Challenge("x402", offers))
        assert KEYS["tron"] in caught.value.hint and KEYS["solana"] in caught.value.hint and KEYS["eip155"] not in caught.value.hint
