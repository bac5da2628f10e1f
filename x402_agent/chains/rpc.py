"""The nodes of one network, sans-IO: a node is asked for its chain before a word of it is believed (C3).

Each family of chains has a Node of its own, which says by which call a node names its chain, and how it is asked where that
is not JSON-RPC. Several URLs fail over in turn. Answers are bounded, redirects are not followed, only https or this machine is asked
(C20). A URL may hold a key in its path, query or userinfo, so nothing ever shows more than scheme and host (C19), and
what a node says is data: escaped, cut, and cleaned of the URL that it may quote.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from ..errors import NodeError, SettingsError
from ..secret import Secret
from ..steps import MAX_BODY, Fetch, Fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model import Network
    from ..steps import Steps

__all__ = ["HEADERS", "Node", "Odd", "alike", "parsed", "shown", "verdict"]

T = TypeVar("T")

HEADERS = {"content-type": "application/json", "accept": "application/json"}
_SAID = 200
_DEEPEST = 64  # a receipt nests five levels; a thread's stack ends somewhere beyond a thousand
_BRACKETS = re.compile(r"[\[\]{}]").findall
_IDS = re.compile(rb'"id"\s*:\s*([0-9]{1,20})').findall
_ANYONES = (None, 0, 1)  # numbers that small nodes give whatever they were asked; ours are others
_HINT = "x402-agent doctor; X402_AGENT_NODES='name=https://one|https://another' names several"


class Odd(ValueError):
    """One node's answer is no answer; the next one is asked."""


def alike(words: Iterable[Steps[T | None]]) -> Steps[T | None]:
    """What every node says, None when they differ: what frees or credits money needs the word of all (C2)."""
    found = set()
    for each in words:
        found.add((yield from each))
    return found.pop() if len(found) == 1 else None


def verdict(family: Callable[[Network, str], Node], network: Network, node: str, one: Callable[[Any], Steps[str]]) -> Steps[str]:
    """What the nodes of a network make of a proof: `settled`, `dead`, `failed` or `unknown`. `one` asks a single node.

    One node's word is enough for `settled`, which keeps money counted; `dead` and `failed` free it, so all must say it (C2):
    of both it is `failed`, by which its fee stays counted.
    """
    words = []
    try:
        for each in family(network, node).each():
            words.append((yield from one(each)))
            if words[-1] == "settled":
                return "settled"
    except SettingsError:
        return "unknown"
    freed = bool(words) and set(words) <= {"dead", "failed"}
    return max(words) if freed else "unknown"


def shown(url: Secret) -> str:
    """Scheme and host of a node's URL: all that may be shown of it."""
    return f"{urlsplit(url.text).scheme}://{urlsplit(url.text).hostname or ''}"


