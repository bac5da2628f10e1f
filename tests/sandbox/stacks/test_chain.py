"""The rules of the pretend Stacks one by one: what it takes, what it refuses in which words, and what becomes of it."""

from __future__ import annotations

import pytest

from x402_agent.chains.stacks import ALLOW, DENY, Call, PostCondition, Transfer, Value, sip010_transfer, uint
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.sandbox.stacks.pool import Rejected
from x402_agent.sandbox.stacks.signed import Malformed
from x402_agent.sandbox.stacks.state import STX


def refused(world, tx):
    with pytest.raises(Rejected) as found:
        world.chain.submit(tx.wire())
    return found.value


def test_a_transfer_moves_the_amount_and_costs_the_fee(world):
    ann, bob = world.ann.address, world.bob.address
    entry = world.submit(world.ann.sign(Transfer(bob, 5_000, b"hello"), 0, 300))
    assert entry.status == "success" and entry.block == world.chain.head()
    assert world.chain.balance(STX, ann) == 10_000_000 - 5_300
    assert world.chain.balance(STX, bob) == 10_000_000 + 5_000
    assert world.chain.nonce(ann) == 1 and world.chain.nonce(bob) == 0


def test_a_token_moves_by_its_owner_alone(world):
    ann, bob = world.ann.address, world.bob.address
    entry = world.submit(world.pay(world.ann, bob, 70))
    assert entry.status == "success" and [each.amount for each in entry.moves] == [70]
    assert world.chain.balance(world.asset, ann) == 930
    stolen = world.submit(world.pay(world.ann, ann, 70, (), sender=bob, mode=ALLOW))
    assert stolen.status == "abort_by_response" and stolen.result == Value("err", uint(4))
    assert world.chain.balance(world.asset, bob) == 1_070


@pytest.mark.parametrize(("amount", "to", "code"), [(2_000, "bob", 1), (5, "ann", 2), (0, "bob", 3)])
def test_a_token_refuses_in_the_numbers_of_clarity(world, amount, to, code):
    entry = world.submit(world.pay(world.ann, getattr(world, to).address, amount, ()))
    assert (entry.status, entry.result) == ("abort_by_response", Value("err", uint(code)))
    assert (
        world.chain.balance(STX, world.ann.address) == 10_000_000 - 1_000 and world.chain.nonce(world.ann.address) == 1
    )


