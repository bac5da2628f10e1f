"""The payment conversation, written once: a generator of steps. No socket, no await, no clock, no HTTP library.

A driver (transport/drivers.py) performs each step and sends the result back in. Rules that the code below keeps: one
frozen Offer is judged, held, signed and ledgered; one Ask presents one proof until that proof is provably dead;
nothing leaves before a durable row names it; a cancellation stays a cancellation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from .bought import SHOWN, WAITED, ask_with, wait
from .errors import NoAcceptableOffer, NodeError, PaymentError, PaymentInDoubt, SettingsError
from .model import ASKED_FIRST, BUY, CROWDED, QUOTA, Claim, Credential
from .secret import Veiled
from .steps import (
    Approve,
    Broadcast,
    Busy,
    Close,
    Commit,
    Find,
    Hold,
    Keep,
    Look,
    NoAnswer,
    Presented,
    Reply,
    Return,
    Send,
    Sign,
    Sleep,
    Steps,
    Use,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from . import model

__all__ = ["FREES", "PAYS_FIRST", "Dialect", "Kit", "in_doubt", "judge", "pay", "prove", "prove_hold", "show_again"]

RESENDS = 2
PAYS_FIRST = "transfer"  # the method of offers that are paid on chain before the seller is shown the transaction
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
CROWD_PAUSE = 5.0  # seconds until a chain that takes no more of our transactions is asked again
_SAME = "the same bytes go out again, never others (C5)"
_RESUME = "x402-agent resume {}"
FREES = {"dead": ("DEAD", "unused on chain past its expiry"), "failed": ("REVERTED", "a final block holds it, and it moved nothing")}
SPENT = frozenset({"CLAIMED", "CONFIRMED", "PAID_UNDELIVERED"})


class Dialect(Protocol):
    """How one family of sellers asks. Pure: it does no I/O but by yielding steps, and never signs.

    One that sells Credentials gives them with `Presented` (known before the paid leg) or `Claim` (from its answer). It may have
    `left(reply, credential) -> int | None`: how many uses an answer says are left; `refuses(reply, credential) -> bool`: whether a 402 is about it (unsaid: yes);
    neither raises; `fresh(credential, now, sign) -> headers`: as it goes out at `now` (unix seconds), where it says a time or is signed; `agrees(challenge, ask)
    -> Steps[Challenge]`: as the seller's own pages have it; `owned(challenge, ask, account, paid, now, refused) -> Steps[Credential | None]`: what opens where we
    have paid; and `otherwise(hold, proof, reply, presented) -> Steps[Presented | None]`: the payment itself, where what it bought was refused.
    """

    name: str

    def read(self, reply: Reply, ask: model.Ask) -> model.Challenge | None:
        """The challenge in a 402, None when it is not this dialect's; raises ChallengeInvalid when it is broken."""

    def present(self, hold: model.Hold, proof: model.Proof) -> Steps[Presented]:
        """Headers that carry the proof, byte for byte the same for the same hold and proof; those of what it has bought may say the time."""

    def receipt(self, reply: Reply, offer: model.Offer) -> model.Claim:
        """What the seller says happened; never raises: a broken receipt is an empty claim."""


