"""The vocabulary of the conversation: what a generator may ask its driver to do, and what a reply looks like.

Dialects and chains yield these too, with `yield from`, so that everything they need of the outside world
(a node, a token endpoint, a pause) is sans-IO, tested without a socket, and serves sync and async alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from .errors import ChallengeInvalid
from .model import NO_ANCHOR, Anchor, Ask, Asset, Credential, Limit, Offer, Proof, Receipt
from .model import Hold as HeldBudget

__all__ = [
    "MAX_BODY",
    "ON_CHAIN",
    "Approve",
    "Aside",
    "Broadcast",
    "Busy",
    "Call",
    "Close",
    "Collect",
    "Commit",
    "Fetch",
    "Fetched",
    "Find",
    "Goods",
    "Hold",
    "Keep",
    "Look",
    "NoAnswer",
    "Presented",
    "Progress",
    "Reply",
    "Return",
    "Send",
    "Sign",
    "Sleep",
    "Step",
    "Steps",
    "Use",
    "Walk",
    "Whose",
    "Worth",
]

MAX_BODY = 64 * 1024
ON_CHAIN = 300.0  # seconds that a payment that pays first waits for its blocks, at most
T = TypeVar("T")


class Send(NamedTuple):
    """Our request with these headers added. -> Reply. `paid` marks the leg that carries a proof."""

    headers: Mapping[str, str] = {}
    paid: bool = False

    def __repr__(self) -> str:
        return f"Send({', '.join(self.headers)})"


class Find(NamedTuple):
    """An open payment for this very Ask. -> Hold to present again, Busy (its owner lives), or None.

    `whole`: or one that buys calls of its whole origin, whatever was asked there.
    """

    ask: Ask
    whole: bool = False


class Hold(NamedTuple):
    """Set budget aside for one Offer. -> model.Hold, None where calls of this origin are being bought just now, Busy while its account
    signs another payment under an account nonce; raises BudgetExceeded, PolicyDenied, LedgerError."""  # fmt: skip

    ask: Ask
    offer: Offer
    limits: tuple[Limit, ...]
    anchor: Anchor = NO_ANCHOR


class Approve(NamedTuple):
    """Let a person or a hook say no. -> the Hold to sign, perhaps with fresh terms; raises PolicyDenied."""

    hold: HeldBudget


class Sign(NamedTuple):
    """Make the proof from the hold's own terms. The same hold gives the same bytes. -> Proof."""

    hold: HeldBudget


class Commit(NamedTuple):
    """Write it down, durably: from here money may move. -> Hold, or None when another process was faster."""

    hold: HeldBudget
    proof: Proof


class Broadcast(NamedTuple):
    """Put a committed proof that is a transaction of ours on its chain, on time of its own. -> the
    proof to show, or None for this one; raises NodeError, PaymentInDoubt."""

    hold: HeldBudget
    proof: Proof


class Progress(NamedTuple):
    """How far such a transaction has come, by its chain's word, yielded while it is broadcast. -> None.

    `state`: SEEN (a node has it), MINED (in a block), INFLIGHT (no longer in one), PROVING (as deep as its seller wants).
    `fee` is what it took, in atomic units of the network's own coin, once a block shows it, also for one that failed there.
    """

    state: str
    words: str = ""
    fee: int | None = None


class Close(NamedTuple):
    """What came of it. `state` is a ledger state, or RELEASED for "nothing left this machine in this call"."""

    hold: HeldBudget
    state: str
    refused: bool = False
    status: int = 0
    receipt: Receipt | None = None
    note: str = ""


class Fetch(NamedTuple):
    """One HTTP call to a node, facilitator, monitor or token endpoint, by a client that never pays. -> Fetched.

    `timeout` in seconds bounds the whole call; `retries` is how often a call that changes nothing may be repeated
    when no answer, 429 or 502 to 504 came; `limit` is the most that is read of an answer, in bytes. `theirs` says that a seller or
    a caller chose the address: a guarded client asks there under its guard. `twice` says that it may arrive twice, as signed bytes may.
    """

    method: str
    url: str
    content: bytes = b""
    headers: Mapping[str, str] = {}
    timeout: float = 10.0
    retries: int = 0
    limit: int = MAX_BODY
    theirs: bool = False
    twice: bool = False

    def __repr__(self) -> str:
        return f"Fetch({self.method})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a URL may hold a key: it is not pickled")


class Fetched(NamedTuple):
    """The answer to a Fetch, at most `limit` bytes of it. Status 0 means that there was none."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def __repr__(self) -> str:
        return f"Fetched({self.status}, {len(self.content)} bytes)"


class Sleep(NamedTuple):
    """Wait. -> None."""

    seconds: float


class Look(NamedTuple):
    """What was bought earlier and serves this Ask. -> Credential, Reply (goods that waited for it) or None; behind a signer, Busy.

    `payment_id`: what that payment bought and nothing else, to look at, with no use of it taken.
    """

    ask: Ask
    payment_id: str = ""


class Collect(NamedTuple):
    """The caller has the goods that waited: they are delivered. -> None."""

    payment_id: str


class Use(NamedTuple):
    """Take one use of a counted credential, in the ledger, before it is shown. -> Credential with a lease, None, or Busy (a serial one)."""

    credential: Credential


class Return(NamedTuple):
    """What came of a credential that was shown. `left` is the seller's count; `unsent`: no byte of it left; `good`: it opened the door. -> None."""

    credential: Credential
    left: int | None = None
    refused: bool = False
    unsent: bool = False
    good: bool = False


class Keep(NamedTuple):
    """Write down a credential that was just bought, durably. -> None; raises LedgerError, SigningFailed."""

    credential: Credential


