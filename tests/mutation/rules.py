"""The chains' safety rules, each broken by hand in one place, and the tests that must notice.

    python tests/mutation/rules.py                    # all of them, in a private copy
    python tests/mutation/rules.py tron               # those whose file or words have this in them

A rule that no test notices survives, and gets a test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["RULES", "Broken", "copied", "judges", "noticed", "passed"]

ROOT = Path(__file__).parents[2]
EVM, SOL, STX, TRX = ["tests/chains/test_rows_signed.py", "tests/chains/test_evm_signing.py"], ["tests/chains/solana"], ["tests/chains/stacks"], ["tests/chains/tron"]
LINES = ["tests/transport/test_lines.py", "tests/transport/test_fetch.py"]
GIVING_UP = ["tests/transport/test_giving_up.py"]
FATE = ["tests/chains/test_fate.py"]
PERMIT2 = ["tests/chains/test_permit2_signing.py", "tests/chains/test_rows_signed.py"]
FIRST = ["tests/chains/test_transfer.py"]
SOL_FATE, SOL_MESSAGE, SOL_READY = ([f"tests/chains/solana/test_{name}.py"] for name in ("solana_fate", "solana_message", "ready"))
SOL_FIRST = ["tests/chains/solana/test_solana_transfer.py"]
REPLACED = ["tests/recovery/test_replaced.py"]
STX_DOOR, STX_FATE, STX_FIRST = ([f"tests/chains/stacks/test_{name}.py"] for name in ("door", "stacks_fate", "stacks_transfer"))
TRX_DOOR, TRX_FATE, TRX_RAW, TRX_FIRST = ([f"tests/chains/tron/test_{name}.py"] for name in ("door", "fate", "transaction", "transfer"))


class Broken(NamedTuple):
    """A rule in words; in `file` of the package `old`, which stands there once, becomes `new`; `tests` must then fail."""

    what: str
    file: str
    old: str
    new: str
    tests: list[str]


RULES = [
    # -- nodes of every family
    Broken("any node's word makes a proof dead", "chains/rpc.py", 'freed = bool(words) and set(words) <= {"dead", "failed"}', 'freed = bool({"dead", "failed"} & set(words)); words = [each for each in words if each in ("dead", "failed")]', [*FATE, *SOL_FATE, *TRX_FATE, *FIRST]),
    Broken("a node of another chain is believed", "chains/rpc.py", "if chain != self._chain:", "if False:", [*FATE, *SOL_READY, *STX_DOOR, *TRX_FATE]),
    Broken("a node over plain http is asked", "chains/rpc.py", "if not fine:", "if False:", [*SOL_READY, *TRX_FATE, "tests/chains/test_rpc.py"]),
    Broken("the answer to another question is taken", "chains/rpc.py", 'if answer.get("id") not in (self._number, *_ANYONES):', "if False:", ["tests/chains/test_rpc.py"]),
    Broken("the cut answer to another question is taken", "chains/rpc.py", "not {self._number, *_ANYONES} & set(map(int, found))", "False", ["tests/chains/test_rpc.py"]),
    # -- connections of one conversation
    Broken("bytes left behind an answer are the next one's", "transport/streams.py", "return bool(body[0])", "return False", LINES),
    Broken("bytes read ahead are the next one's", "transport/streams.py", 'if getattr(read, "pending", 0) or getattr(getattr(stream, "_protocol", None), "read_queue", None):', "if False:", LINES),
    Broken("behind a 5xx the connection serves on", "transport/streams.py", "response.status_code >= 500\n        or ", "", LINES),
    Broken("what may not arrive twice does", "transport/lines.py", 'return step.twice or step.retries > 0 or step.method == "GET"', "return True", LINES),
    Broken("a seller's own address is asked without the guard", "transport/lines.py", 'guard = getattr(client, "guard", None) if step.theirs else None', "guard = None", LINES),
    # -- a paid answer on its way
    Broken("a cancellation that was held back takes a paid answer along", "transport/drivers.py", "                await checkpoint()  # a cancellation that was held", "                pass  # a cancellation that was held", GIVING_UP),
    Broken("one that comes while a paid answer is closed does", "transport/watched.py", "await wait(self._talk.broken(self._hold, exc)[0])", "pass", GIVING_UP),
    Broken("one in a hook before the body does", "transport/watched.py", "await wait(self._talk.broken(self._hold, why)[0])", "pass", GIVING_UP),
    Broken("Ctrl-C while a paid answer is closed does", "transport/watched.py", "            self._talk.broken(self._hold, exc)[0].run()", "            pass", GIVING_UP),
    Broken("a hook that raises does", "transport/watched.py", "            self._talk.broken(self._hold, why)[0].run()", "            pass", GIVING_UP),
    Broken("a cancellation takes goods along that waited", "transport/drivers.py", "                await checkpoint()  # from", "                pass  # from", GIVING_UP),
    # -- EVM
    Broken("EVM: another amount is signed", "chains/evm/eip3009.py", 'value.to_bytes(32, "big"),', '(value + 1).to_bytes(32, "big"),', EVM),
    Broken("EVM: another payee is signed", "chains/evm/eip3009.py", "            address_bytes(pay_to),", "            address_bytes(payer),", EVM),
    Broken("EVM: the signature has no chain", "chains/evm/eip3009.py", 'chain_id.to_bytes(32, "big")', "bytes(32)", EVM),
    Broken("EVM: a token that is not in the table", "chains/doors.py", "if assets.asset_by_id(asset.id) == asset and asset.network.namespace == namespace:", "if True:", EVM),
    Broken("EVM: we pay ourselves", "chains/evm/chain.py", 'return "payTo is our own account (R1)" if target == own else ""', 'return ""', EVM),
    Broken("EVM: a lifetime of years", "chains/doors.py", "seconds = min(offer.lifetime, max_lifetime, MAX_LIFETIME)", "seconds = offer.lifetime", EVM),
    Broken("EVM: a permit for less than was asked is as good", "chains/evm/permit2.py", "_word(offer.amount)", "_word(offer.amount - 1)", PERMIT2),
    Broken("EVM: a permit for any spender", "chains/evm/permit2.py", "        _address(SPENDERS[offer.scheme]),\n", "        _address(offer.pay_to),\n", PERMIT2),
    Broken("EVM: dead by the newest block, not a final one", "chains/evm/fate.py", "block = yield from final(asked)", 'block = ("latest", 1 << 40)', FATE),
    Broken("EVM: dead before it has expired", "chains/evm/fate.py", "if block is None or block[1] <= terms.valid_before:", "if block is None:", FATE),
    Broken("EVM first: more gas than policy allows", "chains/evm/transfer.py", "if gas > transaction.MAX_GAS or cost > (most_paid := most(rules)):", "if False:", [*FIRST, "tests/transport/test_pays_first.py"]),
    Broken("EVM first: a success without the token's log", "chains/evm/transfer.py", "    if not fine:\n", "    if False:\n", FIRST),
    Broken("EVM first: dead while another transaction is young", "chains/evm/transfer.py", 'return "dead" if gone and late else "unknown"', 'return "dead"', FIRST),
    # -- Solana
    Broken("Solana: another amount is signed", "chains/solana/message.py", 'amount, asset = offer.amount.to_bytes(8, "little"), offer.asset', 'amount, asset = (offer.amount + 1).to_bytes(8, "little"), offer.asset', SOL_MESSAGE),
    Broken("Solana: the payee is the facilitator", "chains/solana/message.py", "else holder(offer, offer.pay_to)", "else holder(offer, offer.facilitator or offer.pay_to)", SOL_MESSAGE),
    Broken("Solana: decimals are not checked on chain", "chains/solana/message.py", 'b"\\x0c" + amount + bytes((asset.decimals,))', 'b"\\x03" + amount', SOL_MESSAGE),
    Broken("Solana: the seller's blockhash is trusted unasked", "chains/solana/ready.py", "if rules.trusting and (theirs := given(offer)):", "if (theirs := given(offer)):", SOL_READY),
    Broken("Solana: a proof with the seller's blockhash dies", "chains/solana/fate.py", "if not signed.slot or slot <= signed.slot or height <= signed.last + MARGIN:", "if slot <= signed.slot or height <= signed.last + MARGIN:", SOL_FATE),
    Broken("Solana: dead at its last height, without a margin", "chains/solana/fate.py", "height <= signed.last + MARGIN", "height < signed.last", SOL_FATE),
    Broken("Solana: a node that has forgotten says dead", "chains/solana/fate.py", "whole = over and (yield from first_slot(node)) <= signed.slot", "whole = over", SOL_FATE),
    Broken("Solana: any transaction of ours is this one", "chains/solana/fate.py", "if shown.message == wanted:", "if True:", SOL_FATE),
    Broken("Solana: a mint whose tokens can be taken", "chains/solana/mint.py", "if kind not in _HARMLESS:", "if False:", SOL_READY),
    Broken("Solana: other decimals than the table's", "chains/solana/mint.py", "if data[44] != asset.decimals:", "if False:", SOL_READY),
    Broken("Solana: the payee's account is another's", "chains/solana/ready.py", "return f\"the payee's account of {asset.symbol} is another's\"", 'return ""', SOL_READY),
    Broken("Solana first: policy's cap on the fee is ignored", "chains/solana/transfer.py", 'allowed = rules.fees.get("solana", CEILING)', "allowed = 10**9", SOL_FIRST),
    Broken("Solana first: SOL goes to a program's account", "chains/solana/transfer.py", "if found is not None and (found.owner != SYSTEM or found.data):", "if False:", SOL_FIRST),
    # -- Stacks
    Broken("Stacks: post-condition mode Allow", "chains/stacks/transaction.py", "    mode: int = DENY\n", "    mode: int = ALLOW\n", STX_DOOR),
    Broken("Stacks: no post-condition", "chains/stacks/signing.py", "    wired = tuple(each.wire() for each in limit)\n", "    wired = ()\n", STX_DOOR),
    Broken("Stacks: another amount is signed", "chains/stacks/signing.py", "return sip010_transfer(asset.address, offer.amount,", "return sip010_transfer(asset.address, offer.amount + 1,", STX_DOOR),
    Broken("Stacks: STX to somebody else", "chains/stacks/signing.py", "return Transfer(offer.pay_to, offer.amount, note)", "return Transfer(own(payer, offer.network), offer.amount, note)", STX_DOOR),
    Broken("Stacks: a transaction of the other network", "chains/stacks/signing.py", "return Transaction(offer.network.testnet, spending,", "return Transaction(not offer.network.testnet, spending,", STX_DOOR),
    Broken("Stacks: the ceiling of the fee is ignored", "chains/stacks/ready.py", "return min((yield from fee(asked, like.payload, size)), most)", "return (yield from fee(asked, like.payload, size))", STX_DOOR),
    Broken("Stacks: every payment takes account nonce 0", "chains/stacks/ready.py", "Anchor(anchor_text(paid, form), number", "Anchor(anchor_text(paid, form), 0", STX_DOOR),
    Broken("Stacks: aborted is dead in the newest block", "chains/stacks/fate.py", "seen.height + BURIED", "seen.height", STX_FATE),
    Broken("Stacks: an id is believed by itself", "chains/stacks/fate.py", 'return seen.txid == "0x" + terms.proved or seen.does == does(offer, terms)', "return True", STX_FATE),
    Broken("Stacks first: a call may move more", "chains/stacks/calls.py", '"eq" if exact else "le"', '"ge"', STX_FIRST),
    Broken("Stacks first: a second condition for us", "chains/stacks/calls.py", 'raise ValueError("a second post-condition for our own account")', "pass", STX_FIRST),
    Broken("Stacks first: a call that no block takes is signed", "chains/stacks/ready.py", "    if isinstance(found, str):\n", "    if False:\n", STX_FIRST),
    Broken("replaced: a form offers less than one before", "ledger/transactions.py", "each.fee_cap >= made.fee_cap or ", "", REPLACED),
    Broken("replaced: no limit of the fee", "replacing.py", "    if least > most:", "    if False:", REPLACED),
    Broken("replaced: what is cancelled is shown again", "recovery/resuming.py", 'if verdict != "settled" and (why := cancelled(payer, hold)):', "if False:", REPLACED),
    Broken("replaced: another id than the block's is shown", "chains/stacks/transfer.py", '"transaction": seen.txid}', '"transaction": "0x" + proof.txid}', REPLACED),
    Broken("Stacks first: a success whose events show nothing", "chains/stacks/transfer.py", "shown = seen.moved(offer, own(terms.payer, offer.network))", "shown = True", STX_FIRST),
    # -- TRON
    Broken("TRON: another amount is signed", "chains/tron/chain.py", '"payAmount": str(offer.amount)', '"payAmount": str(offer.amount + 1)', TRX_DOOR),
    Broken("TRON: the fee goes to the payee", "chains/tron/chain.py", '"fee": {"feeTo": told["feeTo"],', '"fee": {"feeTo": offer.pay_to,', TRX_DOOR),
    Broken("TRON: anybody may settle", "chains/tron/chain.py", '"caller": offer.facilitator or ZERO', '"caller": ZERO', TRX_DOOR),
    Broken("TRON: a permit on another network", "chains/tron/permit.py", "chain_id=chain_id(network), contract=CONTRACTS[network])", 'chain_id=chain_id("tron:0x2b6653dc"), contract=CONTRACTS[network])', TRX_DOOR),
    Broken("TRON: the seller's nonce", "chains/tron/chain.py", "where, nonce = offer.network.id, str(int(terms.nonce, 16))", 'where, nonce = offer.network.id, "1"', TRX_DOOR),
    Broken("TRON: fee_limit without a limit", "chains/tron/transaction.py", "if not 0 <= made.fee_limit <= MAX_FEE_LIMIT or", "if", TRX_RAW),
    Broken("TRON: a transaction that lives for a day", "chains/tron/transaction.py", "not 0 < made.expiration - made.timestamp <= LIFETIME:", "False:", TRX_RAW),
    Broken("TRON: an unlimited approve", "chains/tron/transaction.py", "if isinstance(what, Call) and int.from_bytes(what.data[36:]) >> 128:", "if False:", TRX_RAW),
    Broken("TRON: any call is signed", "chains/tron/transaction.py", "or what.data[:4] not in (_APPROVE, _TRANSFER)", "", TRX_RAW),
    Broken("TRON: dead by the newest state", "chains/tron/fate.py", "gone = not (yield from used(asked, contract, terms.payer, terms.nonce, solid=True))", "gone = True", TRX_FATE),
    Broken("TRON: dead the moment it expires", "chains/tron/fate.py", "<= terms.valid_before + LAG:", "<= terms.valid_before:", TRX_FATE),
    Broken("TRON first: any fee of the network", "chains/tron/transfer.py", "    if cost > (most_paid := most(rules)):", "    if (most_paid := most(rules)) < 0:", TRX_FIRST),
    Broken("TRON first: a success without the Transfer of this amount", "chains/tron/transfer.py", "    if not fine:\n", "    if False:\n", TRX_FIRST),
    Broken("TRON first: dead while it can still be in a block", "chains/tron/transfer.py", "now * 1000 > raw.expiration + LAG * 1000", "now * 1000 > raw.timestamp", TRX_FIRST),
    # -- what a seller says
    Broken("TRON: the fee of a permit counts in no budget", "dialects/x402/tron.py", 'return Way("payment-permit", "" if caller == _ZERO else caller, amount,', 'return Way("payment-permit", "" if caller == _ZERO else caller, 0,', ["tests/dialects/test_tron.py"]),
    Broken("TRON: a permit of any kind", "dialects/x402/tron.py", 'if kind != "PAYMENT_ONLY":', "if False:", ["tests/dialects/test_tron.py"]),
    Broken("Stacks: a token named twice may be two", "dialects/x402/stacks.py", "    if f\"{parts.get('address')}.{parts.get('name')}\" != asset.address:\n", "    if False:\n", ["tests/dialects/test_stacks.py"]),
    Broken("Solana: a memo without end", "dialects/x402/solana.py", "if (size := len(memo.encode())) > MEMO:", "if (size := len(memo.encode())) < 0:", ["tests/dialects/test_solana_entries.py"]),
]  # fmt: skip


def copied(folder: Path) -> Path:
    """The package and its tests in a folder of their own."""
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv*", ".git", "__pycache__", "build", "benchmarks", "docs"))
    return copy


def noticed(copy: Path, rule: Broken, seconds: float = 600) -> bool:
    """Whether the tests fail with this rule broken; raises ValueError where its line does not stand there once."""
    target = copy / "x402_agent" / rule.file
    source = target.read_text("utf-8")
    if source.count(rule.old) != 1:
        raise ValueError(f"{rule.what}: {rule.file} has {source.count(rule.old)} of {rule.old!r}")
    target.write_text(source.replace(rule.old, rule.new), "utf-8")
    try:
        return not passed(copy, rule.tests, seconds)
    finally:
        target.write_text(source, "utf-8")


def passed(copy: Path, tests: list[str], seconds: float = 600) -> bool:
    """Whether these tests pass in the copy as it is; raises ValueError where they could not even be read."""
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-m", "not full", *tests]
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, timeout=seconds, check=False)
    if done.returncode not in (0, 1):
        raise ValueError(f"pytest ended with {done.returncode}: {done.stdout[-400:].decode()}")
    return done.returncode == 0


def judges(rules: list[Broken]) -> list[str]:
    """Every test file that notices something."""
    return sorted({path for rule in rules for path in rule.tests})


def main() -> int:
    """Print every survivor; 1 when there is one."""
    wanted = [rule for rule in RULES if not sys.argv[1:] or sys.argv[1] in rule.file + rule.what]
    left = 0
    with tempfile.TemporaryDirectory(prefix="x402-rules-") as folder:
        copy = copied(Path(folder))
        if not all(passed(copy, judges([rule])) for rule in {tuple(each.tests): each for each in wanted}.values()):
            print("the tests fail with every rule whole: they would prove nothing")
            return 1
        for rule in wanted:
            told = rule.what
            try:
                fine = noticed(copy, rule)
            except ValueError as why:
                fine, told = False, str(why)
            left += not fine
            print(f"{'noticed ' if fine else 'SURVIVES'}  {told}   ({rule.file})", flush=True)
    print(f"{len(wanted)} rules, {left} survived")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
