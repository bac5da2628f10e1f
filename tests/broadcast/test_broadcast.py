"""Our own transactions on a real EVM, beside nodes that lie, lose, delay and die: one allowance, once, never in doubt unsaid."""

from __future__ import annotations

import json
import logging

import pytest

from x402_agent import assets, broadcast, transfers
from x402_agent.broadcast import plan, resume, send
from x402_agent.chains.evm.permit2 import PERMIT2
from x402_agent.chains.evm.rpc import Node
from x402_agent.errors import (
    LedgerError,
    NodeError,
    PaymentInDoubt,
    PaymentRefused,
    PolicyDenied,
    SettingsError,
    SigningFailed,
)
from x402_agent.sandbox.token import raw_address
from x402_agent.steps import Fetched

NETWORK = "eip155:84532"
USDC = next(each for each in assets.assets() if each.network.id == NETWORK and each.symbol == "USDC")
NODE = "https://node.example/v2/needle"
START = 1_000_000_000  # what the sandbox's payer has approved at first
NONE = Fetched(0, {}, b"")
ETHER = 10**18


def approve(world, payer, amount, *, max_fee=ETHER, patience=60.0):
    made = world.drive(plan(payer, USDC, PERMIT2, amount, max_fee=max_fee))
    return world.drive(send(payer, made, patience=patience, say=world.say.append))


def on_chain(world):
    return world.box.ground.allowance


def test_approve_moves_the_allowance_and_both_books_say_the_same(world):
    payer = world.payer()
    wei = world.box.ground.chain.wei(raw_address(world.box.payer_address))
    row = approve(world, payer, START + 5)
    assert (row.state, row.kind, row.amount, row.party) == ("CONFIRMED", "approve", START + 5, PERMIT2)
    assert on_chain(world) == world.left(payer) == START + 5
    spent = wei - world.box.ground.chain.wei(raw_address(world.box.payer_address))
    assert row.fee_paid == spent > 0 and row.fee_paid <= row.fee_cap
    assert world.box.transaction(row.txid).status == 1 and world.sent() == ["0x" + row.raw.hex()]
    assert payer.ledger.verify() == []
    assert any("written down" in line for line in world.say) and any("in block" in line for line in world.say)


def test_what_the_chain_already_shows_is_recorded_and_nothing_is_sent(world):
    payer = world.payer()
    assert approve(world, payer, 20_000_000) is None
    assert world.left(payer) == 20_000_000  # never more than the person named
    assert world.sent() == [] and payer.ledger.transactions() == []
    assert approve(world, payer, START) is None and world.left(payer) == START


def test_revoke(world):
    payer = world.payer()
    approve(world, payer, 20_000_000)
    row = approve(world, payer, 0)
    assert (row.kind, row.state, on_chain(world), world.left(payer)) == ("revoke", "CONFIRMED", 0, 0)
    assert approve(world, payer, 0) is None


def test_a_revoke_that_is_in_doubt_stops_offers_at_once(world):
    payer = world.payer()
    approve(world, payer, 20_000_000)
    world.lies["eth_sendRawTransaction"] = NONE
    with pytest.raises(PaymentInDoubt):
        approve(world, payer, 0)
    assert world.left(payer) == 0


def test_with_the_money_of_another_network_nothing_is_asked(world):
    with pytest.raises(SettingsError, match="no node of base-sepolia") as caught:
        approve(world, world.payer(nodes=""), 1)
    assert "X402_AGENT_NODES=base-sepolia=https://" in caught.value.hint


def test_legacy_chains_get_legacy_transactions(world):
    world.lies["eth_feeHistory"] = NONE
    row = approve(world, world.payer(), START + 5)
    assert row.state == "CONFIRMED" and row.raw[0] >= 0xC0 and on_chain(world) == START + 5


# -- what stops it before anything is signed ---------------------------------------------------------------------------


