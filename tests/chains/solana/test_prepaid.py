"""What holds a blockhash of the seller's that policy trusts is asked for anew each time, never sent ahead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chains.solana.svm import USDC
from x402_agent.model import Ask, ChainRules
from x402_agent.payer.prepay import Prepay
from x402_agent.policy import Policy


@pytest.mark.parametrize(("blockhash", "trusting", "kept"), [(USDC, True, 0), (USDC, False, 1), ("", True, 1)])
def test_a_dated_offer_is_not_remembered(offer, blockhash, trusting, kept):
    policy = Policy(prepay=("https://a.example",), chains=ChainRules(trusting))
    ledger = SimpleNamespace(remember=lambda *_, **__: None, remembered=lambda _: ())
    one = Prepay(SimpleNamespace(policy=policy, clock=lambda: 0.0, ledger=ledger))
    one.remember(Ask("GET", "https://a.example/", "https://a.example", "a.example", "/"), offer(blockhash=blockhash), 0.0)
    assert len(one._all()) == kept
