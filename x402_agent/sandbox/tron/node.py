"""A full node's HTTP API over the pretend TRON: enough that tronweb, tronpy and wallets work with it unchanged.

State is the newest, under /walletsolidity too; blocks and transactions there are those that nothing can undo. Addresses
are hex with 41 in front, or T... where `visible` is set. Source: TRON's HTTP API reference, and java-tron's answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..token import selector
from .chain import BANDWIDTH_PRICE, ENERGY_PRICE, FREE_BANDWIDTH, MEMO, Rejected, show
from .contracts import raw_address
from .envelope import CALL, Malformed, decode, transaction_view, whole, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .chain import Block, Chain, Mined

__all__ = ["METHODS", "answer_node"]

_PARAMETERS = {
    "getTransactionFee": BANDWIDTH_PRICE,
    "getEnergyFee": ENERGY_PRICE,
    "getCreateAccountFee": 100_000,
    "getCreateNewAccountFeeInSystemContract": 1_000_000,
    "getMemoFee": MEMO,
    "getMaxFeeLimit": 15_000_000_000,
    "getFreeNetLimit": FREE_BANDWIDTH,
}


class _Asked(NamedTuple):
    """One call: the chain, what was sent, whether T... addresses are wanted, and whether only what is solid counts."""

    chain: Chain
    body: Mapping[str, Any]
    visible: bool
    solid: bool

    def show(self, raw: bytes) -> str:
        return show(raw) if self.visible else "41" + raw.hex()

    def address(self, name: str) -> bytes:
        """The 20 bytes of an address in the body; raises ValueError."""
        given = self.body.get(name)
        if self.visible:
            return raw_address(given)
        raw = bytes.fromhex(given) if isinstance(given, str) else b""
        if len(raw) != 21 or raw[0] != 0x41:
            raise ValueError(f"{name}: Invalid address")
        return raw[1:]

    def number(self, name: str) -> int:
        given = self.body.get(name) or 0
        if isinstance(given, bool) or not isinstance(given, (int, str)):
            raise ValueError(f"{name}: not a number")
        number = int(given)
        if not 0 <= number < 1 << 63:
            raise ValueError(f"{name}: not within 63 bits")
        return number

    def mined(self) -> Mined | None:
        """The transaction named by `value`, when the kind of node that is asked has it."""
        found = self.chain.mined(str(self.body.get("value", "")))
        return None if found and self.solid and found.block > self.chain.solid().number else found


def answer_node(chain: Chain, path: str, body: Mapping[str, Any]) -> object | None:
    """The answer to a call of /wallet/... or /walletsolidity/..., None where there is no such call.

    What is not understood is answered as java-tron does: {"Error": ...}.
    """
    _, room, name = (*path.split("/", 2), "", "")[:3]
    method = METHODS.get(name) if room in ("wallet", "walletsolidity") else None
    if method is None or (room == "walletsolidity" and name.startswith("broadcast")):
        return None
    try:
        return method(_Asked(chain, body, body.get("visible") in (True, "true"), room == "walletsolidity"))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as cause:
        return {"Error": f"class java.lang.IllegalArgumentException : {str(cause)[:200]}"}


# -- blocks ------------------------------------------------------------------------------------------------------------


def _block(asked: _Asked, block: Block) -> dict[str, Any]:
    found = [asked.chain.mined(each) for each in block.transactions]
    header = {"number": block.number, "parentHash": block.parent.hex(), "timestamp": block.timestamp, "version": 31}
    shown: dict[str, Any] = {"blockID": block.id.hex(), "block_header": {"raw_data": header, "witness_signature": ""}}
    return shown | ({"transactions": [_shown(asked, each) for each in found if each]} if found else {})


def _header(asked: _Asked) -> object:
    """A block by number or id, the newest without either; its transactions only where `detail` is set."""
    which = asked.body.get("id_or_num")
    newest = asked.chain.solid() if asked.solid else asked.chain.head()
    number = newest.number if which is None else int(str(which)[:16], 16) if len(str(which)) == 64 else int(which)
    found = asked.chain.block(number)
    if found is None or found.number > newest.number or (len(str(which)) == 64 and found.id.hex() != which):
        return {}
    shown = _block(asked, found)
    return shown if asked.body.get("detail") in (True, "true") else {k: v for k, v in shown.items() if k != "transactions"}


def _now(asked: _Asked) -> object:
    return _block(asked, asked.chain.solid() if asked.solid else asked.chain.head())


def _numbered(asked: _Asked) -> object:
    newest = asked.chain.solid() if asked.solid else asked.chain.head()
    found = asked.chain.block(asked.number("num"))
    return _block(asked, found) if found and found.number <= newest.number else {}


# -- transactions ------------------------------------------------------------------------------------------------------


def _broadcast(asked: _Asked, wire: bytes) -> dict[str, Any]:
    try:
        return {"result": True, "txid": asked.chain.submit(wire).txid}
    except Rejected as refused:
        try:
            txid = {"txid": decode(wire).txid}
        except Malformed:
            txid = {}
        return {"code": refused.code, **txid, "message": str(refused).encode().hex()}


def _broadcast_hex(asked: _Asked) -> object:
    return _broadcast(asked, bytes.fromhex(str(asked.body.get("transaction", ""))))


def _broadcast_json(asked: _Asked) -> object:
    """The bytes decide; a node rebuilds them of `raw_data`, so a document whose halves differ is signed by nobody."""
    raw = bytes.fromhex(str(asked.body.get("raw_data_hex", "")))
    signatures = [bytes.fromhex(each) for each in asked.body.get("signature") or []]
    wire = whole(raw, *signatures)
    try:
        shown = transaction_view(decode(wire), asked.show)
    except Malformed:
        return _broadcast(asked, wire)
    if asked.body.get("raw_data", shown["raw_data"]) != shown["raw_data"]:
        words = "Validate signature error: raw_data and raw_data_hex differ"
        return {"code": "SIGERROR", "txid": shown["txID"], "message": words.encode().hex()}
    return _broadcast(asked, wire)


def _shown(asked: _Asked, mined: Mined) -> dict[str, Any]:
    return {"ret": [{"contractRet": mined.result}], **transaction_view(mined.envelope, asked.show)}


def _transaction(asked: _Asked) -> object:
    found = asked.mined()
    return _shown(asked, found) if found else {}


def _info(asked: _Asked) -> object:
    found = asked.mined()
    if found is None:
        return {}
    receipt: dict[str, Any] = {
        "energy_usage_total": found.energy,
        "energy_fee": found.energy_fee,
        "net_usage": found.net,
        "net_fee": found.net_fee,
    }
    receipt = {name: value for name, value in receipt.items() if value}
    called = found.envelope.kind == CALL
    info: dict[str, Any] = {
        "id": found.envelope.txid,
        "fee": found.fee,
        "blockNumber": found.block,
        "blockTimeStamp": found.timestamp,
        "contractResult": [found.output.hex()],
        "receipt": receipt | ({"result": found.result} if called else {}),
    }
    if called:
        info["contract_address"] = asked.show(found.envelope.to)
    if found.result != "SUCCESS":
        info |= {"result": "FAILED", "resMessage": _words(found.result).encode().hex()}
    if found.logs:
        info["log"] = [
            {"address": each.address.hex(), "topics": [topic.hex() for topic in each.topics], "data": each.data.hex()}
            for each in found.logs
        ]
    return info


def _words(result: str) -> str:
    return "REVERT opcode executed" if result == "REVERT" else f"Not enough energy for the operation: {result}"


# -- calls -------------------------------------------------------------------------------------------------------------


def _trigger(asked: _Asked) -> dict[str, Any]:
    """Run code and forget it: `function_selector` and `parameter`, or `data`."""
    contract = asked.address("contract_address")
    if not asked.chain.code(contract):
        return _invalid("Smart contract is not exist.")
    owner, value = asked.address("owner_address"), asked.number("call_value")
    if value > asked.chain.sun(owner):
        return _invalid("Validate InternalTransfer error, balance is not sufficient.")
    ran, energy = asked.chain.call(contract, _calldata(asked), owner, value=value)
    answer: dict[str, Any] = {"result": {"result": True}, "energy_used": energy, "constant_result": [ran.output.hex()]}
    if not ran.ok:
        answer["result"]["message"] = _words("REVERT" if not ran.halt else ran.halt).encode().hex()
    return answer | {"transaction": {"ret": [{} if ran.ok else {"ret": "FAILED"}]}}


def _invalid(words: str) -> dict[str, Any]:
    return {"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": words.encode().hex()}}


def _build(asked: _Asked) -> dict[str, Any]:
    """The call as a transaction to sign, when it would go through: whoever signs it should look at it first."""
    ran = _trigger(asked)
    if "constant_result" not in ran:
        return ran
    to, owner = asked.address("contract_address"), asked.address("owner_address")
    head = asked.chain.head()
    money = {"value": asked.number("call_value"), "fee_limit": asked.number("fee_limit")}
    tx = decode(whole(written(owner, to, _calldata(asked), head.id, head.timestamp, **money)))
    shown = {name: value for name, value in transaction_view(tx, asked.show).items() if name != "signature"}
    return {"result": {"result": True}, "transaction": {"visible": asked.visible, **shown}}


def _calldata(asked: _Asked) -> bytes:
    name = asked.body.get("function_selector")
    data = bytes.fromhex(str(asked.body.get("parameter" if name else "data") or ""))
    return (selector(str(name)) if name else b"") + data


def _estimate(asked: _Asked) -> object:
    """The energy that a call needs, in hand: as much as it used, and a tenth for what comes back only at its end."""
    ran = _trigger(asked)
    if "constant_result" not in ran or "message" in ran["result"]:
        return {"result": ran["result"]}
    return {"result": {"result": True}, "energy_required": ran["energy_used"] * 11 // 10}


# -- accounts ----------------------------------------------------------------------------------------------------------


def _account(asked: _Asked) -> object:
    address = asked.address("address")
    if not asked.chain.exists(address):
        return {}
    return {"address": asked.show(address), "balance": asked.chain.sun(address)}


def _resource(asked: _Asked) -> object:
    address = asked.address("address")
    if not asked.chain.exists(address):
        return {}
    used = asked.chain.bandwidth_used(address)
    limits = {"freeNetLimit": FREE_BANDWIDTH, "TotalNetLimit": 43_200_000_000, "TotalEnergyLimit": 180_000_000_000}
    return limits | ({"freeNetUsed": used} if used else {})


def _contract(asked: _Asked) -> object:
    address = asked.address("value")
    code = asked.chain.code(address)
    return {"contract_address": asked.show(address), "bytecode": code.hex()} if code else {}


def _parameters(_: _Asked) -> object:
    return {"chainParameter": [{"key": key, "value": value} for key, value in _PARAMETERS.items()]}


METHODS: Mapping[str, Callable[[_Asked], object]] = {
    "getnowblock": _now,
    "getblock": _header,
    "getblockbynum": _numbered,
    "broadcasthex": _broadcast_hex,
    "broadcasttransaction": _broadcast_json,
    "gettransactionbyid": _transaction,
    "gettransactioninfobyid": _info,
    "triggerconstantcontract": _trigger,
    "triggersmartcontract": _build,
    "estimateenergy": _estimate,
    "getaccount": _account,
    "getaccountresource": _resource,
    "getcontract": _contract,
    "getchainparameters": _parameters,
}
