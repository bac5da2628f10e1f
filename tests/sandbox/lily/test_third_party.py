"""A client that was written from the wire page alone buys here, over real HTTP, with nothing of ours but its way of moving money."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime

import httpx2
import pytest

from x402_agent.sandbox import Sandbox


class Naive:
    """Knows the origin, a wallet, and how that wallet signs and pays; learns the rest from what it is told."""

    def __init__(self, origin, wallet, sign, pay):
        self.origin, self.wallet, self._sign, self._pay = origin, wallet, sign, pay

    def ask(self, method, path, body=None, **headers):
        reply = httpx2.request(method, self.origin + path, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=20, trust_env=False)
        return reply.status_code, reply.json() if reply.content else None, reply.headers

    def now(self):
        return datetime.now(UTC)

    def header(self, **credential):
        fields = {**credential, "wallet": self.wallet, "amount": "0.01", "currency": "USDC", "timestamp": int(self.now().timestamp() * 1000)}
        return "; ".join(f"{name}={value}" for name, value in fields.items())

    def sign_in(self):
        host = self.origin.partition("://")[2]
        message = f"{host} wants you to sign in with your Solana account:\n{self.wallet}\n\nTo buy.\n\nVersion: 1\nURI: {self.origin}\nIssued At: {self.now().isoformat()}"
        signature = base64.b64encode(self._sign(message.encode())).decode()
        status, body, _ = self.ask("POST", "/auth/v1/token?grant_type=web3", {"chain": "solana", "message": message, "signature": signature})
        assert (status, body["token_type"]) == (200, "bearer"), body
        return {"apikey": body["access_token"], "authorization": f"Bearer {body['access_token']}", "prefer": "return=representation"}

    def service(self, key):
        status, rows, _ = self.ask("GET", "/rest/v1/x402_service_configs?service_type=eq.agent_execution&select=*", **key)
        assert status == 200
        return rows[0]


@pytest.fixture
def box():
    with Sandbox(seller="lily", chain="solana") as made:
        made.serve()
        yield made


@pytest.fixture
def naive(box):
    from x402_agent.sandbox.solana.token import TOKEN, address, transfer

    payer = box.ground.payer

    def pay(to, amount):
        step = transfer(payer.pubkey(), address(to), amount, box.ground.mint, TOKEN)
        return str(box.ground.send([step], payer).signature)

    return Naive(box.origin, box.payer_address, lambda message: bytes(payer.sign_message(message)), pay)


def test_it_signs_in_and_buys_by_proof_by_session_and_by_credits(box, naive):
    key = naive.sign_in()
    sold = naive.service(key)
    status, asked, headers = naive.ask("GET", "/joke")
    assert (status, asked["requiredAmount"], headers["X-402-Amount"], headers["X-402-Currency"]) == (402, sold["base_price"], "0.01", sold["currency"])
    payee, service = sold["platform_wallet"], sold["service_id"]

    proof = naive._pay(payee, 10_000)
    assert naive.ask("GET", "/joke", x_402_payment=naive.header(proof=proof))[0] == 200

    token, signature = os.urandom(32).hex(), naive._pay(payee, 50_000)
    row = {"wallet_address": naive.wallet, "session_token": token, "authorized_amount": 0.05, "remaining_amount": 0.05, "resource_pattern": f"agent/{service}/*",
           "service_id": service, "service_type": "agent_execution", "auto_renew": False, "initial_payment_signature": signature}  # fmt: skip
    assert naive.ask("POST", "/rest/v1/x402_payment_sessions", row, **key)[:1] == (201,)
    status, _, headers = naive.ask("GET", "/joke", x_402_payment=naive.header(session=token))
    assert (status, headers["X-402-Remaining"]) == (200, "0.04")

    paid = {"transaction_signature": naive._pay(payee, 20_000), "wallet_address": naive.wallet, "service_id": service, "service_type": "agent_execution",
            "amount": 0.02, "currency": "USDC", "status": "completed", "resource_type": "agent_execution", "http_method": "POST", "purpose": "credit_top_up"}  # fmt: skip
    assert naive.ask("POST", "/rest/v1/x402_transactions", paid, **key)[0] == 201
    header = naive.header()
    from x402_agent.encodings import base58

    status, _, headers = naive.ask("POST", "/report", {}, x_402_payment=f"{header}; signature={base58(naive._sign(header.encode()))}")
    assert (status, headers["X-402-Remaining"]) == (200, "0.01")
    assert box.balance(box.pay_to) == 80_000


@pytest.mark.parametrize(("change", "status"), [
    ({}, 200), ({"chain": "ethereum"}, 400), ({"signature": "AAAA"}, 400), ({"signature": "%"}, 400), ({"origin": "http://other.example"}, 400),
    ({"when": "2020-01-01T00:00:00+00:00"}, 400), ({"when": "2020-01-01T00:00:00"}, 400), ({"wallet": "1" * 32}, 400), ({"grant": "password"}, 400),
], ids=["good", "chain", "short", "no-base64", "origin", "old", "no-zone", "wallet", "grant"])  # fmt: skip
def test_who_gets_a_key(shared, change, status):
    origin, payer = change.get("origin", shared.box.origin), shared.ground.payer
    when = change.get("when", datetime.fromtimestamp(shared.ground.now(), UTC).isoformat())
    message = f"{origin.partition('://')[2]} wants you to sign in with your Solana account:\n{change.get('wallet', shared.wallet)}\n\nIssued At: {when}"
    signature = change.get("signature", base64.b64encode(bytes(payer.sign_message(message.encode()))).decode())
    body = {"chain": change.get("chain", "solana"), "message": message, "signature": signature}
    reply = shared.http.post(f"/auth/v1/token?grant_type={change.get('grant', 'web3')}", json=body)
    assert reply.status_code == status, reply.text
    if status == 200:
        assert shared.rest("GET", "x402_payment_credits", key=reply.json()["access_token"]).status_code == 200
