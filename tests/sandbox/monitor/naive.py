"""A merchant and a payer of somebody else's: written from the wire page alone, on httpx2 and eth_account, without a line of ours.

He has an HTTP node sign nothing: the transaction is built there, its id is computed here. He believes what he is told, so he
is no example for paying real money.
"""

from __future__ import annotations

import hashlib

import httpx2
from eth_account import Account

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def address_bytes(text):
    """20 bytes of a T... address, its checksum looked at."""
    number = 0
    for letter in text:
        number = number * 58 + ALPHABET.index(letter)
    raw = number.to_bytes(25)
    assert hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]
    assert raw[0] == 0x41
    return raw[1:21]


class Naive:
    """`url` is the monitor's, `node` a full node's. `rest` lets time pass."""

    def __init__(self, url, node, key, owner, usdt, rest):
        self.http = httpx2.Client(base_url=url, trust_env=False, timeout=60)
        self.node, self.owner, self.usdt, self.rest = node, owner, usdt, rest
        self.account = Account.from_key(key)

    def invoice(self, wallet, amount, callback, order):
        body = {"wallet_address": wallet, "expected_amount_usdt": amount, "callback_url": callback, "order_id": order}
        reply = self.http.post("/create_payment", json=body)
        assert reply.status_code == 201
        made = reply.json()
        assert made["status"] == "watching" and isinstance(made["message"], str) and isinstance(made["expires_at"], float)
        return made["payment_id"]

    def send(self, wallet, micros):
        """A USDT transfer; -> its txid, known before it is broadcast."""
        arguments = address_bytes(wallet).rjust(32, b"\0") + micros.to_bytes(32)
        call = {"owner_address": self.owner, "contract_address": self.usdt, "function_selector": "transfer(address,uint256)",
                "parameter": arguments.hex(), "fee_limit": 100_000_000, "call_value": 0, "visible": True}  # fmt: skip
        made = self.http.post(f"{self.node}/wallet/triggersmartcontract", json=call).json()["transaction"]
        txid = hashlib.sha256(bytes.fromhex(made["raw_data_hex"])).hexdigest()
        assert txid == made["txID"]
        signed = self.account.unsafe_sign_hash(bytes.fromhex(txid))
        made["signature"] = [signed.signature.hex()]
        told = self.http.post(f"{self.node}/wallet/broadcasttransaction", json=made).json()
        assert told.get("result") is True, told
        return txid

    def status(self, identity):
        reply = self.http.get(f"/payment_status/{identity}")
        assert reply.status_code == 200
        return reply.json()

    def wait(self, identity, status="completed"):
        for _ in range(30):
            found = self.status(identity)
            if found["status"] == status:
                return found
            self.rest()
        raise AssertionError(found)

    def buy(self, path):
        """The shop: its 402, a transfer, the goods."""
        reply = self.http.get(path)
        assert reply.status_code == 402 and reply.headers["content-type"] == "application/json"
        asked = reply.json()
        whole, _, part = asked["amount"].partition(".")
        txid = self.send(asked["wallet_address"], int(whole) * 10**6 + int(part.ljust(6, "0")))
        found = self.http.get(asked["status_url"]).json()
        assert found["status"] == "pending"
        self.wait(asked["payment_id"])
        return self.http.get(path, headers={"X-Payment-Id": asked["payment_id"], "X-Payment-Transaction": txid})
