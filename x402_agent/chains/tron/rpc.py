"""The nodes of TRON: java-tron's HTTP API, as TronGrid serves it. Its genesis block names the chain.

TronGrid takes its key in the header TRON-PRO-API-KEY. It is given in the URL, as user (https://KEY@api.trongrid.io) or as the
parameter of that name, and travels in the header alone.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ...secret import Secret, Veiled
from ...steps import Fetch
from .. import rpc

__all__ = ["Node"]

_KEY = "TRON-PRO-API-KEY"
_GENESIS = re.compile(r"0{16}[0-9a-f]{40}([0-9a-f]{8})").fullmatch


class Node(rpc.Node):
    """The nodes of one network of TRON. A method is a path below the URL, its one parameter the JSON object to post."""

    __slots__ = ()
    asks = ("wallet/getblockbynum", {"num": 0})
    named_in = 64 * 1024  # the first block has transactions
    spec = "java-tron HTTP API"

    def named(self, answer: Any) -> str:
        """The end of the genesis block's id, as CAIP-2 has it; raises ValueError."""
        found = _GENESIS(str(answer.get("blockID")))
        if not found:
            raise ValueError("no genesis block")
        return f"0x{found[1]}"

    def question(self, url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int) -> Fetch:
        """POST to a path below the URL, which keeps nothing of a key."""
        content = json.dumps(params[0], separators=(",", ":")).encode()
        return Fetch("POST", _below(url, method).text, content, _headers(url), retries=retries, limit=limit, twice=True)

    def result(self, answer: dict[str, Any]) -> Any:
        """The answer itself; raises Odd for an error."""
        if "Error" in answer:
            raise rpc.Odd(f"error: {answer['Error']}")
        return answer


def _below(url: Secret, method: str) -> Secret:
    parts = urlsplit(url.text)
    query = urlencode([each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0].upper() != _KEY])
    return Secret(
        urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], f"{parts.path.rstrip('/')}/{method}", query, ""))
    )


def _headers(url: Secret) -> Veiled:
    held = _key(url)
    return Veiled({**rpc.HEADERS, **({_KEY: held.text} if len(held) else {})})


def _key(url: Secret) -> Secret:
    parts = urlsplit(url.text)
    named = [Secret(value) for name, value in parse_qsl(parts.query) if name.upper() == _KEY]
    return named[0] if named else Secret(unquote(parts.password or parts.username or ""))
