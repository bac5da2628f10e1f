"""Payer: the one place where the rooms are put together. Nobody below imports it; it holds no state of its own
but what the rooms keep."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import chains as chain_room
from .. import dialects as dialect_room
from .. import recovery, tasks
from ..errors import PaymentError, SettingsError, SigningFailed
from ..ledger import SqliteLedger
from ..policy import Budget, Live, Policy
from ..secret import Env, Secret
from ..settings import Settings
from ..vault import Credentials, Keeping, Vault
from ..wallet import KEYS, Wallet
from . import history, plan
from .balances import Balances
from .clients import Led, transport_for
from .facts import Known, pretend
from .kit import Kit, Quote
from .prepay import Prepay
from .quoting import QuoteKit
from .services import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import httpx

    from ..approvals import Approver
    from ..chains import Chain
    from ..discovery import Catalogue
    from ..flow import Dialect
    from ..guard import Guard
    from ..model import Ask, Offer
    from ..policy import PriceSource
    from ..recovery import Resumed
    from ..sandbox import Sandbox
    from ..steps import Step
    from ..tasks.slips import Token
    from ..transport.mcp import PaidSession
    from .plan import Plan

__all__ = ["Payer", "Quote", "attach"]

log = logging.getLogger("x402_agent")


class Payer(Services):
    """Pays for what its policy allows, and writes down every cent before it can leave.

    `approve` is asked where policy wants a person's yes: a function of (offer, ask) or of an approvals.Request, sync or
    async, or a channel; policy.toml's own `[approval]` comes first. `guard` stands under every client it makes. `trace` is called with the Ask, each step of its conversation, and what came of it. Raises SettingsError, LedgerError.
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
        approve: Callable[..., Any] | Approver | None = None,
        trace: Callable[[Ask, Step, Any], None] | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(32),
        prices: PriceSource | None = None,
        sandbox: Sandbox | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.wallet = wallet
        self.policy = policy or Policy()
        self.live: Live | None = None
        self.dialects = tuple(dialect_room.builtin(self.settings.dialects, clock) if dialects is None else dialects)
        self.chains = {c.namespace: c for c in (chain_room.builtin() if chains is None else chains)}
        self.approve = approve
        self.env: Mapping[str, str] = Env()
        self.trace = trace
        self.clock = clock
        self.nonce = nonce
        self.prices = prices
        self.guard = guard
        self.facts = Known(self)
        self.balances = Balances(self)
        self.deadline = self.settings.deadline
        self.answer_timeout = self.settings.answer_timeout
        self.box = sandbox
        self.prepay = Prepay(self)
        if ledger is not None:
            self.ledger = ledger
        self.keeping = Keeping(lambda: self.vault)
        self.credentials = Credentials(self._journal, self.keeping, lambda: self.vault, self.clock)
        self._folder: Any = None
        self._catalogue: Catalogue | None = None
        self._opening = threading.Lock()
        if sandbox is not None:
            self.sandbox = sandbox  # type: ignore[assignment, method-assign]
        self.bounds = tasks.ground(self)  # what every payment stands under, whatever its task

    @cached_property
    def ledger(self) -> SqliteLedger:
        """The journal; opened when it is first needed. Raises LedgerError."""
        where = self.settings
        return SqliteLedger(where.ledger_path, clock=self.clock, agent=where.agent, notes=where.notes_path)

    @classmethod
    def from_env(
        cls,
        budget: Budget | None = None,
        *,
        env: Mapping[str, str] | None = None,
        trace: Callable[[Ask, Step, Any], None] | None = None,
        approve: Callable[..., Any] | Approver | None = None,
        unlock: Callable[[Path], str] | None = None,
    ) -> Payer:
        """Keys from X402_AGENT_EVM_KEY and the like or the wallet file, rules from policy.toml, networks from X402_AGENT_NETWORKS.

        A `budget` given here replaces those of the file, which is read again when it changes. `unlock` is asked for the passphrase of a wallet file when
        the environment has none. Raises SettingsError naming variable, or file and line; WalletError.
        """
        env = Env(env)
        settings = Settings.load(env)
        if settings.signer is not None:
            from ..signer import from_settings

            return from_settings(settings, budget, trace, approve, key=next((name for name in KEYS.values() if env.get(name)), ""))
        live = Live(settings.policy_path, lambda: settings.policy(budget))
        policy = settings.policy(budget)
        wallet = Wallet.from_env(env, settings.wallet_path, ask=unlock)
        made = cls(wallet=wallet, policy=policy, settings=settings, trace=trace, approve=approve)
        made.env, made.live = env, live
        return made

    @classmethod
    def sandbox(
        cls,
        scenario: str = "honest",
        *,
        chain: str = "",
        seller: str = "shop",
        ledger: Path | None = None,
        budget: Budget | None = None,
        serve: bool = False,
        settings: Settings | None = None,
        trace: Callable[[Ask, Step, Any], None] | None = None,
    ) -> Payer:
        """The same object on test money: `payer.sandbox` is a pretend seller on a chain in this process.

        `chain` is one of sandbox.GROUNDS, "" the seller's usual one (EVM, where it sells on all), `seller` one of sandbox.SELLERS. With `serve`, and where a node must be asked before paying, it listens
        on loopback; otherwise `payer.client()` reaches it without a socket. Without a `ledger` path the journal lives in a
        temporary folder and goes with the payer. Raises SettingsError for a chain that the sandbox has not.
        """
        import tempfile
        from dataclasses import replace
        from pathlib import Path

        from ..sandbox import Sandbox

        settings = settings or Settings.load()
        if ledger is None:
            settings = replace(settings, slip=Secret())  # a slip of another ledger is nothing to this one
        box = Sandbox(scenario, chain=chain, seller=seller)
        where = box.ground.asset.network
        if serve or box.ground.asks_node or box.seller.asks_node:
            box.serve()
            settings = replace(settings, nodes={where.id: box.rpc_url})
        settings = replace(settings, dialects=box.dialects)
        policy = Policy(networks=(where.name,), source="the sandbox default")
        folder = None if ledger else tempfile.TemporaryDirectory(prefix="x402-agent-")
        journal = SqliteLedger(ledger or Path(folder.name if folder else ".") / "sandbox.db", sandbox=True)
        journal.unpin(box.origin)  # another sandbox may have had this port
        for allowed in box.ground.allowances:
            journal.allow(*allowed).run()
        made = cls(
            wallet=Wallet.from_key(box.payer_key, where.namespace),
            policy=policy.with_budget(budget) if budget else policy,
            settings=settings,
            ledger=journal,
            sandbox=box,
            trace=trace,
            prices=pretend(box.seller.coins),
        )
        made._folder = folder
        return made

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
        made = getattr(lib, name)(**options)
        return self._wrap(made if self.guard is None else self.guard.over(made), raises=True)

    def attach(self, client: Any) -> Any:
        """Pay inside a client you already have, in place: httpx or httpx2, sync or async; -> the same client.

        What policy refuses comes back as the untouched 402, with the reason in `response.extensions["payment"]`.
        """
        return self._wrap(client, raises=False)

    def mcp(self, session: Any, server: str = "") -> PaidSession:
        """An MCP client whose tools are paid for; `server` is its URL, or your name for one without. Raises SettingsError."""
        from ..transport.mcp import PaidSession

        return PaidSession(session, self, server)

    def _wrap(self, client: Any, *, raises: bool) -> Any:
        transport = transport_for(client)
        if transport is None or not hasattr(client, "_transport") or not hasattr(client, "_mounts"):
            raise SettingsError(f"{type(client).__name__} is no client of httpx or httpx2", rule="attach(client)",
                                hint="payer.attach(httpx.Client()), payer.attach(openai_client._client)")  # fmt: skip

        def over(inner: Any) -> Any:
            return inner if inner is None or isinstance(inner, transport) else transport(inner, self, raises=raises)

        client._transport = over(client._transport)
        client._mounts = {pattern: over(inner) for pattern, inner in client._mounts.items()}
        return client

    # -- budgets inside budgets ---------------------------------------------------------------------------------------

    def task(
        self, name: str, *, budget: str | None = None, calls: int | None = None, deadline: float | None = None,
        per_call: str | None = None, hosts: Sequence[str] = (), tool: str = "", category: str = "", expect_calls: int | None = None,
    ) -> tasks.Task:  # fmt: skip
        """`with payer.task("research", budget="0.50", calls=20, deadline=600):` what is paid inside counts, and must fit.

        Money in dollars, as text; `deadline` in seconds. It lies inside the task at hand and only narrows. `expect_calls` is how often
        each seller will be asked: where calls are cheaper in advance, that many are bought. Raises SettingsError.
        """
        return tasks.named(self, name, budget=budget, calls=calls, deadline=deadline, per_call=per_call, hosts=hosts,
                           tool=tool, category=category, expect_calls=expect_calls)  # fmt: skip

    def slip(
        self, budget: str, *, minutes: float = 10, hosts: Sequence[str] = (), calls: int | None = None,
        per_call: str | None = None,
    ) -> Token:  # fmt: skip
        """A token for a child process (X402_AGENT_SLIP in its environment) or a sub-agent (`under`): a purse inside the
        task at hand, `budget` in dollars, that ends with that task and with this process.

        Raises SettingsError, PolicyDenied, LedgerError.
        """
        from ..tasks import slips

        return slips.give(self, budget, minutes=minutes, hosts=hosts, calls=calls, per_call=per_call)

    def under(self, token: str) -> tasks.Task:
        """The purse that a token opens, as a task: entered by `with`, or bound to clients. Raises SettingsError, PolicyDenied."""
        from ..tasks import slips

        return slips.under(self, token)

    def quote(self, url: str, *, method: str = "GET", **options: Any) -> Quote:
        """What this URL asks and what policy says; nothing is signed, held or paid. Raises what httpx raises."""
        found: list[Quote] = []
        with self.talking(lambda ask: self.quote_kit(ask, found)) as client:
            try:
                reply = client.request(method, url, **options)
            except PaymentError as why:
                return Quote(402, understood=True, reason=why)
        return found[0] if found else Quote(reply.status_code)

    def plan(self, requests: Iterable[Any], *, workers: int = 8) -> Plan:
        """URLs or requests, priced as a whole (see plan.py): `plan.run()` pays on these terms alone. Nothing is signed yet."""
        return plan.made(self, requests, workers)

    async def plan_async(self, requests: Iterable[Any], *, workers: int = 8) -> Plan:
        """The same on asyncio and trio."""
        return await plan.made_async(self, requests, workers)

    @property
    def discover(self) -> Catalogue:
        """What is for sale, as `x402-agent discover crawl` found it, asked without a network: `payer.discover.search("weather", most="0.01")`. Raises SettingsError where there is none yet."""
        with self._opening:  # asked by many threads, opened once
            if self._catalogue is None:
                from ..discovery import Catalogue

                ours = history.past(str(self.settings.ledger_path), self._journal)
                self._catalogue = Catalogue.at(self.env.get("X402_AGENT_CATALOGUE") or str(self.settings.catalogue_path), (ours,))
            return self._catalogue

    def talking(self, talk: Callable[[Ask], Kit]) -> httpx.Client:
        """A client whose conversations are led by another kit: quotes, and proofs shown again."""
        return self.led(self.client(), talk)  # type: ignore[no-any-return]

    def led(self, client: Any, talk: Callable[[Ask], Kit], trace: Callable[[Ask, Step, Any], None] | None = None) -> Any:
        """One of our clients, or one that was attached: from now on another kit leads its conversations, and `trace` hears of them in the payer's place."""
        from ..transport.drivers import Pays

        for transport in (client._transport, *client._mounts.values()):
            if isinstance(transport, Pays):
                transport.rooms = Led(self, talk, trace)
        return client

    def resume(self, payment_id: str | None = None, *, output: Path | None = None) -> list[Resumed]:
        """Settle what is open: ask the chain where a node is known, show the same proof again where it may help.

        Never signs anything new. Raises LedgerError.
        """
        return recovery.resume(self, payment_id, output)

    def close(self) -> None:
        """Write what waits, close the ledger and the sandbox."""
        if "ledger" in self.__dict__:
            self.ledger.flush()
            self.ledger.shut()
        if self._catalogue is not None:
            self._catalogue.store.close()
        if self.box is not None:
            self.box.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Payer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Payer({self.wallet!r})"

    # -- the rooms, as one conversation sees them ---------------------------------------------------------------------

    def talk(self, ask: Ask, task: tasks.Task | None = None) -> Kit:
        """The kit of one conversation, under the task of its client if that is bound to one."""
        return Kit(self, ask, task)

    def quote_kit(self, ask: Ask, found: list[Quote]) -> Kit:
        """The kit of a conversation that only asks for the price."""
        return QuoteKit(self, ask, found)

    def signer(self, namespace: str, account: str = "") -> Any:
        """The signer for a CAIP-2 namespace, or for this account there; raises SigningFailed when the wallet has none."""
        found = self.wallet.signer(namespace, account)
        if found is None and account:
            raise SigningFailed("the open payment was signed by another account of yours", rule=account, hint="use the wallet that signed it")
        if found is None:
            raise SigningFailed(f"no key for {namespace}", rule="wallet", hint=f"x402-agent wallet new, or export {KEYS.get(namespace, 'a key of it')}=…")
        return found

    @property
    def sandboxed(self) -> bool:
        """Whether it pays in the sandbox: test money, and a ledger of its own."""
        return "ledger" in self.__dict__ and self.ledger.sandbox

    def allowance(self, offer: Offer, owner: str, spender: str) -> int:
        """Atomic units, by the ledger alone: what was approved, less what was promised since; 0 where nothing is known."""
        ledger = self._journal()
        return 0 if ledger is None else ledger.allowance(offer.network.id, offer.asset.address, owner, spender)

    @cached_property
    def vault(self) -> Vault:
        """What lies encrypted beside the ledger, under the wallet's key."""
        return Vault(self.wallet, self.ledger.secret)

    def _journal(self) -> SqliteLedger | None:
        """The ledger, None while there is no file: what was never paid is not asked for."""
        return self.ledger if "ledger" in self.__dict__ or self.settings.ledger_path.exists() else None


def attach(client: Any, payer: Payer) -> Any:
    """`payer.attach(client)` as a function."""
    return payer.attach(client)
