"""A client of somebody else's: written from the wire page alone, on httpx2 and an account that signs, without a line of ours but that.

It believes what it is told, so it is no example for paying real money.
"""

from __future__ import annotations

import base64
import time

import httpx2

PENDING = ("pending", "not found")


class Naive:
    """Buys at `url`. `sign(recipient or contract, content, amount, memo)` gives the raw bytes of a signed transaction."""

    def __init__(self, url, node, address, sign, sign_message):
        self.http = httpx2.Client(base_url=url, trust_env=False, timeout=60, headers={"user-agent": "naive/1"})
        self.node, self.address, self.sign, self.sign_message = node, address, sign, sign_message

    # -- the chain ------------------------------------------------------------------------------------------------------

    def arguments(self, contract):
        """How many arguments the contract's own interface names."""
        address, name = contract.split(".")
        found = self.http.get(f"{self.node}/v2/contracts/interface/{address}/{name}").json()
        return len(next(each for each in found["functions"] if each["name"] == "pay-for-content")["args"])

    def broadcast(self, raw):
        txid = self.http.post(f"{self.node}/v2/transactions", content=raw, headers={"content-type": "application/octet-stream"}).json()
        while self.http.get(f"{self.node}/extended/v1/tx/0x{txid}").json()["tx_status"] == "pending":
            time.sleep(0.05)
        return f"0x{txid}"

    def pay(self, recipient, contract, content, amount):
        if contract:
            return self.broadcast(self.sign(contract, content, amount, self.arguments(contract)))
        return self.broadcast(self.sign(recipient, content, amount, 0))

    # -- the design: a nonce, then the id or a token ----------------------------------------------------------------------

    def asked(self, path):
        reply = self.http.get(path)
        assert reply.status_code == 402 and reply.json()["error"] == "Payment Required"
        return reply.json()["payment"]

    def by_id(self, path):
        """PRD: the id itself is shown, with the nonce."""
        asked = self.asked(path)
        assert asked["chain"] == "stacks" and asked["asset"] == "STX" and asked["signature_required"] is True
        amount = round(float(asked["amount"]) * 10**6)
        tx = self.pay(asked["recipient"], asked.get("contract"), path.rpartition("/")[2], amount)
        return self.http.get(path, headers={"x-payment-proof": tx, "x-payment-nonce": asked["nonce"]})

    def by_token(self, path, key):
        """OpenAPI: the API is asked for a price and verifies; its token opens."""
        asked = self.http.post("/v1/payments/initiate", json={"contentId": path.rpartition("/")[2]}, headers={"X-API-Key": key}).json()["payment"]
        tx = self.pay(asked["recipient"], None, asked["contentId"], int(asked["amount"]))
        body = {"txId": tx, "contentId": asked["contentId"], "nonce": asked["nonce"]}
        verified = self.http.post("/v1/payments/verify", json=body).raise_for_status().json()
        return tx, verified["accessToken"]

    def history(self):
        now = int(time.time() * 1000)
        message = f"x402Pay Login\nTimestamp: {now}"
        body = {"address": self.address, "signature": self.sign_message(message), "message": message, "timestamp": now}
        session = self.http.post("/v1/auth/login", json=body).raise_for_status().json()["token"]
        return self.http.get("/v1/payments/history?limit=20&offset=0", headers={"Authorization": f"Bearer {session}"}).json()

    # -- the gateway ------------------------------------------------------------------------------------------------------

    def by_gateway(self, content):
        url = f"/functions/v1/x402-gateway?contentId={content}&address={self.address}"
        asked = self.http.get(url)
        assert asked.status_code == 402
        entry, token = asked.json()["accepts"][0], asked.json()["extra"]["challengeToken"]
        assert entry["scheme"] == "exact" and entry["network"] == "stacks:2147483648"
        tx = self.pay(entry["payTo"], entry["extra"].get("contractAddress"), content, int(entry["amount"]))
        document = httpx2.Request("POST", "http://x", json={"scheme": "exact", "network": entry["network"], "payload": {"txId": tx, "token": token}}).content
        paid = self.http.post("/functions/v1/x402-gateway", headers={"Payment-Signature": base64.b64encode(document).decode()})
        return paid.json(), self.http.get(url).json()

    # -- the Next app -----------------------------------------------------------------------------------------------------

    def by_bearer(self, path, recipient):
        asked = self.http.get(path)
        body = asked.json()
        assert asked.status_code == 402 and asked.headers["www-authenticate"].startswith("Bearer ") and body["code"] == "PAYMENT_REQUIRED"
        tx = self.pay(recipient, None, "", body["requiredAmount"] * 10**6)
        told = {"txHash": tx[2:], "walletAddress": self.address, "amount": body["requiredAmount"]}
        token = self.http.post(body["paymentEndpoint"], json=told).raise_for_status().json()["accessToken"]
        return self.http.get(path, headers={"Authorization": f"Bearer {token}"})
