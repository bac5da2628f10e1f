"""Keys, a token world on LiteSVM that settles what we sign as a facilitator does, and scripted nodes."""

from __future__ import annotations

import json
from typing import Any

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from x402_agent.chains.solana.message import TOKEN, Anchored, associated
from x402_agent.model import Anchor
from x402_agent.steps import Fetched

USDC = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"
ATA = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
SYSTEM = Pubkey.default()
PAYER, PAYEE, FACILITATOR, MINTER = (Keypair.from_seed(bytes([n] * 32)) for n in (1, 2, 3, 4))
DEVNET = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
GENESIS = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"


def text(pair: Keypair) -> str:
    return str(pair.pubkey())


class World:
    """A mint at the real devnet address, our account and the payee's, and whoever pays the fees."""

    def __init__(self, program: str = TOKEN) -> None:
        self.svm = LiteSVM().with_transaction_history(100_000)
        self.program = Pubkey.from_string(program)
        for pair in (FACILITATOR, MINTER):
            self.svm.airdrop(pair.pubkey(), 10**12)
        mint = bytes(Mint(MINTER.pubkey(), 0, 6, is_initialized=True))
        self.svm.set_account(Pubkey.from_string(USDC), Account(10**9, mint, self.program))
        self.run(self.opened(PAYER), self.opened(PAYEE), self.minted(PAYER, 10**9))

    def at(self, pair: Keypair) -> Pubkey:
        return Pubkey.from_string(associated(text(pair), USDC, str(self.program)))

    def opened(self, pair: Keypair) -> Instruction:
        reads = [pair.pubkey(), Pubkey.from_string(USDC), SYSTEM, self.program]
        keys = [AccountMeta(MINTER.pubkey(), is_signer=True, is_writable=True),
                AccountMeta(self.at(pair), is_signer=False, is_writable=True),
                *(AccountMeta(each, is_signer=False, is_writable=False) for each in reads)]  # fmt: skip
        return Instruction(ATA, b"\x01", keys)

    def minted(self, pair: Keypair, amount: int) -> Instruction:
        keys = [AccountMeta(Pubkey.from_string(USDC), is_signer=False, is_writable=True),
                AccountMeta(self.at(pair), is_signer=False, is_writable=True),
                AccountMeta(MINTER.pubkey(), is_signer=True, is_writable=False)]  # fmt: skip
        return Instruction(self.program, b"\x07" + amount.to_bytes(8, "little"), keys)

    def run(self, *instructions: Instruction) -> None:
        made = MessageV0.try_compile(MINTER.pubkey(), list(instructions), [], self.svm.latest_blockhash())
        done = self.svm.send_transaction(VersionedTransaction(made, [MINTER]))
        assert isinstance(done, TransactionMetadata), done

    def anchor(self) -> Anchor:
        return Anchor(Anchored(bytes(self.svm.latest_blockhash()), 150, 1).text)

    def balance(self, pair: Keypair) -> int:
        return TokenAccount.from_bytes(self.svm.get_account(self.at(pair)).data[:165]).amount

    def settle(self, raw: bytes) -> Any:
        """What a facilitator does: sign slot 0 and send. -> what the machine says."""
        return self.svm.send_transaction(signed(raw))


def signed(raw: bytes) -> VersionedTransaction:
    """With the facilitator's signature over these very bytes."""
    sent = VersionedTransaction.from_bytes(raw)
    own = FACILITATOR.sign_message(to_bytes_versioned(sent.message))
    return VersionedTransaction.populate(sent.message, [own, *sent.signatures[1:]])


class Node:
    """JSON-RPC nodes by URL: each a dict of method to a result, a callable of the parameters, a Fetched, or an Exception."""

    def __init__(self, **nodes: Any) -> None:
        self.nodes = {f"https://{name}.example/": {"getGenesisHash": GENESIS, **answers} for name, answers in nodes.items()}
        self.calls: list[tuple[str, list[Any]]] = []

    @property
    def url(self) -> str:
        return "|".join(self.nodes)

    def drive(self, steps: Any) -> Any:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value
            sent = json.loads(step.content)
            self.calls.append((sent["method"], sent["params"]))
            answer = self._answer(step.url, sent)

    def _answer(self, url: str, sent: dict[str, Any]) -> Fetched:
        found = self.nodes[url].get(sent["method"], Fetched(0, {}, b""))
        if callable(found) and not isinstance(found, Exception):
            found = found(*sent["params"])
        if isinstance(found, Fetched):
            return found
        said = {"error": {"code": -32000, "message": str(found)}} if isinstance(found, Exception) else {"result": found}
        return Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": sent["id"], **said}).encode())

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]