class Kit(Protocol):
    """The rooms, as the conversation sees them; payer/kit.py answers for them."""

    exchanges: bool  # whether what is refused may be exchanged for something else that the same payment opens with

    def keeps(self, ask: model.Ask) -> bool:
        """Whether something may serve this Ask without being paid for, from memory: False costs nothing."""

    def fresh(self, credential: model.Credential) -> Mapping[str, str]:
        """The headers of a credential as they are shown now."""

    def left(self, reply: Reply, credential: model.Credential) -> int | None:
        """How many uses the seller says are left, None when the answer says nothing of it."""

    def refuses(self, reply: Reply, credential: model.Credential) -> bool:
        """Whether an answer is a 402 to the credential that was shown, and not one that any request gets there."""

    def remembered(self, ask: model.Ask) -> model.Challenge | None:
        """What this seller asked for this URL lately, where policy lets a proof go on the first send; else None."""

    def renewed(self, hold: model.Hold, reply: Reply) -> model.Hold | None:
        """A prepaid proof was answered 402: forget the offer; the hold in its new envelope if they still ask the same."""

    def read(self, reply: Reply, ask: model.Ask) -> model.Challenge | None:
        """Ask each dialect in its order of trust; None when nobody understands."""

    def agreed(self, ask: model.Ask, challenge: model.Challenge) -> Steps[model.Challenge]:
        """The challenge, where calls would be bought as their seller's own pages have it."""

    def owned(self, ask: model.Ask, challenge: model.Challenge) -> Steps[bool]:
        """Whether something that was paid for earlier may serve this Ask, by its seller's word; asked once, and after each refusal."""

    def choose(self, ask: model.Ask, challenge: model.Challenge) -> tuple[model.Offer, tuple[model.Limit, ...]]:
        """The cheapest offer that policy allows; raises PolicyDenied, NoAcceptableOffer, NotReplayable."""

    def anchor(self, offer: model.Offer) -> Steps[model.Anchor]:
        """What the offer's chain must be asked before anything is held; raises NodeError."""

    def dialect(self, name: str) -> Dialect:
        """The dialect that read the offer."""

    def otherwise(self, hold: model.Hold, proof: model.Proof, reply: Reply, presented: Presented) -> Steps[Presented | None]:
        """What else shows the same payment, where the credential that it bought was refused; that one is forgotten."""

    def fate(self, hold: model.Hold) -> Steps[str]:
        """What the chain says of an open proof: settled, dead, failed or unknown (also when no node is known)."""

    def receipt(self, hold: model.Hold, claim: model.Claim, state: str, *, refused: bool) -> model.Receipt:
        """What the caller gets to see of it."""


def pay(ask: model.Ask, kit: Kit, billed: model.Challenge | None = None) -> Steps[Reply]:
    """One request, paid for if it must be and may be; at once where it was `billed`. Ends in the reply that the caller gets."""
    had: model.Receipt | Reply | None = None
    if billed is not None and (made := (yield from prove(ask, billed, kit))) is not None and isinstance(had := (yield from _present(*made, kit)), Reply):
        return had
    if not kit.keeps(ask) and (known := kit.remembered(ask)) is not None:
        bought = yield from _prepaid(ask, known, kit)
        if bought is not None:
            return bought
    for _ in range(SHOWN + 1):
        reply = yield from ask_with(ask, kit)
        if reply.status != 402 or (challenge := kit.read(reply, ask)) is None:
            break
        if had is not None:  # what was bought for it in this call is refused
            break
        if (made := (yield from prove(ask, challenge, kit))) is not None and isinstance(had := (yield from _present(*made, kit)), Reply):
            return had
    if reply.receipt is None and not isinstance(had, Reply):
        reply.receipt = had
    return reply


def ahead(ask: model.Ask, kit: Kit) -> Steps[Reply]:
    """Calls bought for later, at the price that one request is told: its 402 comes back, with the receipt. Raises NoAcceptableOffer for a seller of none."""
    reply: Reply = yield Send()
    if reply.status != 402:
        return reply
    challenge = kit.read(reply, ask)
    sold = tuple(each for each in challenge.offers if each.flow == QUOTA) if challenge is not None else ()
    account = not ask.top_up or (challenge is not None and hasattr(kit.dialect(challenge.dialect), "credits"))  # an amount in dollars buys no calls of another price
    if challenge is None or not account or (challenge.offers and not sold):
        what = "answers 402 in a way that nobody here understands" if challenge is None else "sells one answer at a time" if not sold else "keeps no account of yours"
        raise NoAcceptableOffer(f"{ask.host} {what}; nothing was bought ahead", rule="a seller of sessions, credits or calls in advance (Lily, KAMIYO)",
                                hint=f"x402-agent get --dry-run {ask.origin}{ask.path}")  # fmt: skip
    if (made := (yield from prove(ask, replace(challenge, offers=sold), kit))) is not None and not isinstance(had := (yield from _present(*made, kit)), Reply):
        reply.receipt = had
    return reply


