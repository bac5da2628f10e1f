"""A KAMIYO whose every answer may be spoilt anywhere: at most one transfer to an origin, and no error but ours or the HTTP library's."""

from __future__ import annotations

import copy
import json
import random

import httpx
import pytest

from kamiyo.shop import Shop
from loopback import Seller
from x402_agent import Budget, Payer, PaymentError
from x402_agent.dialects.kamiyo import native

NATIVE = 100_000
JUNK = [None, True, 0, -1, 1.5, 1e300, 10**80, "", "0x", "é", "\x00", [], {}, [[]], "1" * 500, "0x" + "ff" * 32, "0x" + "ab" * 20, "-5", "1e4", "٣", 0.5, 100,
        "base", "ethereum", "solana", 1e-9, "../../exploits", "\r\nx: y", "\ud800"]  # fmt: skip
STATUSES = [201, 204, 301, 400, 402, 403, 404, 409, 418, 429, 500, 502, 503]


def places(document, where=()):
    if where and where[-1] != "requests_remaining":  # a quota that is used up is bought anew: his word, within limits
        yield where
    rows = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, value in rows:
        yield from places(value, (*where, name))


def spoilt(chance, document):
    document = copy.deepcopy(document)
    for _ in range(chance.choice([1, 1, 2, 4])):
        *way, last = chance.choice([*places(document), ("more",)])
        at = document
        for name in way:
            at = at[name]
        if isinstance(at, dict) and chance.random() < 0.25:
            at.pop(last, None)
        elif isinstance(at, (dict, list)):
            at[last] = chance.choice(JUNK)
    return document


class Spoilt(Shop):
    """One answer in a few is changed, cut off, or of another status; before money moved, one in twenty."""

    def __init__(self, chance, *args, **options):
        self.chance, self.odds = chance, chance.choice([0.2, 0.4, 0.7])
        super().__init__(*args, **options)

    def door(self, hit):
        if self.payments and self.chance.random() < self.odds:
            return self.json(self.body(hit.path), self.chance.choice([402, 402, 500, 503]))
        return super().door(hit)

    def json(self, document, status=200, **headers):
        if self.chance.random() < (self.odds if self.payments else 0.05):
            kind = self.chance.random()
            if kind < 0.7:
                document = spoilt(self.chance, document)
            elif kind < 0.85:
                status, headers["retry_after"] = self.chance.choice(STATUSES), self.chance.choice(["0", "1", "99999", "-1", "soon"])
            else:
                whole = json.dumps(document).encode()
                return self.seller.answer(status, whole[: self.chance.randrange(len(whole))], content_type="application/json", **headers)
        return super().json(document, status, **headers)


@pytest.mark.parametrize("seed", [pytest.param(each, marks=() if each == 8 else pytest.mark.full) for each in range(20)])
def test_whatever_he_answers_one_transfer_is_all_he_gets(seed, monkeypatch):
    monkeypatch.setattr(native, "PAUSE", 0.01)
    monkeypatch.setattr(native, "LONGEST", 0.01)
    chance = random.Random(seed)
    with Payer.sandbox(serve=True, budget=Budget("100/day", per_call="0.10")) as payer:
        seller = Seller()
        shop = Spoilt(chance, seller, payer.box, gateway=chance.random() < 0.2)
        ours = payer.box.balance(payer.box.payer_address)
        with payer.client(timeout=20) as http:
            for path in ("/exploits", "/protocols/risk-score") * 3:
                try:
                    http.get(shop.url(path))
                except (PaymentError, httpx.HTTPError):
                    continue
        payer.ledger.flush()
        kinds = [row.micros for row in payer.ledger.payments()]
        assert ours - payer.box.balance(payer.box.payer_address) in (0, NATIVE)
        assert kinds.count(NATIVE) <= 1 and payer.ledger.verify() == []
        seller.close()
