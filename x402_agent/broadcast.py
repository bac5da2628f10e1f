"""An allowance of ours, given or taken back: planned, shown to a person, written down, broadcast, followed; at a person's command only.

No call of the paying path comes here: an allowance is never given because a seller asks (D3, C18). A transfer is another room's
(transfers.py), which `resume` asks for its own rows. Generators of Fetch and Sleep steps, driven by `fetch.drive`; what the ledger must know it knows
before a byte leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import replacing, transfers
from .chains import doors
from .chains.evm import reads, transaction
from .chains.evm.rpc import Node
from .errors import (
    LedgerError,
    NodeError,
    PaymentInDoubt,
    PaymentRefused,
    PolicyDenied,
    SettingsError,
    SigningFailed,
)
from .ledger import Transaction
from .model import Money
from .policy.fees import gas_of
from .secret import Secret
from .steps import Sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from .chains.evm.reads import Fees, Mined
    from .model import Asset, Network
    from .payer import Payer
    from .steps import Steps

__all__ = ["Plan", "node_of", "plan", "resume", "send"]

PATIENCE = 120.0  # seconds that a command follows its own transaction
_AGAIN = 15.0  # seconds after which the same bytes are handed to a node once more
_BEHIND = 900.0  # seconds that a node may lag behind itself: counts from one of its machines, receipts from another
_HINT = "x402-agent resume {}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an approve or revoke would do. `amount` and `had`, the allowance on chain, in atomic units, `gas` in units of gas.

    `mark` is the ledger's, from before the chain was read.
    """

    kind: str
    asset: Asset
    owner: str
    party: str
    amount: int
    had: int
    gas: int
    fees: Fees
    mark: int

    @property
    def enough(self) -> bool:
        """Whether the chain already shows what is wanted: then nothing is sent."""
        return {"approve": self.had >= self.amount, "revoke": self.had == 0}.get(self.kind, False)

    @property
    def data(self) -> bytes:
        """Its calldata; raises SigningFailed."""
        return transaction.approve(self.party, self.amount)

    @property
    def fee_cap(self) -> int:
        """The most it can cost, in wei of the network's own coin; a rollup adds its fee for data."""
        return 0 if self.enough else self.gas * self.fees.max_fee


def node_of(payer: Payer, network: Network) -> Node:
    """The nodes that the settings name for a network; raises SettingsError when there is none."""
    where = Secret(payer.settings.nodes.get(network.id, ""))
    if not len(where):
        raise SettingsError(
            f"no node of {network.name} is known",
            rule="X402_AGENT_NODES",
            hint=f"export X402_AGENT_NODES={network.name}=https://…",
        )
    return Node(network, where)


def plan(payer: Payer, asset: Asset, spender: str, amount: int, *, max_fee: int) -> Steps[Plan]:
    """What it takes that `spender` may take `amount` atomic units, 0 to revoke: contracts, allowance, coins for gas.

    `max_fee` is the most it may cost, in wei. Nothing is signed. Raises SettingsError, SigningFailed, NodeError, and
    PolicyDenied when it would cost more than `max_fee` (C8).
    """
    node, owner = node_of(payer, asset.network), _account(payer, asset)
    yield from _contracts(node, asset.address, spender)
    mark = payer.ledger.mark(asset.network.id, asset.address, owner)
    had = yield from reads.allowance(node, asset.address, owner, spender)
    kind = "approve" if amount else "revoke"
    made = Plan(kind, asset, owner, spender, amount, had, 0, reads.Fees(0, None), mark)
    return made if made.enough else _afforded(payer, (yield from _priced(node, made, max_fee)))


def _afforded(payer: Payer, made: Plan) -> Plan:
    where = made.asset.network
    payer.ledger.afford(where.id, made.fee_cap, gas_of(payer.policy, where, made.fee_cap))
    return made


def _account(payer: Payer, asset: Asset) -> str:
    owner: str = payer.signer(asset.network.namespace).address(asset.network.namespace)
    return owner


