"""A small shop and its monitor on loopback, on the sandbox's pretend TRON: every answer is a dictionary that a test may spoil."""

from __future__ import annotations

import json
import re
import threading
import uuid

import httpx2


class Shop:
    """Strict: a transfer completes one invoice, the oldest open one of that wallet and amount, and only what is solid counts."""

    def __init__(self, seller, box, *, amount="0.100017", newest=False):
        self.seller, self.box, self.amount = seller, box, amount
        self.invoices: dict[str, dict] = {}
        self.used: set[str] = set()
        self.polls: list[str] = []
        self.shown: list[tuple[str, str]] = []
        self.spoil = lambda told: told  # the 402
        self.status = lambda told, number: told  # the status page: a dictionary, or bytes to send as they are
        self.blind = False
        self.newest = newest  # where all amounts are alike, and all but the last invoice were given up
        self.lock = threading.Lock()
        seller.serves("/report", self.door)

    def url(self, path="/report"):
        return self.seller.url(path)

    def json(self, document, status=200, **headers):
        return self.seller.answer(status, json.dumps(document).encode(), content_type="application/json", **headers)

    def now(self):
        return self.box.ground.now()

    def new(self, **changes):
        """A new invoice, as its 402 tells it."""
        number = str(uuid.uuid4())
        told = {"error": "payment required", "payment_id": number, "order_id": f"o-{len(self.invoices)}", "wallet_address": self.box.pay_to,
                "amount": self.amount, "currency": "USDT_TRC20", "network": "tron:nile", "expires_at": self.now() + 86400.25,
                "status_url": self.seller.url(f"/payment_status/{number}"), **changes}  # fmt: skip
        with self.lock:
            self.invoices[number] = {**told, "status": "pending", "hash": None, "got": None}
        self.seller.serves(f"/payment_status/{number}", lambda hit: self.page(number))
        return told

    def door(self, hit):
        number, txid = hit.headers.get("x-payment-id", ""), hit.headers.get("x-payment-transaction", "")
        if not number:
            return self.json(self.spoil(self.new()), 402)
        self.shown.append((number, txid))
        assert re.fullmatch("[0-9a-f]{64}", txid)
        self.poll()
        good = number in self.invoices and self.invoices[number]["status"] == "completed"
        return self.seller.answer(200, b"goods") if good else self.json(self.spoil(self.new()), 402)

    def page(self, number):
        self.polls.append(number)
        self.poll()
        one = self.invoices[number]
        told = {"wallet_address": one["wallet_address"], "expected_amount_usdt": float(one["amount"]), "order_id": one["order_id"], "status": one["status"],
                "transaction_hash": one["hash"], "received_amount_usdt": one["got"], "created_at": 1795217152.35, "completed_at": None, "id": number}  # fmt: skip
        made = self.status(told, len(self.polls))
        return made if isinstance(made, bytes) else self.json(made)

    def rows(self):
        """The newest 200 transfers, oldest first: a purchase is among them, however many came before it."""
        query = {"only_confirmed": "true", "limit": "200", "order_by": "block_timestamp,desc"}
        found = httpx2.get(f"{self.box.rpc_url}/v1/accounts/{self.box.pay_to}/transactions/trc20", params=query, timeout=30, trust_env=False).json()["data"]
        return found[::-1]

    def forget(self):
        """What came before was for somebody else."""
        self.used |= {row["transaction_id"] for row in self.rows()}

    def poll(self):
        if self.blind:
            return
        rows = self.rows()
        with self.lock:
            for row in rows:
                txid, value = row["transaction_id"], int(row["value"])
                if txid in self.used or row["to"] != self.box.pay_to or row["token_info"]["address"] != self.box.ground.asset.address:
                    continue
                for one in list(self.invoices.values())[:: -1 if self.newest else 1]:
                    if one["status"] == "pending" and value == round(float(one["amount"]) * 10**6):
                        one.update(status="completed", hash=txid, got=value / 10**6)
                        self.used.add(txid)
                        break

    @property
    def earned(self):
        return self.box.balance(self.box.pay_to)
