"""Our own transactions: durable before they leave, one account nonce each, and nothing moves but by the table."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from x402_agent.errors import LedgerError
from x402_agent.ledger import SqliteLedger, Transaction
from x402_agent.ledger.transactions import BROADCAST_MOVES

NETWORK = "eip155:84532"
ACCOUNT = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
SPENDER = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
ASSET = "eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e"
NUMBERS = itertools.count(1)


def made(nonce, **changes):
    number = next(NUMBERS)
    values = {"txid": f"0x{number:064x}", "network": NETWORK, "account": ACCOUNT, "account_nonce": nonce, "kind": "approve",
              "asset": ASSET, "party": SPENDER, "amount": 20_000_000, "gas_limit": 60_000, "max_fee": 10**18,
              "raw": b"\x02raw" + number.to_bytes(4), **changes}  # fmt: skip
    return Transaction(**values)


def build(ledger, pending=0, **changes):
    one = made(ledger.next_nonce(NETWORK, ACCOUNT, pending), **changes)
    assert ledger.build(one, pending)
    return one


def test_what_is_built_is_read_back_whole(ledger):
    one = build(ledger, amount=2**100)
    (found,) = ledger.transactions()
    assert (found.txid, found.raw, found.state, found.amount, found.fee_cap) == (one.txid, one.raw, "BUILT", 2**100, 6 * 10**22)
    assert ledger.transaction(one.txid[:64]) is None or len(ledger.transactions()) == 1
    assert "raw" not in repr(found)


def test_C6_each_takes_the_next_nonce_and_a_taken_one_is_refused(ledger):
    assert [build(ledger, 5).account_nonce for _ in range(3)] == [5, 6, 7]
    assert ledger.build(made(6), 5) is False
    assert ledger.build(made(9), 5) is False  # a gap would block it for ever
    assert build(ledger, 7).account_nonce == 8  # the node has seen two of ours, not the third
    assert build(ledger, 20).account_nonce == 20
    assert ledger.next_nonce("eip155:8453", ACCOUNT, 0) == 0
    assert len(ledger.transactions()) == 5


def test_b1_built_and_launched_are_synchronous_in_full(desk):
    ledger = desk.open(journal="full")
    modes = []
    ledger._store.db.set_trace_callback(
        lambda sql: modes.append(ledger._store._synchronous) if sql.startswith(("INSERT INTO x402_tr", "UPDATE x402_tr")) else None
    )
    one = build(ledger)
    ledger.launch(one.txid)
    assert modes == ["FULL", "FULL"]
    ledger.follow(one.txid, "CONFIRMED")
    assert modes[2:] == ["NORMAL"]


def test_a_journey_is_journalled_and_verified(ledger):
    one = build(ledger)
    assert ledger.launch(one.txid).state == "INFLIGHT"
    assert ledger.launch(one.txid).state == "INFLIGHT"
    assert ledger.follow(one.txid, "MINED", block=7, fee=123).fee_paid == 123
    assert ledger.follow(one.txid, "INFLIGHT", note="a reorg").fee_paid is None
    ledger.follow(one.txid, "REVERTED", block=9, fee=2**70)
    (found,) = ledger.transactions()
    assert (found.state, found.block, found.fee_paid, found.raw) == ("REVERTED", 9, 2**70, one.raw)
    assert ledger.transactions(open_only=True) == []
    assert ledger.verify() == []
    with pytest.raises(LedgerError, match="from REVERTED to INFLIGHT"):
        ledger.launch(one.txid)


@pytest.mark.parametrize("state", BROADCAST_MOVES)
@pytest.mark.parametrize("to", [name for name in BROADCAST_MOVES if name])
def test_only_the_moves_of_the_table(state, to, ledger):
    way = {"BUILT": [], "RELEASED": ["RELEASED"], "INFLIGHT": ["INFLIGHT"]}
    one = build(ledger)
    for each in way.get(state, ["INFLIGHT", state]) if state else ():
        ledger.follow(one.txid, each)
    before = state or "BUILT"
    if not BROADCAST_MOVES[before]:
        assert ledger.follow(one.txid, to).state == before
    elif to in BROADCAST_MOVES[before] or to == before:
        assert ledger.follow(one.txid, to).state == to
    else:
        with pytest.raises(LedgerError, match=f"from {before} to {to}"):
            ledger.follow(one.txid, to)
        assert ledger.transactions()[0].state == before
    assert ledger.verify() == []


def test_an_unknown_one_is_never_launched(ledger):
    with pytest.raises(LedgerError, match="no transaction is called"):
        ledger.launch("0x" + "ab" * 32)


def test_killed_between_built_and_broadcast_gives_its_nonce_to_the_next(desk):
    first = desk.open()
    one = build(first, 3)
    desk.crash(first)
    second = desk.open()
    (found,) = second.transactions()
    assert (found.state, found.raw) == ("RELEASED", b"")
    assert build(second, 3).account_nonce == 3
    with pytest.raises(LedgerError):
        second.launch(one.txid)
    assert second.verify() == []


def test_killed_after_launch_the_same_bytes_are_there(desk):
    first = desk.open()
    one = build(first, 3)
    first.launch(one.txid)
    desk.crash(first)
    second = desk.open()
    (found,) = second.transactions(open_only=True)
    assert (found.state, found.raw, found.txid) == ("INFLIGHT", one.raw, one.txid)
    assert build(second, 3).account_nonce == 4
    assert second.verify() == []


def test_a_built_one_of_a_live_process_is_left_alone(desk):
    first, second = desk.open(), desk.open()
    one = build(first)
    second.recover()
    first.recover()
    assert [each.state for each in second.transactions()] == ["BUILT"]
    assert first.launch(one.txid).state == "INFLIGHT"


@pytest.mark.parametrize("change", ["amount = '99'", "party = '0x0'", "raw = x'00'", "state = 'MINED'", "account_nonce = 77"])
def test_Z1_a_changed_row_is_found_and_nothing_is_launched(change, desk):
    first = desk.open()
    one = build(first)
    first.launch(one.txid)
    first.shut()
    db = sqlite3.connect(desk.path)
    db.execute(f"UPDATE x402_transactions SET {change}")
    db.commit()
    db.close()
    second = desk.open()
    assert any(one.txid in each for each in second.verify())
    with pytest.raises(LedgerError, match="changed or damaged"):
        second.launch(one.txid)
    with pytest.raises(LedgerError, match="changed or damaged"):
        second.build(made(1), 0)


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
sys.path.insert(0, {tests!r})
from test_broadcasts import ACCOUNT, NETWORK, made
from x402_agent.ledger import SqliteLedger
ledger = SqliteLedger(Path({file!r}), journal="normal")
print("ready", flush=True)
sys.stdin.readline()
count = 0
while count < {count}:
    nonce = ledger.next_nonce(NETWORK, ACCOUNT, 4)
    one = made(nonce, txid="0x" + {name!r} + f"{{nonce:063x}}")
    if ledger.build(one, 4):
        ledger.launch(one.txid)
        print(nonce, flush=True)
        count += 1
"""


