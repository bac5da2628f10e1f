"""The nouns every room shares: frozen, standard library only, money in integers of atomic units."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .ask import BUY, CALL, NOBODY, Ask, Cap, Repeat, Under, run_id
from .money import Asset, Money, Network
from .scopes import scopes_of
from .secret import Veiled

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ASKED_FIRST",
    "BUY",
    "CALL",
    "CROWDED",
    "FEES",
    "FOREVER",
    "INVOICE",
    "NEVER",
    "NOBODY",
    "NOTES",
    "NO_ANCHOR",
    "QUOTA",
    "Account",
    "Anchor",
    "Ask",
    "Asset",
    "Cap",
    "ChainRules",
    "Challenge",
    "Claim",
    "Credential",
    "Hold",
    "Limit",
    "Money",
    "Network",
    "Offer",
    "Outcome",
    "Proof",
    "Receipt",
    "Repeat",
    "Stop",
    "Terms",
    "Under",
    "Unit",
    "Window",
    "run_id",
    "scopes_of",
]

Outcome = Literal["released", "spent", "refused", "in_doubt"]
Window = Literal["minute", "hour", "day", "month", "total"]
FEES = ("facilitator", "priority", "network")  # kinds of fees beside a price
Unit = Literal["micros", "payments", "units"]


NOTES = "/.x402/"  # what a dialect keeps below this path is a note on a payment that it is making: no request is ever shown it
FOREVER = 1 << 39  # unix seconds: no clock ends it
QUOTA = "quota"  # the flow of offers that buy calls of a whole origin
INVOICE = "invoice"  # of those that pay one invoice, named by `wire[1]`: once, whoever asks
CROWDED = "no more transactions of an account wait for a block than nodes take"  # the rule of an error that time alone mends
ASKED_FIRST = frozenset({QUOTA, INVOICE})  # flows of which the seller's own pages are asked before anything is held


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay, normalised and frozen: what policy judged is what is held, signed and ledgered.

    `amount` is in atomic units of `asset`: the price, or for a scheme that charges later the most that it may take;
    `lifetime` is what the seller asks for, in seconds; `wire` belongs to the dialect alone and is text that a ledger
    row can keep (the requirement to echo, byte for byte). `method` is how the token moves: "" by the chain's own way
    (on EVM EIP-3009), "permit2" by that contract; `facilitator` is the one account that may then settle, "" for any.
    `details` is what else its chain must know to make the proof (a memo, a permit's own fields), as canonical JSON that
    the dialect has checked; "" for nothing.
    `serves` is for how many calls it pays, for ranking alone; where its `flow` is QUOTA, for that many anywhere at its origin, where
    only one such payment may be unresolved.
    `ends` is the last moment, in unix seconds, at which it is worth paying; 0 where nobody says.
    `fee_cap` is what fees may add, `fees` says which part of it is of which kind (FEES), for policy alone.
    `metered` is the unit that its seller counts afterwards, where nobody says the most of it: then a person is asked.
    """

    dialect: str
    scheme: str
    asset: Asset
    amount: int
    pay_to: str
    lifetime: int
    resource: str = ""
    description: str = ""
    flow: str = "authorization"
    fee_cap: int = 0
    wire: tuple[str, ...] = ()
    method: str = ""
    facilitator: str = ""
    details: str = ""
    value: int | None = field(default=None, compare=False)
    fees: tuple[tuple[str, int], ...] = field(default=(), compare=False)
    serves: int = field(default=1, compare=False)
    ends: int = field(default=0, compare=False)
    metered: str = field(default="", compare=False)

    @property
    def network(self) -> Network:
        """The chain it is paid on."""
        return self.asset.network

    @property
    def money(self) -> Money:
        """Amount and fee cap together: what every budget counts."""
        return Money(self.amount + self.fee_cap, self.asset)

    @property
    def micros(self) -> int | None:
        """What budgets in dollars count, in millionths of a dollar: by the asset's peg, else the `value`; None for neither."""
        return self.value if self.value is not None else self.asset.micros(self.amount + self.fee_cap)

    @property
    def approval(self) -> str:
        """The command by which the payer's owner lets `method` move the token: whole units, for some ten such payments.

        The amount is 1, 2 or 5 times a power of ten, at least 1. Nothing but that command ever approves.
        """
        wanted, unit = 10 * self.money.amount, 10**self.asset.decimals
        steps = (step * 10**power for power in range(80) for step in (1, 2, 5))
        amount = next(each for each in steps if each * unit >= wanted)
        return (
            f"x402-agent wallet approve {self.asset.symbol} --for {self.method} --amount {amount} "
            f"--network {self.network.name}"
        )

    @property
    def digest(self) -> str:
        """sha256 over every field: travels with the hold, the approval, the proof and the ledger row."""
        parts = (self.dialect, self.scheme, self.asset.id, str(self.amount), self.pay_to, str(self.lifetime),
                 self.resource, self.description, self.flow, str(self.fee_cap), *self.wire)  # fmt: skip
        made = hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        if not self.method and not self.facilitator and not self.details:  # as it was before: old rows keep their digest
            return made
        both = f"{made}\x00{self.method}\x00{self.facilitator}" + (f"\x00{self.details}" if self.details else "")
        return hashlib.sha256(both.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Challenge:
    """Their 402, as read by one dialect: the offers it holds and why each other entry was passed over.

    `signed` are the offers that the seller signed, each as parsed: untrusted until `evidence` has judged them. `untouched`: another
    system's 402, known and left alone: no other dialect reads it, and the caller gets it as it came. `pages` is what the 402 said where
    that is not all: there are no offers until its dialect has asked its seller's own pages (`agrees`). Those may say what binds beside policy's rules (`limits`),
    and what opens the door already (`held`).
    """

    dialect: str
    offers: tuple[Offer, ...]
    passed_over: tuple[str, ...] = ()
    signed: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    untouched: bool = False
    pages: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    held: Credential | None = field(default=None, repr=False)


class Account(NamedTuple):
    """Who would pay, "" for nobody; `signs`: with a key of this process, so that it could sign in somewhere, too."""

    address: str = ""
    signs: bool = False


class Anchor(NamedTuple):
    """What a chain had to say before a proof could be made: on Solana a blockhash, on Stacks a fee.

    `number` is the first account nonce that is free as the node sees it, -1 on chains where a payment needs none; the ledger
    then takes the first that no open payment of that account has. `cost` is the most that the network takes of its own coin for
    the payer's transaction, in atomic units, 0 where somebody else pays: `[gas.NETWORK]` counts it. `most` is the last account
    nonce that nodes take while those before it wait, -1 where that has no bound; it is asked anew each time and not kept.
    """

    text: str = ""
    number: int = -1
    cost: int = 0
    most: int = -1


NO_ANCHOR = Anchor()


class ChainRules(NamedTuple):
    """What policy says of chains: whether a seller's own blockhash serves, and the most that one network fee of ours may be.

    `fees` maps a CAIP-2 namespace to atomic units of its own coin (microSTX, sun, lamports, wei); one that is not named
    has the ceiling of its chain.
    """

    trusting: bool = False
    fees: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Terms:
    """What we chose ourselves, never the seller: payer, nonce (0x + 32 bytes hex), validity in unix seconds.

    `valid_before` is `FOREVER` where only the chain can say that a proof is dead; `anchor` is what was read from it. `proved`
    is what the ledger keeps of the proof once there is one, to know it again: a digest, or its id on chain (`Proof.txid`).
    """

    payer: str
    nonce: str
    valid_after: int
    valid_before: int
    anchor: Anchor = NO_ANCHOR
    proved: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Limit:
    """One ceiling that the ledger enforces while it writes the row.

    `scope` is one of `scopes_of`; windows are those of the UTC calendar. `most` counts millionths of a US dollar,
    payments, or (for a scope `asset:…` only) atomic units. `rule` names the file and line, `hint` the command that
    changes it.
    """

    scope: str
    window: Window
    most: int
    rule: str = ""
    hint: str = ""
    unit: Unit = "micros"


class Stop(NamedTuple):
    """After so many payments in a row that are in doubt or undelivered nothing new is paid to a seller; 0: never."""

    after: int = 0
    rule: str = ""


NEVER = Stop()


@dataclass(frozen=True, slots=True)
class Hold:
    """Budget set aside for one Offer. `state` is the ledger's word (docs/safety.md); `planned` exists only in memory."""

    payment_id: str
    ask: Ask
    offer: Offer
    terms: Terms
    limits: tuple[Limit, ...] = ()
    state: str = "planned"
    resumed: bool = False
    refused: bool = False
    identifier: str = ""
    stop: Stop = NEVER
    gas: tuple[Limit, ...] = ()  # what the network's fee must fit into, in its own coin


@dataclass(frozen=True, slots=True)
class Proof:
    """What we send. `payload` is a bearer secret until it has settled: it appears in no repr, log or error.

    `txid` is the id that its chain will know it by, 64 hex digits, where the proof is a whole transaction.
    """

    payload: Mapping[str, Any] = field(repr=False)
    payer: str
    nonce: str
    expires: int
    txid: str = ""

    def __repr__(self) -> str:
        return f"Proof({self.nonce[2:6]}…{self.nonce[-2:]})"

    def __reduce__(self) -> Any:
        raise TypeError("a proof is not pickled")


@dataclass(frozen=True, slots=True)
class Credential:
    """Something bought earlier that still opens the door: sent on the first try to `origin` below `path`.

    A dialect that has bought one may leave `origin` and `path` empty: they are then those of the Ask, and another
    origin than the Ask's is never kept (K6). `uses_left` counts the uses after the request that it was bought for, None
    for a credential without a count; `expires` is in unix seconds. `serial`: one use at a time, by whichever thread or process
    (of counted ones alone). `name` and `lease` are the ledger's: what it is called there, and the one use of it that was taken.
    """

    origin: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    payment_id: str = ""
    uses_left: int | None = None
    expires: float | None = None
    dialect: str = ""
    name: str = ""
    lease: int = 0
    serial: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", Veiled(self.headers))

    def __reduce__(self) -> Any:
        raise TypeError("a credential is not pickled")


@dataclass(frozen=True, slots=True)
class Claim:
    """A seller's receipt as decoded: `success` is None when there was none or it could not be read.

    `signed` is the receipt that the seller signed, as parsed: untrusted until `evidence` has judged it.
    `credential` is what the answer gives for later requests, if it gives one. `waiting`: the payment is under way by the
    seller's own word, so an answer 402 refuses nothing.
    """

    success: bool | None = None
    transaction: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    signed: Mapping[str, Any] | None = field(default=None, repr=False)
    credential: Credential | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What they say happened: a claim until the chain confirms it. Stands in `response.extensions["payment"]`.

    `outcome` is released, spent, refused or in_doubt, or None when nothing was held: then `reason` is the error. It also says
    why a proof on the first send was refused.
    `transaction` is their claim, `claim` their whole receipt, untrusted; `differs`: where it is not what was signed.
    `again`: nothing new was paid, the proof of an earlier call was shown once more, or what it had brought was handed over.
    """

    outcome: Outcome | None
    offer: Offer | None = None
    payment_id: str = ""
    transaction: str = ""
    milliseconds: int = 0
    sandbox: bool = False
    claim: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reason: Exception | None = field(default=None, repr=False)
    differs: str = ""
    again: bool = False

    @property
    def money(self) -> Money | None:
        """What was authorised: amount and asset of the offer that was signed."""
        return self.offer.money if self.offer else None

    def __repr__(self) -> str:
        if self.offer is None:
            return f"Receipt(nothing paid, {type(self.reason).__name__ if self.reason else 'free'})"
        where = f"{self.offer.network.id}{' (sandbox)' if self.sandbox else ''}"
        tail = f", tx {self.transaction[:10]}…" if self.transaction else ""
        amount = f"{self.offer.money.decimal.normalize():f} {self.offer.asset.symbol}"
        amount = f"at most {amount}" if self.offer.scheme == "upto" else amount
        return f"Receipt({amount}, {where}, {self.outcome}{tail}, {self.milliseconds} ms)"
