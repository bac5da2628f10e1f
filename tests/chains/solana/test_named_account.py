"""A payee that is a token account itself: the money goes there and nowhere else, and to nothing that is none."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token.state import TokenAccount, TokenAccountState

from chains.solana.bench import CHAIN, RENT, SOL, Bench, bends, unlooked
from x402_agent import NoAcceptableOffer, Payer, PaymentInDoubt
from x402_agent.chains.solana.message import ITSELF, TOKEN, TOKEN_2022, associated
from x402_agent.errors import NodeError
from x402_agent.sandbox.solana.token import MEMO, holding
from x402_agent.transport.fetch import drive

OTHER = "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"


@pytest.fixture(scope="module")
def bench():
    with Payer.sandbox(chain="solana", serve=True) as payer:
        yield Bench(payer)


def place(bench, data=None, program=TOKEN, **fields):
    """A token account at an address of its own, whose key somebody holds. -> the address"""
    where, owner = Keypair().pubkey(), fields.pop("owner", str(Keypair().pubkey()))
    facts = {"mint": bench.usdc.address, "state": TokenAccountState.Initialized, **fields}
    made = TokenAccount(Pubkey.from_string(facts["mint"]), Pubkey.from_string(owner), 0, None, facts["state"], None, 0, None)
    bench.ground.chain.install(where, Account(RENT, bytes(made) if data is None else data, Pubkey.from_string(program), False, 0))
    return str(where)


def named(bench, where, **changes):
    return bench.offer(pay_to=where, details=ITSELF, **changes)


def inside(bench, where):
    found = holding(bench.ground.chain.account(Pubkey.from_string(where)))
    return found.amount if found else None


@pytest.mark.parametrize("kind", ["of its own key", "associated"])
def test_the_money_goes_to_the_very_address(bench, kind):
    owner = str(Keypair().pubkey())
    if kind == "associated":
        bench.ground.fund(owner, 1)
        where, had = associated(owner, bench.usdc.address, TOKEN), 1
    else:
        where, had = place(bench, owner=owner), 0
    offer = named(bench, where)
    assert CHAIN.refuses(offer, bench.account) == ""
    terms, proof = bench.made(offer)
    assert bench.send(offer, terms, proof) == ["SEEN", "MINED"]
    assert inside(bench, where) == had + 10_000 and bench.fate(offer, terms) == "settled"
    for redirected in (where, owner) if kind == "of its own key" else (where,):
        assert bench.ground.balance(redirected) == 0
    row = bench.ground.transaction(proof.payload["transaction"])
    keys = [str(each) for each in row.tx.message.account_keys]
    assert where in keys and associated(where, bench.usdc.address, TOKEN) not in keys and str(MEMO) in keys


NONE = {
    "a wallet": (lambda bench: bench.box.pay_to, "no account there"),
    "a wallet with SOL": (lambda bench: bench.box.facilitator_address, "never stands at its own address"),
    "an account of another token": (lambda bench: place(bench, mint=OTHER), "of another token"),
    "a clone under the newer program": (lambda bench: place(bench, program=TOKEN_2022), "token program of USDC"),
    "an account of a program that only looks like one": (lambda bench: place(bench, program=str(MEMO)), "token program of USDC"),
    "a frozen one": (lambda bench: place(bench, state=TokenAccountState.Frozen), "frozen"),
    "one that is not made ready": (lambda bench: place(bench, state=TokenAccountState.Uninitialized), "no account of a token"),
    "a longer one": (lambda bench: place(bench, data=bytes(Pubkey.from_string(bench.usdc.address)) + bytes([9] * 76) + b"\1" + bytes(56) + b"\2" + bytes(189)), "token program of USDC"),
    "our own second one": (lambda bench: place(bench, owner=bench.account), "of our own"),
}  # fmt: skip


@pytest.mark.parametrize("what", NONE)
def test_R9_what_is_no_account_of_the_token_is_refused_with_the_reason(bench, what):
    make, words = NONE[what]
    with pytest.raises(NoAcceptableOffer, match=words):
        bench.prepared(named(bench, make(bench)))


def test_R1_our_own_account_is_refused_before_a_node_is_asked(bench):
    own = associated(bench.account, bench.usdc.address, TOKEN)
    for where, words in ((own, "our own account"), (bench.account, "our own account"), (bench.usdc.address, "mint"), (TOKEN, "program"), ("x", "R2")):
        assert words in CHAIN.refuses(named(bench, where), bench.account), where
    fine = place(bench)
    assert CHAIN.refuses(named(bench, fine, asset=bench.sol), bench.account), "SOL goes to accounts of people"
    for change in ({"details": '{"account":"another"}'}, {"scheme": "exact", "method": "", "facilitator": bench.box.facilitator_address}):
        offer = replace(named(bench, associated(fine, bench.usdc.address, TOKEN)), **change)
        assert CHAIN.refuses(offer, bench.account), change


def test_a_node_that_calls_a_wallet_a_token_account_gets_nothing_moved(bench):
    wallet = bench.box.facilitator_address
    true = place(bench)
    data = b64encode(bytes(bench.ground.chain.account(Pubkey.from_string(true)).data)).decode()

    def change(answer):
        answer["result"]["value"][2].update(owner=TOKEN, data=[data, "base64"])

    offer = named(bench, wallet)
    had, sol = bench.ground.balance(bench.account), bench.lamports(wallet)
    terms, proof = bench.made(offer, bench.prepared(offer, getMultipleAccounts=bends(change)))
    lost(bench, offer, terms, proof)
    assert (bench.ground.balance(bench.account), bench.lamports(wallet)) == (had, sol)


@pytest.mark.parametrize("then", ["closed", "of another token", "frozen"])
def test_an_account_that_is_gone_or_changed_by_the_time_takes_nothing(bench, then):
    where = place(bench)
    offer = named(bench, where)
    terms, proof = bench.made(offer)
    was, at = bench.ground.balance(bench.account), Pubkey.from_string(where)
    if then == "closed":
        bench.ground.chain.install(at, Account(0, b"", Pubkey.default(), False, 0))
    else:
        other = place(bench, **({"mint": OTHER} if then == "of another token" else {"state": TokenAccountState.Frozen}))
        bench.ground.chain.install(at, bench.ground.chain.account(Pubkey.from_string(other)))
    lost(bench, offer, terms, proof)
    assert bench.ground.balance(bench.account) == was and not inside(bench, where)
    with pytest.raises(NoAcceptableOffer):
        bench.prepared(offer)


def lost(bench, offer, terms, proof):
    """It is in doubt, then provably dead: nothing moves any more."""
    bench.ground.warp(120)
    with pytest.raises((PaymentInDoubt, NodeError)):
        bench.send(offer, terms, proof)
    assert bench.fate(offer, terms) in ("dead", "failed")


def test_what_fails_in_a_block_costs_its_fee_alone(bench):
    where = place(bench)
    offer = named(bench, where)
    terms, proof = bench.made(offer)
    bench.ground.chain.install(Pubkey.from_string(where), Account(0, b"", Pubkey.default(), False, 0))

    had, was = bench.lamports(bench.account), bench.ground.balance(bench.account)
    with pytest.raises(NodeError, match="failed"):
        bench.send(offer, terms, proof, sendTransaction=unlooked)
    assert bench.fate(offer, terms) == "failed" and bench.ground.balance(bench.account) == was
    assert 0 < had - bench.lamports(bench.account) < SOL // 10_000


def test_what_comes_back_from_that_account_is_a_refund(bench):
    offer = named(bench, associated(bench.box.pay_to, bench.usdc.address, TOKEN))
    terms, proof = bench.made(offer)
    bench.send(offer, terms, proof)
    back = bench.ground.refund(bench.account, 4_000)
    assert drive(CHAIN.returned(offer, terms, back, bench.node)) == 4_000
    elsewhere = replace(offer, pay_to=place(bench))
    assert drive(CHAIN.returned(elsewhere, terms, back, bench.node)) is None