def _contracts(node: Node, *addresses: str) -> Steps[None]:
    for each in addresses:
        if not (yield from reads.code(node, each)):
            raise NodeError(f"{node!r} shows no contract at {each}", rule=f"contracts on {node.network.name}", hint="name another node: X402_AGENT_NODES")


def _priced(node: Node, made: Plan, max_fee: int) -> Steps[Plan]:
    """The plan with gas and fees, within `max_fee` wei and within what the account has."""
    owner, where, coins = made.owner, node.network.name, node.network.coins
    gas = (yield from reads.estimate(node, owner, made.asset.address, made.data)) * 5 // 4
    if gas > transaction.MAX_GAS:
        raise PolicyDenied(f"{made.asset.symbol} asks {gas} gas for it", rule=f"at most {transaction.MAX_GAS} gas (C8)")
    made = replace(made, gas=gas, fees=(yield from reads.fees(node)))
    if made.fee_cap > max_fee:
        raise PolicyDenied(
            f"it may cost {coins(made.fee_cap)} of the coin of {where}, the limit is {coins(max_fee)}",
            rule="--max-fee (C8)", hint=f"try later, or --max-fee {coins(made.fee_cap * 5 // 4)}",
        )  # fmt: skip
    held = yield from reads.native(node, owner)
    if held < made.fee_cap:
        raise SigningFailed(
            f"{owner} has {coins(held)} of the coin of {where}, gas may take {coins(made.fee_cap)}",
            rule="gas is paid by the account itself", hint=f"send some of the coin of {where} to {owner}",
        )  # fmt: skip
    return made


def send(payer: Payer, made: Plan, *, patience: float = PATIENCE, say: Callable[[str], None] = print) -> Steps[Transaction | None]:
    """Do what was planned. -> the mined transaction, None when the chain already showed what is wanted.

    The ledger knows the bytes before they leave. Raises PaymentInDoubt when `patience` (seconds) ends before a receipt
    came, PaymentRefused when it was mined and reverted, SigningFailed, NodeError, LedgerError.
    """
    node, where = node_of(payer, made.asset.network), made.asset.network
    if made.kind == "revoke":
        _record(payer, made, 0)  # no offer counts on it from now on
    if made.enough:
        _record(payer, made, min(made.had, made.amount))
        return None
    waits = yield from _finish_others(payer, node, made, patience, say)
    row = yield from _build(payer, node, made)
    say(f"written down: {row.txid}, account nonce {row.account_nonce}")
    row, words = yield from _follow(payer, node, row, patience, say)
    if row.state in ("BUILT", "INFLIGHT"):
        raise PaymentInDoubt(
            f"no receipt of {row.txid} after {patience:.0f} s{': ' + words if words else ''}",
            rule="the same bytes go out again, never others (C5)",
            hint=_HINT.format(row.txid[:12]),
        )
    if row.state in ("REVERTED", "DEAD") or row.note:
        raise PaymentRefused(
            f"{row.txid} {row.note or 'can never be mined'}; its fee was {where.coins(row.fee_paid or 0)}",
            rule=f"block {row.block} of {where.name}", hint=where.link(row.txid),
        )  # fmt: skip
    for other in waits:
        yield from _follow(payer, node, other, patience, say)
    return row


def _record(payer: Payer, made: Plan, amount: int) -> None:
    token = made.asset.address
    payer.ledger.allow(made.asset.network.id, token, made.owner, made.party, amount, mark=made.mark).run()


def _build(payer: Payer, node: Node, made: Plan) -> Steps[Transaction]:
    """Sign with the next account nonce and write it down; when another process was faster, with the one after."""
    asset, number = made.asset, int(made.asset.network.id.partition(":")[2])
    signer, data = payer.signer(asset.network.namespace), made.data
    pending = yield from reads.nonce(node, made.owner)
    for _ in range(20):
        nonce = payer.ledger.next_nonce(asset.network.id, made.owner, pending)
        call = transaction.Unsigned(number, nonce, asset.address, data, made.gas, made.fees.max_fee, made.fees.tip)
        signed = transaction.sign(call, signer)
        row = Transaction(
            signed.txid, asset.network.id, made.owner, nonce, made.kind, asset.id, made.party, made.amount, made.gas,
            made.fees.max_fee, signed.raw,
        )  # fmt: skip
        if payer.ledger.build(row, pending, gas_of(payer.policy, asset.network, made.fee_cap)):
            return row
    raise LedgerError("other processes take every account nonce", rule="one account nonce, one transaction (C6)", hint="try again, once they are done")