def test_C8_gas_is_capped_and_the_cap_is_shown(world):
    payer = world.payer()
    with pytest.raises(PolicyDenied, match=r"the limit is 0\.000000001") as caught:
        approve(world, payer, START + 1, max_fee=10**9)
    assert "--max-fee" in caught.value.hint
    world.lies["eth_feeHistory"] = lambda params, honest: {**honest, "baseFeePerGas": ["0x" + "f" * 20]}
    with pytest.raises(PolicyDenied, match="C8"):
        approve(world, payer, START + 1)
    del world.lies["eth_feeHistory"]
    world.lies["eth_estimateGas"] = "0xffffff"
    with pytest.raises(PolicyDenied, match="gas"):
        approve(world, payer, START + 1)
    assert payer.ledger.transactions() == [] and world.sent() == []


def test_no_coins_for_gas(world):
    world.lies["eth_getBalance"] = "0x5"
    with pytest.raises(SigningFailed, match="gas may take") as caught:
        approve(world, world.payer(), START + 1)
    assert world.box.payer_address in caught.value.hint and world.sent() == []


def test_no_contract_there(world):
    world.lies["eth_getCode"] = "0x"
    with pytest.raises(NodeError, match="no contract"):
        approve(world, world.payer(), START + 1)


def test_an_approve_that_would_revert_is_not_made(world):
    world.lies["eth_estimateGas"] = RuntimeError("execution reverted: approve from non-zero")
    with pytest.raises(NodeError, match="execution reverted: approve from non-zero"):
        approve(world, world.payer(), START + 1)
    assert world.sent() == []


def test_C3_another_chain_is_told_from_ours(world):
    world.lies["eth_chainId"] = "0x2105"
    with pytest.raises(NodeError, match="on chain 8453, not on 84532"):
        approve(world, world.payer(), START + 1)
    assert world.sent() == []


# -- what can happen after -------------------------------------------------------------------------------------------


def test_C5_a_broadcast_that_says_error_may_have_arrived(world):
    def lose(params, honest):
        return RuntimeError("internal error")

    world.lies["eth_sendRawTransaction"] = lose  # the honest node has taken it all the same
    row = approve(world, world.payer(), START + 5)
    assert row.state == "CONFIRMED" and on_chain(world) == START + 5 and len(world.sent()) == 1


def test_b2_bytes_that_were_lost_go_out_again_and_no_others(world):
    world.lies["eth_sendRawTransaction"] = NONE

    def later():
        if world.slept > 40:
            world.lies.pop("eth_sendRawTransaction", None)

    world.at_sleep = later
    row = approve(world, world.payer(), START + 5, patience=120.0)
    assert row.state == "CONFIRMED" and len(set(world.sent())) == 1 and len(world.sent()) > 1


def test_a_deadline_ends_in_doubt_and_resume_goes_on(world):
    payer = world.payer()
    world.lies["eth_sendRawTransaction"] = NONE
    with pytest.raises(PaymentInDoubt, match="no receipt of 0x") as caught:
        approve(world, payer, START + 5, patience=30)
    (row,) = payer.ledger.transactions()
    assert row.state == "INFLIGHT" and row.txid[:12] in caught.value.hint and world.left(payer) == 0
    ((before, after, words),) = world.drive(resume(payer))
    assert after.state == "INFLIGHT" and "no node" in words
    world.lies.clear()
    ((before, after, words),) = world.drive(resume(payer, row.txid[:8]))
    assert (before.state, after.state, world.left(payer), on_chain(world)) == ("INFLIGHT", "CONFIRMED", START + 5, START + 5)
    assert len(set(world.sent())) == 1 and world.drive(resume(payer)) == []


def test_nothing_new_is_signed_while_one_is_in_doubt(world):
    payer = world.payer()
    world.lies["eth_sendRawTransaction"] = NONE
    for _ in range(2):
        with pytest.raises(PaymentInDoubt):
            approve(world, payer, START + 5, patience=3)
    assert len(payer.ledger.transactions()) == 1
    world.lies.clear()
    row = approve(world, payer, START + 7)
    assert [each.account_nonce for each in payer.ledger.transactions()] == [row.account_nonce - 1, row.account_nonce]
    assert on_chain(world) == world.left(payer) == START + 7