class Call(NamedTuple):
    """Somebody's code, which may block or be awaited, for `seconds` at most. -> what it returns; raises what it raises.

    `ours` marks a job that is finished even when the caller is cancelled meanwhile. Only an Aside may hold one.
    """

    work: Callable[[], Any]
    seconds: float | None = None
    ours: bool = False

    def __repr__(self) -> str:
        return "Call(…)"


class Aside:
    """Steps apart from the conversation, on time of their own: no deadline over its legs runs while a person is asked."""

    __slots__ = ("steps",)

    def __init__(self, steps: Steps[Any]) -> None:
        self.steps = steps


class Whose(NamedTuple):
    """Which account of ours would pay on this family of chains (CAIP-2 namespace). -> Account."""

    namespace: str


class Worth(NamedTuple):
    """What a whole coin is worth by the payer's own price source. -> (price, spread) in millionths of a dollar, or None where nobody knows."""

    asset: Asset


class NoAnswer(ConnectionError):
    """The paid leg broke before an answer came: a reset, a closed connection, half an answer."""


class Busy(NamedTuple):
    """A live process or thread is making this very purchase right now, or (`how`) using what it bought, which serves one call at a
    time, or signing another payment under the account nonce before: by which payment, "" for one that is not ours to name."""

    payment_id: str
    how: Literal["pays", "shows", "signs"] = "pays"


Step = Send | Find | Hold | Approve | Sign | Commit | Broadcast | Progress | Close | Fetch | Sleep | Look | Collect | Use | Return | Keep | Whose | Worth | Call
Steps = Generator[Step, Any, T]


class Walk(Generic[T]):
    """A conversation as its driver sees it: iterate for the steps, and set what each `got`, or how it `failed`.

    What the conversation returns is `result`; what it raises comes out of the iteration.
    """

    __slots__ = ("_steps", "failed", "got", "result")
    result: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self.got: Any = None
        self.failed: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            while True:
                if (why := self.failed) is None:
                    yield self._steps.send(self.got)
                else:
                    self.failed = self.got = None
                    yield self._steps.throw(why)
        except StopIteration as done:
            self.result = done.value


class Goods(NamedTuple):
    """What a purchase brought while nobody waited for it: an answer for the driver to hand over, its body decoded."""

    receipt: Receipt
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"Goods({self.status}, {len(self.body)} bytes)"


class Presented(NamedTuple):
    """How a dialect presents a proof: the headers to add, and a credential when it bought one.

    `good` is one that opens the door only if this answer is good. `note`: what whoever looks into the payment should know.
    """

    headers: Mapping[str, str]
    credential: Credential | None = None
    good: Credential | None = None
    note: str = ""

    def __repr__(self) -> str:
        return f"Presented({', '.join(self.headers)})"


class _Headers(Protocol):
    def get_list(self, key: str, /) -> list[str]: ...


class Reply:
    """An answer as dialects see it: status, headers, and at most MAX_BODY bytes of body, inflated on demand.

    `raw` is not all of it when `complete` is False. `response` is the HTTP library's own object; only the driver
    touches it.
    """

    __slots__ = ("_content", "_seen", "complete", "headers", "raw", "receipt", "response", "status")

    def __init__(
        self, status: int, headers: _Headers, raw: bytes = b"", *, complete: bool = True, response: Any = None
    ) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw
        self.complete = complete
        self.response = response
        self.receipt: Receipt | None = None
        self._content: bytes | None = None
        self._seen = b""

    def header(self, name: str) -> str | None:
        """The one value of a header, or None. Two of them is a challenge we refuse."""
        values = self.headers.get_list(name)
        if len(values) > 1:
            raise ChallengeInvalid(f"the answer carries {len(values)} {name} headers", rule=f"one {name} header (W7)")
        return values[0] if values else None

    @property
    def content(self) -> bytes:
        """The body, inflated, at most MAX_BODY bytes; raises ChallengeInvalid when it is larger or unreadable."""
        if self._content is None:
            self._content = self._inflate()
        return self._content

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before the same bytes go again: for 429, 502, 503 and 504 that ask for at most five."""
        if self.status not in (429, 502, 503, 504):
            return None
        text: str = (self.headers.get_list("retry-after") or ["1"])[0]
        if not (text.isascii() and text.isdigit()) or len(text) > 3 or int(text) > 5:
            return None
        return max(0.2, float(text))

    @property
    def start(self) -> bytes:
        """What can be read of the body, also where `content` refuses it: enough to tell what it was meant to be."""
        try:
            return self.content
        except ChallengeInvalid:
            return self._seen

    def _inflate(self) -> bytes:
        coding = ",".join(self.headers.get_list("content-encoding")).strip().lower()
        left = False
        if coding not in ("gzip", "x-gzip", "deflate"):  # plain, by whatever name; what is not will be no JSON (S8)
            self._seen = self.raw
        else:
            try:
                inflater = zlib.decompressobj(wbits=47 if "gzip" in coding else _deflate_bits(self.raw))
                self._seen = inflater.decompress(self.raw, MAX_BODY)
                left = bool(inflater.unconsumed_tail)
            except zlib.error as cause:
                raise ChallengeInvalid("the 402 body does not inflate", rule="gzip, deflate or plain (W10)") from cause
        if left:
            raise ChallengeInvalid("the 402 body inflates past 64 KiB", rule="402 body at most 64 KiB (S3)")
        if not self.complete:
            raise ChallengeInvalid(f"the 402 body is larger than {MAX_BODY} bytes", rule="402 body at most 64 KiB (S2)")
        return self._seen


def _deflate_bits(raw: bytes) -> int:
    """HTTP's deflate is zlib-wrapped; some servers send it raw."""
    return 15 if len(raw) > 1 and (raw[0] * 256 + raw[1]) % 31 == 0 and raw[0] & 15 == 8 else -15