@pytest.mark.parametrize(
    ("code", "said", "stands"),
    [
        ("eq", 70, True), ("eq", 69, False), ("eq", 71, False), ("gt", 69, True), ("gt", 70, False), ("ge", 70, True),
        ("ge", 71, False), ("lt", 71, True), ("lt", 70, False), ("le", 70, True), ("le", 69, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", [ALLOW, DENY])
def test_post_conditions_hold_in_both_modes(world, code, said, stands, mode):
    condition = PostCondition(world.ann.address, code, said, world.asset)
    entry = world.submit(world.pay(world.ann, world.bob.address, 70, (condition,), mode=mode))
    assert entry.status == ("success" if stands else "abort_by_post_condition")
    assert world.chain.balance(world.asset, world.bob.address) == (1_070 if stands else 1_000)
    assert world.chain.nonce(world.ann.address) == 1 and world.chain.balance(STX, world.ann.address) == 9_999_000
    assert entry.moves or not stands


def test_deny_lets_nothing_move_that_no_condition_names(world):
    assert world.submit(world.pay(world.ann, world.bob.address, 70, ())).status == "abort_by_post_condition"
    assert world.submit(world.pay(world.ann, world.bob.address, 70, (), mode=ALLOW)).status == "success"
    other = (PostCondition("", "eq", 0), PostCondition(world.bob.address, "eq", 70, world.asset))
    assert (
        world.submit(world.pay(world.ann, world.bob.address, 70, other, mode=ALLOW)).status == "abort_by_post_condition"
    )


def test_conditions_on_a_thing_that_is_one_of_a_kind(world):
    thing = (world.pay, world.ann, world.bob.address, 70)
    own = PostCondition("", "eq", 70, world.asset)
    keeps = PostCondition("", "keeps", 0, f"{world.token}::card", uint(1))
    assert world.submit(thing[0](*thing[1:], (own, keeps))).status == "success"
    assert world.submit(thing[0](*thing[1:], (own, keeps._replace(code="sends")))).status == "abort_by_post_condition"


def test_what_a_hostile_contract_takes_comes_back_under_deny(world):
    world.chain.endow(STX, world.maker.address, 1)
    world.submit(
        world.maker.sign(Call(f"{world.owner.address}.two", "register-content", (Value("ascii", "a"), uint(1))), 0, 999)
    )
    call = Call(f"{world.owner.address}.two", "pay-for-content", (Value("ascii", "a"), uint(1_000)))
    entry = world.submit(world.bob.sign(call, 0, 999, (PostCondition("", "le", 10),)))
    assert entry.status == "abort_by_post_condition" and not entry.moves
    assert world.chain.balance(STX, world.bob.address) == 10_000_000 - 999


def test_a_nonce_below_is_refused_one_above_waits_and_twenty_five_is_too_far(world):
    bob = world.bob.address
    world.submit(world.ann.sign(Transfer(bob, 1), 0, 300))
    found = refused(world, world.ann.sign(Transfer(bob, 2), 0, 300))
    assert found.reason == "BadNonce"
    assert found.data == {"expected": 1, "actual": 0, "is_origin": True, "principal": world.ann.address}
    waits = world.submit(world.ann.sign(Transfer(bob, 3), 2, 300))
    assert waits.status == "pending" and not waits.mined and world.chain.waiting(world.ann.address) == [2]
    world.submit(world.ann.sign(Transfer(bob, 4), 1, 300))
    assert world.chain.entry(waits.tx.txid).status == "success" and world.chain.nonce(world.ann.address) == 3
    assert world.submit(world.ann.sign(Transfer(bob, 3), 27, 300)).status == "pending"
    assert refused(world, world.ann.sign(Transfer(bob, 3), 28, 300)).reason == "TooMuchChaining"


def test_the_same_nonce_again_needs_a_higher_fee(world):
    world.chain.automatic = False
    first = world.submit(world.ann.sign(Transfer(world.bob.address, 1), 0, 300))
    assert refused(world, world.ann.sign(Transfer(world.bob.address, 2), 0, 300)).reason == "ConflictingNonceInMempool"
    assert world.chain.submit(first.tx.raw) == first.tx.txid
    second = world.submit(world.ann.sign(Transfer(world.bob.address, 2), 0, 301))
    assert world.chain.entry(first.tx.txid).status == "dropped_replace_by_fee"
    assert world.chain.mine() == [second.tx.txid]
    assert refused(world, first.tx.parsed).reason == "BadNonce"


@pytest.mark.parametrize("fee", [0, 179, 180])
def test_the_fee_is_at_least_a_microstx_for_each_byte(world, fee):
    tx = world.ann.sign(Transfer(world.bob.address, 1), 0, fee)
    assert len(tx.wire()) == 180
    if fee == 180:
        assert world.submit(tx).status == "success"
    else:
        found = refused(world, tx)
        assert (found.reason, found.data) == ("FeeTooLow", {"expected": 180, "actual": fee})


def test_who_cannot_pay_is_not_let_in(world):
    poor = Account(bytes(31) + b"\7")
    assert refused(world, poor.sign(Transfer(world.bob.address, 1), 0, 300)).reason == "NotEnoughFunds"
    world.chain.endow(STX, poor.address, 1_000)
    found = refused(world, poor.sign(Transfer(world.bob.address, 701), 0, 300))
    assert found.data == {"expected": f"0x{1001:032x}", "actual": f"0x{1000:032x}"}
    assert world.submit(poor.sign(Transfer(world.bob.address, 700), 0, 300)).status == "success"


def test_a_signature_must_be_by_whom_it_names(world):
    tx = world.pay(world.ann, world.bob.address, 1)
    raw = bytearray(tx.wire())
    raw[-1] ^= 1
    with pytest.raises((Rejected, Malformed)):
        world.chain.submit(bytes(raw))
    forged = bytearray(world.ann.sign(Transfer(world.bob.address, 1), 0, 300).wire())
    forged[50] ^= 1  # inside r and s
    with pytest.raises(Rejected) as found:
        world.chain.submit(bytes(forged))
    assert found.value.reason == "SignatureValidation"


def test_another_network_is_told_by_the_version(world):
    from dataclasses import replace

    tx = world.ann.sign(Transfer(world.bob.address, 1), 0, 300)
    assert refused(world, replace(tx, testnet=False)).reason == "BadTransactionVersion"
    main = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
    assert refused(world, world.ann.sign(Transfer(main, 1), 0, 300)).reason == "BadAddressVersionByte"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda w: Call(f"{w.owner.address}.nothing", "transfer"), "NoSuchContract"),
        (lambda w: Call(w.token, "burn"), "NoSuchPublicFunction"),
        (lambda w: Call(w.token, "get-balance", (Value("principal", w.bob.address),)), "NoSuchPublicFunction"),
        (lambda w: Call(w.token, "transfer", (uint(1),)), "BadFunctionArgument"),
        (lambda w: Call(f"{w.owner.address}.two", "pay-for-content", (Value("ascii", "a" * 51), uint(1))), "BadFunctionArgument"),
        (lambda w: Call(f"{w.owner.address}.two", "pay-for-content", (Value("buffer", b"a"), uint(1))), "BadFunctionArgument"),
        (lambda w: Transfer(w.ann.address, 1), "TransferRecipientCannotEqualSender"),
        (lambda w: Transfer(w.bob.address, 0), "TransferAmountMustBePositive"),
    ],
)  # fmt: skip
def test_what_can_never_work_is_refused_before_it_costs_anything(world, call, reason):
    assert refused(world, world.ann.sign(call(world), 0, 999)).reason == reason
    assert world.chain.balance(STX, world.ann.address) == 10_000_000