def test_C4_a_success_without_its_approval_is_believed_by_nobody(world):
    payer = world.payer()
    world.lies["eth_getTransactionReceipt"] = lambda params, honest: honest and {**honest, "logs": []}
    with pytest.raises(PaymentInDoubt, match="without its log"):
        approve(world, payer, START + 5, patience=10)
    assert world.left(payer) == 0
    forged = {"address": USDC.address, "data": "0x" + "f" * 64}
    world.lies["eth_getTransactionReceipt"] = lambda params, honest: honest and {
        **honest, "logs": [{**each, **forged} for each in honest["logs"]]}  # fmt: skip
    ((_, after, _),) = world.drive(resume(payer))
    assert after.state == "INFLIGHT" and world.left(payer) == 0


def test_b8_reverted_is_its_fee_and_nothing_more(world):
    payer = world.payer()
    world.lies["eth_getTransactionReceipt"] = lambda params, honest: honest and {**honest, "status": "0x0", "logs": []}
    with pytest.raises(PaymentRefused, match=r"mined and reverted; its fee was 0\.0000") as caught:
        approve(world, payer, START + 5)
    (row,) = payer.ledger.transactions()
    assert row.state == "REVERTED" and row.fee_paid > 0 and world.left(payer) == 0
    assert row.txid in caught.value.hint


def test_V9_a_block_below_finality_is_not_the_end_and_a_reorg_brings_it_back(world):
    payer = world.payer()
    world.lies["eth_getBlockByNumber"] = {"number": "0x1", "timestamp": "0x1"}
    row = approve(world, payer, START + 5)
    assert row.state == "MINED" and world.left(payer) == START + 5
    world.lies["eth_getTransactionReceipt"] = lambda params, honest: None
    ((_, after, words),) = world.drive(resume(payer))
    assert after.state == "INFLIGHT" and "no longer in a block" in words
    world.lies.clear()
    ((_, after, _),) = world.drive(resume(payer))
    assert after.state == "CONFIRMED" and set(world.sent()) == {"0x" + row.raw.hex()}


def test_a_node_that_does_not_say_what_is_final_confirms_nothing(world):
    payer = world.payer()
    world.lies["eth_getBlockByNumber"] = NONE
    assert approve(world, payer, START + 5).state == "MINED" and world.left(payer) == START + 5
    ((_, after, words),) = world.drive(resume(payer))
    assert after.state == "MINED" and "not final yet" in words


def doubtful(world, payer):
    world.lies["eth_sendRawTransaction"] = NONE
    with pytest.raises(PaymentInDoubt):
        approve(world, payer, START + 5, patience=2)
    return payer.ledger.transactions()[0]


def test_b11_dead_only_when_its_nonce_is_spent_by_a_final_other(world):
    payer = world.payer()
    row = doubtful(world, payer)
    world.lies["eth_getTransactionCount"] = lambda params, honest: hex(row.account_nonce + 1) if params[1] == "finalized" else honest
    assert world.drive(resume(payer))[0][1].state == "INFLIGHT"  # too soon: a node may lag behind itself
    payer.clock = lambda: row.created_at + 901
    ((_, after, words),) = world.drive(resume(payer))
    assert after.state == "DEAD" and "another transaction" in words
    assert payer.ledger.verify() == []


def test_b11_dropped_from_the_mempool_is_not_dead(world):
    payer = world.payer()
    row = doubtful(world, payer)
    payer.clock = lambda: row.created_at + 10**6
    assert world.drive(resume(payer))[0][1].state == "INFLIGHT"


