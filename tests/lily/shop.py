"""A small and strict seller by Lily on loopback, on the sandbox's pretend Solana: its answers and rows are dictionaries that a test may spoil."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from solders.pubkey import Pubkey

SERVICE = "0b7d4b52-9a1c-4d6e-8f0a-6f0f1e2d3c4b"
KEY = "key-of-the-tables"
RATE = Decimal(150)
DOOR = "/agents/report"


class Shop:
    """Money that stands on the chain opens, once each: a proof one call, a session as many as its row still has. `told` are its 402s' extras."""

    def __init__(self, seller, box, *, price="0.01", currency="USDC", tables=True):
        self.seller, self.box, self.price, self.currency = seller, box, price, currency
        if currency == "SOL":  # an account without any is not kept by less than its rent
            box.ground.chain.endow(Pubkey.from_string(box.pay_to), 10**9)
        self.config = {"id": 1, "service_id": SERVICE, "service_type": "agent_execution", "owner_wallet": box.pay_to, "platform_wallet": None,
                       "base_price": float(price), "currency": currency, "pricing_model": "per_request", "min_payment": 0.01, "max_payment": None,
                       "max_session_amount": None, "requires_preauth": False, "allowed_origins": [], "webhook_url": None, "is_active": True}  # fmt: skip
        self.sessions: list[dict] = []
        self.used: dict[str, str] = {}  # what was paid by, and for what
        self.shown: list[dict[str, str]] = []  # every header of ours, cut as published servers cut it
        self.posted: list[dict] = []
        self.asked: list[str] = []  # questions to the tables
        self.keys: set[str] = set()
        self.spoil = lambda told: told  # the 402
        self.rows = lambda rows: rows  # what the tables answer: rows, or bytes to send as they are
        self.insert = lambda hit, write: write()  # who writes a row
        self.counts = True  # whether an answer says what is left
        self.extras: dict = {}
        self.bare = False  # whether a 402 has no headers of its own
        self.lock = threading.RLock()
        seller.serves(DOOR, self.door)
        seller.serves("/agents/other", self.door)
        for table in ("x402_service_configs", "x402_payment_sessions") if tables else ():
            seller.serves(f"/rest/v1/{table}", self.rest)

    def url(self, path=DOOR):
        return self.seller.url(path)

    def settings(self, **more):
        """What settings.toml says of it."""
        network = self.box.ground.asset.network.name
        said = {"rest_url": self.seller.origin, "key": KEY, "service_id": SERVICE, "network": network, **more}
        return {"lily": {self.seller.origin: {name: value for name, value in said.items() if value is not None}}}

    def json(self, document, status=200, **headers):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.seller.answer(status, body, content_type="application/json", **headers)

    def now(self):
        return self.box.ground.now()

    # -- the door ---------------------------------------------------------------------------------------------------

    def refuse(self, code="PAYMENT_REQUIRED", error="Payment required", status=402, **details):
        told = {"success": False, "error": error, "errorCode": code, "paymentRequired": True, "requiredAmount": float(self.price), "currency": self.currency,
                "details": {**details, **self.extras}}  # fmt: skip
        headers = {"x_402_amount": self.price, "x_402_currency": self.currency} if code == "PAYMENT_REQUIRED" and not self.bare else {}
        return self.json(self.spoil(told), status, **headers)

    def door(self, hit):
        raw = hit.headers.get("x-402-payment", "")
        if not raw:
            return self.refuse()
        said = dict(each.split("=")[:2] for each in raw.replace(" ", "").split(";"))
        with self.lock:
            self.shown.append(said)
            if said.get("session"):
                return self.by_session(said)
            return self.by_proof(said, hit.path)

    def by_proof(self, said, path):
        proof = said.get("proof", "")
        known = self.used.get(proof)
        if known == f"{said['wallet']} {path}":
            return self.seller.answer(200, b"goods")
        if known or not self.enough(self.paid(proof, said["wallet"]), Decimal(self.price)):
            return self.refuse("VALIDATION_FAILED", "Payment validation failed")
        self.used[proof] = f"{said['wallet']} {path}"
        return self.seller.answer(200, b"goods")

    def by_session(self, said):
        row = next((each for each in self.sessions if each["session_token"] == said["session"]), None)
        if row is None:
            return self.refuse("SESSION_NOT_FOUND", "Session not found")
        if row["wallet_address"] != said["wallet"] or row["status"] in ("revoked", "paused"):
            return self.refuse("VALIDATION_FAILED", f"Session is {row['status']}", 403)
        if datetime.fromisoformat(row["expires_at"]).timestamp() <= self.now():
            return self.refuse("SESSION_EXPIRED", "Session expired", sessionId=row["id"])
        left = Decimal(row["remaining_amount"]) - Decimal(self.price)
        if left < 0:
            return self.refuse("INSUFFICIENT_BALANCE", "Insufficient session balance", currentBalance=float(row["remaining_amount"]), sessionId=row["id"])
        row["remaining_amount"] = str(left)
        return self.seller.answer(200, b"goods", **({"x_402_remaining": f"{left:f}"} if self.counts else {}))

    # -- the chain --------------------------------------------------------------------------------------------------

    def paid(self, signature, wallet):
        """Atomic units that this transaction of this wallet brought us; 0 for none."""
        from x402_agent.sandbox.solana.token import holding

        row = self.box.transaction(signature) if signature else None
        if row is None or row.tried.err is not None or str(row.tx.message.account_keys[0]) != wallet:
            return 0
        at = [str(each) for each in row.tx.message.account_keys]
        if self.currency == "SOL":
            index = at.index(self.box.pay_to) if self.box.pay_to in at else None
            return 0 if index is None else row.after[index].lamports - (row.before[index].lamports if row.before[index] else 0)
        account = self.box.ground.account(self.box.pay_to)
        if account not in at:
            return 0
        was, now = (holding(each[at.index(account)]) for each in (row.before, row.after))
        return (now.amount if now else 0) - (was.amount if was else 0)

    def enough(self, units, usd):
        return units >= self.units(usd) * (Decimal("0.99") if self.currency == "SOL" else 1)

    def units(self, usd):
        return usd / RATE * 10**9 if self.currency == "SOL" else usd * 10**6

    @property
    def left(self):
        """Calls that the last session still has."""
        return int(Decimal(self.sessions[-1]["remaining_amount"]) / Decimal(self.price))

    @property
    def earned(self):
        return self.box.balance(self.box.pay_to)

    # -- the tables -------------------------------------------------------------------------------------------------

    def rest(self, hit):
        table = urlsplit(hit.path).path.rpartition("/")[2]
        query = dict(parse_qsl(urlsplit(hit.path).query))
        self.asked.append(f"{hit.method} {table}")
        self.keys.add(hit.headers.get("authorization", ""))
        if hit.headers.get("apikey") != KEY:
            return self.json({"code": "401", "message": "Invalid API key", "details": None, "hint": None}, 401)
        if table == "x402_payment_sessions" and hit.method == "POST":
            return self.insert(hit, lambda: self.write(json.loads(hit.body, parse_float=Decimal)))
        rows = [self.config] if table == "x402_service_configs" else self.sessions
        wanted = {name: value.removeprefix("eq.") for name, value in query.items() if value.startswith("eq.")}
        with self.lock:
            found = [each for each in rows if all(str(each.get(name)) == value for name, value in wanted.items())]
            if table == "x402_payment_sessions" and hit.method == "PATCH":
                for each in found:
                    each.update(json.loads(hit.body))
            made = self.rows([dict(each) for each in found])
        return made if isinstance(made, bytes) else self.json(made)

    def write(self, said):
        """One row for each payment, with what was really paid."""
        with self.lock:
            self.posted.append(said)
            signature = said["initial_payment_signature"]
            if any(each["initial_payment_signature"] == signature for each in self.sessions) or signature in self.used:
                return self.json({"code": "23505", "message": "duplicate key value violates unique constraint", "details": None, "hint": None}, 409)
            if not self.enough(self.paid(signature, said["wallet_address"]), Decimal(str(said["authorized_amount"]))):
                return self.json({"code": "42501", "message": "not paid", "details": None, "hint": None}, 403)
            self.used[signature] = "a session"
            row = {**said, "id": len(self.sessions) + 1, **{name: str(said[name]) for name in ("authorized_amount", "remaining_amount", "usd_amount")}}
            self.sessions.append(row)
            return self.json(json.dumps([row], default=str).encode(), 201)
