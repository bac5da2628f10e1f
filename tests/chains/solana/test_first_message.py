"""The transfer that pays first, as bytes: Solana's own compiler makes the same ones, and its machine does what they say, for both token programs."""

from __future__ import annotations

import random
from base64 import b64decode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from chains.solana.svm import ATA, DEVNET, PAYEE, PAYER, SYSTEM, USDC, World, text
from x402_agent import assets
from x402_agent.chains.solana import Solana
from x402_agent.chains.solana.message import TOKEN, TOKEN_2022, Anchored, associated, message, units
from x402_agent.chains.solana.transfer import _rent as rent
from x402_agent.model import Anchor, Offer, Terms
from x402_agent.wallet.keys import KeySigner

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
COIN, MINT = assets.asset_by_id(f"{DEVNET}/slip44:501"), assets.asset_by_id(f"{DEVNET}/token:{USDC}")


def made(asset, amount, payee):
    return Offer("first", "transfer", asset, amount, payee, 60, method="transfer")


def keys(*rows):
    return [AccountMeta(Pubkey.from_string(each), is_signer="s" in how, is_writable="w" in how) for each, how in rows]


def by_solders(offer, terms, fixed):
    """The same by Solana's own code."""
    payer, payee = (Pubkey.from_string(each) for each in (terms.payer, offer.pay_to))
    steps = [set_compute_unit_limit(units(fixed)), set_compute_unit_price(fixed.price)]
    if offer.asset.native:
        steps.append(transfer(TransferParams(from_pubkey=payer, to_pubkey=payee, lamports=offer.amount)))
    else:
        source, target = (associated(each, USDC, TOKEN) for each in (terms.payer, offer.pay_to))
        if fixed.opens:
            rows = keys((terms.payer, "sw"), (target, "w"), (offer.pay_to, ""), (USDC, ""), (str(SYSTEM), ""), (TOKEN, ""))
            steps.append(Instruction(ATA, b"\x01", rows))
        moved = keys((source, "w"), (USDC, ""), (target, "w"), (terms.payer, "s"))
        steps.append(Instruction(Pubkey.from_string(TOKEN), b"\x0c" + offer.amount.to_bytes(8, "little") + b"\x06", moved))
    steps.append(Instruction(MEMO, terms.nonce[2:34].encode(), []))
    return to_bytes_versioned(MessageV0.try_compile(payer, steps, [], Hash(fixed.blockhash)))


@pytest.mark.proves("solana", "transfer", "judge", by="Solana's own compiler")
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), amount=st.integers(1, 2**64 - 1), price=st.integers(1, 2**40), kind=st.sampled_from(["token", "opening", "coin"]))
def test_the_bytes_are_those_of_solanas_own_compiler(seed, amount, price, kind):
    pick = random.Random(seed)
    payer, payee = (text(Keypair.from_seed(pick.randbytes(32))) for _ in range(2))
    fixed = Anchored(pick.randbytes(32), 5, 4, price, int(kind == "opening"))
    offer = made(COIN if kind == "coin" else MINT, amount, payee)
    terms = Terms(payer, "0x" + pick.randbytes(32).hex(), 0, 1, Anchor(fixed.text))
    assert message(offer, terms) == by_solders(offer, terms, fixed)


def proven(offer, anchor):
    chain = Solana()
    terms = chain.terms(offer, text(PAYER), now=1_800_000_000, nonce=bytes(range(32)), max_lifetime=60, anchor=anchor)
    return b64decode(chain.prove(offer, terms, KeySigner(bytes([1] * 32), "solana")).payload["raw"])


def machine(program):
    world = World(program)
    world.svm.airdrop(PAYER.pubkey(), 10**9)
    return world, Anchored(bytes(world.svm.latest_blockhash()), 150, 1, 1)


@pytest.mark.parametrize("opens", [0, 1])
@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_the_machine_executes_it_with_either_token_program(program, opens, monkeypatch):
    for name in ("message", "transfer"):
        monkeypatch.setattr(f"x402_agent.chains.solana.{name}.program_of", lambda _: program)
    world, fixed = machine(program)
    stranger = Keypair()
    offer = made(MINT, 10_000, text(stranger if opens else PAYEE))
    before, had = world.svm.get_balance(PAYER.pubkey()), world.balance(PAYER)
    raw = proven(offer, Anchor(fixed._replace(opens=opens).text))
    done = world.svm.send_transaction(VersionedTransaction.from_bytes(raw))
    assert isinstance(done, TransactionMetadata), done
    assert done.compute_units_consumed() * 2 < units(fixed._replace(opens=opens))
    assert world.balance(stranger if opens else PAYEE) == 10_000 == had - world.balance(PAYER)
    assert before - world.svm.get_balance(PAYER.pubkey()) == 5_001 + (rent(offer) if opens else 0)


def test_no_changed_byte_moves_anything():
    world, fixed = machine(TOKEN)
    raw = proven(made(replace(COIN), 5_000_000, text(PAYEE)), Anchor(fixed.text))
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        try:
            sent = VersionedTransaction.from_bytes(bytes(changed))
        except ValueError:
            continue
        assert not isinstance(world.svm.send_transaction(sent), TransactionMetadata), at
    assert isinstance(world.svm.send_transaction(VersionedTransaction.from_bytes(raw)), TransactionMetadata)
    assert world.svm.get_balance(PAYEE.pubkey()) == 5_000_000
