"""One pretend world: a chain, a token, a facilitator and a shop with keys of their own. Its money is worth nothing.

The keys are random and made here: a person's wallet never comes in, because what is signed here would be valid
on the test network that the chain pretends to be, too.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from .app import App
from .ground import ground
from .seller import chains
from .seller import scenario as _scenario
from .seller import seller as _seller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from .ground import Facilitator, Ground, Settlement
    from .inprocess import InProcess
    from .routes import Route
    from .scene import Scene
    from .seller import Visit
    from .server import LoopbackServer

__all__ = ["Sandbox"]

LATEST = 10**11  # seconds: the year 5138, which every clock and database can still write
ORIGIN = "http://{}.sandbox.localhost"  # RFC 6761: never leaves this machine


class Sandbox:
    """A seller to practise on. `with Sandbox() as box: httpx.Client(transport=box.transport())`, or `box.serve()`.

    `scenario` is a name or a scenario of the seller's; `clock` gives unix seconds; `chain` is one of ground.GROUNDS, "" the seller's
    usual one, or another sandbox's `ground`: then both sell on one chain, to one payer. `backend` is what runs below it (EVM: pyrevm or py-evm), None for the best there is; `sleep` is how the sync in-process door waits.
    `seller` is one of seller.SELLERS, `database` where it keeps what it sold: "" for memory, a path, or a postgresql:// URL.
    Raises SettingsError when there is no such chain or seller, or nothing installed to run it on.
    """

    def __init__(
        self,
        scenario: str | Scene = "honest",
        clock: Callable[[], float] = time.time,
        backend: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        chain: str | Ground = "",
        seller: str = "shop",
        database: str = "",
    ) -> None:
        self._origin = ORIGIN.format(secrets.token_hex(4))
        self._sleep = sleep
        self._server: LoopbackServer | None = None
        self.ground = ground(chain or chains(seller)[0], clock, backend) if isinstance(chain, str) else chain
        self.seller = _seller(seller, self.ground, scenario, database)
        self.app = App(self)

    # -- who and what -------------------------------------------------------------------------------------------------

    @property
    def network(self) -> str:
        """The network as CAIP-2."""
        return self.ground.networks[2]

    @property
    def facilitator(self) -> Facilitator:
        """Who checks and settles."""
        return self.ground.facilitator

    @property
    def routes(self) -> Mapping[str, Route]:
        """What the seller sells, by path."""
        return self.seller.routes

    @property
    def payer_key(self) -> bytes:
        """The private key of the payer who holds the test money, 32 bytes."""
        return self.ground.payer_key

    @property
    def payer_address(self) -> str:
        """The payer's address."""
        return self.ground.payer_address

    @property
    def pay_to(self) -> str:
        """The seller's address."""
        return self.ground.pay_to

    @property
    def facilitator_address(self) -> str:
        """The address that sends the transactions."""
        return self.ground.facilitator.address

    @property
    def scenario(self) -> Any:
        """How the seller behaves; may be changed at any time, also by name."""
        return self.seller.scenario

    @scenario.setter
    def scenario(self, which: str | Scene) -> None:
        self.seller.scenario = _scenario(which, self.seller.name)

    @property
    def backend(self) -> str:
        """What runs below."""
        return self.ground.backend

    @property
    def settlements(self) -> list[Settlement]:
        """Every payment that moved money, in order."""
        return list(self.facilitator.settlements)

    @property
    def requests(self) -> list[Visit]:
        """The requests that came to the seller, in order: the newest 10,000."""
        return self.seller.visits.since()[0]

    def requests_since(self, number: int) -> tuple[list[Visit], int]:
        """Of them those after the first `number` that came; and how many ever came."""
        return self.seller.visits.since(number)

    @property
    def dialects(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """What a payer of this machine has as `Settings.dialects`: for no output, keys are in it."""
        return {name: {self.origin: dict(said)} for name, said in self.seller.dialect_settings(self.origin).items()}

    # -- money and time -----------------------------------------------------------------------------------------------

    def balance(self, address: str) -> int:
        """What an address holds of the sandbox's asset, in atomic units; raises ValueError for what is not an address."""
        return self.ground.balance(address)

    def fund(self, address: str, amount: int) -> str:
        """Mint `amount` atomic units of test money for an address; the transaction id. Raises ValueError."""
        return self.ground.fund(address, amount)

    def transaction(self, tx: str) -> object | None:
        """A transaction read back from the chain, None when it was never mined."""
        return self.ground.transaction(tx)

    def warp(self, seconds: int) -> None:
        """Let time pass on the chain; raises ValueError when it would run backwards, or beyond all calendars."""
        if not 0 <= seconds <= LATEST - self.ground.now():
            raise ValueError("time runs forward, to the year 5138 at most")
        self.ground.warp(seconds)

    def mine(self, blocks: int) -> None:
        """Let at least so many blocks be built on top of the newest, 1 to 10,000; raises ValueError."""
        if not 0 < blocks <= 10_000:
            raise ValueError("1 to 10000 blocks")
        self.ground.mine(blocks)

    # -- doors --------------------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Whether it listens on loopback now."""
        return self._server is not None

    @property
    def origin(self) -> str:
        """Where it listens, or the made-up origin of the in-process door."""
        return self._server.origin if self._server else self._origin

    @property
    def rpc_url(self) -> str:
        """The chain's node: JSON-RPC, or the root of its REST API."""
        return self.url(self.ground.node_path)

    @property
    def facilitator_url(self) -> str:
        """What a third-party seller is configured with."""
        return self.url("/facilitator")

    def url(self, path: str = "/") -> str:
        """A URL of the shop, for whichever door is open."""
        return self.origin + path

    def transport(self) -> InProcess:
        """The socket-free door: a transport for httpx and httpx2 clients, sync and async."""
        from .inprocess import InProcess

        return InProcess(self.app, self._sleep)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen on loopback in a thread; the origin, ready for requests. Raises SettingsError."""
        if self._server is None:
            from .server import LoopbackServer

            server = LoopbackServer(self.app, host, port)
            server.start()
            self._server = server
        return self.origin

    def stop(self) -> None:
        """Stop listening; the world itself stays."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def close(self) -> None:
        """Stop listening, and let the seller go of its database."""
        self.stop()
        self.seller.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        value: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Sandbox({self.seller.name}, {self.scenario.name}, {self.ground.name}, {self.backend}, {self.origin})"

    def __getstate__(self) -> Any:
        raise TypeError("a sandbox holds keys and is not copied")