@pytest.mark.parametrize("fate", ["DEAD", "REVERTED"])
def test_C2_one_node_of_two_ends_nothing(fate, world):
    """What would let a second transaction be made needs the word of all."""
    payer = world.payer(nodes=f"{NODE}|https://second.example/needle")
    row = doubtful(world, payer)
    payer.clock = lambda: row.created_at + 901

    def lie(params, honest):
        return honest if "second" in world.url else ({**honest, "status": "0x0", "logs": []} if honest else None)

    if fate == "DEAD":
        world.lies["eth_getTransactionCount"] = lambda params, honest: honest if "second" in world.url else hex(row.account_nonce + 1)
        expected = "INFLIGHT"
    else:
        world.lies.clear()
        world.lies["eth_getTransactionReceipt"] = lie
        expected = "MINED"
    assert world.drive(resume(payer))[0][1].state == expected
    world.lies.clear()
    assert world.drive(resume(payer))[0][1].state == "CONFIRMED" and on_chain(world) == START + 5


def test_C6_two_payers_of_one_account_take_two_nonces(world):
    one, two = world.payer(), world.payer()
    plans = [world.drive(plan(payer, USDC, PERMIT2, START + n, max_fee=ETHER)) for n, payer in enumerate((one, two), 1)]
    world.lies["eth_getTransactionCount"] = hex(world.box.ground.chain.nonce(world.box.payer_address))  # as before the first
    rows = [world.drive(send(payer, made, say=world.say.append)) for payer, made in zip((one, two), plans, strict=True)]
    assert rows[1].account_nonce == rows[0].account_nonce + 1
    assert on_chain(world) == world.left(one) == world.left(two) == START + 2


def test_C7_a_gap_below_a_live_one_is_filled_by_the_next(world):
    """One process wrote its transaction down and died; another's, with the next account nonce, waits for it in the mempool."""
    dead, alive = world.payer(), world.payer()
    first, second = (world.drive(plan(each, USDC, PERMIT2, START + n, max_fee=ETHER)) for n, each in ((1, dead), (2, alive)))
    pending = world.box.ground.chain.nonce(world.box.payer_address)
    built = world.drive(broadcast._build(dead, Node(USDC.network, NODE), first))
    with pytest.raises(PaymentInDoubt):
        world.drive(send(alive, second, patience=2, say=world.say.append))
    dead.ledger.follow(built.txid, "RELEASED")
    assert approve(world, world.payer(), START + 3).account_nonce == pending
    states = {row.account_nonce: row.state for row in alive.ledger.transactions() if row.state != "RELEASED"}
    assert states == {pending: "CONFIRMED", pending + 1: "CONFIRMED"}
    assert on_chain(world) == world.left(alive) == START + 2  # in the order of their account nonces
    assert alive.ledger.verify() == []


def test_a_nonce_that_others_always_take_is_given_up(world, monkeypatch):
    payer = world.payer()
    monkeypatch.setattr(type(payer.ledger), "build", lambda *_: False)
    with pytest.raises(LedgerError, match="C6"):
        approve(world, payer, START + 5)
    assert world.sent() == []


def test_no_journal_no_broadcast(world, monkeypatch):
    payer = world.payer()
    payer.ledger._store.broken = "damaged"
    with pytest.raises(LedgerError, match="damaged"):
        approve(world, payer, START + 5)
    assert world.sent() == []


def test_the_bytes_are_durable_before_the_broadcast(world):
    """At the first eth_sendRawTransaction another connection already reads the row, INFLIGHT."""
    import sqlite3

    seen = []

    def look(params, honest):
        row = sqlite3.connect(world.path).execute("SELECT state, raw FROM x402_transactions").fetchone()
        seen.append((row[0], "0x" + row[1].hex() == params[0]))
        return honest

    world.lies["eth_sendRawTransaction"] = look
    approve(world, world.payer(), START + 5)
    assert seen == [("INFLIGHT", True)]


@pytest.mark.parametrize("lie", [NONE, Fetched(200, {}, b"x" * 65536), Fetched(200, {}, b"[" * 9999), Fetched(307, {}, b""),
                                 Fetched(200, {}, b"{}"), RuntimeError("no \x1b[2J" + "y" * 9999), 7, [], "0xzz"])  # fmt: skip
