"""What a row of docs/safety.md is, as a test sees it: a scene, a call, and what must have come of it.

`Case` is data. `play` sets the scene on real sockets and makes the call with any client; `harm` judges by what the
sellers saw, whoever the client was; `wrong` judges what our own caller was told and what our ledger counts.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopback import USDC, Seller, Till
from x402_agent import Payer, PaymentError, Policy
from x402_agent.chains.evm.eip3009 import digest
from x402_agent.model import Limit
from x402_agent.primitives import recover

ASSET = f"eip155:84532/erc20:{USDC}"
CENT = 10_000
TESTNET = ("testnet",)
PAYEE = "0x" + "ab" * 20
SECONDS = 5.0
PATIENCE = 4.0  # so many times slower may a machine be
MEGABYTES = 64


@dataclass(frozen=True)
class Expect:
    """What must come of it. `proofs` are distinct authorisations, `counted` atomic units that the ledger holds against us."""

    error: type[BaseException] | tuple[type[BaseException], ...] | None = None
    rule: str = ""
    status: int = 200
    body: bytes | None = b"paid content"
    outcome: str = ""
    proofs: int = 0
    counted: int = 0


def refused(error: type[BaseException] | tuple[type[BaseException], ...], rule: str = "") -> Expect:
    """A typed error that names its rule; nothing signed, nothing counted."""
    return Expect(error=error, rule=rule)


UNTOUCHED = Expect(status=402, body=None)
PAYS = Expect(outcome="spent", proofs=1, counted=CENT)
AGAIN_402 = Expect(status=402, body=None, outcome="refused", proofs=1, counted=CENT)


@dataclass(frozen=True)
class Case:
    """One row, or one way of it. `scene` sets up sellers and gives the URL to call; `then` looks closer.

    `options` go to the Payer, `request` to the request; `timeout` among those is the client's own, of each read.
    """

    row: str
    what: str
    scene: Callable[[Arena], str]
    expect: Expect
    times: int = 1
    policy: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    then: Callable[[Arena, Any], None] | None = None
    deadline: float = 20.0
    seconds: float = SECONDS
    slow: bool = False

    @property
    def id(self) -> str:
        return f"{self.row}-{self.what}".replace(" ", "-")


class Peak:
    """How far the resident memory of this process rose above where it was; 0 where the system does not tell."""

    def __enter__(self) -> Peak:
        self.megabytes = 0.0
        with suppress(OSError, AttributeError):  # what earlier tests freed must not hide what this one takes
            ctypes.CDLL(None).malloc_trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
            self.start = self._kilobytes("VmRSS")
        except OSError:
            self.start = -1
        return self

    def __exit__(self, *_: object) -> None:
        if self.start >= 0:
            self.megabytes = (self._kilobytes("VmHWM") - self.start) / 1024

    @staticmethod
    def _kilobytes(name: str) -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.partition(f"{name}:")[2].split(None, 1)[0])


class Arena:
    """Two sellers, a till, and what came of the last call."""

    def __init__(self, folder: Path, setenv: Callable[[str, str], None]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.setenv = setenv
        self.seller, self.other = Seller(), Seller()
        self.extra: list[Seller] = []
        self.till = Till(folder)
        self.client_options: dict[str, Any] = {}
        self.payer: Payer | None = None
        self.reply: Any = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.megabytes = 0.0
        self.began = int(time.time())

    @property
    def sellers(self) -> list[Seller]:
        return [self.seller, self.other, *self.extra]

    @property
    def proofs(self) -> list[dict[str, str]]:
        """Each authorisation that any seller was shown, once."""
        seen = {}
        for each in self.sellers:
            for proof in each.proofs:
                found = each.authorization(proof)
                seen[found["nonce"]] = found
        return list(seen.values())

    def add(self, seller: Seller) -> Seller:
        self.extra.append(seller)
        return seller

    def payer_for(self, case: Case) -> Payer:
        names = {"FIRST": self.seller.origin[7:], "OTHER": self.other.origin[7:]}
        rules = {**case.policy, "allow": tuple(names.get(host, host) for host in case.policy.get("allow", ()))}
        if "OTHER" in case.policy.get("allow", ()):
            rules["allow"] += (names["FIRST"],)
        policy = Policy(**{"networks": TESTNET, **rules})
        self.payer = self.till.payer(
            policy=policy, deadline=case.deadline, answer_timeout=min(5.0, case.deadline), **case.options
        )
        return self.payer

    def counted(self) -> int:
        """Atomic units of six decimals that the ledger counts, test and real money together."""
        assert self.payer is not None
        self.payer.ledger.flush()
        limit = [Limit("all", "total", 0)]
        return sum(self.payer.ledger.spent(limit, realm=realm)[0].spent for realm in ("test", "real"))

    def close(self) -> None:
        for payer in self.till.made:
            payer.close()
        for seller in self.sellers:
            seller.close()


def play(arena: Arena, case: Case, call: Callable[[Arena, Case, str], Any]) -> None:
    """Set the scene, call, and remember what came: an answer or an exception, seconds, megabytes."""
    url = case.scene(arena)
    with Peak() as peak:
        start = time.monotonic()
        try:
            arena.reply = call(arena, case, url)
        except Exception as error:
            arena.error = error
        arena.seconds = time.monotonic() - start
    arena.megabytes = peak.megabytes


def harm(arena: Arena, case: Case, *, patience: float = PATIENCE) -> list[str]:
    """What a client did that it must never do, by the books of those who were shown its proofs.

    `patience` times the seconds of a quiet machine are no harm yet.
    """
    found = []
    proofs = arena.proofs
    if len(proofs) > case.expect.proofs:
        found.append(f"{len(proofs)} authorisations could take money, not {case.expect.proofs}")
    cap = case.policy.get("per_call", 100_000)
    for each in proofs:
        lifetime = int(each["validBefore"]) - arena.began
        if not 0 < int(each["value"]) <= cap:
            found.append(f"an authorisation over {each['value']}, the cap is {cap}")
        if not 0 < lifetime <= 3600 + arena.seconds + 1 or int(each["validAfter"]) > time.time():
            found.append(f"an authorisation that lives {lifetime} seconds")
    shown: dict[str, Seller] = {}
    for seller in arena.sellers:
        for nonce in seller.nonces:
            if shown.setdefault(nonce, seller) is not seller:
                found.append("a proof was shown to two sellers")
        found += [f"a proof that the token refuses: {why}" for why in map(_unusable, seller.proofs) if why]
    if arena.seconds > case.seconds * patience:
        found.append(f"it took {arena.seconds:.1f} s")
    if arena.megabytes > MEGABYTES:
        found.append(f"it took {arena.megabytes:.0f} MB")
    return found


def _unusable(proof: str) -> str:
    """Why the real token's contract would not take this signature, "" when it would."""
    payload = Seller.payload(proof)
    if set(payload) != {"signature", "authorization"}:
        return f"it holds {sorted(payload)}"
    each = payload["authorization"]
    window = int(each["validAfter"]), int(each["validBefore"])
    try:
        nonce = bytes.fromhex(each["nonce"][2:])
        message = digest(ASSET, each["from"], each["to"], int(each["value"]), window, nonce)
        who = recover(message, bytes.fromhex(payload["signature"][2:]))
    except (ValueError, OverflowError) as why:
        return str(why)
    return "" if who == each["from"] else f"signed by {who}"


