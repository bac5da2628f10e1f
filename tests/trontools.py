"""A pretend TRON with a payer and a seller, and transactions built by the code that pays: another author than the double's."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from x402_agent.chains.tron.transaction import Call, Raw, Send, Signed, approve, reference, transfer
from x402_agent.primitives import EvmKey
from x402_agent.sandbox.tron.chain import Chain, show
from x402_agent.sandbox.tron.contracts import Contracts
from x402_agent.sandbox.tron.node import answer_node

TRX = 1_000_000


def raw(key: EvmKey) -> bytes:
    return bytes.fromhex(key.address[2:])


class World:
    """The payer has 100 USDT and 1,000 TRX; time stands still unless it is warped."""

    def __init__(self, backend: Any = None) -> None:
        self.time = 1_800_000_000.0
        self.chain = Chain(lambda: self.time, backend)
        self.payer, self.seller, self.operator = (EvmKey(secrets.token_bytes(32)) for _ in range(3))
        for key in (self.payer, self.seller, self.operator):
            self.chain.endow(raw(key), 1_000 * TRX)
        self.contracts = Contracts(self.chain, self.operator)
        self.contracts.mint(raw(self.payer), 100_000_000)
        self.usdt = self.contracts.asset.address
        self.me, self.shop = show(raw(self.payer)), show(raw(self.seller))

    def build(self, what: Call | Send | None = None, **change: Any) -> Raw:
        """A transfer of 1 USDT to the seller, as our own code writes it, unless told otherwise."""
        now = int(self.time * 1000)
        self.time += 1 / 128  # so that no two are alike; exact as a float
        made = Raw(
            what or Call(self.me, self.usdt, transfer(self.shop, 1_000_000)),
            reference(self.chain.head().id),
            now,
            now + 60_000,
            0 if isinstance(what, Send) else 100_000_000,
        )
        return replace(made, **change)

    def wire(self, made: Raw, signer: EvmKey | None = None) -> bytes:
        key = signer or self.payer
        return Signed(made.txid, made.data, key.sign(bytes.fromhex(made.txid))).wire

    def send(self, made: Raw, signer: EvmKey | None = None) -> Any:
        return self.ask("broadcasthex", transaction=self.wire(made, signer).hex())

    def ask(self, name: str, room: str = "wallet", **body: Any) -> Any:
        return answer_node(self.chain, f"/{room}/{name}", body)

    def refused(self, made: Raw | bytes, signer: EvmKey | None = None) -> tuple[str, str]:
        """The code and words of a refusal, after which nothing has changed."""
        before = self.state()
        wire = made if isinstance(made, bytes) else self.wire(made, signer)
        answer = self.ask("broadcasthex", transaction=wire.hex())
        assert "result" not in answer
        assert self.state() == before
        return answer["code"], bytes.fromhex(answer["message"]).decode()

    def state(self) -> tuple[int, ...]:
        keys = (self.payer, self.seller)
        return (*(self.chain.sun(raw(key)) for key in keys), *(self.usdt_of(key) for key in keys), len(self.chain.history()))

    def usdt_of(self, key: EvmKey) -> int:
        return self.contracts.balance(raw(key))

    def info(self, txid: str, room: str = "wallet") -> Any:
        return self.ask("gettransactioninfobyid", room, value=txid)


__all__ = ["TRX", "Call", "Raw", "Send", "World", "approve", "raw", "transfer"]
