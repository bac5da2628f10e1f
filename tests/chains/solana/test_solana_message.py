"""What we sign on Solana: byte for byte what Solana's own compiler makes, executed by its machine, and refused once changed."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from chains.solana.svm import DEVNET, FACILITATOR, PAYEE, PAYER, USDC, World, signed, text
from x402_agent import assets
from x402_agent.chains.solana import Solana
from x402_agent.chains.solana.message import TOKEN, TOKEN_2022, Anchored, associated, message
from x402_agent.errors import SigningFailed
from x402_agent.model import Anchor, Offer, Terms

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")


def by_solders(offer, terms, memo):
    """The same by Solana's own code; the unit limit is read back, since a seller's memo makes it vary."""
    token, mint = Pubkey.from_string(TOKEN), Pubkey.from_string(USDC)
    source, target = (Pubkey.from_string(associated(each, USDC, TOKEN)) for each in (terms.payer, offer.pay_to))
    keys = [AccountMeta(source, is_signer=False, is_writable=True), AccountMeta(mint, is_signer=False, is_writable=False),
            AccountMeta(target, is_signer=False, is_writable=True),
            AccountMeta(Pubkey.from_string(terms.payer), is_signer=True, is_writable=False)]  # fmt: skip
    made = MessageV0.from_bytes(message(offer, terms)[1:])
    units = int.from_bytes(made.instructions[0].data[1:], "little")
    ours = [set_compute_unit_limit(units), set_compute_unit_price(1),
            Instruction(token, b"\x0c" + offer.amount.to_bytes(8, "little") + b"\x06", keys), Instruction(MEMO, memo, [])]  # fmt: skip
    blockhash = Hash.from_string(terms.anchor.text.partition(":")[0])
    return to_bytes_versioned(MessageV0.try_compile(Pubkey.from_string(offer.facilitator), ours, [], blockhash)), units


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), amount=st.integers(1, 2**64 - 1), memo=st.text(max_size=64))
@pytest.mark.proves("solana", "exact", "judge", by="Solana's own compiler")
def test_the_bytes_are_those_of_solanas_own_compiler(seed, amount, memo):
    pick = random.Random(seed)
    payer, payee, facilitator = (text(Keypair.from_seed(pick.randbytes(32))) for _ in range(3))
    details = json.dumps({"memo": memo}) if memo else ""
    offer = Offer("x402", "exact", assets.asset_by_id(f"{DEVNET}/token:{USDC}"), amount, payee, 60, facilitator=facilitator, details=details)
    terms = Terms(payer, "0x" + pick.randbytes(32).hex(), 0, 1, Anchor(Anchored(pick.randbytes(32), 5, 4).text))
    made, units = by_solders(offer, terms, memo.encode() or terms.nonce[2:34].encode())
    assert message(offer, terms) == made
    assert 20_000 <= units <= 20_000 + (10_000 + 400 * 256 if memo else 0)


@pytest.mark.parametrize("memo", ["", "order 7", "é" * 128, "\x00\n\x1b[31m", "😀" * 64])
@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_the_machine_executes_it(offer, proven, program, memo, monkeypatch):
    monkeypatch.setattr("x402_agent.chains.solana.message.program_of", lambda _: program)
    world = World(program)
    before = world.balance(PAYER)
    done = world.settle(proven(offer(memo), world.anchor()))
    assert isinstance(done, TransactionMetadata), done
    assert (before - world.balance(PAYER), world.balance(PAYEE)) == (10_000, 10_000)
    assert any(repr(memo or bytes(range(16)).hex())[1:4] in line for line in done.logs()) or "\x00" in memo


def test_a_proof_is_the_same_bytes_again_and_the_fee_payer_has_not_signed(offer, proven, world):
    one = proven(offer(), world.anchor())
    assert proven(offer(), world.anchor()) == one
    sent = VersionedTransaction.from_bytes(one)
    assert bytes(sent.signatures[0]) == bytes(64) and sent.message.account_keys[0] == FACILITATOR.pubkey()
    assert sent.signatures[1].verify(PAYER.pubkey(), to_bytes_versioned(sent.message)) and len(sent.signatures) == 2


def test_D14_the_fee_payer_is_in_no_instruction_and_nothing_else_is_called(offer, proven, world):
    sent = VersionedTransaction.from_bytes(proven(offer("memo"), world.anchor())).message
    programs = [str(sent.account_keys[each.program_id_index])[:4] for each in sent.instructions]
    assert programs == ["Comp", "Comp", "Toke", "Memo"]
    assert all(0 not in each.accounts for each in sent.instructions) and not sent.address_table_lookups


def test_one_memo_of_the_sellers_twice_under_one_blockhash_is_two_transactions(offer, proven, world):
    made = {proven(offer("the same"), world.anchor(), bytes([n] * 32)) for n in range(5)}
    assert len(made) == 5
    assert all(isinstance(world.settle(each), TransactionMetadata) for each in made)


def test_a_replay_moves_nothing(offer, proven, world):
    raw = proven(offer(), world.anchor(), bytes([9] * 32))
    assert isinstance(world.settle(raw), TransactionMetadata)
    before = world.balance(PAYER)
    assert not isinstance(world.settle(raw), TransactionMetadata)
    assert world.balance(PAYER) == before


def test_no_changed_byte_moves_anything(offer, proven):
    """Every byte of message and signature, with the facilitator's signature over what was changed."""
    world = World()
    raw = proven(offer("memo"), world.anchor())
    before, moved = world.balance(PAYER), 0
    for at in [0, *range(65, len(raw))]:
        changed = bytearray(raw)
        changed[at] ^= 1
        try:
            sent = signed(bytes(changed))
        except BaseException as why:
            assert not isinstance(why, KeyboardInterrupt)
            continue
        moved += isinstance(world.svm.send_transaction(sent), TransactionMetadata)
    assert (moved, world.balance(PAYER)) == (0, before)
    assert isinstance(world.settle(raw), TransactionMetadata)


