"""A small KAMIYO on loopback, on the sandbox's real chain: its routes as a dictionary, each of which a test may replace."""

from __future__ import annotations

import json
import threading

import httpx2

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


class Shop:
    """What it was paid, which tokens it gave, and how often each opened the door. Strict: one token for each payment."""

    def __init__(self, seller, box, *, price="0.01", gateway=True, per_dollar=1000):
        self.seller, self.box, self.price, self.gateway, self.rate = seller, box, price, gateway, per_dollar
        self.payments: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.left: dict[int, int] = {}
        self.asked: list[str] = []
        self.opened: list[str] = []
        self.pay_to = box.ground.account(box.pay_to)
        self.chain = box.ground.networks.get(1, "")
        self.expires = "2099-01-01T00:00:00"
        self.lock = threading.Lock()
        seller.serves("/x402/supported-chains", self.chains)
        seller.serves("/x402/pricing", lambda hit: self.json({"pricing_tiers": {"pay_per_use": {"requests_per_dollar": float(self.rate)}}}))
        seller.serves("/x402/verify-payment", self.verify)
        for path in ("/exploits", "/protocols/risk-score"):
            seller.serves(path, self.door)

    def url(self, path="/exploits"):
        return self.seller.url(path)

    def json(self, document, status=200, **headers):
        return self.seller.answer(status, json.dumps(document).encode(), content_type="application/json", **headers)

    # -- the 402 ----------------------------------------------------------------------------------------------------

    def body(self, path):
        chains, addresses = [self.chain], {self.chain: self.pay_to}
        if not self.gateway:
            return {"payment_required": True, "endpoint": path, "method": "GET", "amount_usdc": float(self.price), "description": "d",
                    "payment_methods": [{"type": "onchain", "supported_chains": chains, "payment_addresses": addresses},
                                        {"type": "token", "header": "x-payment-token"}]}  # fmt: skip
        entry = {"scheme": "exact", "network": self.chain, "maxAmountRequired": str(int(float(self.price) * 10**6)),
                 "asset": self.box.ground.asset.address, "payTo": self.pay_to, "resource": path, "description": "", "mimeType": "",
                 "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"}}  # fmt: skip
        return {"payment_required": True, "endpoint": path, "amount_usdc": float(self.price), "payment_options": [
            {"provider": "PayAI Network", "type": "facilitator", "priority": 1, "recommended": True,
             "supported_chains": ["solana", "base", "polygon"],
             "x402_standard": {"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [
                 entry, {**entry, "network": "solana", "asset": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"}, {**entry, "network": "polygon"}]}},
            {"provider": "KAMIYO Native", "type": "direct_transfer", "priority": 2, "recommended": False,
             "supported_chains": chains, "payment_addresses": addresses}]}  # fmt: skip

    def ask(self, hit):
        return self.json(self.body(hit.path), 402, x_payment_required="true", x_payment_amount=self.price, x_payment_currency="USDC")

    # -- the door ---------------------------------------------------------------------------------------------------

    def door(self, hit):
        with self.lock:
            if hit.headers.get("x-payment"):
                self.opened.append("x-payment")
                return self.seller.answer(200, b"goods")
            number = self.tokens.get(hit.headers.get("x-payment-token", ""), 0)
            if not number and hit.headers.get("x-payment-chain"):
                number = self.payments.get(hit.headers.get("x-payment-tx", ""), 0)
            if number and self.left[number] > 0:
                self.left[number] -= 1
                self.opened.append("token" if hit.headers.get("x-payment-token") else "tx")
                return self.seller.answer(200, b"goods")
            return self.ask(hit)

    def chains(self, hit):
        return self.json({"supported_chains": [self.chain], "payment_addresses": {self.chain: self.pay_to}, "min_payment_amount": 0.1})

    # -- paid on chain ----------------------------------------------------------------------------------------------

    def moved(self, txid):
        """What this transaction brought us, read from the chain."""
        if self.box.ground.name == "solana":
            return self.landed(txid)
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [txid]}
        receipt = httpx2.post(self.box.rpc_url, json=call, timeout=20, trust_env=False).json()["result"]
        logs = receipt["logs"] if receipt and receipt["status"] == "0x1" else []
        return sum(int(log["data"], 16) for log in logs if log["topics"][0] == TRANSFER and log["topics"][2][-40:] == self.box.pay_to[2:].lower())

    def landed(self, txid):
        """The same on Solana: by how much it filled the advertised account."""
        from x402_agent.sandbox.solana.token import holding

        row = self.box.transaction(txid)
        if row is None or row.tried.err is not None:
            return 0
        at = [str(each) for each in row.tx.message.account_keys].index(self.box.ground.account(self.box.pay_to))
        was, now = (holding(each[at]) for each in (row.before, row.after))
        return (now.amount if now else 0) - (was.amount if was else 0)

    def verify(self, hit):
        self.asked.append("verify")
        said = json.loads(hit.body)
        amount = self.moved(said["tx_hash"])
        if amount < 100_000:
            return self.json({"is_valid": False, "tx_hash": said["tx_hash"], "error_message": "Payment amount too low"})
        with self.lock:
            number = self.payments.setdefault(said["tx_hash"], len(self.payments) + 1)
            self.left.setdefault(number, amount * self.rate // 10**6)
        self.seller.serves(f"/x402/generate-token/{number}", lambda hit, number=number: self.generate(hit, number))
        return self.json({"is_valid": True, **said, "amount_usdc": amount / 10**6, "confirmations": 6, "payment_id": number})

    def generate(self, hit, number):
        self.asked.append("token")
        with self.lock:
            token = f"token-of-{number}-{len(self.asked)}-{'x' * 24}"
            self.tokens[token] = number
        return self.json({"payment_token": token, "payment_id": number, "expires_at": self.expires, "requests_remaining": self.left[number]})
