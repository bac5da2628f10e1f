"""What is asked for: our own request, and on whose behalf it is made. Frozen nouns of model.py, which shows them to every room."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import Limit, Offer

__all__ = ["BUY", "CALL", "NOBODY", "Ask", "Cap", "Repeat", "Under", "run_id"]

CALL = "CALL"  # the method of an Ask that calls a tool of an MCP server: nobody repeats it but who has a session there

BUY = "BUY"  # of one that buys for later: what was bought is kept, and nothing is asked for with it


class Under(NamedTuple):
    """On whose behalf and for what an Ask is made: the payer's own words, never the seller's.

    `task` is a path of names (`research/prices`); `runs` are the ids of the live tasks and slips it stands under,
    outermost first. The others are "" or one name, or several with commas where tasks or slips of different names lie
    inside each other: a payment counts for each. `slip` are ids.
    """

    agent: str = ""
    group: str = ""
    task: str = ""
    runs: tuple[str, ...] = ()
    tool: str = ""
    category: str = ""
    slip: str = ""


NOBODY = Under()


def run_id(now: float, chance: bytes) -> str:
    """The id of a live task or slip: 8 hex digits of unix seconds, so that nobody looks for its payments further back, and
    12 of chance (6 bytes)."""  # fmt: skip
    return f"{int(now):08x}{chance.hex()}"


class Cap(NamedTuple):
    """The most that one call may cost, in millionths of a US dollar; in `hint`, `{amount}` is what was asked, in dollars."""

    micros: int
    rule: str
    hint: str = ""


class Repeat(NamedTuple):
    """What a request needs to be made again, beside its method and URL; the body at most 1 MiB."""

    headers: tuple[tuple[str, str], ...]
    body: bytes
    output: str = ""  # the file that its goods are for

    def __repr__(self) -> str:
        return f"Repeat({len(self.body)} bytes)"


class Ask:
    """Our request, as the conversation knows it: method, canonical URL, body digest, caller's key.

    `digest_body` is called only once somebody asks for money; it raises NotReplayable for a one-shot body. `repeat` is
    what to keep of the request until it is delivered, None where it is too large or not at hand.
    """

    __slots__ = ("_digest_body", "_key", "again", "caller_key", "caps", "expect", "has_body", "host", "limits", "listed", "method",
                 "of", "offer", "origin", "output", "paid", "path", "repeat", "top_up", "under", "url")  # fmt: skip

    def __init__(
        self,
        method: str,
        url: str,
        origin: str,
        host: str,
        path: str,
        *,
        digest_body: Callable[[], bytes] = lambda: b"",
        has_body: bool = False,
        caller_key: str = "",
        under: Under = NOBODY,
        limits: tuple[Limit, ...] = (),
        caps: tuple[Cap, ...] = (),
        listed: int | None = None,
        offer: Offer | None = None,
        again: bool | None = None,
        repeat: Callable[[], Repeat | None] = lambda: None,
    ) -> None:
        self.method = method
        self.url = url
        self.origin = origin
        self.host = host
        self.path = path
        self.has_body = has_body
        self.caller_key = caller_key
        self.under = under
        self.limits = limits  # of the tasks and slips it is made under, beside those of policy
        self.caps = caps  # likewise, for one call
        self.listed = listed  # what a catalogue says it costs, in millionths of a dollar
        self.expect = 0  # how many calls its seller is expected to be asked for, this one included; 0: nobody has said
        self.top_up = 0  # what may be paid ahead to an account at its seller, in millionths of a dollar; 0: nothing
        self.offer = offer  # the only one that may be paid, where a quote or plan has locked it
        self.again = again
        self.paid = ""  # the payment already made on an earlier hop of this same request
        self.of = ""  # what `key` is one purchase of: rules on buying again go by this name, whatever the key
        self.output = ""  # the file that a person wants the goods in, kept with the request until they are there
        self.repeat = repeat
        self._digest_body = digest_body
        self._key = ""

    @property
    def key(self) -> str:
        """The identity of the purchase: sha256 of method, canonical URL, body digest and caller's key, or what that is one purchase `of`."""
        if not self._key:
            parts = (self.method, self.url, self._digest_body().hex(), self.of or self.caller_key)
            self._key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self._key

    @property
    def tool(self) -> str:
        """`mcp://tool/NAME`, by which x402 over MCP knows what is bought, "" where it is no tool."""
        return f"mcp://tool/{unquote(self.path.rpartition('/')[2])}" if self.method == CALL else ""

    def __repr__(self) -> str:
        return f"Ask({self.method} {self.origin}{self.path})"
