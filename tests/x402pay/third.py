"""A seller of x402Pay by somebody else: written from the published descriptions alone, on the standard library's server and a node's HTTP."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx

PRICE = 100_000


class Third:
    """`asks(first)` gives status, headers and body of its 402; what it sells is open to an id with its nonce, a token, an address or a bearer."""

    def __init__(self, node, recipient, network):
        self.node, self.recipient, self.network = node, recipient, network
        self.nonces, self.tokens, self.bearers, self.granted, self.challenges, self.used = set(), set(), set(), set(), {}, set()
        self.asks, self.told, self.origin = None, [], ""
        third = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.say(*third.get(self.path, self.headers))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                third.told.append((self.path, body))
                self.say(*third.post(self.path, body))

            def say(self, status, headers, body):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in (*headers, ("Content-Length", str(len(raw)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # -- the chain, by its node -----------------------------------------------------------------------------------------

    def paid(self, txid):
        got = httpx.get(f"{self.node}/extended/v1/tx/{txid}", timeout=30)
        if got.status_code != 200:
            return False
        tx = got.json()
        moved = tx.get("token_transfer", {})
        good = tx["tx_status"] == "success" and moved.get("amount") == str(PRICE) and moved.get("recipient_address") == self.recipient
        return good and txid

    # -- its routes -----------------------------------------------------------------------------------------------------

    def get(self, path, headers):
        proof, nonce = headers.get("X-Payment-Proof", ""), headers.get("X-Payment-Nonce", "")
        bearer, agent = headers.get("Authorization", "")[7:], headers.get("X-Agent-Id", "")
        if proof.startswith("0x"):
            good = self.paid(proof) and (not self.nonces or nonce in self.nonces) and proof not in self.used
            self.used.add(proof)
        else:
            good = proof in self.tokens or bearer in self.bearers or (agent in self.granted)
        if good:
            return 200, [], b"sold"
        if proof:
            return 401, [], {"error": "Invalid payment proof", "details": "no"}
        return self.asks(path)

    def post(self, path, body):
        if path.startswith("/v1/payments/verify"):
            if not self.paid(body["txId"]) or (self.nonces and body["nonce"] not in self.nonces):
                return 401, [], {"error": "Unauthorized", "message": "no", "code": "PAYMENT_INVALID"}
            self.tokens.add(token := self.jwt(body["contentId"]))
            return 200, [], {"accessToken": token, "transaction": {"txId": body["txId"]}, "extra": None}
        if "txHash" in body:
            if len(body["txHash"]) != 64 or not self.paid("0x" + body["txHash"]):
                return 402, [], {"error": "Payment verification failed"}
            self.bearers.add(token := base64.b64encode(secrets.token_bytes(40)).decode())
            return 200, [], {"success": True, "accessToken": token}
        if self.challenges.pop(body["token"], None) is None:
            return 404, [], {"error": "Invalid or expired challenge token"}
        if not self.paid(body["txId"]):
            return 404, [], {"error": "Transaction not found on Stacks"}
        self.granted.add(self.agent)
        return 200, [("Payment-Response", base64.b64encode(b"{}").decode())], {"success": True, "access": True, "contentId": "a-1", "txId": body["txId"]}

    def jwt(self, content):
        parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": "x", "contentId": content}]
        return ".".join([*(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts), secrets.token_urlsafe(32)])

    # -- its 402s -------------------------------------------------------------------------------------------------------

    def nonce(self):
        self.nonces.add(made := secrets.token_hex(16))
        return made

    def prd(self, drop=(), **changes):
        def asks(_):
            payment = {"recipient": self.recipient, "amount": "0.10", "asset": "STX", "chain": "stacks", "signature_required": True}
            payment |= {} if "nonce" in (*drop, *changes) else {"nonce": self.nonce()}
            payment = {name: value for name, value in (payment | changes).items() if name not in drop}
            return 402, [("content-TYPE", "application/json; charset=utf-8")], {"error": "Payment Required", "payment": payment, "access_after": "instant"}

        return asks

    def openapi(self, drop=(), **changes):
        return self.prd(("chain", "signature_required", *drop), **{"contentId": "a-1", "amount": str(PRICE), **changes})

    def gateway(self, where="both", entry=None, more=(), **changes):
        def asks(path):
            query = parse_qs(urlsplit(path).query)
            self.challenges[token := secrets.token_hex(16)] = query["contentId"][0]
            made = {"scheme": "exact", "network": self.network, "amount": str(PRICE), "asset": "STX", "payTo": self.recipient, "extra": {}} | (entry or {})
            body = {"x402Version": 2, "scheme": "exact", "network": self.network, "resource": {"url": "/x", "description": "d"}, "accepts": [*more, made],
                    "extra": {"challengeToken": token, "expires": "2030-01-01T00:00:00.000Z"}, "contentId": "a-1", "title": "t"} | changes  # fmt: skip
            header = [("PAYMENT-required", base64.b64encode(json.dumps(body).encode()).decode())] if where != "body" else []
            return 402, header, body if where != "header" else {}

        return asks

    def bearer(self, header='Bearer realm="x402Pay", payment_url="/pay"', drop=(), **changes):
        def asks(_):
            body = {"error": "Payment required", "code": "PAYMENT_REQUIRED", "paymentEndpoint": "/pay", "requiredAmount": 0.1, "currency": "STX", "message": "m"}
            body = {name: value for name, value in (body | changes).items() if name not in drop}
            return 402, [("www-AUTHENTICATE", header.replace("ORIGIN", self.origin))], json.loads(json.dumps(body).replace("ORIGIN", self.origin))

        return asks
