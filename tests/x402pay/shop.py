"""A small x402Pay on loopback, on the sandbox's Stacks: strict, and each of its routes may be replaced by a test."""

from __future__ import annotations

import base64
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

PRICE = 100_000


def jwt(content, ends=3600, **claims):
    parts = ({"alg": "HS256"}, {"contentId": content, "exp": int(time.time()) + ends, **claims})
    head, body = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts)
    return f"{head}.{body}.{'s' * 43}"


class Shop:
    """What it was shown, what it verified and what it opened. `contract`: "" for a plain transfer, else revenue-split or -two."""

    def __init__(self, seller, box, *, spelling="openapi", contract="", content="article-1", price=PRICE):
        self.seller, self.box, self.spelling, self.content, self.price = seller, box, spelling, content, price
        self.contract = f"{box.pay_to}.{contract}" if contract else ""
        self.asset, self.recipient, self.more = "STX", box.pay_to, {}
        self.nonces, self.used, self.tokens, self.granted, self.challenges = [], {}, set(), set(), {}
        self.seen, self.opened = [], []
        self.lock = threading.Lock()
        for path, route in {"/articles/article-1": self.article, "/v1/payments/verify": self.verify, "/v1/payments/initiate": self.initiate,
                            "/gateway": self.gateway}.items():  # fmt: skip
            seller.serves(path, route)

    def url(self, path="/articles/article-1"):
        return self.seller.url(path)

    def json(self, document, status=200, **headers):
        return self.seller.answer(status, json.dumps(document).encode(), content_type="application/json", **headers)

    def calls(self, path):
        """Bodies that came to a route of its API."""
        return [json.loads(hit.body) for hit in self.seller.hits if hit.path.startswith(path) and hit.method == "POST"]

    # -- the chain --------------------------------------------------------------------------------------------------

    def paid(self, txid):
        """Whether this transaction paid for the content: asked of the node's double, strictly."""
        entry = self.box.ground.chain.entry(txid)
        if entry is None or entry.status != "success":
            return False
        got = sum(move.amount for move in entry.moves)
        return self.price - 1 <= got <= self.price and self.used.setdefault(txid, self.content) == self.content

    def moved(self):
        """Atomic units that left the payer in payments, fees aside."""
        chain = self.box.ground.chain
        return sum(move.amount for each in chain.history(self.box.payer_address) for move in each.moves if each.status == "success")

    # -- the 402s ---------------------------------------------------------------------------------------------------

    def payment(self):
        self.nonces.append(f"{len(self.nonces):032d}")
        found = {"recipient": self.recipient, "amount": str(self.price), "asset": self.asset, "nonce": self.nonces[-1], **self.more}
        if self.contract:
            found["contract"] = self.contract
        if self.spelling == "prd":
            return {**found, "chain": "stacks", "signature_required": True}
        return {**found, "contentId": self.content}

    def ask(self):
        return self.json({"error": "Payment Required", "payment": self.payment(), "access_after": "instant"}, 402)

    def article(self, hit):
        shown = hit.headers.get("x-payment-proof", "")
        self.seen.append(shown)
        if not shown:
            return self.ask()
        if shown.startswith("0x"):
            good = hit.headers.get("x-payment-nonce") == self.nonces[-1] and self.paid(shown)
        else:
            good = shown in self.tokens
        if not good:
            return self.json({"error": "Invalid payment proof", "details": "no"}, 402 if not shown.startswith("0x") else 401)
        self.opened.append(shown)
        return self.seller.answer(200, b"the article")

    # -- the API ----------------------------------------------------------------------------------------------------

    def verify(self, hit):
        asked = json.loads(hit.body)
        with self.lock:
            if asked["nonce"] != self.nonces[-1]:
                return self.json({"error": "Unauthorized", "message": "nonce expired", "code": "NONCE_EXPIRED"}, 401)
            if asked["contentId"] != self.content or not self.paid(asked["txId"]):
                return self.json({"error": "Unauthorized", "message": "no payment", "code": "PAYMENT_INVALID"}, 401)
            made = self.token()
        return self.json({"accessToken": made, "transaction": {"txId": asked["txId"], "status": "confirmed"}})

    def token(self):
        made = jwt(self.content, jti=str(len(self.tokens)))
        self.tokens.add(made)
        return made

    def initiate(self, hit):
        return self.ask() if hit.headers.get("x-api-key") == "key-of-ours" else self.json({"error": "Unauthorized"}, 401)

    # -- the gateway ------------------------------------------------------------------------------------------------

    def gateway(self, hit):
        query = parse_qs(urlsplit(hit.path).query)
        if hit.method == "POST":
            return self.settle(json.loads(hit.body))
        who = query.get("address", [hit.headers.get("x-agent-id", "anonymous")])[0]
        content = query["contentId"][0]
        if (content, who) in self.granted:
            self.opened.append(who)
            return self.json({"access": True, "contentId": content})
        token = f"{len(self.challenges):08d}-0000"
        self.challenges[token] = (content, who)
        where, extra = self.box.network, {"contractAddress": self.contract} if self.contract else {}
        body = {"x402Version": 2, "scheme": "exact", "network": where, "resource": {"url": f"/x402-gateway?contentId={content}", "description": "d"},
                "accepts": [{"scheme": "exact", "network": where, "amount": str(self.price), "asset": self.asset, "payTo": self.recipient, "extra": extra}],
                "extra": {"challengeToken": token, "expires": "2026-11-22T01:00:00Z"}, "contentId": content, "title": "t",
                "payment": {"address": self.recipient, "amount": str(self.price), "asset": self.asset, "token": token}, "instructions": {}}  # fmt: skip
        return self.json(body, 402, payment_required=self.seller.packed(body), x_payment_token=token, x_payment_address=self.recipient)

    def settle(self, asked):
        found = self.challenges.pop(asked["token"], None)
        if found is None:
            return self.json({"error": "Invalid or expired challenge token"}, 404)
        entry = self.box.ground.chain.entry(asked["txId"])
        if not self.paid(asked["txId"]):
            return self.json({"error": "Transaction not successful", "tx_status": "pending"}, 400)
        self.granted.add((found[0], entry.tx.sender))
        return self.json({"success": True, "access": True, "contentId": found[0], "paymentId": "p", "txId": asked["txId"], "settlement": {}})
