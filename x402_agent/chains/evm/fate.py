"""What became of an authorisation, by a node's word. Doubt is an answer: anything odd or unreachable is `unknown`.

`settled`: the token says that the nonce is used, at the newest block. `dead`: at a *finalised* block whose time is past
validBefore the nonce is unused; EIP-3009 then rejects it for ever. Our own clock has no say (rows T10, a10).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ...steps import Fetch, Fetched
from .eip3009 import address_bytes

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps

__all__ = ["fate"]

_SELECTOR = "0xe94a0102"  # authorizationState(address,bytes32), EIP-3009
_STATES = {"0x" + "0" * 64: False, "0x" + "0" * 63 + "1": True}
_HEADERS = {"content-type": "application/json", "accept": "application/json"}
_TIME = re.compile(rb'"timestamp"\s*:\s*"0x([0-9a-fA-F]{1,16})"').findall
_NUMBER = re.compile(rb'"number"\s*:\s*"(0x[0-9a-fA-F]{1,16})"').findall


def fate(offer: Offer, terms: Terms, node: str) -> Steps[str]:
    """`settled`, `dead` or `unknown`. At most four calls; a node of another chain is not believed."""
    call = {
        "to": offer.asset.address,
        "data": _SELECTOR + "00" * 12 + address_bytes(terms.payer).hex() + terms.nonce[2:],
    }
    chain = yield from _result(node, "eth_chainId")
    if chain is None or chain.lower() != hex(int(offer.network.id.partition(":")[2])):
        return "unknown"
    used = yield from _state(node, call, "latest")
    if used is not False:
        return "settled" if used else "unknown"
    final = yield from _final(node, terms.valid_before)
    if not final:
        return "unknown"
    used = yield from _state(node, call, final)
    return "unknown" if used is None else "settled" if used else "dead"


def _state(node: str, call: dict[str, str], block: str) -> Steps[bool | None]:
    answer = yield from _result(node, "eth_call", call, block)
    return _STATES.get(answer) if answer is not None else None


def _final(node: str, after: int) -> Steps[str]:
    """The number of the finalised block when its time is later than `after`, else "".

    Read by pattern, not as JSON: a busy block's list of transactions can be longer than a Fetched holds.
    """
    got = yield _post(node, "eth_getBlockByNumber", "finalized", False)
    if got.status != 200:
        return ""
    times, numbers = set(_TIME(got.content)), set(_NUMBER(got.content))
    if len(times) != 1 or len(numbers) != 1 or int(times.pop(), 16) <= after:
        return ""
    number: bytes = numbers.pop()
    return number.decode("ascii")


def _result(node: str, method: str, *params: object) -> Steps[str | None]:
    """The string that a JSON-RPC call returns, or None."""
    got: Fetched = yield _post(node, method, *params)
    if got.status != 200 or len(got.content) > 4096 or got.content.count(b"[") + got.content.count(b"{") > 8:
        return None
    try:
        answer = json.loads(got.content)
    except (ValueError, RecursionError):
        return None
    result = answer.get("result") if isinstance(answer, dict) and answer.get("error") is None else None
    return result if isinstance(result, str) else None


def _post(node: str, method: str, *params: object) -> Fetch:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return Fetch("POST", node, json.dumps(body, separators=(",", ":")).encode(), _HEADERS)