def _prepaid(ask: model.Ask, known: model.Challenge, kit: Kit) -> Steps[Reply | None]:
    """The proof on the first send. None when a rule or the wallet says no: nothing has left, and the seller is asked."""
    try:
        made = yield from prove(ask, known, kit)
    except PaymentInDoubt:
        raise
    except PaymentError as why:
        if why.rule in WAITED:
            raise
        return None
    had = None if made is None else (yield from _present(*made, kit, prepaid=not made[0].resumed))
    return had if isinstance(had, Reply) else None


def prove(ask: model.Ask, challenge: model.Challenge, kit: Kit) -> Steps[tuple[model.Hold, model.Proof] | None]:
    """The one proof of this Ask, of its open payment or a new one, written down: the half that needs key, policy and ledger.

    None where calls of this whole origin were bought by others meanwhile, or its seller knows that it was paid for: that may serve this Ask.
    """
    whole = bool(challenge.pages) or any(offer.flow == QUOTA for offer in challenge.offers)
    while True:
        hold, waited = yield from _open_hold(ask, kit, whole=whole)
        if hold is None and waited and whole:
            return None
        if hold is None and challenge.pages:
            challenge = yield from kit.agreed(ask, challenge)
        if hold is None and (yield from kit.owned(ask, challenge)):
            return None
        if hold is None:
            if any(offer.flow in ASKED_FIRST for offer in challenge.offers):
                challenge = yield from kit.agreed(ask, challenge)
            offer, limits = kit.choose(ask, challenge)
            try:
                anchor = yield from kit.anchor(offer)
                while isinstance(hold := (yield Hold(ask, offer, limits, anchor)), Busy):
                    yield from wait(ask, hold)
            except (NoAcceptableOffer, NodeError) as why:
                challenge = yield from _without(challenge, offer, why)
                continue
        if hold is not None and (made := (yield from prove_hold(hold))) is not None:  # else another process opened this very purchase first
            return made


def _without(challenge: model.Challenge, offer: model.Offer, why: PaymentError) -> Steps[model.Challenge]:
    """The challenge without an offer that its chain cannot pay just now. When it was the only one raises `why`, where time mends nothing, or there is none."""
    offers = tuple(each for each in challenge.offers if each != offer)
    if not offers and why.rule == CROWDED:
        try:
            yield Sleep(CROWD_PAUSE)
        except Exception:  # whoever drives has no more time
            raise why from None
        return challenge
    if not offers or len(offers) == len(challenge.offers):
        raise why
    return replace(challenge, offers=offers, passed_over=(*challenge.passed_over, f"{offer.money}: {why.what}"))


def show_again(hold: model.Hold, kit: Kit) -> Steps[Reply]:
    """Present the proof of an open payment once more, without asking first; ends with no reply when it is not ours."""
    committed = yield from prove_hold(hold)
    if committed is None:
        raise in_doubt(hold, "another process is presenting it")
    had = yield from _present(*committed, kit)
    if isinstance(had, Reply):
        return had
    reply: Reply = (yield Send()) if hold.ask.method == BUY else (yield from ask_with(hold.ask, kit))
    reply.receipt = had
    return reply


def _open_hold(ask: model.Ask, kit: Kit, *, whole: bool) -> Steps[tuple[model.Hold | None, bool]]:
    """The open payment for this Ask, unless the chain shows that it can never settle; and whether somebody was waited for."""
    waited = False
    while isinstance(hold := (yield Find(ask, whole)), Busy):
        waited = True
        yield from wait(ask, hold)
    if hold is None or hold.state == "CONFIRMED":
        return hold, waited
    fate = yield from kit.fate(hold)
    if fate in FREES:
        state, note = FREES[fate]
        yield Close(hold, state, note=note)
        return None, waited
    if fate == "settled":
        yield Close(hold, "CONFIRMED", note="found on chain")
    return hold, waited


