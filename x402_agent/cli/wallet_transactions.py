"""`x402-agent wallet transactions`: our own transactions, what gas they took, and who may still take what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import Money, Settings, assets
from .common import Json, as_json, errors, ledgers

if TYPE_CHECKING:
    from ..ledger import SqliteLedger, Transaction

__all__ = ["run"]


def run(json: Json = False) -> None:
    """List approvals of your account, oldest first, with fees; then the allowances that are left."""
    with errors(json):
        opened = ledgers(Settings.load())
        sent = [(ledger, one) for ledger in opened for one in ledger.transactions()]
        left = [_allowance(*each, sandbox=ledger.sandbox) for ledger in opened for each in ledger.allowances()]
        if json:
            as_json({"transactions": [_row(one, ledger) for ledger, one in sent], "allowances": left})
            return
        for ledger, one in sent:
            print(_line(one, sandbox=ledger.sandbox))
        for each in left:
            print(f"{_marked(each['money'], sandbox=each['sandbox'])} may be taken by {each['spender']} from {each['owner']}")
        if not sent and not left:
            print("none yet; x402-agent wallet approve USDC --for permit2 --amount 20 makes one")


def _money(amount: int, asset_id: str) -> str:
    asset = assets.asset_by_id(asset_id)
    return str(Money(amount, asset)) if asset else f"{amount} of {asset_id}"


def _marked(money: str, *, sandbox: bool) -> str:
    if not sandbox:
        return money
    return money.replace(")", ", sandbox)") if ")" in money else f"{money} (sandbox)"


def _line(one: Transaction, *, sandbox: bool) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.created_at))
    where = assets.network(one.network)
    coins = where.coins if where else str
    fee = f"fee {coins(one.fee_paid)}" if one.fee_paid is not None else f"fee at most {coins(one.fee_cap)}"
    what = _marked(one.kind, sandbox=sandbox) if one.kind in ("revoke", "cancel") else f"{one.kind} {_marked(_money(one.amount, one.asset), sandbox=sandbox)}"
    return f"{at}  {one.state:9}  {what}  {fee}  {one.txid}{'  ' + one.note if one.note else ''}"


def _row(one: Transaction, ledger: SqliteLedger) -> dict[str, Any]:
    where = assets.network(one.network)
    return {
        "transaction": one.txid, "state": one.state, "kind": one.kind, "network": one.network, "account": one.account,
        "account_nonce": one.account_nonce if one.account_nonce >= 0 else None, "asset": one.asset, "amount": str(one.amount), "party": one.party,
        "fee": "" if one.fee_paid is None else str(one.fee_paid), "fee_cap": str(one.fee_cap), "block": one.block,
        "note": one.note, "created_at": one.created_at, "sandbox": ledger.sandbox,
        "explorer": where.link(one.txid) if where and not ledger.sandbox else "",
    }  # fmt: skip


def _allowance(network: str, token: str, owner: str, spender: str, left: int, *, sandbox: bool) -> dict[str, Any]:
    where = assets.network(network)
    asset = assets.asset(where, token) if where else None
    money = str(Money(left, asset)) if asset else str(left)
    return {"network": network, "token": token, "owner": owner, "spender": spender, "left": str(left), "money": money,
            "sandbox": sandbox}  # fmt: skip
