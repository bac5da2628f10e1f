"""Payer: the one place where the rooms are put together. Nobody below imports it; it holds no state of its own
but what the rooms keep."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import chains as chain_room
from . import dialects as dialect_room
from . import recovery
from .errors import NoAcceptableOffer, PaymentError, PolicyDenied, SettingsError, SigningFailed
from .flow import pay
from .ledger import SqliteLedger
from .ledger.states import outcome
from .model import Receipt
from .policy import Budget, Choice, Policy, choose, load
from .settings import Settings
from .steps import Approve, Close, Commit, Find, Hold, Keep, Sign
from .wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import httpx

    from .chains import Chain
    from .flow import Dialect
    from .model import Ask, Challenge, Claim, Credential, Limit, Offer, Proof
    from .model import Hold as HeldBudget
    from .recovery import Resumed
    from .sandbox import Sandbox
    from .steps import Reply, Step, Steps

__all__ = ["Payer", "Quote", "attach"]

log = logging.getLogger("x402_agent")


@dataclass(frozen=True)
class Quote:
    """What a URL asks and what policy makes of it. Nothing was signed or held.

    `understood` is False for a 402 that no dialect reads; `status` is the answer to the unpaid request.
    """

    status: int
    understood: bool = False
    chosen: Offer | None = None
    offers: tuple[tuple[Offer, str], ...] = ()
    unread: tuple[str, ...] = ()
    reason: PaymentError | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class _Blocking:
    """Signing by somebody else's signer: never on the event loop."""

    run: Callable[[], Any]