@pytest.mark.parametrize("method", ["eth_chainId", "eth_getCode", "eth_call", "eth_estimateGas", "eth_feeHistory", "eth_getBalance",
                                    "eth_getTransactionCount", "eth_sendRawTransaction", "eth_getTransactionReceipt",
                                    "eth_getBlockByNumber"])  # fmt: skip
def test_any_lie_at_any_place_ends_in_a_typed_error_and_never_in_two(lie, method, world, caplog):
    payer = world.payer()
    world.lies[method] = lie
    said = ""
    with caplog.at_level(logging.DEBUG):
        try:
            approve(world, payer, START + 5, patience=5)
        except (NodeError, PaymentInDoubt) as why:
            said = str(why)
        else:
            assert world.left(payer) == on_chain(world) == START + 5
    assert "needle" not in said + caplog.text + " ".join(world.say) and "\x1b" not in said and len(said) < 1500
    assert len({json.dumps(each) for each in world.sent()}) <= 1
    world.lies.clear()
    world.drive(resume(payer))
    if payer.ledger.transactions():
        assert world.left(payer) == on_chain(world) == START + 5
    assert payer.ledger.verify() == []


PAYEE = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"


def transfer(world, payer, to, amount):
    made = world.drive(transfers.plan(payer, USDC, to, amount, max_fee=10**16))
    return world.drive(transfers.send(payer, made, patience=5.0, say=world.say.append))


def test_a_transfer_moves_exactly_its_amount(world):
    payer = world.payer()
    row = transfer(world, payer, PAYEE, 12_345)
    assert (row.kind, row.state, world.box.balance(PAYEE), world.left(payer)) == ("transfer", "CONFIRMED", 12_345, 0)
    assert payer.ledger.verify() == []


def test_b1_a_transfer_in_doubt_is_sent_again_and_never_twice(world):
    payer = world.payer()
    world.lies["eth_sendRawTransaction"] = world.lies["eth_getTransactionReceipt"] = NONE
    with pytest.raises(PaymentInDoubt):
        transfer(world, payer, PAYEE, 500)
    with pytest.raises(PaymentInDoubt, match="nothing new was signed"):
        transfer(world, payer, PAYEE, 500)
    world.lies.clear()
    for _ in range(2):
        world.drive(resume(payer))
    assert world.box.balance(PAYEE) == 500 and len(payer.ledger.transactions()) == 1


def test_C4_a_transfer_without_its_log_is_in_doubt(world):
    world.lies["eth_getTransactionReceipt"] = lambda params, honest: honest and {**honest, "logs": []}
    world.lies["eth_getLogs"] = []
    with pytest.raises(PaymentInDoubt, match="no receipt"):
        transfer(world, world.payer(), PAYEE, 500)


@pytest.mark.parametrize("to", ["0x" + "0" * 40, "0x" + "0" * 39 + "9", USDC.address, "own", "0x209693bc6afc0c5328ba36faf03c514ef312287C",
                                "0x1234", "vitalik.eth", ""])  # fmt: skip
def test_R1_R2_nobody_is_no_recipient(to, world):
    with pytest.raises(SigningFailed):
        transfer(world, world.payer(), world.box.payer_address if to == "own" else to, 1)
    assert world.sent() == []


def test_more_than_the_account_has_is_not_sent(world):
    with pytest.raises(SigningFailed, match="balance on chain"):
        transfer(world, world.payer(), PAYEE, 10**15)
    with pytest.raises(SigningFailed):
        transfer(world, world.payer(), PAYEE, 0)


def test_coins_are_for_people():
    coins = USDC.network.coins
    assert (coins(10**18), coins(1), coins(0)) == ("1", "0.000000000000000001", "0")
    assert [assets.network(name).coins(1_500_000) for name in ("solana", "stacks", "tron")] == ["0.0015", "1.5", "1.5"]
