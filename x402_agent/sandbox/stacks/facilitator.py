"""Checks and settles x402 `exact` on Stacks: version 2, the older service's own interface, and the sponsor's relay.

Sources: x402-stacks 2.0 and the Go facilitator (/verify, /settle, /api/v1/*), the relay (/relay, `payment-identifier`).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import assets
from ...encodings import unc32_address
from ..ground import Facilitator, Settled
from ..messages import json_answer
from ..refusals import Refused, asked, refusal, uint
from .chain import NETWORK
from .state import STX
from .till import Held, Till, Wanted, check, decode, moved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Asset
    from ..messages import Answer, Request
    from .accounts import Account
    from .chain import Chain
    from .till import Taken

__all__ = ["StacksFacilitator", "asset_id", "held_view", "token_named"]

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{16,128}").fullmatch


class _Paying(NamedTuple):
    payer: str


def token_named(name: object) -> Asset:
    """The asset of this network that a seller calls so; raises Refused: an unknown name is never taken for STX."""
    where = assets.network(NETWORK)
    text = name if isinstance(name, str) else ""
    found = where and (assets.asset(where, text) or assets.asset_by_id(text))
    if not found or found.network != where:
        raise Refused("unsupported_asset", f"{text[:48]!r} is no asset of {NETWORK}")
    return found


def asset_id(found: Asset) -> str:
    """An asset as the chain's books name it: `STX`, or `ADDR.contract::token`."""
    return STX if found.native else f"{found.address}::{found.detail}"


def held_view(held: Held) -> dict[str, Any]:
    """How the relay tells that it keeps a transaction until its turn."""
    return {"status": "queued", "missingNonces": held.missing, "expiresAt": held.expires}