def wrong(arena: Arena, case: Case) -> list[str]:
    """What our own caller was told, and what our ledger counts."""
    want, found = case.expect, []
    if want.error is not None:
        if not _is(arena.error, want.error):
            found.append(f"{arena.error or arena.reply!r} instead of {want.error}")
        elif want.rule not in str(arena.error):
            found.append(f"the error does not name {want.rule!r}: {arena.error}")
        if isinstance(arena.error, PaymentError):
            text = str(arena.error).replace("\n", "")
            found += [] if text.isprintable() and arena.error.rule else [f"an error without a rule: {text!r}"]
    elif arena.error is not None:
        found.append(f"{type(arena.error).__name__}: {arena.error}")
    else:
        found += _answer(arena, want)
    if len(arena.proofs) != want.proofs:
        found.append(f"{len(arena.proofs)} proofs, not {want.proofs}")
    if arena.counted() != want.counted:
        found.append(f"{arena.counted()} counted, not {want.counted}")
    return found


def _is(error: BaseException | None, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """By name where the library is httpx2: its exceptions are its own classes of the same names."""
    names = {each.__name__ for each in (kinds if isinstance(kinds, tuple) else (kinds,))}
    ours = type(error).__module__.partition(".")[0] == "httpx2"
    return isinstance(error, kinds) or (ours and any(each.__name__ in names for each in type(error).__mro__))


def _answer(arena: Arena, want: Expect) -> list[str]:
    reply, found = arena.reply, []
    if reply.status_code != want.status:
        found.append(f"status {reply.status_code}, not {want.status}")
    if want.body is not None and reply.content != want.body:
        found.append(f"body {reply.content[:60]!r}")
    receipt = reply.extensions.get("payment")
    outcome = receipt.outcome if receipt is not None else ""
    if (outcome or "") != want.outcome:
        found.append(f"outcome {outcome!r}, not {want.outcome!r}")
    return found
