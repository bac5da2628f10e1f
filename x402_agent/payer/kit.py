"""One conversation's view of the rooms, and who performs its steps. Which room does what is said here alone."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import recovery, tasks
from ..assets import coin
from ..errors import NoAcceptableOffer, PaymentError, PolicyDenied
from ..flow import ahead, pay
from ..ledger.budget import left_words
from ..ledger.purchase import Rebuy
from ..ledger.states import outcome
from ..model import ASKED_FIRST, BUY, CALL, Account, Money, Receipt
from ..policy import Choice, choose, locked
from ..policy.fees import gas_of
from ..policy.value import priced, with_fee
from ..steps import (
    Approve,
    Aside,
    Broadcast,
    Close,
    Collect,
    Commit,
    Find,
    Hold,
    Keep,
    Look,
    Return,
    Sign,
    Use,
    Whose,
    Worth,
)
from ..wallet import LockedSigner
from . import before, consent, following
from .paying import Paying
from .prepay import LIFETIME, same_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow import Dialect
    from ..ledger import Sealed
    from ..model import Anchor, Ask, Challenge, Claim, Credential, Limit, Offer, Proof, Terms
    from ..model import Hold as HeldBudget
    from ..policy import Reason
    from ..steps import Presented, Reply, Step, Steps
    from ..tasks import Task
    from .payer import Payer

__all__ = ["Kit", "Quote", "digest"]

log = logging.getLogger("x402_agent")
_canonical = json.JSONEncoder(sort_keys=True).encode
_compact = json.JSONEncoder(separators=(",", ":")).encode
MAX_TEXT = 8 * 1024  # of a signed receipt


@dataclass(frozen=True)
class Quote:
    """What a URL asks and what policy makes of it. Nothing was signed or held.

    `understood` is False for a 402 that no dialect reads; `status` is the answer to the unpaid request. `costs` stands beside
    `offers`: what each costs all told, in millionths of a dollar, None where nobody knows. `dialect` names who read it.
    """

    status: int
    understood: bool = False
    chosen: Offer | None = None
    offers: tuple[tuple[Offer, str], ...] = ()
    unread: tuple[str, ...] = ()
    reason: PaymentError | None = None
    limits: tuple[Limit, ...] = ()
    asks: tuple[Reason, ...] = ()
    costs: tuple[int | None, ...] = ()
    dialect: str = ""


@dataclass(frozen=True)
class _Blocking:
    """Signing by somebody else's signer: never on the event loop."""

    run: Callable[[], Any]