class Payer:
    """Pays for what its policy allows, and writes down every cent before it can leave.

    `approve` is called with (offer, ask) above `policy.approve_above`; False or an exception denies. `trace` is
    called with each step of each conversation and its result. Raises SettingsError, LedgerError.
    """

    def __init__(
        self,
        *,
        wallet: Wallet,
        policy: Policy | None = None,
        ledger: SqliteLedger | None = None,
        settings: Settings | None = None,
        dialects: Sequence[Dialect] | None = None,
        chains: Sequence[Chain] | None = None,
        approve: Callable[[Offer, Ask], bool] | None = None,
        trace: Callable[[Step, Any], None] | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(32),
        sandbox: Sandbox | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.wallet = wallet
        self.policy = policy or Policy()
        self.dialects = tuple(dialect_room.builtin() if dialects is None else dialects)
        self.chains = {c.namespace: c for c in (chain_room.builtin() if chains is None else chains)}
        self.approve = approve
        self.trace = trace
        self.clock = clock
        self.nonce = nonce
        self.deadline = self.settings.deadline
        self.answer_timeout = self.settings.answer_timeout
        self.box = sandbox
        if ledger is not None:
            self.ledger = ledger
        self._credentials: dict[str, list[Credential]] | None = None
        if sandbox is not None:
            self.sandbox = sandbox  # type: ignore[method-assign]

    @cached_property
    def ledger(self) -> SqliteLedger:
        """The journal; opened when it is first needed. Raises LedgerError."""
        return SqliteLedger(self.settings.ledger_path, clock=self.clock, agent=self.settings.agent)

    @classmethod
    def from_env(
        cls,
        budget: Budget | None = None,
        *,
        env: Mapping[str, str] | None = None,
        trace: Callable[[Step, Any], None] | None = None,
        approve: Callable[[Offer, Ask], bool] | None = None,
    ) -> Payer:
        """Key from X402_AGENT_EVM_KEY, rules from policy.toml, networks from X402_AGENT_NETWORKS.

        A `budget` given here replaces those of the file. Raises SettingsError naming variable, or file and line.
        """
        import os

        env = os.environ if env is None else env
        settings = Settings.load(env)
        policy = _policy(settings, budget)
        return cls(wallet=Wallet.from_env(env), policy=policy, settings=settings, trace=trace, approve=approve)

    @classmethod
    def sandbox(
        cls,
        scenario: str = "honest",
        *,
        ledger: Path | None = None,
        budget: Budget | None = None,
        serve: bool = False,
        settings: Settings | None = None,
        trace: Callable[[Step, Any], None] | None = None,
    ) -> Payer:
        """The same object on test money: `payer.sandbox` is a pretend seller on a real EVM, in this process.

        With `serve` it listens on loopback; otherwise `payer.client()` reaches it without a socket.
        """
        from dataclasses import replace

        from .sandbox import Sandbox

        settings = settings or Settings.load()
        box = Sandbox(scenario)
        if serve:
            box.serve()
            settings = replace(settings, nodes={"eip155:84532": box.rpc_url})
        policy = Policy(networks=("base-sepolia",), source="the sandbox default")
        return cls(
            wallet=Wallet.from_key(box.payer_key),
            policy=policy.with_budget(budget) if budget else policy,
            settings=settings,
            ledger=SqliteLedger(ledger or settings.sandbox_ledger, sandbox=True),
            sandbox=box,
            trace=trace,
        )

    # -- doors --------------------------------------------------------------------------------------------------------

    def client(self, *, library: str = "httpx", **options: Any) -> httpx.Client:
        """An httpx.Client that pays; options are the client's own. `library="httpx2"` returns that one's.

        Proxies of the environment are ignored unless `trust_env=True`: they would see the proofs.
        """
        return self._made(library, "Client", options)  # type: ignore[no-any-return]

    def async_client(self, *, library: str = "httpx", **options: Any) -> httpx.AsyncClient:
        """The same for asyncio and trio."""
        return self._made(library, "AsyncClient", options)  # type: ignore[no-any-return]

    def _made(self, library: str, name: str, options: dict[str, Any]) -> Any:
        if library not in ("httpx", "httpx2"):
            raise SettingsError(f"no HTTP library is called {library!r}", rule="library", hint="httpx or httpx2")
        lib = __import__(library)
        options.setdefault("trust_env", False)
        if self.box is not None and not self.box.serving and "transport" not in options:
            options["transport"] = self.box.transport()
        return self._wrap(getattr(lib, name)(**options), raises=True)

    def attach(self, client: Any) -> Any:
        """Pay inside a client you already have, in place: httpx or httpx2, sync or async; -> the same client.

        What policy refuses comes back as the untouched 402, with the reason in `response.extensions["payment"]`.
        """
        return self._wrap(client, raises=False)

    def _wrap(self, client: Any, *, raises: bool) -> Any:
        transport = _transport_for(client)
        if transport is None or not hasattr(client, "_transport") or not hasattr(client, "_mounts"):
            raise SettingsError(f"{type(client).__name__} is no client of httpx or httpx2", rule="attach(client)",
                                hint="payer.attach(httpx.Client()), payer.attach(openai_client._client)")  # fmt: skip

        def over(inner: Any) -> Any:
            return inner if inner is None or isinstance(inner, transport) else transport(inner, self, raises=raises)

        client._transport = over(client._transport)
        client._mounts = {pattern: over(inner) for pattern, inner in client._mounts.items()}
        return client

    def quote(self, url: str, *, method: str = "GET", **options: Any) -> Quote:
        """What this URL asks and what policy says; nothing is signed, held or paid. Raises what httpx raises."""
        found: list[Quote] = []
        with self.talking(lambda ask: _QuoteKit(self, ask, found)) as client:
            try:
                reply = client.request(method, url, **options)
            except PaymentError as why:
                return Quote(402, understood=True, reason=why)
        return found[0] if found else Quote(reply.status_code)

    def talking(self, talk: Callable[[Ask], Kit]) -> httpx.Client:
        """A client whose conversations are led by another kit: quotes, and proofs shown again."""
        from .transport import PaymentTransport

        client = self.client()
        for transport in (client._transport, *client._mounts.values()):
            if isinstance(transport, PaymentTransport):
                transport.rooms = _Led(self, talk)
        return client

    def resume(self, payment_id: str | None = None) -> list[Resumed]:
        """Settle what is open: ask the chain where a node is known, show the same proof again where it may help.

        Never signs anything new. Raises LedgerError.
        """
        return recovery.resume(self, payment_id)

    def close(self) -> None:
        """Write what waits, close the ledger and the sandbox."""
        if "ledger" in self.__dict__:
            self.ledger.flush()
            self.ledger.shut()
        if self.box is not None:
            self.box.stop()

    def __enter__(self) -> Payer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Payer({self.wallet!r})"

    # -- the rooms, as one conversation sees them ---------------------------------------------------------------------

    def talk(self, ask: Ask) -> Kit:
        """The kit of one conversation."""
        return Kit(self, ask)

    def signer(self, namespace: str) -> Any:
        """The signer for a CAIP-2 namespace; raises SigningFailed when the wallet has none."""
        found = self.wallet.signer(namespace)
        if found is None:
            raise SigningFailed(f"no key for {namespace}", rule="wallet", hint="export X402_AGENT_EVM_KEY=0x…")
        return found

    def refuses(self, offer: Offer) -> str:
        """Why this payer cannot pay an offer at all, or ""."""
        namespace = offer.network.namespace
        chain = self.chains.get(namespace)
        if chain is None:
            return f"no chain here pays on {offer.network.name}"
        account = self.wallet.address(namespace)
        return chain.refuses(offer, account) if account else f"no key for {offer.network.name}"

    def kept(self, origin: str) -> list[Credential]:
        """Live credentials of one origin, from memory."""
        if self._credentials is None:
            found: dict[str, list[Credential]] = {}
            exists = "ledger" in self.__dict__ or self.settings.ledger_path.exists()
            for credential in self.ledger.credentials(self.clock()) if exists else ():
                found.setdefault(credential.origin, []).append(credential)
            self._credentials = found
        return self._credentials.get(origin, [])

    def keep(self, credential: Credential, used: int, *, refused: bool) -> Any:
        """Remember, count or forget a credential, in memory and in the ledger."""
        if self._credentials is not None and not used and not refused:
            self._credentials.setdefault(credential.origin, []).append(credential)
        job = self.ledger.keep(credential, used, refused=refused)
        if used or refused:
            self._credentials = None
        return job


class Kit:
    """One conversation's view of the rooms (flow.Kit), and who performs its steps."""

    __slots__ = ("ask", "payer")

    def __init__(self, payer: Payer, ask: Ask) -> None:
        self.payer = payer
        self.ask = ask

    def conversation(self) -> Steps[Reply]:
        """What the driver is to perform."""
        return pay(self.ask, self)

    def credential(self, ask: Ask) -> Credential | None:
        kept = self.payer.kept(ask.origin)
        if not kept:
            return None
        now = self.payer.clock()
        for credential in kept:
            alive = (credential.expires is None or now < credential.expires) and credential.uses_left != 0
            if alive and ask.path.startswith(credential.path):
                return credential
        return None

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        for dialect in self.payer.dialects:
            challenge = dialect.read(reply, ask)
            if challenge is not None:
                return challenge
        return None

    def choose(self, ask: Ask, challenge: Challenge) -> tuple[Offer, tuple[Limit, ...]]:
        if ask.paid:
            raise PolicyDenied(
                f"{ask.host} asks again after a redirect from what was just paid",
                rule="one request, one payment (L8)", hint=f"x402-agent why {ask.paid[:8]}", payment_id=ask.paid,
            )  # fmt: skip
        choice = choose(self.payer.policy, ask, challenge, self.payer.refuses)
        if choice.offer is None:
            raise choice.error or NoAcceptableOffer("nothing on offer")
        ask.key  # noqa: B018 - a one-shot body is refused here, before anything is held
        return choice.offer, choice.limits

    def dialect(self, name: str) -> Dialect:
        return next(d for d in self.payer.dialects if d.name == name)

    def fate(self, hold: HeldBudget) -> Steps[str]:
        return recovery.fate(self.payer, hold)

    def receipt(self, hold: HeldBudget, claim: Claim, state: str, *, refused: bool) -> Receipt:
        return Receipt(
            outcome(state, refused=refused), hold.offer, hold.payment_id, claim.transaction,
            sandbox=self.payer.box is not None, claim=claim.fields,
        )  # fmt: skip

    def perform(self, step: Step, milliseconds: int) -> Any:
        """Do one step of the rooms: a value, or work that the driver runs (a ledger job, a remote signature)."""
        kind = type(step)
        if kind is Find:
            return self.payer.ledger.find(self.ask)
        if kind is Hold:
            return self._hold(step)  # type: ignore[arg-type]
        if kind is Approve:
            return self._approve(step)  # type: ignore[arg-type]
        if kind is Sign:
            return self._sign(step)  # type: ignore[arg-type]
        if kind is Commit:
            return self.payer.ledger.commit(step.hold, digest(step.proof))  # type: ignore[union-attr]
        if kind is Close:
            return self._close(step, milliseconds)  # type: ignore[arg-type]
        assert isinstance(step, Keep)
        return self.payer.keep(step.credential, step.used, refused=step.refused)

    def _hold(self, step: Hold) -> Any:
        payer, offer = self.payer, step.offer
        chain = payer.chains[offer.network.namespace]
        account = payer.wallet.address(offer.network.namespace)
        terms = chain.terms(
            offer, account, now=int(payer.clock()), nonce=payer.nonce(), max_lifetime=payer.policy.max_lifetime
        )
        local = payer.signer(offer.network.namespace).local
        reserve = not local or self._wants_approval(offer)
        return payer.ledger.hold(step.ask, offer, terms, step.limits, reserve=reserve)

    def _wants_approval(self, offer: Offer) -> bool:
        above = self.payer.policy.approve_above
        return above is not None and (offer.money.micros or 0) > above

    def _approve(self, step: Approve) -> Any:
        offer, ask = step.hold.offer, step.hold.ask
        if not self._wants_approval(offer):
            return None
        approve = self.payer.approve

        def run() -> None:
            if approve is None or approve(offer, ask) is not True:
                who = "nobody can be asked" if approve is None else "the approval was not given"
                raise PolicyDenied(f"{ask.host} asks {offer.money}: {who}",
                                   rule=self.payer.policy.place("approve_above"), hint="Payer(approve=…)")  # fmt: skip

        return _Blocking(run)

    def _sign(self, step: Sign) -> Any:
        hold, payer = step.hold, self.payer
        namespace = hold.offer.network.namespace
        signer = payer.signer(namespace)
        if signer.address(namespace) != hold.terms.payer:
            raise SigningFailed("the open payment was signed by another account of yours",
                                rule=hold.terms.payer, hint="use the wallet that signed it")  # fmt: skip
        chain = payer.chains[namespace]
        if signer.local:
            return chain.prove(hold.offer, hold.terms, signer)
        return _Blocking(lambda: chain.prove(hold.offer, hold.terms, signer))

    def _close(self, step: Close, milliseconds: int) -> Any:
        hold, receipt = step.hold, step.receipt
        if receipt is not None:
            log.info("%s %s %s %s", receipt.outcome, hold.offer.money, hold.ask.host, hold.payment_id)
        return self.payer.ledger.close(
            hold, step.state, refused=step.refused, status=step.status, note=step.note, milliseconds=milliseconds,
            transaction=receipt.transaction if receipt else "",
        )  # fmt: skip


class _Led:
    """The rooms of a driver, with another kit to lead the conversation."""

    def __init__(self, payer: Payer, talk: Callable[[Ask], Kit]) -> None:
        self.deadline, self.answer_timeout, self.trace = payer.deadline, payer.answer_timeout, payer.trace
        self.talk = talk


class _QuoteKit(Kit):
    """A conversation that ends where policy has spoken."""

    __slots__ = ("found",)

    def __init__(self, payer: Payer, ask: Ask, found: list[Quote]) -> None:
        super().__init__(payer, ask)
        self.found = found

    def credential(self, ask: Ask) -> Credential | None:
        return None

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        challenge = super().read(reply, ask)
        if challenge is not None:
            made: Choice = choose(self.payer.policy, ask, challenge, self.payer.refuses)
            chosen = ((made.offer, ""),) if made.offer else ()
            over = chosen + made.passed_over
            self.found.append(Quote(402, True, made.offer, over, made.unread, made.error, made.limits))
        return None


def digest(proof: Proof) -> str:
    """sha256 of the proof's payload: what the ledger keeps, to know the same bytes again."""
    return hashlib.sha256(json.dumps(proof.payload, sort_keys=True).encode()).hexdigest()


def attach(client: Any, payer: Payer) -> Any:
    """`payer.attach(client)` as a function."""
    return payer.attach(client)


def _transport_for(client: Any) -> Any:
    roots = {base.__module__.partition(".")[0] for base in type(client).__mro__}
    if "httpx2" in roots:
        from ._httpx2 import PaymentTransport as Twin

        return Twin
    if "httpx" in roots:
        from .transport import PaymentTransport

        return PaymentTransport
    return None


def _policy(settings: Settings, budget: Budget | None) -> Policy:
    from dataclasses import replace

    policy = load(settings.policy_path)
    if settings.networks:
        policy = replace(policy, networks=settings.networks, where={**policy.where, "networks": "X402_AGENT_NETWORKS"})
    if settings.loopback:
        policy = replace(policy, loopback=True)
    return policy.with_budget(budget) if budget else policy