def _finish_others(
    payer: Payer, node: Node, made: Plan, patience: float, say: Callable[[str], None]
) -> Steps[list[Transaction]]:
    """What this account has under way comes first: two in doubt at once cannot be told apart by their effect.

    -> those that wait for an account nonce below their own, which an approve may fill (C7).
    """
    waits = []
    for row in payer.ledger.transactions(open_only=True):
        if row.network != node.network.id or row.account != made.owner or row.state != "INFLIGHT":
            continue
        say(f"an earlier one is under way: {row.txid}")
        pending = yield from reads.nonce(node, made.owner)
        if payer.ledger.next_nonce(row.network, row.account, pending) < row.account_nonce:
            waits.append(row)
            continue
        after, _ = yield from (transfers.follow(payer, row, patience, say) if row.kind == transfers.KIND else _follow(payer, node, row, patience, say))
        if after.state == "INFLIGHT":
            raise PaymentInDoubt(
                f"the earlier transaction {row.txid} is still without a receipt; nothing new was signed",
                rule="one at a time", hint=_HINT.format(row.txid[:12]),
            )  # fmt: skip
    return waits


def _follow(
    payer: Payer, node: Node, row: Transaction, patience: float, say: Callable[[str], None]
) -> Steps[tuple[Transaction, str]]:
    """Hand the bytes to a node and wait for the receipt. -> the row as it stands, and a node's last words.

    What a node says to a broadcast proves nothing (C5): only a receipt does.
    """
    row = payer.ledger.launch(row.txid)
    waited, sent, pause, words = 0.0, -_AGAIN, doors.PAUSE, ""
    while True:
        start = payer.clock()
        if row.state == "INFLIGHT" and waited - sent >= _AGAIN:
            sent = waited
            try:
                yield from reads.send_raw(node, row.raw)
                words = ""
            except NodeError as why:
                words = why.what
        try:
            row = yield from _look(payer, node, row)
        except NodeError as why:
            words = why.what
        if row.state != "INFLIGHT" or waited >= patience:
            break
        if waited:
            say(f"waiting for a block, {waited:.0f} s")
        yield Sleep(pause)
        waited += max(pause, payer.clock() - start)
        pause = min(pause * 2, 4.0)
    if row.state == "INFLIGHT":
        row = yield from _spent_otherwise(payer, node, row)
    else:
        say(f"in block {row.block}{', ' + row.note if row.note else ''}; fee {node.network.coins(row.fee_paid or 0)}")
    return row, words


def _look(payer: Payer, node: Node, row: Transaction) -> Steps[Transaction]:
    """What the chain shows of a transaction now, written down; raises NodeError."""
    mined = yield from reads.receipt(node, row.txid)
    if mined is None:
        return payer.ledger.follow(row.txid, "INFLIGHT", note="no longer in a block") if row.state == "MINED" else row
    if mined.ok and not _proved(row, mined):
        raise NodeError(f"{node!r} shows a success without its log", rule="status and logs (C4)", hint="name another node: X402_AGENT_NODES")
    if mined.ok and row.state == "INFLIGHT":
        yield from _allowed(payer, node, row)
    note = "" if mined.ok else "was mined and reverted"
    is_final = yield from _final(node, mined)
    state = "CONFIRMED" if is_final and mined.ok else "MINED"
    if is_final and not mined.ok and (yield from _all(node, lambda one: _reverted(one, row))):
        state = "REVERTED"
    return payer.ledger.follow(row.txid, state, block=mined.block, fee=mined.fee, note=note)


def _final(node: Node, mined: Mined) -> Steps[bool]:
    block = yield from reads.final(node)
    return block is not None and int(block[0], 16) >= mined.block


