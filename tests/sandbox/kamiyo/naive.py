"""A client of somebody else's: written from the wire page alone, on httpx2 and eth_account, without a line of ours.

It believes what it is told, so it is no example for paying real money.
"""

from __future__ import annotations

import base64
import secrets

import httpx2
from eth_account import Account

TYPES = {
    "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                     {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"}, {"name": "to", "type": "address"}, {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"}, {"name": "validBefore", "type": "uint256"}, {"name": "nonce", "type": "bytes32"}],
}  # fmt: skip


class Naive:
    """Buys at `url` with an EVM key. `rest` is called between two questions about confirmations."""

    def __init__(self, url, key, node, *, chain_id, usdc, rest):
        self.http = httpx2.Client(base_url=url, trust_env=False, timeout=60)
        self.node, self.chain_id, self.usdc, self.rest = node, chain_id, usdc, rest
        self.account = Account.from_key(key)
        self.asked = []

    def rpc(self, method, *params):
        return self.http.post(self.node, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()["result"]

    def price(self, path):
        reply = self.http.get(path)
        assert reply.status_code == 402 and reply.headers["x-payment-required"] == "true"
        assert reply.headers["x-payment-currency"] == "USDC" and reply.headers["content-type"] == "application/json"
        body = reply.json()
        assert float(reply.headers["x-payment-amount"]) == body["amount_usdc"] and body["endpoint"] == path
        return body

    # -- one call, by the facilitator -----------------------------------------------------------------------------------

    def by_facilitator(self, path):
        """X-PAYMENT: base64 of an x402 version 1 payload."""
        options = {each["type"]: each for each in self.price(path)["payment_options"]}
        standard = options["facilitator"]["x402_standard"]
        entry = next(each for each in standard["accepts"] if each["scheme"] == "exact" and each["asset"] == self.usdc)
        now = int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        said = {"from": self.account.address, "to": entry["payTo"], "value": int(entry["maxAmountRequired"]), "validAfter": 0,
                "validBefore": now + entry["maxTimeoutSeconds"], "nonce": "0x" + secrets.token_hex(32)}  # fmt: skip
        domain = {"name": entry["extra"]["name"], "version": entry["extra"]["version"], "chainId": self.chain_id, "verifyingContract": entry["asset"]}
        signed = self.account.sign_typed_data(full_message={"types": TYPES, "primaryType": "TransferWithAuthorization", "domain": domain, "message": said})
        words = {name: value if isinstance(value, str) else str(value) for name, value in said.items()}
        payment = {"x402Version": standard["x402Version"], "scheme": entry["scheme"], "network": entry["network"],
                   "payload": {"signature": signed.signature.to_0x_hex(), "authorization": words}}  # fmt: skip
        return self.http.get(path, headers={"X-PAYMENT": base64.b64encode(httpx2.Request("POST", "http://x", json=payment).content).decode()})

    # -- many calls, on chain -------------------------------------------------------------------------------------------

    def addresses(self, body):
        """Where money goes, in either shape of the 402."""
        options = body.get("payment_options") or body["payment_methods"]
        return next(each["payment_addresses"] for each in options if each["type"] in ("direct_transfer", "onchain"))

    def transfer(self, to, amount):
        data = "0xa9059cbb" + to[2:].rjust(64, "0") + f"{amount:064x}"
        fields = {"to": self.usdc, "data": data, "value": 0, "gas": 100_000, "chainId": self.chain_id,
                  "gasPrice": 2 * int(self.rpc("eth_gasPrice"), 16) + 1,
                  "nonce": int(self.rpc("eth_getTransactionCount", self.account.address, "pending"), 16)}  # fmt: skip
        return self.rpc("eth_sendRawTransaction", self.account.sign_transaction(fields).raw_transaction.to_0x_hex())

    def by_transfer(self, path, chain, dollars=0.0):
        """Transfer, wait for confirmations, token: its header, and what the seller said of it."""
        least = self.http.get("/x402/supported-chains").json()["min_payment_amount"]
        tx = self.transfer(self.addresses(self.price(path))[chain], round(max(dollars, least) * 10**6))
        while True:
            found = self.http.post("/x402/verify-payment", json={"tx_hash": tx, "chain": chain}).raise_for_status().json()
            self.asked.append(found["error_message"])
            if found["is_valid"]:
                break
            assert found["error_message"].startswith("Insufficient confirmations"), found
            self.rest()
        token = self.http.post(f"/x402/generate-token/{found['payment_id']}").raise_for_status().json()
        return tx, found, token
