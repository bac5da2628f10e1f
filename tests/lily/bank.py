"""The shop of this folder with a bank: credits that a signed header spends, top-ups that are noted and booked, standing authorisations."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from lily.shop import KEY, SERVICE, Shop
from x402_agent.encodings import unbase58
from x402_agent.primitives import verify_ed25519


class Bank(Shop):
    """`books`: whether a noted transaction becomes balance. `writes`: whether its table lets a balance be written by hand."""

    def __init__(self, seller, box, **options):
        super().__init__(seller, box, **options)
        self.balance: Decimal | None = None
        self.noted: list[dict] = []
        self.authorisations: list[dict] = []
        self.signatures: set[str] = set()
        self.books, self.writes, self.broken = True, False, 0
        self.spending = True
        self.patched: list[str] = []
        for table in ("x402_payment_credits", "x402_transactions", "x402_payment_authorizations"):
            seller.serves(f"/rest/v1/{table}", self.bank)

    def door(self, hit):
        raw = hit.headers.get("x-402-payment", "")
        said = dict(each.split("=")[:2] for each in raw.split("; ")) if raw else {}
        if not raw or {"session", "proof"} & said.keys():
            return super().door(hit)
        with self.lock:
            self.shown.append(said)
            text, _, signature = raw.partition("; signature=")
            good = bool(signature) and verify_ed25519(unbase58(said["wallet"], 44), text.encode(), unbase58(signature, 90))
            if not good or signature in self.signatures or not self.spending or Decimal(said["amount"]) < Decimal(self.price):
                return self.refuse("VALIDATION_FAILED", "Payment validation failed")
            if (self.balance or 0) < Decimal(self.price):
                return self.refuse("INSUFFICIENT_BALANCE", "Insufficient credits", currentBalance=float(self.balance or 0))
            self.signatures.add(signature)
            self.balance -= Decimal(self.price)
            return self.seller.answer(200, b"goods", **({"x_402_remaining": f"{self.balance:f}"} if self.counts else {}))

    def bank(self, hit):
        table = urlsplit(hit.path).path.rpartition("/")[2]
        query = {name: value.removeprefix("eq.") for name, value in parse_qsl(urlsplit(hit.path).query)}
        self.asked.append(f"{hit.method} {table}")
        if hit.headers.get("apikey") != KEY:
            return self.json({"code": "401"}, 401)
        if self.broken and hit.method == "POST":
            self.broken -= 1
            return self.json({"code": "XX000"}, 503)
        with self.lock:
            return self.written(table, hit) if hit.method != "GET" else self.json(json.dumps(self.found(table, query), default=str).encode())

    def found(self, table, query):
        if table == "x402_transactions":
            return [each for each in self.noted if each["transaction_signature"] == query.get("transaction_signature")]
        if table == "x402_payment_authorizations":
            return [each for each in self.authorisations if each["wallet_address"] == query.get("wallet_address")]
        assert query["service_id"] == SERVICE
        if self.balance is None or query["wallet_address"] != self.box.payer_address:
            return []
        return [{"wallet_address": self.box.payer_address, "service_id": SERVICE, "service_type": "agent_execution", "balance": f"{self.balance:.6f}"}]

    def written(self, table, hit):
        said = json.loads(hit.body, parse_float=Decimal)
        if table == "x402_payment_credits":
            self.patched.append(hit.method)
            if self.writes:
                self.balance = Decimal(said["balance"])
            return self.json(self.found(table, {"service_id": SERVICE, "wallet_address": self.box.payer_address}) if self.writes else [])
        signature = said["transaction_signature"]
        if signature in self.used:
            return self.json({"code": "23505", "message": "duplicate key value violates unique constraint"}, 409)
        if not self.enough(self.paid(signature, said["wallet_address"]), Decimal(str(said["amount"]))):
            return self.json({"code": "42501", "message": "not paid"}, 403)
        self.used[signature] = "credits"
        self.noted.append(said)
        if self.books:
            self.balance = (self.balance or Decimal(0)) + Decimal(str(said["amount"]))
        return self.json(json.dumps([said], default=str).encode(), 201)