class StacksFacilitator(Facilitator):
    """`operator` pays the fees of sponsored payments."""

    def __init__(self, chain: Chain, operator: Account) -> None:
        super().__init__({2: NETWORK})
        self._chain = chain
        self._operator = operator
        self.till = Till(chain, operator, self.settlements)
        self._identified: dict[str, tuple[str, dict[str, Any]]] = {}

    @property
    def address(self) -> str:
        """The sponsor."""
        return self._operator.address

    def supported(self) -> dict[str, Any]:
        """The SupportedResponse."""
        kinds = [{"x402Version": 2, "scheme": "exact", "network": NETWORK}]
        return {"kinds": kinds, "extensions": ["payment-identifier"], "signers": {"stacks:*": [self.address]}}

    def verify(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> _Paying:
        """Whether it would settle now; raises Refused."""
        tx, wanted = _read(payload, requirement)
        self.till.rehearse(tx, wanted)
        return _Paying(tx.sender)

    def settle(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Settled:
        """Settle it, once; the same proof for the same requirement gets the same answer. Raises Refused."""
        taken = self.till.take(*_read(payload, requirement))
        return Settled(taken.row.payer, NETWORK, taken.row.amount, taken.row)

    def settle_json(self, body: object) -> dict[str, Any]:
        """POST /settle, with the relay's `payment-identifier` and its word for what is kept until its turn."""
        identifier, digest = _identified(body)
        known = self._identified.get(identifier)
        if known is not None and known[0] != digest:
            return refusal(Refused("payment_identifier_conflict"), NETWORK)
        if known is not None:
            return known[1]
        answer = super().settle_json(body)
        if answer.get("errorReason") == "transaction_held":
            payload = body["paymentPayload"] if isinstance(body, dict) else {}
            answer["queue"] = self._queue(payload)
        if identifier and answer["success"]:
            self._identified[identifier] = digest, answer
        return answer

    def _queue(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        held = self.till.held(decode(_transaction(payload)))
        return held_view(held) if held else {}

    # -- beside x402 --------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer | None:
        """The older interface and the relay; None for any other path."""
        match request.method, request.path:
            case "POST", "/facilitator/api/v1/settle":
                return self._settle_v1(request.json())
            case "POST", "/facilitator/api/v1/verify":
                return self._verify_v1(request.json())
            case "POST", "/relay/settle":
                said = self.settle_json(request.json())
                return json_answer(409 if said.get("errorReason") == "payment_identifier_conflict" else 200, said)
            case "POST", "/relay":
                return self._relay(request.json(), own_fee=request.headers.get("x-settlement") == "self-pay")
            case "GET", path if path.startswith("/relay/verify/"):
                return self._receipt(path.rpartition("/")[2])
        return None

    def _settle_v1(self, body: Any) -> Answer:
        try:
            tx, wanted = decode(body.get("signed_transaction")), _older(body)
            if body.get("network", "testnet") != "testnet":
                raise Refused("network_mismatch", "this chain is testnet")
            taken = self.till.take(tx, wanted)
        except Refused as refused:
            status = "pending" if refused.code in ("transaction_pending", "transaction_held") else "failed"
            said = {"success": False, "error": refused.code, "details": refused.words, "status": status}
            return json_answer(500 if refused.code == "broadcast_failed" else 400, said)
        return json_answer(200, _v1_view(taken))

    def _verify_v1(self, body: Any) -> Answer:
        """Of a transaction that is on the chain, whoever sent it."""
        entry = self._chain.entry(str(body.get("tx_id")))
        try:
            if entry is None:
                raise Refused("transaction_not_found")
            if entry.status != "success":
                raise Refused("transaction_failed", entry.status)
            check(entry.tx, _older(body))
        except Refused as refused:
            said = {"success": False, "valid": False, "error": refused.code, "validation_errors": [refused.code]}
            return json_answer(400, said | {"details": refused.words})
        _, recipient, amount, memo = moved(entry.tx)
        height = entry.block.height if entry.block else 0
        said = {"tx_id": entry.tx.txid, "sender_address": entry.tx.sender, "recipient_address": recipient}
        said |= {"amount": amount, "memo": memo.rstrip(b"\0").decode("utf-8", "replace"), "status": "confirmed"}
        return json_answer(200, {"success": True, "valid": True, **said, "block_height": height})

    def _relay(self, body: Any, *, own_fee: bool) -> Answer:
        try:
            tx, terms = decode(body.get("transaction")), body.get("settle")
            if not isinstance(terms, dict):
                raise Refused("invalid_payload", "settle is not an object")
            if (tx.parsed.sponsor is None) != own_fee:
                raise Refused("not_sponsored", "self-pay needs the header X-Settlement: self-pay")
            older = {
                "token_type": terms.get("tokenType", "STX"),
                "expected_recipient": terms.get("expectedRecipient"),
                "min_amount": terms.get("minAmount"),
                "expected_sender": terms.get("expectedSender", ""),
                "resource": terms.get("resource", ""),
                "method": terms.get("method", ""),
            }
            taken = self.till.take(tx, _older(older))
        except Held as held:
            return json_answer(202, {"success": False, "status": "held", "queue": held_view(held)})
        except Refused as refused:
            return json_answer(400, {"success": False, "error": refused.code, "details": refused.words})
        row, raw = taken.row, taken.entry.tx.raw.hex()
        settlement = {"success": True, "status": "confirmed", "sender": row.payer, "recipient": row.pay_to}
        settlement |= {"amount": str(row.amount), "blockHeight": row.block}
        receipt = hashlib.sha256(row.tx.encode()).hexdigest()[:32]
        said = {"success": True, "txid": row.tx, "settlement": settlement, "sponsoredTx": raw, "receiptId": receipt}
        return json_answer(200, said)

    def _receipt(self, receipt: str) -> Answer:
        for row in self.settlements:
            if hashlib.sha256(row.tx.encode()).hexdigest()[:32] == receipt:
                return json_answer(
                    200, {"success": True, "receipt": {"id": receipt, "txid": row.tx, "sender": row.payer}}
                )
        return json_answer(404, {"success": False, "error": "receipt_not_found"})


def _transaction(payload: Mapping[str, Any]) -> object:
    """`transaction`, or the word of the foundation's draft."""
    inner = payload.get("payload")
    if not isinstance(inner, dict):
        raise Refused("invalid_payload", "payload.payload is not an object")
    return inner.get("transaction", inner.get("signedTransaction"))


def _read(payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> tuple[Any, Wanted]:
    """The transaction of a payload, and what the requirement wants of it."""
    stated = payload.get("accepted", requirement)
    if requirement.get("scheme") != "exact" or not isinstance(stated, dict) or stated.get("scheme") != "exact":
        raise Refused("unsupported_scheme")
    if requirement.get("network") != NETWORK or stated.get("network") != NETWORK:
        raise Refused("network_mismatch", f"this chain is {NETWORK}")
    asset = token_named(requirement.get("asset"))
    resource, extra = payload.get("resource"), requirement.get("extra")
    url = resource.get("url") if isinstance(resource, dict) else resource
    memo = extra.get("nonce", "") if isinstance(extra, dict) else ""
    amount, pay_to = asked(requirement, "amount"), _account(requirement.get("payTo"))
    return decode(_transaction(payload)), Wanted(asset_id(asset), pay_to, amount, str(url or ""), str(memo))


def _account(address: object) -> str:
    """An account or contract of this network; raises Refused."""
    text = address if isinstance(address, str) else ""
    try:
        version, _ = unc32_address(text.partition(".")[0])
    except ValueError:
        raise Refused("invalid_payment_requirements", "payTo is not a Stacks address") from None
    if version not in (21, 26):
        raise Refused("network_mismatch", "payTo is of another network")
    return text


def _older(body: Mapping[str, Any]) -> Wanted:
    """What the older interface wants: at least so much. Raises Refused."""
    asset = token_named(body.get("token_type", "STX"))
    try:
        amount = uint(body.get("min_amount"))
    except ValueError as cause:
        raise Refused("invalid_payment_requirements", f"min_amount: {cause}") from None
    purpose = f"{body.get('method', '')} {body.get('resource', '')}".strip()
    sender, memo = (str(body.get(f"expected_{name}") or "") for name in ("sender", "memo"))
    pay_to = _account(body.get("expected_recipient"))
    return Wanted(asset_id(asset), pay_to, amount, purpose, memo, sender, at_least=True)


def _v1_view(taken: Taken) -> dict[str, Any]:
    row = taken.row
    return {
        "success": True,
        "tx_id": row.tx,
        "sender_address": row.payer,
        "recipient_address": row.pay_to,
        "amount": row.amount,
        "fee": taken.entry.tx.fee,
        "status": "confirmed",
        "block_height": row.block,
    }


def _identified(body: object) -> tuple[str, str]:
    """The payment-identifier of a settle request, "" when it has none, and what it stands for; raises nothing."""
    payload = body.get("paymentPayload") if isinstance(body, dict) else None
    sent = payload.get("extensions") if isinstance(payload, dict) else None
    extension = sent.get("payment-identifier") if isinstance(sent, dict) else None
    info = extension.get("info") if isinstance(extension, dict) else None
    found = info.get("id") if isinstance(info, dict) else None
    identifier = found if isinstance(found, str) and _IDENTIFIER(found) else ""
    return identifier, hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
