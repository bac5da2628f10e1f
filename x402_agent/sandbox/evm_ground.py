"""The EVM as a ground: USDC by EIP-3009 and Permit2 on a pretend Base Sepolia, with everything that only EVM sellers do."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ..primitives import EvmKey, checksum
from . import signing
from .evm import NETWORK, NETWORK_V1, Chain
from .evm_routes import EVM_ROUTES
from .facilitator import EvmFacilitator
from .ground import Asked, Ground
from .messages import json_answer
from .node import answer_rpc
from .permit2 import PERMIT2, Permit2
from .routes import ROUTES
from .token import Token, raw_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .machines import Backend
    from .messages import Answer, Request
    from .routes import Route
    from .transactions import Transaction

__all__ = ["EvmGround"]

PURSE = 100_000_000  # 100 USDC
ALLOWANCE = 1_000_000_000  # 1,000 USDC that Permit2 may move for the payer
ETHER = 10**18
MOST = 10**15


class EvmGround(Ground):
    """`backend` is pyrevm or py-evm, None for the best there is. Raises SettingsError when no EVM is installed."""

    name = "evm"
    machine = "EVM"
    networks = {1: NETWORK_V1, 2: NETWORK}  # noqa: RUF012 - a class variable of the base
    asks_node = False
    routes = {  # noqa: RUF012
        path: replace(each, ways=each.ways or ("eip3009",)) for path, each in (ROUTES | EVM_ROUTES).items()
    }

    def __init__(self, clock: Callable[[], float], backend: str | None) -> None:
        self.payer_key = secrets.token_bytes(32)
        self.payer = EvmKey(self.payer_key)
        self.seller = EvmKey(secrets.token_bytes(32))
        self.operator = EvmKey(secrets.token_bytes(32))
        self.payer_address, self.pay_to = self.payer.address, self.seller.address
        self.chain = Chain(clock, cast("Backend | None", backend))
        self.backend = self.chain.backend
        for each in (self.payer, self.seller, self.operator):
            self.chain.endow(raw_address(each.address), ETHER)
        self.token = Token(self.chain, self.operator)
        self.asset = self.token.asset
        self.permit2 = Permit2(self.chain)
        self.facilitator = EvmFacilitator(self.chain, self.token, self.operator)
        self.fund(self.payer_address, PURSE)
        self.token.approve(self.payer, PERMIT2, ALLOWANCE)

    def offers(self, route: Route, version: int) -> list[Asked]:
        """EIP-3009 or Permit2, among offers of other networks. Version 1 knows EIP-3009 only."""
        name, domain_version = self.asset.eip712 or ("", "")
        rows = [(each.network, each.asset, each.name, each.price, "eip3009") for each in route.before]
        rows += [(NETWORK, self.asset.address, name, route.price, way) for way in route.ways]
        rows += [(each.network, each.asset, each.name, each.price, "eip3009") for each in route.after]
        made = []
        for network, asset, domain, price, way in rows:
            if version == 1 and way != "eip3009":
                continue
            extra: dict[str, Any] = {"name": domain, "version": domain_version}
            if way != "eip3009":
                extra["assetTransferMethod"] = "permit2"
            if way == "upto":
                extra["facilitatorAddress"] = self.facilitator.address
            scheme = "upto" if way == "upto" else "exact"
            made.append(Asked(scheme, NETWORK_V1 if version == 1 else network, asset, price, extra))
        return made

    def signed_offers(self, route: Route, url: str, accepts: list[dict[str, Any]]) -> dict[str, Any]:
        """Signed with the key that is paid."""
        return signing.offers(route, self.seller, url, accepts)

    def signed_receipt(self, route: Route, url: str, settled: Mapping[str, Any]) -> dict[str, Any]:
        """Signed with the key that is paid."""
        return signing.receipt(route, self.seller, url, settled)

    @property
    def allowance(self) -> int:
        """Atomic units of USDC that Permit2 may still move for the payer; 1,000 USDC at first."""
        return self.token.allowance(raw_address(self.payer_address), PERMIT2)

    @property
    def allowances(self) -> list[tuple[str, str, str, str, int]]:
        """Permit2's."""
        permit2 = checksum("0x" + PERMIT2.hex())
        return [(self.asset.network.id, self.asset.address, self.payer_address, permit2, self.allowance)]

    def balance(self, address: str) -> int:
        """USDC of an address in atomic units; raises ValueError for what is not an address."""
        return self.token.balance(raw_address(address))

    def fund(self, address: str, amount: int) -> str:
        """Mint `amount` atomic units of test USDC for an address; the transaction id. Raises ValueError."""
        if not 0 < amount <= MOST:
            raise ValueError("the amount is above zero and at most 10**15 atomic units")
        return self.token.mint(raw_address(address), amount).hash

    def refund(self, to: str, amount: int) -> str:
        """A plain transfer by the seller's key."""
        return self.token.transfer(self.seller, raw_address(to), amount).hash

    def transaction(self, tx: str) -> Transaction | None:
        """A transaction read back from the chain, None when it was never mined."""
        return self.chain.transaction(tx)

    def now(self) -> int:
        """The time of the next block, unix seconds."""
        return self.chain.now()

    def warp(self, seconds: int) -> None:
        """Mine an empty block, `seconds` later."""
        self.chain.warp(seconds)

    def mine(self, blocks: int) -> None:
        """Empty blocks; no time passes."""
        for _ in range(blocks):
            self.chain.warp(0)

    def answer(self, request: Request) -> Answer | None:
        """JSON-RPC at /rpc."""
        if request.path != self.node_path or request.method != "POST":
            return None
        return json_answer(200, answer_rpc(self.chain, request.json()))
