"""One pretend world: a chain, a token, a facilitator and a shop with keys of their own. Its money is worth nothing.

The keys are random and made here: a person's wallet never comes in, because what is signed for this chain would be
valid on Base Sepolia too.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..primitives import EvmKey, checksum
from .app import App
from .evm import NETWORK, Chain
from .facilitator import Facilitator
from .paywall import Paywall
from .permit2 import PERMIT2, Permit2
from .scenario import Scenario, scenario
from .token import Token, raw_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .facilitator import Settled
    from .inprocess import InProcess
    from .machines import Backend
    from .paywall import Visit
    from .server import LoopbackServer
    from .transactions import Transaction

__all__ = ["Sandbox", "Settlement"]

ORIGIN = "http://{}.sandbox.localhost"  # RFC 6761: never leaves this machine
PURSE = 100_000_000  # 100 USDC
ALLOWANCE = 1_000_000_000  # 1,000 USDC that Permit2 may move for the payer
ETHER = 10**18


@dataclass(frozen=True, slots=True)
class Settlement:
    """Money that moved for a request: `amount` in atomic units of USDC, `tx` and `nonce` as 0x-hex, `block` a number.

    `nonce` is what was signed: EIP-3009's 32 bytes, or Permit2's number as 32 bytes.
    """

    tx: str
    payer: str
    pay_to: str
    amount: int
    nonce: str
    block: int


class Sandbox:
    """A seller to practise on. `with Sandbox() as box: httpx.Client(transport=box.transport())`, or `box.serve()`.

    `scenario` is a name or a Scenario; `clock` gives unix seconds; `backend` is pyrevm or py-evm, None for the best
    there is; `sleep` is how the sync in-process door waits. Raises SettingsError when no EVM is installed.
    """

    network = NETWORK

    def __init__(
        self,
        scenario: str | Scenario = "honest",
        clock: Callable[[], float] = time.time,
        backend: Backend | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._origin = ORIGIN.format(secrets.token_hex(4))
        self._payer_key = secrets.token_bytes(32)
        self._payer = EvmKey(self._payer_key)
        self._seller = EvmKey(secrets.token_bytes(32))
        self._operator = EvmKey(secrets.token_bytes(32))
        self._sleep = sleep
        self._lock = threading.Lock()
        self._settlements: list[Settlement] = []
        self._server: LoopbackServer | None = None
        self.chain = Chain(clock, backend)
        for each in (self._payer, self._seller, self._operator):
            self.chain.endow(raw_address(each.address), ETHER)
        self.token = Token(self.chain, self._operator)
        self.permit2 = Permit2(self.chain)
        self.facilitator = Facilitator(self.chain, self.token, self._operator, self._settled)
        self.paywall = Paywall(self.facilitator, self._seller, self._refund, _named(scenario))
        self.app = App(self)
        self.fund(self._payer.address, PURSE)
        self.token.approve(self._payer, PERMIT2, ALLOWANCE)

    # -- who and what -------------------------------------------------------------------------------------------------

    @property
    def payer_key(self) -> bytes:
        """The private key of the payer who holds the test money, 32 bytes."""
        return self._payer_key

    @property
    def payer_address(self) -> str:
        """The payer's EIP-55 address."""
        return self._payer.address

    @property
    def pay_to(self) -> str:
        """The seller's EIP-55 address."""
        return self._seller.address

    @property
    def facilitator_address(self) -> str:
        """The EIP-55 address that sends the transactions, and mints."""
        return self._operator.address

    @property
    def scenario(self) -> Scenario:
        """How the shop behaves; may be changed at any time, also by name."""
        return self.paywall.scenario

    @scenario.setter
    def scenario(self, which: str | Scenario) -> None:
        self.paywall.scenario = _named(which)

    @property
    def backend(self) -> Backend:
        """Which EVM runs below."""
        return self.chain.backend

    @property
    def settlements(self) -> list[Settlement]:
        """Every payment that moved money, in order."""
        with self._lock:
            return list(self._settlements)

    @property
    def requests(self) -> list[Visit]:
        """Every request that came to the shop, in order."""
        return list(self.paywall.visits)

    # -- money and time -----------------------------------------------------------------------------------------------

    def balance(self, address: str) -> int:
        """USDC of an address in atomic units; raises ValueError for what is not an address."""
        return self.token.balance(raw_address(address))

    @property
    def allowance(self) -> int:
        """Atomic units of USDC that Permit2 may still move for the payer; 1,000 USDC at first."""
        return self.token.allowance(raw_address(self.payer_address), PERMIT2)

    @property
    def allowed(self) -> tuple[str, str, str, str, int]:
        """The same as a ledger notes it: network (CAIP-2), token, owner, spender, atomic units."""
        usdc = self.token.asset
        return usdc.network.id, usdc.address, self.payer_address, checksum("0x" + PERMIT2.hex()), self.allowance

    def fund(self, address: str, amount: int) -> str:
        """Mint `amount` atomic units of test USDC for an address; the transaction id. Raises ValueError."""
        if not 0 < amount <= 10**15:
            raise ValueError("the amount is above zero and at most 10**15 atomic units")
        return self.token.mint(raw_address(address), amount).hash

    def transaction(self, tx: str) -> Transaction | None:
        """A transaction read back from the chain, None when it was never mined."""
        return self.chain.transaction(tx)

    def warp(self, seconds: int) -> None:
        """Let time pass on the chain; raises ValueError when it would run backwards."""
        if seconds < 0:
            raise ValueError("time runs forward")
        self.chain.warp(seconds)

    def _settled(self, settled: Settled) -> None:
        mined = settled.transaction
        if mined is None:
            return
        moved = mined.transfers[0]
        row = Settlement(mined.hash, moved.sender, moved.to, moved.value, settled.payment.nonce, mined.block)
        with self._lock:
            self._settlements.append(row)

    def _refund(self, to: str, amount: int) -> str:
        return self.token.transfer(self._seller, raw_address(to), amount).hash

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
        """The chain's JSON-RPC node."""
        return self.url("/rpc")

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

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        value: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Sandbox({self.scenario.name}, {self.backend}, {self.origin})"

    def __getstate__(self) -> Any:
        raise TypeError("a sandbox holds keys and is not copied")


def _named(which: str | Scenario) -> Scenario:
    return scenario(which)