def prove_hold(hold: model.Hold) -> Steps[tuple[model.Hold, model.Proof] | None]:
    """Sign in memory, then write it down. Whatever fails here, nothing has left this machine in this call."""
    try:
        if not hold.resumed:
            hold = yield Approve(hold)
        proof = yield Sign(hold)
        committed = yield Commit(hold, proof)
    except BaseException as cause:
        yield Close(hold, "RELEASED", note=str(getattr(cause, "what", type(cause).__name__)))
        raise
    if committed is None:
        return None
    if committed.offer.method == PAYS_FIRST:
        proof = yield from _pay_first(committed, proof)
    return committed, proof


def _pay_first(hold: model.Hold, proof: model.Proof) -> Steps[model.Proof]:
    """On its chain before the seller hears of it: the proof to show. What fails here has left: the same bytes go out again, never others."""
    try:
        return (yield Broadcast(hold, proof)) or proof
    except BaseException as cause:
        yield Close(hold, "UNKNOWN", refused=hold.refused, note=str(getattr(cause, "what", type(cause).__name__)))
        if isinstance(cause, PaymentInDoubt):
            cause.payment_id, cause.hint = hold.payment_id, cause.hint or _RESUME.format(hold.payment_id[:8])
        elif isinstance(cause, Exception):
            why = getattr(cause, "what", type(cause).__name__)
            raise PaymentInDoubt(f"{hold.offer.money} for {hold.ask.host} may be under way on its chain: {why}", rule=_SAME,
                                 hint=_RESUME.format(hold.payment_id[:8]), payment_id=hold.payment_id) from cause  # fmt: skip
        raise


def _present(hold: model.Hold, proof: model.Proof, kit: Kit, *, prepaid: bool = False) -> Steps[Reply | model.Receipt]:
    """From here money may move: every way out closes the hold with what is known, and frees nothing. -> a Receipt where a credential was bought alone."""
    dialect, refusable = kit.dialect(hold.offer.dialect), hold.refused
    kept = True
    try:
        presented = yield from dialect.present(hold, proof)
        if presented.credential is not None:
            kept = yield from _keep(hold, presented.credential)
        if not presented.headers or hold.ask.method == BUY:
            return (yield from _had(hold, presented, kit, kept=kept))
        reply, repeated = yield from _send(hold, Veiled(presented.headers), dialect)
        if (other := (yield from kit.otherwise(hold, proof, reply, presented))) is not None:
            presented, (reply, repeated) = other, (yield from _send(hold, Veiled(other.headers), dialect))
        if prepaid and reply.status == 402:
            refusable = not repeated
            if (renewed := kit.renewed(hold, reply)) is not None:  # the same proof: a second one is never signed
                presented = yield from dialect.present(renewed, proof)
                reply, repeated = yield from _send(renewed, Veiled(presented.headers), dialect)
    except BaseException as cause:
        yield Close(hold, "UNKNOWN", refused=hold.refused, note=str(getattr(cause, "what", type(cause).__name__)))
        if isinstance(cause, Exception) and not isinstance(cause, PaymentInDoubt):
            raise in_doubt(hold, cause.what if isinstance(cause, SettingsError) else type(cause).__name__) from cause
        raise
    claim = dialect.receipt(reply, hold.offer)
    state, refused = judge(reply.status, claim, fresh=refusable or not (hold.resumed or repeated))
    if state == "UNKNOWN" and hold.offer.method == PAYS_FIRST:
        state = "PROVING"  # the money has moved: whatever a seller answers now, he is shown the same proof again
    if state in ("UNKNOWN", "PROVING") and hold.state in SPENT:  # bought before: a worse answer to the same proof takes nothing back
        state, refused = hold.state, False
    reply.receipt = kit.receipt(hold, claim, state, refused=refused)
    bought = claim.credential or presented.good
    if bought is not None and bought is presented.good and bought.uses_left is not None:
        bought = replace(bought, uses_left=max(0, bought.uses_left - repeated))
    if bought is not None and state == "CLAIMED":
        kept = (yield from _keep(hold, bought)) and kept
    note = presented.note
    if not kept and state == "CLAIMED":
        state, note = "PAID_UNDELIVERED", "what it bought could not be written down"
    yield Close(hold, state, refused=refused, status=reply.status, receipt=reply.receipt, note=note)
    return reply


