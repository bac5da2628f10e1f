"""SqliteLedger: what happened, written down before it happens. No journal, no signature.

One row per payment, moved only along states.MOVES, each move one event in a hash chain, each batch one transaction
under a lock between processes. Commit is durable before it returns; everything else may be lost only in the
direction that keeps money counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..errors import LedgerError, PolicyDenied, SigningFailed
from ..model import ASKED_FIRST, NEVER, Ask, Hold, Limit, Offer, Stop, Terms
from ..steps import Busy
from . import budget, counters, numbers, quotas, recovery, rows, states, transactions
from .allowances import Allowances, enough, took
from .broadcasts import Broadcasts
from .charges import Charges
from .evidence import Evidence
from .exports import Exports
from .freezes import Freezes, calm, check_freezes
from .goods import Goods, Sealed, with_request
from .moves import Answer, Known, Overtaken, known, move
from .past import Past
from .purchase import Rebuy, in_quarantine, index_asks, not_again, same_payee, same_purchase
from .refunds import Refunds
from .remembered import Remembered
from .reports import select
from .slips import Slips, check_slips
from .store import Store, day_of
from .windows import began
from .writer import Forgiving, Job, Late, done_job

__all__ = ["SqliteLedger"]

_DIGEST = "UPDATE x402_payments SET proof_digest = ? WHERE payment_id = ?"
_STORED = "SELECT proof_digest FROM x402_payments WHERE payment_id = ?"
_AT_WORK = states.UNSENT | states.UNDER_WAY
_KNOWN_BETTER = states.SPENT | states.ON_CHAIN


class _Admitted(NamedTuple):
    """A payment that may be written: micro-dollars to count, the ledger's time, its purse, where it counts, and whether
    its recipient is pinned already."""  # fmt: skip

    micros: int
    now: float
    realm: str
    scopes: tuple[str, ...]
    pinned: bool


class SqliteLedger(Allowances, Broadcasts, Charges, Evidence, Exports, Freezes, Goods, Past, Refunds, Remembered, Slips):
    """The ledger in one SQLite file; opened.py says what its arguments are."""

    # -- the four calls of the conversation -----------------------------------------------------------------------

    def find(self, ask: Ask, *, rebuy: Rebuy | None = None, whole: bool = False) -> Job[Hold | Busy | None]:
        """The open payment for this very Ask, Busy when a live owner is at it under the same caller's key, or None.

        `whole`: or the one that buys calls of its whole origin, Busy whoever is at that.

        Raises PolicyDenied when the caller's key was used for another request (X8), or when this very purchase was
        delivered within the time of `rebuy`.
        """
        store = self._store
        simple = not ask.caller_key and ask.again is not False and rebuy is None and not whole
        if simple and store is not None and not self._forked and store.current() and store.cache.alone(ask.key):
            return done_job(None)  # a hint as well: Commit looks again, under the lock
        return self._job(lambda opened: self._wanted(opened, ask, rebuy, whole), write=ask.again is False or rebuy is not None)

    def hold(
        self, ask: Ask, offer: Offer, terms: Terms, limits: tuple[Limit, ...], *, reserve: bool = False, stop: Stop = NEVER,
        gas: tuple[Limit, ...] = (), later: bool = False,
    ) -> Job[Hold | Busy | None]:  # fmt: skip
        """Set budget aside: a plan in memory where there is ample room, else a RESERVED row. `gas` are limits of the network's fee;
        `later`: its account nonce is given with `approve`, and kept from nobody until then.
        -> None where calls of its origin are being bought already, Busy while its account signs another payment under an account nonce.

        Raises BudgetExceeded, PolicyDenied (frozen, or another recipient than pinned), LedgerError.
        """
        if self.agent and not ask.under.agent:
            ask.under = ask.under._replace(agent=self.agent)
        store = self._store
        if store is None or self._forked:
            self._job(recovery.nothing, write=False)
            store = self._store
        assert store is not None
        plan = replace(_plan(store, ask, offer, terms, limits, stop), gas=gas)
        if not later and (busy := numbers.seen(store, plan)) is not None:
            return done_job(busy)
        reserve = reserve or offer.flow in ASKED_FIRST
        if not (reserve or ask.under.slip) and (store.current() or store.recent()) and calm(store.cache, ask, offer, stop.after):
            now = store.now()
            realm = budget.realm_of(offer, sandbox=self.sandbox)
            pin = store.cache.pins.get((ask.origin, offer.asset.network.id))
            if pin == offer.pay_to and budget.room(store.cache, realm, offer, limits, now):
                return done_job(plan)
        return self._holding(lambda opened: None if quotas.taken(opened, plan, self._at_work) else self._hold(opened, plan, reserve=reserve, later=later))

    def approve(self, hold: Hold, note: str, terms: Terms | None = None) -> Job[Hold | Busy]:
        """Write down who said yes to a reserved Hold. -> the Hold to sign: with `terms`, the same one dated anew, or Busy as `hold`.

        Its budget goes over to the new row in one transaction. Raises what `hold` raises; LedgerError when it is gone.
        """
        return self._job(lambda store: self._approve(store, hold, note, terms), write=True)

    def commit(self, hold: Hold, proof_digest: str = "", request: Sealed | None = None) -> Job[Hold | None]:
        """Make it durable that this proof may leave, and the request it pays for, until that is delivered.

        -> the Hold, or None when its purchase is open elsewhere.

        Raises BudgetExceeded, PolicyDenied, LedgerError; SigningFailed when a proof to be presented again is not
        the stored one, byte for byte.
        """
        self._committing.add(hold.payment_id)
        return self._job(lambda store: self._commit(store, hold, proof_digest, request), write=True, full=True)

    def close(
        self,
        hold: Hold,
        state: str,
        *,
        refused: bool = False,
        status: int = 0,
        transaction: str = "",
        note: str = "",
        milliseconds: int = 0,
        request: Sealed | None = None,
    ) -> Job[None]:
        """Write down what came of it. RELEASED means that nothing left in this call; it frees only a RESERVED row.

        A move that is not legal, and a write that fails, are logged and change nothing: the row stays counted.
        """
        answer = Answer(refused, status, transaction[:200], note[:500], milliseconds)
        if state == "RELEASED" and hold.state == "planned" and hold.payment_id not in self._committing:
            return done_job(None)
        if state != "CLAIMED" and self._store is not None:
            self._store.cache.loud(hold.ask.key, hold.payment_id)
        writer = self._writer if self._store is not None and not self._forked else None
        kind = Late if state == "CLAIMED" and not self._child else Forgiving
        return kind(writer, lambda store: self._close(store, hold, state, answer, request), write=True, full=False)

    def progress(self, hold: Hold, state: str, words: str = "", fee: int | None = None) -> Job[None]:
        """How far a payment that pays first has come: SEEN, MINED, INFLIGHT (no longer in a block) or PROVING, and the fee that it took.

        What is no move from where it stands changes nothing; a write that fails is logged, and the payment stays counted.
        """
        writer = self._writer if self._store is not None and not self._forked else None
        return Forgiving(writer, lambda store: self._progress(store, hold, state, words, fee), write=True, full=False)

    # -- inside the transaction -----------------------------------------------------------------------------------

    def _wanted(self, store: Store, ask: Ask, rebuy: Rebuy | None, whole: bool) -> Hold | Busy | None:
        found = self._find(store, ask) or (quotas.of_origin(store, ask, self._at_work) if whole else None)
        if found is None and rebuy is not None:
            not_again(store, ask, rebuy)
        return found

    def _find(self, store: Store, ask: Ask, besides: str = "") -> Hold | Busy | None:
        now = store.clock()
        keyed = bool(ask.caller_key)
        if keyed:
            self._conflict(store, ask)
        where, values = "is_open = 1 AND ask_key = ?", [ask.key]
        if keyed:
            where, values = "caller_key = ? AND ask_key = ?", [rows.caller_hash(ask.caller_key), ask.key]
        elif ask.again is False:
            where = "ask_key = ?"
            index_asks(store)
        spent = None
        for row in select(store, f"{where} AND payment_id <> ? ORDER BY id", (*values, besides)):
            state = row["state"]
            if state in _AT_WORK and self._at_work(store, row):
                if keyed:
                    return Busy(row["payment_id"])
                continue
            if same_purchase(row, ask, now):
                if state == "QUARANTINE" or row["proof_digest"] == states.NO_PROOF:
                    raise in_quarantine(row)
                if row["is_open"]:
                    return rows.hold_of(row, ask)
                spent = row
        return None if spent is None else rows.hold_of(spent, ask)  # of what was bought and delivered, the newest

    def _conflict(self, store: Store, ask: Ask) -> None:
        query = "caller_key = ? AND ask_key <> ? AND state <> 'RELEASED' ORDER BY id LIMIT 1"
        for row in select(store, query, (rows.caller_hash(ask.caller_key), ask.key)):
            raise PolicyDenied(
                f"this key was used for {row['method']} {row['origin']}{row['path']}, not for this request",
                rule="one key, one request (X8)",
                hint="use a new key for a new purchase",
                payment_id=row["payment_id"],
            )

    def _admit(self, store: Store, hold: Hold) -> _Admitted:
        """Freezes, pin and limits, checked before anything is written."""
        now = store.now()
        ask, offer = hold.ask, hold.offer
        check_freezes(store, hold, self._stop_names)
        realm = budget.realm_of(offer, sandbox=self.sandbox)
        if ask.under.slip:
            check_slips(store, ask.under.slip, now)
        if any(counters.made_at(run) > now for run in ask.under.runs):
            raise LedgerError("the clock stands a day or more before this task was made", rule="nothing older than a task is paid under it (Z12)",
                              hint="set the clock of this machine, or begin a new task")  # fmt: skip
        pinned = self._pinned(store, hold)
        enough(store, hold)
        if hold.terms.anchor.cost:
            transactions.afford(store, offer.asset.network.id, hold.terms.anchor.cost, hold.gas)
        scopes = budget.scopes(realm, ask, offer)
        return _Admitted(budget.check(store, scopes, ask, offer, hold.limits, now), now, realm, scopes, pinned)

    def _pinned(self, store: Store, hold: Hold) -> bool:
        """Whether this recipient is pinned; raises PolicyDenied when another one is (R4)."""
        ask, offer = hold.ask, hold.offer
        pin = self._pin(store, ask.origin, offer.asset.network.id)
        if pin and not same_payee(pin, offer):
            raise PolicyDenied(
                f"{ask.host} wants the money at {offer.pay_to}, so far it was {pin}",
                rule=f"recipient pinned for {ask.origin} on {offer.asset.network.name} (R4)",
                hint=f"x402-agent pin {ask.origin} {offer.pay_to} --network {offer.asset.network.name}{' --sandbox' * self.sandbox}",
            )
        return bool(pin)

    def _set_pin(self, store: Store, hold: Hold) -> None:
        """The first recipient that money may have gone to is the one from now on."""
        origin, network, pay_to = hold.ask.origin, hold.offer.asset.network.id, hold.offer.pay_to
        pin = (origin, network, pay_to, int(store.clock()))
        store.db.execute("INSERT INTO x402_pins (origin, network, pay_to, created_at) VALUES (?,?,?,?)", pin)
        store.cache.pins[origin, network] = pay_to

    def _pin(self, store: Store, origin: str, network: str) -> str:
        pin = store.cache.pins.get((origin, network))
        if pin is None:
            row = store.db.execute("SELECT pay_to FROM x402_pins WHERE origin = ? AND network = ?", (origin, network))
            found = row.fetchone()
            if found is None:
                return ""
            pin = store.cache.pins[origin, network] = found[0]
        return pin

    def _hold(self, store: Store, plan: Hold, *, reserve: bool, later: bool) -> Hold | Busy:
        admitted = self._admit(store, plan)
        if not reserve and budget.room(store.cache, admitted.realm, plan.offer, plan.limits, admitted.now):
            return plan
        made = numbers.numbered(store, plan, self._at_work, later=later)
        if isinstance(made, Hold):
            self._insert(store, made, "RESERVED", admitted, "")
            made = _as(made, "RESERVED")
        return made

    def _insert(self, store: Store, hold: Hold, state: str, admitted: _Admitted, proof_digest: str) -> None:
        ask, offer, cache = hold.ask, hold.offer, store.cache
        micros, now, realm, scopes, pinned = admitted
        digest = offer.digest
        counters.add(store, scopes, began(now), micros, offer.amount + offer.fee_cap)
        row = rows.row_of(hold, state, owner=store.owner, realm=realm, day=day_of(now), now=int(now),
                          proof_digest=proof_digest, micros=micros, digest=digest)  # fmt: skip
        seq = store.journal.append(hold.payment_id, 0, ("", state), int(now * 1000), rows.facts(row))
        row[-1] = seq
        number = store.db.execute(rows.INSERT, row).lastrowid or 0
        if digest not in cache.offers:
            store.db.execute(rows.INSERT_OFFER, rows.offer_row(offer, digest))
            cache.offers.add(digest)
        if state == "INFLIGHT" and not pinned:
            self._set_pin(store, hold)
        took(store, hold)
        cache.opened(ask.key, 1)
        cache.quiet.setdefault(ask.key, set()).add(hold.payment_id)
        self._live[hold.payment_id] = Known(
            hold.payment_id, ask.key, state, 1, 0, 0, store.owner, 0, "", "", micros, seq, number
        )

    def _approve(self, store: Store, hold: Hold, note: str, terms: Terms | None) -> Hold | Busy:
        row = known(store, hold.payment_id)
        if row is None or row.state != "RESERVED" or row.owner != store.owner:
            raise LedgerError("what was approved is no longer reserved", rule="compare and swap", hint="the same call again asks anew", payment_id=hold.payment_id)
        if terms is not None:
            plan = numbers.numbered(store, replace(_plan(store, hold.ask, hold.offer, terms, hold.limits, hold.stop), gas=hold.gas), self._at_work)
            if isinstance(plan, Busy):
                return plan
            store.cache.loud(hold.ask.key, hold.payment_id)
            move(store, row, "RELEASED", note=f"{note}; held anew as {plan.payment_id}")
            self._live.pop(hold.payment_id, None)
            note += f", asked about as {hold.payment_id}"
            self._insert(store, plan, "RESERVED", self._admit(store, plan), "")
            hold = _as(plan, "RESERVED")
            row = self._live[hold.payment_id]
        move(store, row, "RESERVED", note=note)
        self._live[hold.payment_id] = row
        return hold

    def _commit(self, store: Store, hold: Hold, proof_digest: str, request: Sealed | None) -> Hold | None:
        self._note.keep()
        made = self._again(store, hold, proof_digest) if hold.resumed else self._first(store, hold, proof_digest)
        if made is None:
            self._committing.discard(hold.payment_id)
        elif request is not None:
            with_request(store, hold, request)
        return made

    def _first(self, store: Store, hold: Hold, proof_digest: str) -> Hold | None:
        ask = hold.ask
        free = not (ask.caller_key or ask.again is False) and store.cache.alone(ask.key)
        if hold.state == "planned":
            if not free and self._find(store, ask) is not None:
                return None
            self._insert(store, hold, "INFLIGHT", self._admit(store, hold), proof_digest)
            return _as(hold, "INFLIGHT")
        row = known(store, hold.payment_id)
        if row is None or row.state != "RESERVED" or row.owner != store.owner:
            return None
        now = store.now()
        check_freezes(store, hold, self._stop_names)
        if ask.under.slip:
            check_slips(store, ask.under.slip, now)
        if not free and self._find(store, ask, besides=hold.payment_id) is not None:
            store.cache.loud(ask.key, hold.payment_id)
            move(store, row, "RELEASED", note="its purchase is open elsewhere")
            self._live.pop(hold.payment_id, None)
            return None
        pinned = self._pinned(store, hold)
        move(store, row, "INFLIGHT")
        if not pinned:
            self._set_pin(store, hold)
        store.db.execute(_DIGEST, (proof_digest, hold.payment_id))
        self._live[hold.payment_id] = row
        return _as(hold, "INFLIGHT")

    def _again(self, store: Store, hold: Hold, proof_digest: str) -> Hold | None:
        """The same proof is presented once more: we are its owner now, and nothing else changes."""
        store.now()
        row = known(store, hold.payment_id)
        if row is None or row.state in states.FREED | states.UNSENT | {"REVERTED"}:
            return None
        if row.state in states.UNDER_WAY and row.owner != store.owner and store.owners.alive(row.owner):
            return None
        stored = store.db.execute(_STORED, (hold.payment_id,)).fetchone()[0]
        if proof_digest and stored and proof_digest != stored:
            raise SigningFailed(
                "the signer made other bytes than the first time, so they were not sent",
                rule="one Ask, one proof",
                hint="use the signer that made the first proof, or wait until it has expired",
                payment_id=hold.payment_id,
            )
        move(store, row, row.state, note="presented again")
        self._live[hold.payment_id] = row
        return _as(hold, row.state)

    def _close(self, store: Store, hold: Hold, state: str, answer: Answer, request: Sealed | None) -> None:
        self._closed(store, hold, state, answer)
        with_request(store, hold, request)

    def _closed(self, store: Store, hold: Hold, state: str, answer: Answer) -> None:
        self._committing.discard(hold.payment_id)
        store.cache.loud(hold.ask.key, hold.payment_id)
        row = self._live.pop(hold.payment_id, None)
        if row is not None and (row.state == state or states.legal(row.state, state)):  # else another process may have moved it
            try:
                self._settle(store, row, state, answer)
                return
            except Overtaken:
                pass
        row = known(store, hold.payment_id)
        if row is not None:
            self._settle(store, row, state, answer)

    def _settle(self, store: Store, row: Known, state: str, answer: Answer) -> None:
        if state == "RELEASED":
            if row.state in states.UNSENT:
                move(store, row, "RELEASED", note=answer.note)
            return
        if row.state in _KNOWN_BETTER and row.state != state and not states.legal(row.state, state):
            if state == "CLAIMED" and not answer.status:  # bought for later, and kept: as good as an answer to a payment that the chain has confirmed before
                answer = answer._replace(status=200)
            state = row.state  # a later, worse answer takes nothing back
        move(store, row, state, answer=answer, idle=state in states.ON_CHAIN)

    def _progress(self, store: Store, hold: Hold, state: str, words: str, fee: int | None) -> None:
        row = self._live.get(hold.payment_id) or known(store, hold.payment_id)
        path = ("MINED", state) if state == "PROVING" else (state,)
        for each in path if row is not None else ():
            assert row is not None
            if states.legal(row.state, each) or (fee is not None and each == row.state):
                move(store, row, each, note=words[:500], fee=fee)


def _plan(store: Store, ask: Ask, offer: Offer, terms: Terms, limits: tuple[Limit, ...], stop: Stop) -> Hold:
    payment_id = rows.payment_id_of(offer.asset.network.id, terms.nonce)
    made = store.mac.copy()
    made.update(payment_id.encode())
    name = f"pay_{made.hexdigest()[:32]}"
    return Hold(payment_id, ask, offer, terms, limits, "planned", identifier=name, stop=stop)


def _as(hold: Hold, state: str) -> Hold:
    return Hold(hold.payment_id, hold.ask, hold.offer, hold.terms, hold.limits, state, hold.resumed, hold.refused,
                hold.identifier, hold.stop, hold.gas)  # fmt: skip
