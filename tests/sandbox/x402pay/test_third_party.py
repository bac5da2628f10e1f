"""A client that was written from the wire page alone buys here, over real HTTP: whatever of that page is wrong here fails there."""

from __future__ import annotations

import pytest

from sandbox.x402pay.naive import Naive
from x402_agent.chains.stacks import ALLOW, Call, Transfer, Value, messages, uint
from x402_agent.sandbox import Sandbox


@pytest.fixture
def box():
    with Sandbox(seller="x402pay", chain="stacks") as made:
        made.serve()
        yield made


@pytest.fixture
def naive(box):
    payer = box.ground.payer

    def sign(to, content, amount, arguments):
        nonce = box.ground.chain.nonce(payer.address)
        more = (Value("ascii", "STX"), Value("ascii", f"naive-{nonce}")) if arguments == 4 else ()
        payload = Call(to, "pay-for-content", (Value("ascii", content), uint(amount), *more)) if arguments else Transfer(to, amount, b"")
        return payer.sign(payload, nonce, 3_000, mode=ALLOW).wire()

    def sign_message(text):
        made = payer._key.sign(messages.plain_digest(text))
        return (made[:64] + bytes((made[64] - 27,))).hex()

    found = Naive(box.origin, box.rpc_url, payer.address, sign, sign_message)
    yield found
    found.http.close()


@pytest.mark.parametrize("path", ["/articles/paying-by-transfer", "/articles/paying-by-contract", "/articles/four-arguments", "/api/premium-data"])
def test_it_shows_an_id_with_its_nonce(naive, path):
    reply = naive.by_id(path)
    assert reply.status_code == 200 and reply.headers["cache-control"] == "private"


def test_it_buys_a_token_and_uses_it_again(naive, box):
    path = "/articles/paying-by-transfer"
    tx, token = naive.by_token(path, box.seller.key)
    for shown in ({"headers": {"x-payment-proof": token}}, {"params": {"payment": token}}, {"headers": {"cookie": f"payment={token}"}}):
        assert naive.http.get(path, **shown).json()["content"]
    found = naive.history()
    assert found["total"] == 1 and found["payments"][0]["txId"] == tx
    assert naive.http.get("/api/premium-data", headers={"x-payment-proof": token}).status_code == 401


def test_it_buys_by_the_gateway(naive):
    paid, access = naive.by_gateway("four-arguments")
    assert paid["success"] is paid["access"] is True and access == {"access": True, "contentId": "four-arguments"}


def test_it_buys_by_bearer(naive, box):
    assert naive.by_bearer("/api/ai/generate", box.pay_to).json()["result"]
