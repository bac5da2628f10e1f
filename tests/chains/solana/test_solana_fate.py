"""What became of a proof: by the history of our own account, to the last page, and never by a node's say-so alone."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from chains.solana.svm import FACILITATOR, PAYEE, PAYER, USDC, Node, signed, text
from x402_agent.chains.solana import fate as module
from x402_agent.chains.solana.message import TOKEN, associated
from x402_agent.encodings import base58
from x402_agent.steps import Fetched

OURS = associated(text(PAYER), USDC, TOKEN)
LAST, SLOT = 1000, 700


class Chain:
    """One honest node's view; `state` is what tests bend."""

    def __init__(self, height=LAST + 33, slot=SLOT + 400, first=0, limit=1000):
        self.height, self.slot, self.first, self.limit = height, slot, first, limit
        self.rows, self.shown = [], {}
        self.valid = {"processed": False, "finalized": False}

    def add(self, raw, slot, *, err=None, memo="", time=1_800_000_000, show=True):
        """A transaction in a block, newest first."""
        sent = bytes(signed(raw)) if raw else bytes([1]) + bytes(Keypair().sign_message(b"x")) + b"\x80other"
        name = base58(sent[1:65])
        self.rows.insert(0, {"signature": name, "slot": slot, "err": err, "memo": memo, "blockTime": time})
        if show:
            answer = {"slot": slot, "transaction": [b64encode(sent).decode(), "base64"], "meta": {"err": err}}
            self.shown[name] = answer
        return name

    def history(self, address, wanted):
        assert (address, wanted["commitment"], wanted["minContextSlot"]) == (OURS, "confirmed", self.slot)
        names = [row["signature"] for row in self.rows]
        start = names.index(wanted["before"]) + 1 if "before" in wanted else 0
        return self.rows[start : start + min(self.limit, wanted["limit"])]

    def blockhash(self, _, wanted):
        assert wanted["minContextSlot"] == self.slot
        return {"context": {"slot": self.slot}, "value": self.valid[wanted["commitment"]]}

    @property
    def answers(self):
        return {"getEpochInfo": {"absoluteSlot": self.slot, "blockHeight": self.height},
                "getSignaturesForAddress": self.history, "isBlockhashValid": self.blockhash, "getFirstAvailableBlock": self.first,
                "getTransaction": lambda name, _: self.shown.get(name)}  # fmt: skip


@pytest.fixture
def paid(solana, offer, proven, anchor):
    """Offer, terms and the transaction that was signed, with a memo of the seller's or our own."""

    def make(memo="", at=anchor):
        one = offer(memo)
        terms = solana.terms(one, text(PAYER), now=1_800_000_000, nonce=bytes(range(32)), max_lifetime=600, anchor=at)
        return one, terms, proven(one, at)

    return make


def fate(solana, paid, **nodes):
    net = Node(**nodes)
    return net.drive(solana.fate(paid[0], paid[1], net.url))


MEMO = f"[32] {bytes(range(16)).hex()}"


@pytest.mark.proves("solana", "exact", "fate")
@pytest.mark.parametrize("memo", [MEMO, None, "[3] abc; " + MEMO])
def test_C11_found_in_our_own_history_is_settled(solana, paid, memo):
    chain, one = Chain(height=LAST - 50), paid()
    chain.add(b"", SLOT - 5, memo="[3] old")
    chain.add(one[2], SLOT + 3, memo=memo)
    chain.add(b"", SLOT + 9, memo="[3] new")
    assert fate(solana, one, one=chain.answers) == "settled"


def test_b10_dead_only_past_the_last_height_and_its_margin(solana, paid):
    one = paid()
    words = {fate(solana, one, one=Chain(height=LAST + more).answers) for more in (-1, 0, 1, 32)}
    assert words == {"unknown"}
    assert fate(solana, one, one=Chain().answers) == "dead"


def test_another_payment_of_ours_is_not_this_one(solana, paid, offer, proven, anchor):
    chain, one = Chain(), paid()
    chain.add(proven(offer(), anchor, bytes(32)), SLOT + 1, memo=None)
    chain.add(proven(offer(amount=1), anchor), SLOT + 2, memo=MEMO)
    assert fate(solana, one, one=chain.answers) == "dead"


def test_C4_a_transaction_that_failed_is_not_settled(solana, paid):
    chain, one = Chain(), paid()
    chain.add(one[2], SLOT + 1, err={"InstructionError": [2, {"Custom": 1}]}, memo=MEMO)
    assert fate(solana, one, one=chain.answers) == "dead"


