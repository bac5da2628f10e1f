"""OpenAI and Anthropic clients with their default retries, attached, on a real EVM: one proof, one settlement."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox


def clients(box):
    import anthropic
    import openai

    for sdk in (openai.OpenAI, anthropic.Anthropic):
        client = sdk(api_key="x", timeout=httpx2.Timeout(30, read=1.5), base_url=box.origin)
        yield client._client, lambda client=client: client.post("/upload", cast_to=object, body={"model": "m"})


@pytest.mark.full
@pytest.mark.parametrize("which", [0, 1], ids=["openai", "anthropic"])
def test_settles_then_hangs_is_paid_once(which, tmp_path):
    with Sandbox("settles_then_hangs") as box:
        box.serve()
        settings = replace(Settings.load(), answer_timeout=1.5, deadline=10)
        ledger = SqliteLedger(tmp_path / "ledger.db", sandbox=True)
        policy = Policy(networks=("testnet",))
        with Payer(wallet=Wallet.from_key(box.payer_key), policy=policy, ledger=ledger, settings=settings) as payer:
            client, call = list(clients(box))[which]
            payer.attach(client)
            with pytest.raises(Exception) as caught:  # noqa: PT011 - each library wraps it in an error of its own
                call()
            assert type(caught.value).__name__ in {"PaymentInDoubt", "APIConnectionError"}
            proofs = {visit.digest for visit in box.requests if visit.proof}
            assert len(proofs) == 1 and len(box.settlements) == 1
            assert [row.outcome for row in ledger.payments()] == ["in_doubt"]