class Node(ABC):
    """The nodes of one network: one URL, or several with `|` between them, asked in that order.

    One object serves one conversation: it remembers who has named the right chain. Raises SettingsError for a URL
    that is neither https nor on this machine.
    """

    __slots__ = ("_number", "_right", "_wrong", "network", "urls")
    asks: tuple[object, ...] = ("",)  # the call by which a node names its chain, and its parameters
    named_in = 4096  # bytes that its answer has at most
    spec = ""  # what says how its answers look

    def __init__(self, network: Network, where: str | Secret) -> None:
        self.network = network
        where = Secret(where)  # so that no frame of ours shows it
        self.urls = [_admitted(each) for each in map(Secret, where.text.split("|"))]
        self._right: set[Secret] = set()
        self._wrong: set[Secret] = set()
        self._number = -1  # of the last question, where a family has numbers

    def __repr__(self) -> str:
        return f"Node({self.network.name}, {self.hosts})"

    @property
    def _chain(self) -> str:
        return self.network.id.partition(":")[2]

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
            except Odd as why:
                said.append(f"{shown(url)}: {_clean(str(why), url)}")
                continue
            self.urls = [url, *(each for each in self.urls if each is not url)]  # whoever answers is asked first from now on
            return result
        raise NodeError(
            f"no node of {self.network.name} answered {method}: {'; '.join(said)}", rule="X402_AGENT_NODES", hint=_HINT
        )

    def read(self, convert: Callable[[Any], Any], method: str, *params: object, **options: Any) -> Steps[Any]:
        """A call whose result must convert; what does not is as good as no answer. Raises NodeError."""
        try:
            return convert((yield from self.ask(method, *params, **options)))
        except (ValueError, LookupError, TypeError, AttributeError):
            pass  # outside of this block nothing of what the node said is in an error's frames
        raise NodeError(f"{self!r} gave {method} no readable answer", rule=self.spec, hint="ask another node")

    def _one(
        self, url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int, raw: bool
    ) -> Steps[Any]:
        yield from self._know(url)
        got: Fetched = yield self.question(url, method, params, retries, limit)
        return self._cut(_whole(got)) if raw else self.result(_document(got, limit))

    def question(self, url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int) -> Fetch:
        """How a node is asked: by JSON-RPC, under a number that nobody else has: one connection carries many questions."""
        self._number = 2 + int.from_bytes(os.urandom(4))
        body = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        content = json.dumps(body, separators=(",", ":")).encode()
        return Fetch("POST", url.text, content, HEADERS, retries=retries, limit=limit, twice=True)

    def result(self, answer: dict[str, Any]) -> Any:
        """What an answer holds; raises Odd for one that holds nothing, or belongs to another question."""
        if answer.get("id") not in (self._number, *_ANYONES):
            raise Odd("an answer to another question")
        error = answer.get("error")
        if error is not None:
            words = error.get("message") if isinstance(error, dict) else None
            raise Odd(f"error: {words}" if isinstance(words, str) else "an error without a message")
        if "result" not in answer:
            raise Odd("an answer without a result")
        return answer["result"]

    def _cut(self, content: bytes) -> bytes:
        """An answer that may be cut: where it still says which question it is of, it is ours. Raises Odd."""
        if self._number >= 0 and (found := _IDS(content)) and not {self._number, *_ANYONES} & set(map(int, found)):
            raise Odd("an answer to another question")
        return content

    def each(self) -> list[Self]:
        """One Node for each URL: to hear them all where one's word is not enough (C2)."""
        return [type(self)(self.network, url) for url in self.urls]

    @abstractmethod
    def named(self, answer: object) -> str:
        """The reference of a CAIP-2 id that this answer to `asks` stands for; raises ValueError."""

    def _know(self, url: Secret) -> Steps[None]:
        """Ask once which chain this node is on."""
        if url in self._wrong:
            raise Odd("another chain")
        if url not in self._right:
            method, *params = self.asks
            got: Fetched = yield self.question(url, str(method), tuple(params), 2, self.named_in)
            answer = self.result(_document(got, self.named_in))
            try:
                chain = self.named(answer)
            except ValueError:
                raise Odd("no chain id") from None
            if chain != self._chain:
                self._wrong.add(url)
                raise Odd(f"it is on chain {chain}, not on {self._chain} (C3)")
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


def _whole(got: Fetched) -> bytes:
    if got.status != 200:
        raise Odd(f"HTTP {got.status}" if got.status else "no answer")
    return got.content


def _document(got: Fetched, limit: int) -> dict[str, Any]:
    """The JSON object of an answer; raises Odd for anything else."""
    content = _whole(got)
    if len(content) >= limit:
        raise Odd(f"an answer of more than {limit} bytes")
    return parsed(content)


def parsed(content: bytes) -> dict[str, Any]:
    """A node's JSON object, read without exhausting a thread's stack; raises Odd."""
    try:
        text = content.decode("utf-8")
        deep = _depth(text) > _DEEPEST
        answer = None if deep else json.loads(text)
    except (ValueError, RecursionError):
        raise Odd("an answer that is not JSON") from None
    if deep:
        raise Odd("an answer too deep to read")
    if not isinstance(answer, dict):
        raise Odd("an answer that is no object of JSON")
    return answer


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
