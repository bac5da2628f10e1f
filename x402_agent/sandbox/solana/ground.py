"""Solana as a ground: USDC at devnet's own address, a payer without a lamport, a facilitator who pays the fees."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.signature import Signature
from solders.token.state import Mint
from solders.transaction import VersionedTransaction

from ...assets import asset, network
from ...errors import SettingsError
from ..ground import Asked, Ground
from ..messages import json_answer
from ..routes import Route, joke
from .chain import Chain
from .facilitator import SolanaFacilitator
from .node import answer_rpc
from .token import MEMO, TOKEN, address, ata, holding, mint_to, opened, transfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import Answer, Request
    from .chain import Row

__all__ = ["SolanaGround"]

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
USDC = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"
PURSE = 100_000_000  # 100 USDC
SOL = 10**9  # lamports
MOST = 10**15


class SolanaGround(Ground):
    """The payer holds USDC and no SOL, unless his seller wants him to pay first: whoever settles pays the fee. `/memo` asks for a memo of the seller's."""

    name = "solana"
    machine = "SVM"
    networks = {1: "solana-devnet", 2: NETWORK}  # noqa: RUF012 - a class variable of the base

    def __init__(self, clock: Callable[[], float], backend: str | None) -> None:
        if backend not in (None, "litesvm"):
            raise SettingsError(f"no Solana VM is called {backend!r}", rule="backend", hint="litesvm")
        self.backend = "litesvm"
        self.chain = Chain(clock)
        where = network(NETWORK)
        found = asset(where, USDC) if where else None
        if found is None:
            raise LookupError("assets.toml has no USDC on Solana devnet")
        self.asset = found
        self.mint = address(USDC)
        self.payer_key = secrets.token_bytes(32)
        self.payer, self.seller = Keypair.from_seed(self.payer_key), Keypair()
        self.operator, self._authority = Keypair(), Keypair()
        self.payer_address, self.pay_to = str(self.payer.pubkey()), str(self.seller.pubkey())
        self.facilitator = SolanaFacilitator(self.chain, self.operator, self.networks)
        for each in (self.operator, self._authority):
            self.chain.endow(each.pubkey(), 1000 * SOL)
        mint = Mint(self._authority.pubkey(), 0, found.decimals, True, None)
        self.chain.install(self.mint, Account(self.chain.rent(82), bytes(mint), TOKEN, False, 0))
        self.fund(self.payer_address, PURSE)
        self.send([opened(self._authority.pubkey(), self.seller.pubkey(), self.mint, TOKEN)], self._authority)

    @property
    def routes(self) -> dict[str, Route]:
        """The shop's, and one that binds its payments by a memo."""
        return {**super().routes, "/memo": Route("/memo", 10_000, joke, "a joke; the seller says the memo", ways=("memo",))}

    def offers(self, route: Route, version: int) -> list[Asked]:
        """One entry: USDC, and who pays the fee."""
        extra = {"feePayer": self.facilitator.address}
        if "memo" in route.ways:
            extra["memo"] = f"sandbox{route.path}"
        return [Asked("exact", self.networks[version], self.asset.address, route.price, extra)]

    def send(self, steps: list[Instruction], key: Keypair, *others: Keypair) -> Row:
        """Sign and execute; raises ValueError when it fails."""
        blockhash, _ = self.chain.blockhash()
        message = MessageV0.try_compile(key.pubkey(), [*steps, _unique()], [], blockhash)
        tx = VersionedTransaction(message, [key, *others])
        row = self.chain.execute(tx, self.chain.admit(tx))
        if row.tried.err is not None:
            raise ValueError(f"the transaction failed: {row.tried.err}")
        return row

    def balance(self, owner: str) -> int:
        """USDC in the owner's associated account, in atomic units; raises ValueError."""
        found = holding(self.chain.account(ata(address(owner), self.mint, TOKEN)))
        return found.amount if found else 0

    def fund(self, owner: str, amount: int) -> str:
        """Mint USDC into the owner's associated account, which is opened first; the transaction's id. Raises ValueError."""
        if not 0 < amount <= MOST:
            raise ValueError("the amount is above zero and at most 10**15 atomic units")
        whose, ours = address(owner), self._authority.pubkey()
        steps = [opened(ours, whose, self.mint, TOKEN), mint_to(ours, ata(whose, self.mint, TOKEN), amount, self.mint, TOKEN)]
        return str(self.send(steps, self._authority).signature)

    def account(self, owner: str) -> str:
        """The associated account of the asset."""
        return str(ata(address(owner), self.mint, TOKEN))

    def fuel(self) -> None:
        """One SOL."""
        self.chain.endow(self.payer.pubkey(), SOL)

    def refund(self, to: str, amount: int) -> str:
        """A transfer by the seller; the facilitator pays the fee."""
        step = transfer(self.seller.pubkey(), address(to), amount, self.mint, TOKEN)
        return str(self.send([step], self.operator, self.seller).signature)

    def transaction(self, tx: str) -> Row | None:
        """A transaction by its id, which is its first signature."""
        try:
            return self.chain.row(Signature.from_string(tx))
        except ValueError:
            return None

    def now(self) -> int:
        """The chain's time, unix seconds."""
        return self.chain.now()

    def warp(self, seconds: int) -> None:
        """Blocks go by, 2.5 a second: after a minute a blockhash is no longer good."""
        self.chain.warp(seconds)

    def answer(self, request: Request) -> Answer | None:
        """JSON-RPC at /rpc."""
        if request.path != self.node_path or request.method != "POST":
            return None
        return json_answer(200, answer_rpc(self.chain, request.json()))


def _unique() -> Instruction:
    """Two equal transactions under one blockhash would be one."""
    return Instruction(MEMO, secrets.token_hex(8).encode(), [])