def test_a_token_transfer_with_post_conditions_is_never_mined(world):
    tx = world.ann.sign(Transfer(world.bob.address, 1), 0, 300, (PostCondition("", "eq", 1),))
    assert world.submit(tx).status == "dropped_problematic"
    assert world.chain.nonce(world.ann.address) == 0


def test_a_sponsor_pays_the_fee_and_spends_a_nonce_of_his_own(world):
    tx = world.pay(world.ann, world.bob.address, 70, fee=0, sponsored=True)
    assert refused(world, tx).reason == "SignatureValidation"
    full = world.owner.sponsor(tx, 0, 500)
    entry = world.submit(full)
    assert entry.status == "success" and entry.tx.sponsor == world.owner.address
    assert world.chain.balance(STX, world.ann.address) == 10_000_000
    assert world.chain.balance(STX, world.owner.address) == 10_000_000 - 500
    assert world.chain.nonce(world.owner.address) == world.chain.nonce(world.ann.address) == 1


def test_pending_and_dropped(world):
    world.chain.automatic = False
    entry = world.submit(world.pay(world.ann, world.bob.address, 70))
    assert entry.status == "pending"
    world.chain.drop(entry.tx.txid)
    assert world.chain.entry(entry.tx.txid).status == "dropped_stale_garbage_collect"
    assert world.chain.mine() == [] and world.chain.nonce(world.ann.address) == 0
    assert world.submit(entry.tx.parsed).status == "pending"  # whoever holds the bytes can send them again
    world.chain.mine()
    assert world.chain.entry(entry.tx.txid).status == "success"


def test_what_was_affordable_at_first_waits_when_it_is_no_longer(world):
    world.chain.automatic = False
    first = world.submit(world.ann.sign(Transfer(world.bob.address, 9_000_000), 0, 300))
    second = world.submit(world.ann.sign(Transfer(world.bob.address, 9_000_000), 1, 300))
    assert world.chain.mine() == [first.tx.txid]
    assert world.chain.entry(second.tx.txid).status == "pending"


def test_a_rehearsal_changes_nothing(world):
    tx = world.pay(world.ann, world.bob.address, 70)
    from x402_agent.sandbox.stacks.signed import read

    assert world.chain.rehearse(read(tx.wire())).status == "success"
    assert world.chain.balance(world.asset, world.ann.address) == 1_000
    assert world.chain.balance(STX, world.ann.address) == 10_000_000 and world.chain.nonce(world.ann.address) == 0
    bad = world.pay(world.ann, world.bob.address, 70, ())
    assert world.chain.rehearse(read(bad.wire())).status == "abort_by_post_condition"


@pytest.mark.parametrize("raw", [b"", b"\x80", bytes(200), b"\x80\x80\0\0\0\4" + bytes(300)])
def test_noise_is_no_transaction(world, raw):
    with pytest.raises(Malformed):
        world.chain.submit(raw)


def test_sip010_arguments_in_a_row(world):
    call = sip010_transfer(world.token, 7, world.ann.address, world.bob.address, b"memo")
    entry = world.submit(world.ann.sign(call, 0, 999, (PostCondition("", "eq", 7, world.asset),)))
    assert entry.status == "success"