@pytest.mark.parametrize("killed", [False, True])
def test_C6_two_processes_share_one_account(killed, desk):
    desk.open().shut()
    desk.opened.clear()
    count = 40
    running = []
    for name in "ab":
        code = WORKER.format(path=sys.path, tests=os.path.dirname(__file__), file=str(desk.path), count=count, name=name)
        running.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    told = []
    if killed:
        told += [int(running[0].stdout.readline()) for _ in range(count // 2)]
        running[0].send_signal(signal.SIGKILL)
    for process in running:
        out, _ = process.communicate(timeout=180)
        told += [int(line) for line in out.split() if line.isdigit()]
    ledger = SqliteLedger(desk.path, journal="normal")
    whole = ledger.transactions()
    rows = [each for each in whole if each.state != "RELEASED"]
    taken = sorted(each.account_nonce for each in rows)
    assert len(told) == len(set(told)) and set(told) <= set(taken)
    gap = sorted(set(range(4, taken[-1])) - set(taken))
    assert len(taken) == len(set(taken))  # none twice
    assert set(gap) <= {each.account_nonce for each in whole if each.state == "RELEASED"}
    assert len(gap) <= int(killed)  # the killed process may leave one that it had not sent,
    assert ledger.next_nonce(NETWORK, ACCOUNT, 4) == (gap or [taken[-1] + 1])[0]  # and the next transaction gets it
    assert all(each.state == "INFLIGHT" for each in rows) and ledger.verify() == []
    assert killed or len(rows) == 2 * count
    ledger.shut()