def test_a_sellers_memo_is_no_filter(solana, paid):
    """A node may write what a seller made up otherwise than we would; the transaction itself is what counts."""
    chain, one = Chain(), paid("order \x1b 7")
    chain.add(one[2], SLOT + 1, memo="[9] order 7")
    assert fate(solana, one, one=chain.answers) == "settled"


def test_a_long_history_is_read_to_where_we_signed_and_short_pages_end_nothing(solana, paid):
    for limit in (1000, 7):
        chain, one = Chain(limit=limit), paid()
        chain.add(one[2], SLOT + 1, memo=MEMO)
        for n in range(450):
            chain.add(b"", SLOT + 2 + n // 3, memo="[1] x")
        assert fate(solana, one, one=chain.answers) == "settled"
    net = Node(one=chain.answers)
    chain.rows = [row for row in chain.rows if row["memo"] != MEMO] + [{**chain.rows[-1], "slot": SLOT - 1, "memo": "[1] x"}]
    assert net.drive(solana.fate(one[0], one[1], net.url)) == "dead"


def lies(paid_one):
    """Nodes that would free money by mistake or malice, each alone."""
    honest = Chain().answers
    hidden = Chain()
    hidden.add(paid_one[2], SLOT + 1, memo=MEMO, show=False)
    other, loop = Chain(), Chain()
    name, stranger = other.add(paid_one[2], SLOT + 1, memo=MEMO), other.add(b"", SLOT + 2, memo="[1] x")
    other.shown[name] = other.shown[stranger]
    loop.add(b"", SLOT + 1, memo="[1] x")
    row = loop.rows[0]
    odd = {"signature": "1" * 64, "slot": SLOT + 1, "err": None, "memo": None}
    return {
        "stale": Chain(slot=SLOT).answers,
        "pruned": Chain(first=SLOT + 1).answers,
        "the blockhash still lives": {**honest, "isBlockhashValid": {"context": {"slot": SLOT + 400}, "value": True}},
        "it lives for the finalised": {**honest, "isBlockhashValid": lambda _, how: {"context": {"slot": SLOT + 400}, "value": how["commitment"] == "finalized"}},
        "a staler backend": {**honest, "isBlockhashValid": {"context": {"slot": SLOT + 399}, "value": False}},
        "history names what is not shown": hidden.answers,
        "another transaction is shown": other.answers,
        "a history without an end": {**honest, "getSignaturesForAddress": lambda *_: [row]},
        "a page too long": {**honest, "getSignaturesForAddress": lambda *_: [row] * 201},
        "slots run backwards": {**honest, "getSignaturesForAddress": lambda *_: [row, {**row, "slot": SLOT + 2}]},
        "no history": {**honest, "getSignaturesForAddress": RuntimeError("method not available")},
        "an odd history": {**honest, "getSignaturesForAddress": [5]},
        "an odd signature": {**honest, "getSignaturesForAddress": [odd]},
        "an odd memo": {**honest, "getSignaturesForAddress": [{**row, "memo": 5}]},
        "null": {**honest, "getSignaturesForAddress": None},
        "another chain": {**honest, "getGenesisHash": USDC},
        "no answer": {},
        "a height in text": {**honest, "getEpochInfo": {"absoluteSlot": SLOT + 400, "blockHeight": "9999"}},
        "HTML": {**honest, "getEpochInfo": Fetched(200, {}, b"<html>")},
        "no first block": {**honest, "getFirstAvailableBlock": None},
    }


def test_C1_C2_C14_doubt_frees_nothing(solana, paid, monkeypatch):
    monkeypatch.setattr(module, "PAGES", 3)
    one = paid()
    cases = lies(one)
    found = {name: fate(solana, one, one=answers) for name, answers in cases.items()}
    assert found == dict.fromkeys(cases, "unknown")
    both = {name: fate(solana, one, one=Chain().answers, two=answers) for name, answers in cases.items()}
    assert both == dict.fromkeys(cases, "unknown"), "one honest word is not enough where another doubts"


def test_C2_one_may_say_settled_and_all_must_say_dead(solana, paid):
    one, knows = paid(), Chain()
    knows.add(one[2], SLOT + 1, memo=MEMO)
    assert fate(solana, one, one=Chain().answers, two=knows.answers) == "settled"
    assert fate(solana, one, one=Chain().answers, two=Chain().answers) == "dead"


def test_a_height_that_was_a_lie_before_we_signed_frees_nothing_while_the_blockhash_lives(solana, paid, anchor):
    """The node that named the blockhash said too low a height; another one, asked now, still takes the hash."""
    one, chain = paid(at=anchor._replace(text=anchor.text.replace(":1000:", ":10:"))), Chain(height=500)
    assert fate(solana, one, one=chain.answers) == "dead"
    chain.valid["processed"] = True
    assert fate(solana, one, one=chain.answers) == "unknown"


def test_C12_with_a_sellers_blockhash_nothing_is_ever_dead(solana, paid, anchor):
    trusting = anchor._replace(text=anchor.text.partition(":")[0] + ":0:0")
    one, chain = paid(at=trusting), Chain()
    assert fate(solana, one, one=chain.answers) == "unknown"
    chain.add(one[2], SLOT + 1, memo=MEMO)
    assert fate(solana, one, one=chain.answers) == "settled"
    old = Chain()
    old.add(one[2], SLOT, memo=MEMO, time=1_800_000_000 - 7200)
    net = Node(one=old.answers)
    assert net.drive(solana.fate(one[0], one[1], net.url)) == "unknown"
    assert "getTransaction" not in net.methods


def test_a_wrong_url_is_unknown(solana, paid):
    one = paid()
    assert Node().drive(solana.fate(one[0], one[1], "http://node.example")) == "unknown"
    assert Node().drive(solana.charged(one[0], one[1], "5" * 88, "https://one.example")) is None


# -- what a named transaction shows -----------------------------------------------------------------------------------


def test_lookup(solana, paid, offer, proven, anchor):
    one, chain = paid(), Chain()
    name = chain.add(one[2], SLOT + 1)

    def look(transaction, **change):
        net = Node(one={**chain.answers, **change})
        return net.drive(solana.lookup(one[0], one[1], transaction, net.url))

    assert look(name) == "paid"
    assert look(name, getTransaction=lambda _, how: chain.shown[name] if how["commitment"] == "confirmed" else None) == "pending"
    assert look(base58(b"\x07" * 64)) == "missing"
    assert look(chain.add(proven(offer(), anchor, bytes(32)), SLOT + 4)) == "another"
    chain.shown[name]["meta"]["err"] = {"InstructionError": []}
    assert look(name) == "another"
    for odd in ("", "z" * 88, "0x" + "ab" * 32, "1" * 90, "é" * 70):
        assert look(odd) == "unnamed", odd
    for odd in ({}, [], {"transaction": ["", "base64"], "meta": {}}, {"transaction": ["AAAA", "base58"]}, Fetched(500, {}, b"")):
        assert look(name, getTransaction=odd) == "unknown"


def moved(pair, before, after, index, mint=USDC):
    def row(amount):
        return {"accountIndex": index, "mint": mint, "owner": text(pair), "uiTokenAmount": {"amount": str(amount)}}

    return row(before), row(after)


@pytest.mark.parametrize(
    ("rows", "back"),
    [([(PAYER, 5, 105, USDC), (PAYEE, 900, 800, USDC)], 100), ([(PAYER, 5, 105, USDC), (PAYEE, 900, 860, USDC)], 40),
     ([(PAYER, 5, 105, USDC), (FACILITATOR, 900, 800, USDC)], None), ([(PAYER, 105, 5, USDC), (PAYEE, 800, 900, USDC)], None),
     ([(PAYER, 5, 105, text(PAYEE)), (PAYEE, 900, 800, text(PAYEE))], None), ([], None)],
)  # fmt: skip
def test_V11_returned(solana, paid, rows, back):
    one, chain = paid(), Chain()
    name = chain.add(b"", SLOT + 9)
    pairs = [moved(pair, before, after, index, mint) for index, (pair, before, after, mint) in enumerate(rows)]
    chain.shown[name]["meta"] |= {"preTokenBalances": [a for a, _ in pairs], "postTokenBalances": [b for _, b in pairs]}
    net = Node(one=chain.answers, two=chain.answers)
    assert net.drive(solana.returned(one[0], one[1], name, net.url)) == back
    chain.shown[name] = {**chain.shown[name], "meta": {**chain.shown[name]["meta"], "err": "x"}}
    assert net.drive(solana.returned(one[0], one[1], name, net.url)) is None
    differ = Node(one=chain.answers, two={**chain.answers, "getTransaction": None})
    assert differ.drive(solana.returned(one[0], one[1], name, differ.url)) is None
    assert differ.drive(solana.returned(one[0], one[1], "no id", differ.url)) is None


def test_a_row_of_another_offer_is_never_ours(solana, paid):
    """The message is made again from the row: another recipient, amount or memo in it finds nothing."""
    one, chain = paid(), Chain()
    chain.add(one[2], SLOT + 1, memo=MEMO)
    for change in ({"pay_to": text(FACILITATOR)}, {"amount": 9_999}, {"facilitator": text(PAYEE)}):
        assert fate(solana, (replace(one[0], **change), one[1]), one=chain.answers) == "dead"
