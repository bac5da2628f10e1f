"""What a pretend world stands on: the double of one chain, whole, with its accounts, its facilitator and its node.

A chain is added in three steps: a module or folder with a `Ground` and a `Facilitator` of its own, a line in GROUNDS
below, a part of README.md that says what the double does not prove. Nothing else of the sandbox knows chains: the
shop, the scenarios, both doors, `Payer.sandbox(chain=...)`, `try --chain` and `sandbox up --chain` follow from these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ..errors import SettingsError
from .refusals import Refused, refusal, request
from .routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..model import Asset
    from .messages import Answer, Request
    from .routes import Route

__all__ = ["GROUNDS", "Asked", "Facilitator", "Ground", "Settled", "Settlement", "ground"]

GROUNDS: Mapping[str, str] = {  # what --chain says: module of this room, class
    "evm": "evm_ground:EvmGround",
    "stacks": "stacks.ground:StacksGround",
    "solana": "solana.ground:SolanaGround",
    "tron": "tron.ground:TronGround",
}


@dataclass(frozen=True, slots=True)
class Settlement:
    """Money that moved for a request: `amount` in atomic units, `block` a number; `tx` and `nonce` as the chain writes them.

    `nonce` is what no two payments of a payer share: EIP-3009's 32 bytes or Permit2's number as 0x-hex on EVM, elsewhere
    what the chain has of that kind (an account nonce, the message's hash).
    """

    tx: str
    payer: str
    pay_to: str
    amount: int
    nonce: str
    block: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A payment that was taken: `network` as its proof spells it, `row` None when nothing had to move, `extra` what the
    receipt says beside the usual."""  # fmt: skip

    payer: str
    network: str
    amount: int
    row: Settlement | None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def response(self) -> dict[str, Any]:
        """The SettleResponse that a facilitator gives and a seller passes on as its receipt."""
        transaction = self.row.tx if self.row else ""
        return {"success": True, "transaction": transaction, "network": self.network, "payer": self.payer, **self.extra}


class Verified(Protocol):
    """A proof that would settle now."""

    @property
    def payer(self) -> str:
        """Who pays."""


class Facilitator(ABC):
    """Checks and settles proofs, for our paywall and for anybody's. Thread-safe: the chain decides who was first.

    A refusal is an answer with a code of the specification, never another exception than Refused.
    """

    def __init__(self, networks: Mapping[int, str]) -> None:
        self._networks = networks
        self.settlements: list[Settlement] = []  # every payment that moved money, in order: `settle` appends

    @property
    @abstractmethod
    def address(self) -> str:
        """The account that sends or sponsors the transactions."""

    @abstractmethod
    def supported(self) -> dict[str, Any]:
        """The SupportedResponse: v1 and v2 kinds are rows of their own."""

    @abstractmethod
    def verify(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Verified:
        """Whether it would settle now, all of it; raises Refused, with `payer` where it is known."""

    @abstractmethod
    def settle(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Settled:
        """Check everything again and move the money, once, exactly what was asked; raises Refused."""

    def verify_json(self, body: object) -> dict[str, Any]:
        """POST /verify: a VerifyResponse for a decoded request body."""
        try:
            payment = self.verify(*request(body, self._networks))
        except Refused as refused:
            answer: dict[str, Any] = {"isValid": False, "invalidReason": refused.code}
            answer |= {"invalidMessage": refused.words} if refused.words else {}
            return answer | ({"payer": refused.payer} if refused.payer else {})
        return {"isValid": True, "payer": payment.payer}

    def settle_json(self, body: object) -> dict[str, Any]:
        """POST /settle: a SettleResponse for a decoded request body."""
        try:
            return self.settle(*request(body, self._networks)).response()
        except Refused as refused:
            return refusal(refused, self._named(body))

    def _named(self, body: object) -> str:
        """The network that a request names, ours when it names none."""
        requirement = body.get("paymentRequirements") if isinstance(body, dict) else None
        named = requirement.get("network") if isinstance(requirement, dict) else None
        return named if isinstance(named, str) else self._networks[max(self._networks)]


class Asked(NamedTuple):
    """One entry of `accepts`: what differs between chains. `price` in atomic units of `asset`."""

    scheme: str
    network: str
    asset: str
    price: int
    extra: dict[str, Any]


class Ground(ABC):
    """One chain's double. Its constructor takes (clock, backend), makes random keys of its own for payer, seller and
    facilitator (a person's wallet never comes in), funds them, and sets `facilitator`. Any thread may call any method.

    `name` is what --chain says, `machine` what people are told runs below; `networks` how each version of x402 that is spoken here spells the network (2: CAIP-2);
    `node_path` where clients find its node, or the root of its REST API, below the sandbox's origin; `asks_node` whether
    a payer must ask that node before he signs. `asset`, a row of assets.toml, is what the shop's prices are in.
    """  # fmt: skip

    name: ClassVar[str]
    machine: ClassVar[str] = "double"
    networks: ClassVar[Mapping[int, str]]
    node_path: ClassVar[str] = "/rpc"
    asks_node: ClassVar[bool] = True

    asset: Asset
    facilitator: Facilitator
    payer_key: bytes  # 32 bytes, for wallet.KeySigner(key, namespace)
    payer_address: str
    pay_to: str
    backend: str  # what runs below, in one word

    # -- the shop -----------------------------------------------------------------------------------------------------

    @property
    def routes(self) -> Mapping[str, Route]:
        """What the shop sells: what every chain can pay, in the versions of x402 spoken here. Add your own to these."""
        return {path: each for path, each in ROUTES.items() if all(v in self.networks for v in each.versions)}

    def offers(self, route: Route, version: int) -> list[Asked]:
        """The ways a route may be paid, in order."""
        return [Asked("exact", self.networks[version], self.asset.address, route.price, {})]

    def advertised(self, _route: Route) -> dict[str, Any]:
        """Extensions of a 402 that the chain's proofs need, made anew for each: nothing where they need none."""
        return {}

    def refused(self, _route: Route, _refused: Refused) -> Answer | None:
        """What a seller on this chain answers to a proof that was not taken, where that is not another 402."""
        return None

    def signed_offers(self, _route: Route, _url: str, _accepts: list[dict[str, Any]]) -> dict[str, Any]:
        """The extension of a 402 in which the payee signs what is asked, nothing where the chain has no such thing."""
        return {}

    def signed_receipt(self, _route: Route, _url: str, _settled: Mapping[str, Any]) -> dict[str, Any]:
        """The extension of a receipt in which the payee signs that it was paid."""
        return {}

    # -- money and time -----------------------------------------------------------------------------------------------

    @property
    def allowances(self) -> list[tuple[str, str, str, str, int]]:
        """What the payer has allowed others to move, as a ledger notes it: network, token, owner, spender, atomic units."""
        return []

    @abstractmethod
    def balance(self, address: str) -> int:
        """Atomic units of `asset` held; raises ValueError for what is not an address."""

    @abstractmethod
    def fund(self, address: str, amount: int) -> str:
        """New units of `asset` for an address; the transaction's id. Raises ValueError."""

    @abstractmethod
    def refund(self, to: str, amount: int) -> str:
        """Units of `asset` from the seller's own account; the transaction's id."""

    @abstractmethod
    def transaction(self, tx: str) -> object | None:
        """A transaction read back from the chain, None when it was never mined."""

    def account(self, owner: str) -> str:
        """The account in which USDC for `owner` lies: his own, or one that follows from it."""
        return owner

    def fuel(self) -> None:  # noqa: B027 - most take nothing
        """Give the payer the network's coin, for transactions of his own: nothing where they cost nothing."""

    @abstractmethod
    def now(self) -> int:
        """The chain's time, unix seconds."""

    @abstractmethod
    def warp(self, seconds: int) -> None:
        """Let `seconds` (0 or more) pass on the chain."""

    def mine(self, blocks: int) -> None:
        """Let at least so many blocks be built on top of the newest: time passes, 4 s for each."""
        self.warp(4 * blocks)

    # -- the node -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def answer(self, request: Request) -> Answer | None:
        """The node's answer, or that of whatever else the chain has (a relay); None for a path that is the shop's.

        A ValueError, LookupError or TypeError becomes a 400.
        """


def ground(name: str, clock: Callable[[], float], backend: str | None = None) -> Ground:
    """A new double of the chain with this name; raises SettingsError naming those that there are, or what to install."""
    found = GROUNDS.get(name)
    if found is None:
        raise SettingsError(
            f"the sandbox has no chain {name[:40]!r}", rule=f"one of {', '.join(GROUNDS)}", hint="x402-agent try --chain evm"
        )
    module, _, kind = found.partition(":")
    try:
        made: Ground = getattr(import_module(f".{module}", __package__), kind)(clock, backend)
    except ImportError as cause:
        needed = f"the sandbox's {name} needs {cause.name}"
        raise SettingsError(needed, rule="extra sandbox", hint="pip install 'x402-agent-sdk[sandbox]'") from cause
    return made