ODD = {
    "R2 payTo": {"pay_to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"},
    "R2 payTo short": {"pay_to": "111111111111111111111111111111"},
    "R1 payTo is our own": {"pay_to": text(PAYER)},
    "R1 payTo is the token's mint": {"pay_to": USDC},
    "R1 payTo is a program": {"pay_to": "11111111111111111111111111111111"},
    "R9 payTo is not on the curve": {"pay_to": associated(text(PAYEE), USDC, TOKEN)},
    "R1 feePayer is our own": {"facilitator": text(PAYER)},
    "R2 feePayer": {"facilitator": ""},
    "R1 feePayer is the token's mint": {"facilitator": USDC},
    "R1 feePayer is a program": {"facilitator": TOKEN},
    "R9 feePayer is not on the curve": {"facilitator": associated(text(PAYEE), USDC, TOKEN)},
    "A7 scheme upto": {"scheme": "upto"},
    "A7 scheme exact": {"method": "permit2"},
    "P2 the amount": {"amount": 1 << 64},
}


@pytest.mark.parametrize("row", ODD)
def test_what_is_refused(solana, signer, offer, anchor, row):
    words = row.split(" ", 1)[1].replace(" short", "")
    bad = offer(**ODD[row])
    reason = solana.refuses(bad, text(PAYER))
    assert words in reason and f"({row.split(' ')[0]})" in reason
    terms = Terms(text(PAYER), "0x" + "ab" * 32, 0, 1, anchor)
    with pytest.raises(SigningFailed, match="nothing was signed"):
        solana.prove(bad, terms, signer)


def test_A1_a_mint_that_is_not_in_the_table(solana, offer):
    from dataclasses import replace

    asset = replace(offer().asset, address=text(PAYEE), id=f"{DEVNET}/token:{text(PAYEE)}")
    assert "(A1)" in solana.refuses(offer(asset=asset), text(PAYER))
    assert "(A1)" in solana.refuses(offer(asset=replace(offer().asset, decimals=9)), text(PAYER))
    assert "our own account is not 32 bytes" in solana.refuses(offer(), "0x12")


@pytest.mark.parametrize("anchor", ["", "x", "0" * 44, "1" * 31, f"{USDC}:-1:2", f"{USDC}:1:2:3", f"{USDC}:x:1", f"{USDC}:²:1", f"{USDC}:{'9' * 5000}:1"])
def test_C12_without_a_blockhash_there_are_no_terms(solana, offer, anchor):
    with pytest.raises(SigningFailed, match="no blockhash"):
        solana.terms(offer(), text(PAYER), now=1, nonce=bytes(32), max_lifetime=60, anchor=Anchor(anchor))


def test_a_signer_that_answers_with_something_else(solana, offer, anchor):
    class Odd:
        def sign_message(self, namespace, message):
            return b"\x01" * 65

    with pytest.raises(SigningFailed, match="64 bytes"):
        solana.prove(offer(), Terms(text(PAYER), "0x" + "ab" * 32, 0, 1, anchor), Odd())
    with pytest.raises(SigningFailed, match="nonce of 32 bytes"):
        solana.terms(offer(), text(PAYER), now=1, nonce=bytes(16), max_lifetime=60, anchor=anchor)


def test_the_payload_is_standard_base64_and_shown_nowhere(solana, signer, offer, anchor):
    proof = solana.prove(offer(), Terms(text(PAYER), "0x" + "ab" * 32, 0, 9, anchor), signer)
    assert set(proof.payload) == {"transaction"} and base64.b64decode(proof.payload["transaction"], validate=True)
    assert proof.payload["transaction"][:40] not in repr(proof) and proof.expires == 9
    assert Solana().spender(offer()) == ""
