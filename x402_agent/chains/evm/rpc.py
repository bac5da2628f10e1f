"""JSON-RPC to the nodes of one network, sans-IO: a node is asked for its chain before a word of it is believed (C3).

Several URLs fail over in turn. Answers are bounded, redirects are not followed, only https or this machine is asked
(C20). A URL may hold a key in its path, query or userinfo, so nothing ever shows more than scheme and host (C19), and
what a node says is data: escaped, cut, and cleaned of the URL that it may quote.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ...errors import NodeError, SettingsError
from ...secret import Secret
from ...steps import MAX_BODY, Fetch, Fetched

if TYPE_CHECKING:
    from ...model import Network
    from ...steps import Steps

__all__ = ["Node", "data", "quantity", "shown"]

_HEADERS = {"content-type": "application/json", "accept": "application/json"}
_SAID = 200
_DEEPEST = 64  # a receipt nests five levels; a thread's stack ends somewhere beyond a thousand
_BRACKETS = re.compile(r"[\[\]{}]").findall
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}").fullmatch
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*").fullmatch
_HINT = "x402-agent doctor; X402_AGENT_NODES='name=https://one|https://another' names several"


class _Odd(Exception):
    """One node's answer is no answer; the next one is asked."""


def shown(url: Secret) -> str:
    """Scheme and host of a node's URL: all that may be shown of it."""
    return f"{urlsplit(url.text).scheme}://{urlsplit(url.text).hostname or ''}"


def quantity(value: object) -> int:
    """A number as JSON-RPC writes it, 0x and hex digits, at most a uint256; raises ValueError."""
    if not isinstance(value, str) or not _QUANTITY(value):
        raise ValueError("no quantity")
    return int(value, 16)


def data(value: object, size: int | None = None) -> bytes:
    """Bytes as JSON-RPC writes them, `size` of them when given; raises ValueError."""
    if not isinstance(value, str) or not _DATA(value):
        raise ValueError("no data")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError("data of another length")
    return found


class Node:
    """The nodes of one network: one URL, or several with `|` between them, asked in that order.

    One object serves one conversation: it remembers who has named the right chain. Raises SettingsError for a URL
    that is neither https nor on this machine.
    """

    __slots__ = ("_chain_id", "_right", "_wrong", "network", "urls")

    def __init__(self, network: Network, where: str | Secret) -> None:
        self.network = network
        where = Secret(where)  # so that no frame of ours shows it
        self.urls = [_admitted(each) for each in map(Secret, where.text.split("|"))]
        self._chain_id = int(network.id.partition(":")[2])
        self._right: set[Secret] = set()
        self._wrong: set[Secret] = set()

    def __repr__(self) -> str:
        return f"Node({self.network.name}, {self.hosts})"

    @property
    def hosts(self) -> str:
        """Scheme and host of each, in the order of asking."""
        return ", ".join(map(shown, self.urls))

    def ask(
        self, method: str, *params: object, retries: int = 2, limit: int = MAX_BODY, raw: bool = False
    ) -> Steps[Any]:
        """The result of a call, from the first node that gives one. Raises NodeError.

        None is a result: a receipt that does not exist yet. `limit` in bytes; with `raw` the bytes of the answer come
        back, unread and perhaps cut there.
        """
        said = []
        for url in list(self.urls):
            try:
                result = yield from self._one(url, method, params, retries, limit, raw)
            except _Odd as why:
                said.append(f"{shown(url)}: {_clean(str(why), url)}")
                continue
            self.urls = [url, *(each for each in self.urls if each is not url)]  # whoever answers is asked first from now on
            return result
        raise NodeError(
            f"no node of {self.network.name} answered {method}: {'; '.join(said)}", rule="X402_AGENT_NODES", hint=_HINT
        )

    def _one(
        self, url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int, raw: bool
    ) -> Steps[Any]:
        yield from self._know(url)
        got: Fetched = yield _post(url, method, params, retries, limit)
        return _whole(got) if raw else _result(got, limit)

    def each(self) -> list[Node]:
        """One Node for each URL: to hear them all where one's word is not enough (C2)."""
        return [Node(self.network, url) for url in self.urls]

    def _know(self, url: Secret) -> Steps[None]:
        """Ask once which chain this node is on."""
        if url in self._wrong:
            raise _Odd("another chain")
        if url not in self._right:
            got: Fetched = yield _post(url, "eth_chainId", (), 2, 4096)
            try:
                chain_id = quantity(_result(got, 4096))
            except ValueError:
                raise _Odd("no chain id") from None
            if chain_id != self._chain_id:
                self._wrong.add(url)
                raise _Odd(f"it is on chain {chain_id}, not on {self._chain_id} (C3)")
            self._right.add(url)


def _admitted(given: Secret) -> Secret:
    """The URL itself; raises SettingsError for one that nobody should send a question to (C20)."""
    url = Secret(given.text.strip())
    try:
        scheme, host = urlsplit(url.text).scheme, urlsplit(url.text).hostname or ""
        fine = bool(host) and (scheme == "https" or (scheme == "http" and _is_here(host)))
    except ValueError:
        fine = False
    if not fine:
        raise SettingsError(
            "a node's URL is not https", rule="X402_AGENT_NODES: https, or http on this machine (C20)",
            hint="X402_AGENT_NODES=base=https://node.example/…",
        )  # fmt: skip
    return url


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _post(url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int) -> Fetch:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    content = json.dumps(body, separators=(",", ":")).encode()
    return Fetch("POST", url.text, content, _HEADERS, retries=retries, limit=limit)


def _whole(got: Fetched) -> bytes:
    if got.status != 200:
        raise _Odd(f"HTTP {got.status}" if got.status else "no answer")
    return got.content


def _result(got: Fetched, limit: int) -> Any:
    """What a JSON-RPC answer holds; raises _Odd for anything else."""
    content = _whole(got)
    if len(content) >= limit:
        raise _Odd(f"an answer of more than {limit} bytes")
    try:
        text = content.decode("utf-8")
        deep = _depth(text) > _DEEPEST
        answer = None if deep else json.loads(text)
    except (ValueError, RecursionError):
        raise _Odd("an answer that is not JSON") from None
    if deep:
        raise _Odd("an answer too deep to read")
    if not isinstance(answer, dict):
        raise _Odd("an answer that is not JSON-RPC")
    error = answer.get("error")
    if error is not None:
        words = error.get("message") if isinstance(error, dict) else None
        raise _Odd(f"error: {words}" if isinstance(words, str) else "an error without a message")
    if "result" not in answer:
        raise _Odd("an answer without a result")
    return answer["result"]


def _depth(text: str) -> int:
    """How deep an answer nests at most. Brackets inside strings do not count: strings are cut out, escapes first."""
    depth = deepest = 0
    for mark in _BRACKETS("".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _clean(words: str, url: Secret) -> str:
    """A node's words, fit to be shown: nothing of its URL but the host, ASCII, at most _SAID characters."""
    parts = urlsplit(url.text)
    pieces = {url.text, parts.query, *parts.path.split("/"), *re.split("[&=]", parts.query), parts.fragment}
    pieces |= {parts.username or "", parts.password or "", parts.netloc.rpartition("@")[0]}
    pieces |= {unquote(piece) for piece in pieces}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) > 3:
            words = words.replace(piece, "…")
    cut = words if len(words) <= _SAID else words[:_SAID] + "…"
    return ascii(cut)[1:-1].replace(r"\u2026", "…")
