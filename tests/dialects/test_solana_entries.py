"""Entries on Solana: who pays the fee, memo and blockhash; what is broken, and what is merely not ours."""

from __future__ import annotations

import json

import pytest

from x402_agent.errors import ChallengeInvalid

FEE = "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk"
HASH = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi"


@pytest.fixture
def read(dialect, ask, v2, in_header):
    """The challenge of one v2 entry with this `extra` and other changes."""

    def make(extra=..., **changes):
        entry = {"scheme": "exact", "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "amount": "10000", "payTo": FEE,
                 "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "maxTimeoutSeconds": 60,
                 "extra": {"feePayer": FEE} if extra is ... else extra, **changes}  # fmt: skip
        return dialect.read(in_header(v2(accepts=[entry])), ask)

    return make


@pytest.mark.parametrize(
    ("extra", "details"),
    [({}, ""), ({"memo": ""}, ""), ({"memo": None}, ""), ({"memo": "order 7"}, '{"memo":"order 7"}'),
     ({"memo": "é" * 128}, json.dumps({"memo": "é" * 128}, separators=(",", ":"))), ({"recentBlockhash": "no hash"}, ""), ({"recentBlockhash": 5}, ""),
     ({"recentBlockhash": HASH, "memo": "\x1b"}, f'{{"memo":"\\u001b","recentBlockhash":"{HASH}"}}')],
)  # fmt: skip
def test_details(read, extra, details):
    offer = read({"feePayer": FEE, **extra}).offers[0]
    assert (offer.facilitator, offer.details, offer.method, offer.fee_cap) == (FEE, details, "", 0)
    assert offer.digest != read({"feePayer": "2" * 44, **extra}).offers[0].digest


@pytest.mark.parametrize(
    ("extra", "row"),
    [(None, "R2"), ({}, "R2"), ({"feePayer": 5}, "R2"), ({"feePayer": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}, "R2"),
     ({"feePayer": FEE + "\n"}, "R2"), ({"feePayer": "\uff11" * 40}, "R2"), ({"feePayer": FEE, "memo": 5}, "W4"), ({"feePayer": FEE, "memo": ["x"]}, "W4"),
     ({"feePayer": FEE, "memo": "\ud800"}, "W17"), ({"feePayer": FEE, "memo": "x" * 257}, "S6"), ({"feePayer": FEE, "memo": "é" * 129}, "S6")],
)  # fmt: skip
def test_broken(read, extra, row):
    with pytest.raises(ChallengeInvalid) as caught:
        read(extra)
    assert f"({row})" in caught.value.rule and "\n" not in caught.value.rule


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"scheme": "upto"}, "not one we pay on Solana (A7)"), ({"asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDu"}, "not in the table (A1)"),
     ({"asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e"}, "not in the table (A1)"), ({"network": "solana:1"}, "not in the table (A5)"),
     ({"asset": "4zmmc9srt5ri5x14gagxhahii3gnpaeerypjgzjdncdu"}, "not in the table (A1)"), ({"network": "eip155:84532"}, "not in the table (A1)"),
     ({"asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}, "not in the table (A1)")],
)  # fmt: skip
def test_A1_A4_A5_not_ours(read, changes, words):
    found = read(**changes)
    assert found.offers == () and words in found.passed_over[0]
