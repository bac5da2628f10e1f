"""The seller whole: an agent's service on Solana, its database's door, and what sells it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from ..limits import Limiter
from ..messages import Answer, json_answer
from ..routes import Route, joke, report
from ..seller import Seller, Visit
from ..solana.token import address
from ..tokens import Tokens
from .alerts import Alerts
from .books import LilyBooks
from .gate import Gate, shown_digest
from .hooks import Hooks
from .paid_rows import Desk
from .policies import ANON, AUTHENTICATED
from .policies import SERVICE as OPERATOR
from .rest import ROOT, USE, Rest
from .sight import Sight
from .signin import PATH, SignIn
from .store import AGENT, SERVICE, Store
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ground import Ground
    from ..messages import Request
    from ..solana.ground import SolanaGround
    from .quirks import Quirks

__all__ = ["Lily"]

PRICE = 10_000
SHOWN = 1_000  # characters of a path that are remembered
_EVER = 10**11  # unix seconds: when the sandbox's own keys end
_SOL = 10**9
_METHODS = ("GET", "HEAD", "POST")
_FAILS = Route("/joke-500", PRICE, lambda _: json_answer(500, {"error": "the service failed"}), "the service fails, so nothing is taken")
_TABLE = (Route("/joke", PRICE, joke, "a joke"), Route("/report", PRICE, report, "a report"), _FAILS, Route("/free", 0, lambda _: json_answer(200, {"free": True}), "costs nothing"))


class Lily(Seller):
    """Sells calls of one agent. `store` is its database; `key(wallet)` is what a wallet's program is given."""

    name = "lily"
    dialect = "lily"
    sells = "calls of an agent: by a proof each, a session (--expect-calls 8) or credits, in USDC or SOL"
    books = LilyBooks
    asks_node = True
    coins = {"SOL": 150_000_000}  # noqa: RUF012 - a class variable of the base
    scenario: Quirks
    routes: Mapping[str, Route] = {each.path: each for each in _TABLE}

    def __init__(self, ground: Ground, scenario: Quirks, database: str = "") -> None:
        super().__init__(ground, scenario, database)
        ground.fuel()
        cast("SolanaGround", ground).chain.endow(address(ground.pay_to), _SOL)  # a few lamports alone make no account
        self._sold: Quirks | None = None
        self._ahead = 0.0
        books = LilyBooks(database)
        with books.database.spoken():
            books.migrate()
            self.store = Store(books, ground.now, self.coins["SOL"])
            self._tick()
            self.hooks = Hooks(books, ground.now, lambda: self.scenario)
        self.store.told = Watch(self.hooks, Alerts(ground.now, self.hooks.tell)).told
        self.tokens = Tokens(ground.now)
        limiter, sight = Limiter(ground.now), Sight(ground)
        self._gate = Gate(self.store, sight, limiter, ground.now)
        self._rest = Rest(self.store, Desk(self.store, sight, ground.now), self.tokens, limiter, ground.now)
        self._signin = SignIn(self.tokens, ground.now)
        self.anon_key, self._operator_key = (self.tokens.issue(USE, _EVER, role=role) for role in (ANON, OPERATOR))

    def close(self) -> None:
        """Tell nobody any more, and close the database."""
        self.hooks.close()
        self.store.books.close()

    def key(self, wallet: str) -> str:
        """What a wallet's program shows at the database's door: it reads and writes that wallet's rows."""
        return self.tokens.issue(USE, _EVER, role=AUTHENTICATED, wallet_address=wallet)

    def keys(self) -> dict[str, str]:
        """The key that may read what is for sale, the one that may everything, and what deliveries of its webhook are signed with."""
        with self.store.writing() as link:
            secret = self.hooks.secret(link, (SERVICE, AGENT))
        return {"anon_key": self.anon_key, "service_role_key": self._operator_key, "webhook_secret": secret}

    def dialect_settings(self, origin: str) -> Mapping[str, Mapping[str, str]]:
        """Where its database's door is, the payer's key for it, and which service is sold here."""
        wallet = self._ground.payer_address
        return {"lily": {"rest_url": origin, "key": self.key(wallet), "service_id": self.scenario.named or SERVICE, "service_type": AGENT, "network": self._ground.networks[2]}}

    def handle(self, request: Request) -> Answer:
        """Decide, settle and note."""
        try:
            self._tick()
            answer = self._answer(request)
        except self.store.away:
            body = {"success": False, "error": "The database is away", "errorCode": "NETWORK_ERROR", "paymentRequired": False, "details": {}}
            answer = json_answer(503, body, ("retry-after", "1"))
        digest = shown_digest(request)
        self.visits.append(Visit(request.method, request.path[:SHOWN], bool(digest), digest, 0 if answer.ending == "drop" else answer.status))
        return answer

    def _tick(self) -> None:
        """Tell the database how far our clock is ahead of the machine's, and what a new scenario sells."""
        ahead = self._ground.now() - time.time()
        if abs(ahead - self._ahead) > 1:
            self._ahead = ahead
            with self.store.pool.lent() as link:
                link.rows("update x402_clock set ahead = ?", ahead)
        quirks = self.scenario
        if quirks is not self._sold:
            self.store.configure(quirks, self._ground.facilitator.address, self._ground.pay_to)
            self.store.rate = quirks.rate or self.coins["SOL"]
            cast("SolanaGround", self._ground).chain.lag = quirks.lag
            if quirks.flips:
                cast("SolanaGround", self._ground).fund(self._ground.facilitator.address, 1)  # whom it names then has an account, too
            self._sold = quirks

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith(ROOT):
            return self._rest.handle(request, self.scenario)
        if request.path == PATH:
            return self._signin.handle(request)
        route = self.routes.get(request.path)
        if route is None:
            return json_answer(404, {"error": "Not found"})
        if request.method not in _METHODS:
            return json_answer(405, {"error": "Method not allowed"}, ("allow", ", ".join(_METHODS)))
        return self._gate.sell(route, request, self.scenario) if route.price else route.handler(request)
