"""Stacks as a ground: USDCx, sBTC and STX on a pretend testnet, sellers of x402 v2 and of its older words."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...chains.stacks import Call, PostCondition, Value, sip010_transfer, uint
from ...encodings import unc32_address
from ..ground import Asked, Ground
from ..messages import json_answer
from ..routes import ROUTES, Route
from .accounts import Account
from .api import Api
from .chain import NETWORK, Chain
from .classic import Classic
from .contracts import revenue_split, sip010
from .facilitator import StacksFacilitator, asset_id, token_named
from .state import STX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..messages import Answer, Request
    from .chain import Entry

__all__ = ["StacksGround"]

PURSE = {STX: 1_000_000_000, "USDCx": 100_000_000, "sBTC": 10_000_000}  # 1,000 STX, 100 USDCx, 0.1 sBTC
TREASURE = 10**17
MOST = 10**15
SPLITS = {"revenue-split": True, "revenue-split-two": False, "revenue-split-payers": True}  # has it four arguments? the last is owned by the payer
DROPPED = ("dropped_stale_garbage_collect", "dropped_replace_by_fee", "dropped_problematic")
FEE = 2_000  # microSTX: what transactions of the sandbox's own offer


class StacksGround(Ground):
    """The shop's prices are in USDCx. Payer, seller, sponsor and treasury are accounts of their own."""

    name = "stacks"
    machine = "double of a Stacks node"
    networks = {2: NETWORK}  # noqa: RUF012 - a class variable of the base
    node_path = "/stacks"

    def __init__(self, clock: Callable[[], float], backend: str | None) -> None:
        self.payer_key = secrets.token_bytes(32)
        self.payer = Account(self.payer_key)
        self._seller, operator, self._treasury = (Account(secrets.token_bytes(32)) for _ in range(3))
        self.payer_address, self.pay_to = self.payer.address, self._seller.address
        self.backend = "double"
        self.asset = token_named("USDCx")
        self.chain = Chain(clock)
        for each in (self.payer, self._seller, operator, self._treasury):
            self.chain.endow(STX, each.address, PURSE[STX])
        for symbol in ("USDCx", "sBTC"):
            token = token_named(symbol)
            self.chain.deploy(sip010(token.address, token.detail, symbol, token.decimals))
            self.chain.endow(asset_id(token), self.payer_address, PURSE[symbol])
        self.chain.endow(asset_id(self.asset), self._treasury.address, TREASURE)
        for name, four in SPLITS.items():
            owner = self.payer if name == "revenue-split-payers" else operator
            self.chain.deploy(revenue_split(f"{self.pay_to}.{name}", owner.address, four=four))
        self.facilitator: StacksFacilitator = StacksFacilitator(self.chain, operator)
        self.node = Api(self.chain)
        self._classic = Classic(self.facilitator.till, self.pay_to, self.chain.now)

    @property
    def routes(self) -> Mapping[str, Route]:
        """The usual ones, and one for each other asset."""
        joke = ROUTES["/joke"]
        own = [
            replace(joke, path="/stx", description="a joke, for STX", ways=("STX",)),
            replace(joke, path="/sbtc", price=20, description="a joke, for sBTC", ways=("sBTC",)),
            replace(joke, path="/sponsored", description="a joke, its fee paid by a sponsor", ways=("sponsored",)),
        ]
        return dict(super().routes) | {each.path: each for each in own}

    def offers(self, route: Route, version: int) -> list[Asked]:
        """Each way names the asset that it is paid in; `sponsored` is the usual one, its fee paid by our sponsor."""
        ways = [
            (self.asset, {"sponsored": True}) if way == "sponsored" else (token_named(way), {}) for way in route.ways
        ]
        return [Asked("exact", NETWORK, each.address, route.price, extra) for each, extra in ways or [(self.asset, {})]]

    def balance(self, address: str) -> int:
        """USDCx in atomic units; raises ValueError for what is not an address."""
        unc32_address(address.partition(".")[0])
        return self.chain.balance(asset_id(self.asset), address)

    def fund(self, address: str, amount: int) -> str:
        """A transfer from the treasury: `amount` atomic units of USDCx. Raises ValueError."""
        unc32_address(address.partition(".")[0])
        if not 0 < amount <= MOST:
            raise ValueError("the amount is above zero and at most 10**15 atomic units")
        return self._send(self._treasury, address, amount)

    def refund(self, to: str, amount: int) -> str:
        """A transfer by the seller's key."""
        return self._send(self._seller, to, amount)

    def publish(self, content: str, price: int) -> None:
        """The seller's content in each of its contracts, for `price` microSTX, whatever it cost before."""
        name = Value("ascii", content)
        for each in SPLITS:
            contract = f"{self.pay_to}.{each}"
            known = self.chain.ask(contract, "get-price", self.pay_to, [name]).value
            if known != price:
                self._sign(self._seller, Call(contract, "set-price" if known else "register-content", (name, uint(price))))

    def _send(self, account: Account, to: str, amount: int) -> str:
        exact = (PostCondition("", "eq", amount, asset_id(self.asset)),)
        return self._sign(account, sip010_transfer(self.asset.address, amount, account.address, to), exact)

    def _sign(self, account: Account, call: Call, conditions: tuple[PostCondition, ...] = ()) -> str:
        nonce = max([self.chain.nonce(account.address) - 1, *self.chain.waiting(account.address)]) + 1
        return self.chain.submit(account.sign(call, nonce, FEE, conditions).wire())

    def transaction(self, tx: str) -> Entry | None:
        """A transaction that was mined, None for every other."""
        entry = self.chain.entry(tx)
        return entry if entry is not None and entry.mined else None

    def now(self) -> int:
        """The time of the next block, unix seconds."""
        return self.chain.now()

    def warp(self, seconds: int) -> None:
        """Make an empty block, `seconds` later."""
        self.chain.warp(seconds)

    def answer(self, request: Request) -> Answer | None:
        """Hiro's API below /stacks; the older facilitator and the relay; sellers that speak older words."""
        if f"{request.method} {request.path}" == "POST /sandbox/stacks":
            return json_answer(200, self._control(request.json()))
        if request.path.startswith(f"{self.node_path}/"):
            found = self.node.handle(replace(request, path=request.path.removeprefix(self.node_path)))
            return found or json_answer(404, {"error": "Not Found"})
        return self.facilitator.answer(request) or self._classic.answer(request)

    def _control(self, body: Any) -> dict[str, Any]:
        """Play the chain: `automatic` blocks (off: what comes is pending), `estimates` of fees, `mine` now; `drop` a transaction that
        waits, or "all", `as` dropped_replace_by_fee, dropped_problematic, or for its age. Tells which wait."""  # fmt: skip
        if "automatic" in body:
            self.chain.automatic = bool(body["automatic"])
        if "estimates" in body:
            self.node.estimates = bool(body["estimates"])
        if "drop" in body:
            named, status = str(body["drop"]), str(body.get("as", DROPPED[0]))
            if status not in DROPPED:
                raise ValueError(f"as is one of {', '.join(DROPPED)}")
            for each in self.chain.pending() if named == "all" else [named]:
                self.chain.drop(each, status)  # type: ignore[arg-type]
        mined = self.chain.mine() if body.get("mine") else []
        told = {"automatic": self.chain.automatic, "estimates": self.node.estimates}
        return {**told, "mined": mined, "pending": self.chain.pending()}
