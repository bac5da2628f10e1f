"""TRON as a ground: USDT by PaymentPermit and by Permit2 on a pretend Nile, and the two HTTP APIs that clients know."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from ...primitives import EvmKey
from ..ground import Asked, Ground
from ..messages import Answer, json_answer
from ..routes import ROUTES, Route, joke
from .chain import NETWORK, Chain, show
from .contracts import PAYMENT_PERMIT, PERMIT2, Contracts, raw_address
from .facilitator import ALIAS, TronFacilitator
from .grid import answer_grid
from .node import answer_node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..machines import Backend
    from ..messages import Request
    from ..refusals import Refused
    from .chain import Mined

__all__ = ["TronGround"]

PURSE = 100_000_000  # 100 USDT
ALLOWANCE = 1_000_000_000  # 1,000 USDT that PaymentPermit, and Permit2, may move for the payer
TRX = 1_000_000  # sun
MOST = 10**15
LIFETIME = 60  # seconds that what a 402 says of a permit stands
_UNREADABLE = ("invalid_payload", "invalid_payment_requirements", "missing_permit", "invalid_x402_version")
_WAYS = {
    "/permit2": ("permit2",),
    "/either": ("exact_permit", "permit2"),
}


class TronGround(Ground):
    """`backend` is pyrevm or py-evm, None for the best there is. Raises SettingsError when no EVM is installed."""

    name = "tron"
    machine = "TRON double"
    networks = {2: NETWORK}  # noqa: RUF012 - a class variable of the base
    node_path = "/tron"
    asks_node = False

    def __init__(self, clock: Callable[[], float], backend: str | None) -> None:
        self.payer_key = secrets.token_bytes(32)
        self.payer = EvmKey(self.payer_key)
        self.seller = EvmKey(secrets.token_bytes(32))
        self.operator = EvmKey(secrets.token_bytes(32))
        self.payer_address, self.pay_to = show(_raw(self.payer)), show(_raw(self.seller))
        self.chain = Chain(clock, cast("Backend | None", backend))
        self.backend = self.chain.backend
        for key, trx in ((self.payer, 1_000), (self.seller, 1_000), (self.operator, 1_000_000_000)):
            self.chain.endow(_raw(key), trx * TRX)
        self.contracts = Contracts(self.chain, self.operator)
        self.asset = self.contracts.asset
        self.facilitator: TronFacilitator = TronFacilitator(self.chain, self.contracts, self.operator)
        self.fund(self.payer_address, PURSE)
        for spender in (PAYMENT_PERMIT, PERMIT2):
            self.contracts.approve(self.payer, spender, ALLOWANCE)

    @property
    def routes(self) -> Mapping[str, Route]:
        """The shop's own, by `exact_permit`; /permit2 takes Permit2 alone, /either both."""
        own = {path: Route(path, 10_000, joke, f"a joke, by {' or '.join(ways)}", ways=ways) for path, ways in _WAYS.items()}
        common = {path: each for path, each in ROUTES.items() if each.versions == (2,)}
        return {path: replace(each, ways=each.ways or ("exact_permit",)) for path, each in (common | own).items()}

    def offers(self, route: Route, version: int) -> list[Asked]:
        """`exact_permit` with the facilitator's fee, under the network's old name; `exact` by Permit2 under its CAIP-2 one."""
        domain = {"name": "Tether USD", "version": "1"}
        permit = domain | {"fee": self.facilitator.fee()}
        made = {
            "exact_permit": Asked("exact_permit", ALIAS, self.asset.address, route.price, permit),
            "permit2": Asked("exact", NETWORK, self.asset.address, route.price, domain | {"assetTransferMethod": "permit2"}),
        }
        return [made[way] for way in route.ways]

    def advertised(self, route: Route) -> dict[str, Any]:
        """What a permit has to name: an id and a nonce that are new in every 402, and its time."""
        if "exact_permit" not in route.ways:
            return {}
        now = self.now()
        meta = {
            "kind": "PAYMENT_ONLY",
            "paymentId": "0x" + secrets.token_hex(16),
            "nonce": str(secrets.randbits(127)),
            "validAfter": now,
            "validBefore": now + LIFETIME,
        }
        return {"paymentPermitContext": {"meta": meta}}

    def refused(self, route: Route, refused: Refused) -> Answer | None:
        """Sellers of `exact_permit` settle first and answer what was not taken with 400 or 500, without another 402."""
        if route.ways != ("exact_permit",):
            return None
        if refused.code in _UNREADABLE:
            return json_answer(400, {"error": f"Invalid payment payload: {refused.words or refused.code}"})
        return json_answer(500, {"error": f"Settlement failed: {refused.code}", "network": ALIAS})

    # -- money and time -----------------------------------------------------------------------------------------------

    @property
    def allowances(self) -> list[tuple[str, str, str, str, int]]:
        """PaymentPermit's and Permit2's."""
        payer = raw_address(self.payer_address)
        return [
            (NETWORK, self.asset.address, self.payer_address, show(each), self.contracts.allowance(payer, each))
            for each in (PAYMENT_PERMIT, PERMIT2)
        ]

    def balance(self, address: str) -> int:
        """USDT of an address in atomic units; raises ValueError for what is not an address."""
        return self.contracts.balance(raw_address(address))

    def fund(self, address: str, amount: int) -> str:
        """Mint `amount` atomic units of test USDT for an address; the transaction id. Raises ValueError."""
        if not 0 < amount <= MOST:
            raise ValueError("the amount is above zero and at most 10**15 atomic units")
        return self.contracts.mint(raw_address(address), amount).envelope.txid

    def refund(self, to: str, amount: int) -> str:
        """A plain TRC-20 transfer by the seller's key."""
        return self.contracts.transfer(self.seller, raw_address(to), amount).envelope.txid

    def transaction(self, tx: str) -> Mined | None:
        """A transaction read back from the chain, None when it was never mined."""
        return self.chain.mined(tx)

    def now(self) -> int:
        """The chain's time, unix seconds."""
        return self.chain.now()

    def warp(self, seconds: int) -> None:
        """Blocks are mined for it, at most 64."""
        self.chain.warp(seconds)

    # -- the node -----------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer | None:
        """The node and TronGrid below /tron, the facilitator's quotes beside its other answers."""
        if (request.method, request.path) == ("POST", "/facilitator/fee/quote"):
            return json_answer(200, self.facilitator.quote(request.json()))
        if not request.path.startswith(f"{self.node_path}/"):
            return None
        path, query = request.path.removeprefix(self.node_path), dict(parse_qsl(request.query))
        found = answer_grid(self.chain, path, query) if request.method == "GET" else None
        if found is not None:
            return json_answer(*found)
        sent = request.json() if request.body else {}
        if not isinstance(sent, dict):
            raise TypeError("the body is a JSON object")
        answered = answer_node(self.chain, path, {**query, **sent})
        return json_answer(404, {"error": "no such call"}) if answered is None else json_answer(200, answered)


def _raw(key: EvmKey) -> bytes:
    return bytes.fromhex(key.address[2:])