class Kit:
    """One conversation's view of the rooms (flow.Kit), and who performs its steps."""

    __slots__ = ("ask", "asked", "asks", "billed", "consulted", "exchanges", "later", "owns", "payer", "paying", "prepaid", "refused", "rules", "sent", "signed", "stale", "standing")

    def __init__(self, payer: Payer, ask: Ask, task: Task | None = None) -> None:
        self.payer = payer
        self.ask = ask
        self.standing = tasks.standing(payer, task)
        tasks.place(ask, self.standing[0])
        ask.top_up = payer.policy.top_up(ask) if ask.method != BUY else ask.top_up  # a person buys what he says
        ask.expect = ask.expect or self.standing[0].expect or payer.policy.expect_calls
        self.signed = ""  # the offer that we take, as its seller signed it
        self.sent = ""  # the transaction by which we paid first: no seller's word names another
        self.asks: tuple[Reason, ...] = ()
        self.rules = payer.policy  # by which the offer was judged
        self.paying: Paying  # for whom the offer was judged
        self.asked = 0.0  # when the seller said what it asks, in this conversation
        self.prepaid = self.stale = self.consulted = self.later = False
        self.refused: tuple[Credential, ...] = ()  # what was shown in this conversation and called worth nothing
        self.exchanges = True
        self.owns = -1  # of how many of them the dialect knew when it was asked what else opens
        self.billed: Challenge | None = None

    def conversation(self) -> Steps[Reply]:
        """What the driver is to perform."""
        return ahead(self.ask, self) if self.ask.method == BUY else pay(self.ask, self, self.billed)

    def keeps(self, ask: Ask) -> bool:
        return self.payer.credentials.keeps(ask.origin)

    def fresh(self, credential: Credential) -> Mapping[str, str]:
        made: Any = self._door(credential, "fresh")
        return made(credential, self.payer.clock(), self.sign_in) if made else credential.headers

    def sign_in(self, namespace: str, account: str, message: str) -> str:
        """One of the messages that a chain knows, signed by an account of ours. Raises SigningFailed, WalletError."""
        chain: Any = self.payer.chains[namespace]
        return str(chain.sign_in(message, self.payer.signer(namespace, account)))

    def left(self, reply: Reply, credential: Credential) -> int | None:
        told: Any = self._door(credential, "left")
        said: Any = told(reply, credential) if told else None
        return said if type(said) is int and 0 <= said < 1 << 53 else None

    def refuses(self, reply: Reply, credential: Credential) -> bool:
        if reply.status != 402:
            return False
        about: Any = self._door(credential, "refuses")
        return bool(about(reply, credential)) if about else True

    def _door(self, credential: Credential, name: str) -> Any:
        """What its dialect may have beside its three doors; None where it has not."""
        return next((getattr(each, name, None) for each in self.payer.dialects if each.name == credential.dialect), None)

    def remembered(self, ask: Ask) -> Challenge | None:
        if not self.payer.policy.prepay or ask.method == CALL:
            return None
        found = self.payer.prepay.challenge(ask)
        self.prepaid = found is not None
        return found

    def renewed(self, hold: HeldBudget, reply: Reply) -> HeldBudget | None:
        self.stale = True
        self.payer.prepay.refused(hold)
        try:
            challenge = self.read(reply, hold.ask)
        except PaymentError:
            return None
        asked = next((offer for offer in (challenge.offers if challenge else ()) if same_terms(hold.offer, offer)), None)
        return None if asked is None else replace(hold, offer=asked)

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        self.asked, self.consulted = self.payer.clock(), False
        for dialect in self.payer.dialects:
            challenge = dialect.read(reply, ask)
            if challenge is not None:
                return None if challenge.untouched else challenge
        return None

    def agreed(self, ask: Ask, challenge: Challenge) -> Steps[Challenge]:
        if self.consulted or not self.asked or not (challenge.pages or self.buys(ask, challenge)):  # not asked: a signer talks to no stranger's host
            return challenge
        self.consulted = True
        agrees = getattr(self.dialect(challenge.dialect), "agrees", None)
        challenge = (yield from agrees(challenge, ask)) if agrees else challenge
        ask.limits = tuple(dict.fromkeys((*ask.limits, *challenge.limits)))
        return challenge

    def owned(self, ask: Ask, challenge: Challenge) -> Steps[bool]:
        return before.owned(self, ask, challenge)

    def buys(self, ask: Ask, challenge: Challenge) -> bool:
        """Whether what would be chosen is asked about first."""
        return getattr(ask.offer or self.judge(ask, challenge).offer, "flow", "") in ASKED_FIRST

    def choose(self, ask: Ask, challenge: Challenge) -> tuple[Offer, tuple[Limit, ...]]:
        if ask.paid:
            raise PolicyDenied(
                f"{ask.host} asks again after a redirect from what was just paid",
                rule="one request, one payment (L8)", hint=f"x402-agent why {ask.paid[:8]}", payment_id=ask.paid,
            )  # fmt: skip
        choice = self.judge(ask, challenge)
        if choice.offer is None:
            error = choice.error or NoAcceptableOffer("nothing on offer")
            if self.payer.sandboxed and (" wallet approve " in error.hint or " get --dry-run " in error.hint):
                error.hint += " --sandbox"
            raise error
        ask.key  # noqa: B018 - a one-shot body is refused here, before anything is held
        if choice.asks and self.prepaid and not self.asked:
            raise PolicyDenied("a person is asked about this one", rule=self.payer.policy.place("prepay"), hint="asked first")
        self.asks = choice.asks
        self.signed = before.signed(challenge, ask, choice.offer, self.payer.clock())
        return choice.offer, choice.limits

    def judge(self, ask: Ask, challenge: Challenge) -> Choice:
        """What policy makes of a challenge, and the tasks that it is met under."""
        payer, door = self.payer, tasks.refusal(ask, *self.standing)
        if payer.live is not None:
            door = payer.live.door(payer) or door
        self.rules, self.paying = payer.policy, Paying(payer, ask)
        fixed = locked(ask, challenge, payer.facts)
        return choose(self.rules, ask, fixed, self.paying.refuses, self.paying.lacks, door, self.paying.facts)

    def dialect(self, name: str) -> Dialect:
        return next(d for d in self.payer.dialects if d.name == name)

    def anchor(self, offer: Offer) -> Steps[Anchor]:
        payer, namespace = self.payer, offer.network.namespace
        node = payer.settings.nodes.get(offer.network.id, "")
        if node and payer.policy.know_balance:
            yield from payer.balances.ask((offer,), self.paying.wallet)
            if (have := self.paying.facts.balance(offer)) is not None and have < offer.money.amount:
                raise NoAcceptableOffer(
                    f"{self.ask.host} asks {offer.money}, and {self.paying.address(offer)} has only {Money(have, offer.asset).text}",
                    rule=f"balance on chain; {payer.policy.place('know_balance')}", hint="x402-agent wallet fund",
                )  # fmt: skip
        return (yield from payer.chains[namespace].prepare(offer, self.paying.address(offer), node, payer.policy.chains))

    def otherwise(self, hold: HeldBudget, proof: Proof, reply: Reply, presented: Presented) -> Steps[Presented | None]:
        return before.otherwise(self, hold, proof, reply, presented)

    def fate(self, hold: HeldBudget) -> Steps[str]:
        return recovery.fate(self.payer, hold)

    def receipt(self, hold: HeldBudget, claim: Claim, state: str, *, refused: bool) -> Receipt:
        if self.signed:
            self.payer.ledger.testify(hold.payment_id, "offer", self.signed).run()
        if claim.signed is not None and len(text := _compact(claim.signed)) <= MAX_TEXT:
            self.payer.ledger.testify(hold.payment_id, "receipt", text).run()
        why = self.payer.prepay.reason(hold) if self.stale and state == "UNKNOWN" else None
        return Receipt(
            outcome(state, refused=refused), hold.offer, hold.payment_id, self.sent or claim.transaction,
            sandbox=self.payer.box is not None, claim=claim.fields, reason=why,
            differs=recovery.differs(claim.fields, hold), again=hold.resumed,
        )  # fmt: skip

    def perform(self, step: Step, milliseconds: int) -> Any:
        """Do one step of the rooms: a value, or work that the driver runs (a ledger job, a remote signature)."""
        kind = type(step)
        if kind is Find:
            return self._find(step.whole)  # type: ignore[union-attr]
        if kind is Hold:
            return self._hold(step)  # type: ignore[arg-type]
        if kind is Approve:
            hold: HeldBudget = step.hold  # type: ignore[union-attr]
            return Aside(consent.asking(self, hold)) if self.asks else hold
        if kind is Sign:
            return self._sign(step)  # type: ignore[arg-type]
        if kind is Commit:
            return self._commit(step)  # type: ignore[arg-type]
        if kind is Broadcast:
            return self._broadcast(step)  # type: ignore[arg-type]
        if kind is Close:
            return self._close(step, milliseconds)  # type: ignore[arg-type]
        if kind is Look:
            return self._look(step)  # type: ignore[arg-type]
        if kind is Whose:
            return self._account(step.namespace)  # type: ignore[union-attr]
        if kind is Worth:
            return priced(self.payer.facts, step.asset)  # type: ignore[union-attr]
        return self._credential(step)  # type: ignore[arg-type]

    def _account(self, namespace: str) -> Any:
        address = Paying(self.payer, self.ask).wallet.address(namespace)
        signer: Any = self.payer.wallet.signer(namespace, address) if address else None
        return Account(address, signs=bool(getattr(signer, "local", False)) and not isinstance(signer, LockedSigner))

    def _look(self, step: Look) -> Any:
        return None if step.ask.method == CALL else self.payer.credentials.look(*step)  # what opens a URL is a header

    def _commit(self, step: Commit) -> Any:
        hold, ledger = step.hold, self.payer.ledger
        if not (hold.ask.has_body or hold.ask.output) or hold.resumed:
            return ledger.commit(hold, digest(step.proof))
        return ledger.commit(hold, digest(step.proof), self._request(hold))

    def _request(self, hold: HeldBudget) -> Sealed | None:
        """What is kept of the request until it is delivered."""
        return self.payer.keeping.request(hold)

    def _credential(self, step: Use | Return | Keep | Collect) -> Any:
        held = self.payer.credentials
        if isinstance(step, Collect):
            return self.payer.ledger.collected(step.payment_id)
        if isinstance(step, Use):
            return held.use(step.credential)
        if isinstance(step, Return):
            self.refused += (step.credential,) if step.refused else ()
            return held.returned(step)
        self.asked = 0.0  # what was bought opens the door from now on: no proof goes first
        self.payer.prepay.forget(self.ask)
        return held.keep(step.credential, self.ask)

    def _find(self, whole: bool) -> Any:
        policy = self.payer.policy
        rebuy = Rebuy(policy.rebuy_after, policy.place("rebuy_after")) if policy.rebuy_after else None
        return self.payer.ledger.find(self.ask, rebuy=rebuy, whole=whole)

    def _hold(self, step: Hold) -> Any:
        signer = self.payer.signer(step.offer.network.namespace, self.paying.address(step.offer))
        reserve = bool(self.asks) or step.anchor.number >= 0 or step.anchor.cost > 0 or not signer.local
        self.later = bool(self.asks) and step.anchor.number >= 0  # no account nonce is kept while a person thinks
        return self.payer.ledger.hold(step.ask, self.costed(step.offer, step.anchor), self.terms(step.offer, step.anchor), step.limits, reserve=reserve,
                                      stop=self.payer.policy.stop, gas=self.gas(step.offer, step.anchor), later=self.later)  # fmt: skip

    def costed(self, offer: Offer, anchor: Anchor) -> Offer:
        """The offer as budgets of dollars count it: with what its network takes of us, where somebody knows what that is worth."""
        return with_fee(offer, coin(offer.network), anchor.cost, self.paying.facts) if anchor.cost else offer

    def gas(self, offer: Offer, anchor: Anchor) -> tuple[Limit, ...]:
        """What its network's fee must fit into; raises BudgetExceeded for one that costs too much by itself."""
        return gas_of(self.rules, offer.network, anchor.cost) if anchor.cost else ()

    def terms(self, offer: Offer, anchor: Anchor) -> Terms:
        """Payer, nonce and lifetime of our own for an offer, from now on."""
        payer, namespace = self.payer, offer.network.namespace
        return payer.chains[namespace].terms(
            offer, self.paying.address(offer), now=int(payer.clock()), nonce=payer.nonce(),
            max_lifetime=min(payer.policy.max_lifetime, LIFETIME) if self.prepaid and not self.asked else payer.policy.max_lifetime,
            anchor=anchor,
        )  # fmt: skip

    def left_of(self, hold: HeldBudget) -> tuple[str, ...]:
        """What each limit allows beyond this Hold, in words."""
        ledger, network = self.payer.ledger, hold.offer.network
        realm = "sandbox" if ledger.sandbox else "test" if network.testnet else "real"
        return tuple(left_words(one.limit, hold.offer, one.left) for one in ledger.spent(hold.limits, realm=realm))

    def _sign(self, step: Sign) -> Any:
        hold, payer = step.hold, self.payer
        namespace = hold.offer.network.namespace
        signer = payer.signer(namespace, hold.terms.payer)  # the account in its row: another may pay what is new by now
        chain = payer.chains[namespace]
        if signer.local:
            return chain.prove(hold.offer, hold.terms, signer)
        return _Blocking(lambda: chain.prove(hold.offer, hold.terms, signer))

    def _broadcast(self, step: Broadcast) -> Aside:
        hold, where = step.hold, step.hold.offer.network
        chain: Any = self.payer.chains[where.namespace]
        self.sent = str(step.proof.payload["transaction"])
        return Aside(following.followed(self, hold, chain.broadcast(hold.offer, hold.terms, step.proof, self.payer.settings.nodes.get(where.id, ""))))

    def _close(self, step: Close, milliseconds: int) -> Any:
        hold, receipt = step.hold, step.receipt
        if self.payer.policy.prepay:
            self._learn(step)
        if receipt is not None:
            log.info("%s %s %s %s", receipt.outcome, hold.offer.money, hold.ask.host, hold.payment_id)
        if step.state != "RELEASED":
            self.payer.facts.learn(hold)
            self.payer.balances.learn(hold)
        return self.payer.ledger.close(
            hold, step.state, refused=step.refused, status=step.status, milliseconds=milliseconds,
            request=self._request(hold) if step.state in ("UNKNOWN", "PAID_UNDELIVERED") else None,
            note=step.note or (receipt.differs if receipt else ""), transaction=receipt.transaction if receipt else self.sent,
        )  # fmt: skip

    def _learn(self, step: Close) -> None:
        """Remember what was asked, paid and receipted; forget what a proof on the first send did not buy."""
        hold, receipt = step.hold, step.receipt
        good = step.state == "CLAIMED" and receipt is not None and receipt.claim.get("success") is True
        if good and self.asked and not hold.resumed:
            self.payer.prepay.remember(hold.ask, hold.offer, self.asked)
        elif self.prepaid and not good:
            self.payer.prepay.forget(hold.ask)


def digest(proof: Proof) -> str:
    """What the ledger keeps, to know the same bytes again: their id on chain where they have one, else sha256 of the payload."""
    return proof.txid or hashlib.sha256(_canonical(proof.payload).encode()).hexdigest()