def _all(node: Node, says: Callable[[Node], Steps[bool]]) -> Steps[bool]:
    """Whether every node says so. What ends a transaction unpaid lets another be made: one node's word is too little (C2)."""
    try:
        for one in node.each():
            if not (yield from says(one)):
                return False
    except NodeError:
        return False
    return True


def _reverted(node: Node, row: Transaction) -> Steps[bool]:
    mined = yield from reads.receipt(node, row.txid)
    return mined is not None and not mined.ok and (yield from _final(node, mined))


def _gone(node: Node, row: Transaction) -> Steps[bool]:
    """Whether a final transaction other than this one has its account nonce."""
    if (yield from reads.nonce(node, row.account, "finalized")) <= row.account_nonce:
        return False
    return (yield from reads.receipt(node, row.txid)) is None


def _proved(row: Transaction, mined: Mined) -> bool:
    """Whether the receipt holds the token's own Approval of exactly this amount (ERC-20)."""
    token = row.asset.rpartition(":")[2].lower()
    topics = (reads.APPROVAL, *("0x" + who[2:].lower().rjust(64, "0") for who in (row.account, row.party)))
    return any(
        log.address == token and log.topics == topics and int.from_bytes(log.data) == row.amount for log in mined.logs
    )


def _allowed(payer: Payer, node: Node, row: Transaction) -> Steps[None]:
    """Record what the chain shows to be allowed, never more than was approved."""
    token = row.asset.rpartition(":")[2]
    mark = payer.ledger.mark(row.network, token, row.account)
    now = yield from reads.allowance(node, token, row.account, row.party)
    payer.ledger.allow(row.network, token, row.account, row.party, min(now, row.amount), row.txid, mark).run()


def _spent_otherwise(payer: Payer, node: Node, row: Transaction) -> Steps[Transaction]:
    """DEAD when its account nonce is spent by another (b11), by every node's word, and not while nodes may be behind."""
    if payer.clock() - row.created_at >= _BEHIND and (yield from _all(node, lambda one: _gone(one, row))):
        return payer.ledger.follow(row.txid, "DEAD", note="its account nonce was used by another transaction")
    return row


def resume(payer: Payer, prefix: str = "", *, patience: float = 5.0) -> Steps[list[tuple[Transaction, Transaction, str]]]:
    """Every transaction that is not at its end, or the one whose id begins so: (before, after, in words).

    The same bytes go out again where they may have been lost; nothing is signed. Raises LedgerError.
    """
    found = []
    for row in payer.ledger.transactions(open_only=True):
        if row.state == "BUILT" or not row.txid.startswith(prefix):
            continue
        try:
            after, words = yield from replacing.follow(payer, row) if row.kind in replacing.REPLACES else _resume(payer, row, patience)
        except (NodeError, SettingsError) as why:
            after, words = row, why.what
        found.append((row, after, words))
    return found


def _resume(payer: Payer, row: Transaction, patience: float) -> Steps[tuple[Transaction, str]]:
    from .assets import asset_by_id

    asset = asset_by_id(row.asset)
    if asset is None:
        raise SettingsError(f"{row.asset} left the table", rule="what is not in assets.toml is never asked for", hint="install the release of x402-agent-sdk that wrote it")
    node = node_of(payer, asset.network)
    what = "revoke" if row.kind == "revoke" else f"{row.kind} of {Money(row.amount, asset)}"
    if transfers.ours(row):
        after, words = yield from transfers.follow(payer, row, patience)
        return after, f"{what}: {'final' if after.state == 'CONFIRMED' else after.note or words or 'in a block, not final yet'}"
    if row.state == "MINED":
        after = yield from _look(payer, node, row)
        return after, f"{what}: {'final' if after.state == 'CONFIRMED' else after.note or 'in a block, not final yet'}"
    after, words = yield from _follow(payer, node, row, patience, lambda _: None)
    said = {"INFLIGHT": words or "no receipt yet", "DEAD": after.note, "REVERTED": after.note}
    return after, f"{what}: {said.get(after.state) or after.note or 'in a block'}"