def _had(hold: model.Hold, presented: Presented, kit: Kit, *, kept: bool) -> Steps[model.Receipt]:
    """What was bought for later is there, or is not: then its payment stays open for it."""
    if presented.credential is None and presented.good is not None:
        kept = yield from _keep(hold, presented.good)
    good = kept and (presented.credential or presented.good) is not None
    state, note = ("CLAIMED", presented.note) if good else ("PAID_UNDELIVERED", presented.note or "what it bought could not be written down")
    receipt = kit.receipt(hold, Claim(), state, refused=False)
    yield Close(hold, state, receipt=receipt, note=note)
    return receipt


def _keep(hold: model.Hold, credential: model.Credential) -> Steps[bool]:
    """Written down before its first use and before its payment is closed; else that payment stays open for it (c1, K4)."""
    ask = hold.ask
    bought = replace(credential, origin=credential.origin or ask.origin, path=credential.path or ask.path,
                     payment_id=hold.payment_id, dialect=hold.offer.dialect)  # fmt: skip
    try:
        yield Keep(bought)
    except PaymentError:
        return False
    return True


def _send(hold: model.Hold, headers: Mapping[str, str], dialect: Dialect) -> Steps[tuple[Reply, int]]:
    """The paid leg, and how often it was repeated. The same bytes go out again, twice at most, where repeating the request itself is harmless."""
    tries = RESENDS if hold.ask.method in IDEMPOTENT else 0
    repeated = 0
    while True:
        try:
            reply = yield Send(headers, paid=True)
        except NoAnswer:
            if not tries:
                raise
            pause = 0.2
        else:
            again = reply.retry_after
            if not tries or again is None or dialect.receipt(reply, hold.offer).success:
                return reply, repeated
            pause = again
        tries -= 1
        repeated += 1
        if hold.offer.flow == QUOTA:
            yield from _count(hold)
        yield Sleep(pause)


def _count(hold: model.Hold) -> Steps[None]:
    """One more of the calls that it bought: a seller counts each showing, and what nobody counts here would be missing at the end."""
    found = yield Look(hold.ask, hold.payment_id)
    if isinstance(found, Credential) and found.payment_id == hold.payment_id and found.uses_left is not None and not found.serial:
        taken = yield Use(found)
        if isinstance(taken, Credential):
            yield Return(taken)


def judge(status: int, claim: model.Claim, *, fresh: bool) -> tuple[str, bool]:
    """The ledger state after an answer to a proof, and whether that answer was a refusal.

    `fresh` is False for a proof that was shown before: then "already used" is no refusal.
    """
    if status < 400:
        return "CLAIMED", False
    if claim.success and status != 402:
        return "PAID_UNDELIVERED", False
    return "UNKNOWN", status == 402 and fresh and not claim.waiting


def in_doubt(hold: model.Hold, why: str) -> PaymentInDoubt:
    """The error for a proof that left and was not answered."""
    return PaymentInDoubt(f"{hold.ask.host} was shown a proof for {hold.offer.money} and did not answer ({why})", payment_id=hold.payment_id,
                          rule="a proof that left stays counted until the chain shows that it can never settle",
                          hint=f"x402-agent resume {hold.payment_id[:8]}   (or repeat the call: the same proof is shown again)")  # fmt: skip
