"""A Lily on a pretend Solana, and somebody who pays it by hand."""

from __future__ import annotations

import secrets
import time

import httpx2
import pytest
from solders.keypair import Keypair
from solders.system_program import TransferParams
from solders.system_program import transfer as move

from pgserver import postgres
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.lily.store import AGENT, SERVICE
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.solana.token import TOKEN, address, transfer

PRICE = 10_000  # millionths of a dollar


class Till:
    """A client of a seller at the socket-free door; what it pays really moves on the chain."""

    def __init__(self, box: Sandbox) -> None:
        self.box, self.ground = box, box.ground
        self.http = httpx2.Client(base_url=box.origin, transport=box.transport(), timeout=20)
        self.wallet = box.payer_address
        self.key = box.seller.dialect_settings(box.origin)["lily"]["key"]

    # -- paying ---------------------------------------------------------------------------------------------------------

    def pay(self, amount: int = PRICE, to: str = "", who: Keypair | None = None) -> str:
        """USDC, in atomic units; the transaction's signature."""
        who = who or self.ground.payer
        step = transfer(who.pubkey(), address(to or self.box.pay_to), amount, self.ground.mint, TOKEN)
        return str(self.ground.send([step], who).signature)

    def pay_sol(self, lamports: int, to: str = "") -> str:
        step = move(TransferParams(from_pubkey=self.ground.payer.pubkey(), to_pubkey=address(to or self.box.pay_to), lamports=lamports))
        return str(self.ground.send([step], self.ground.payer).signature)

    def other(self, amount: int = 1_000_000) -> Keypair:
        """Somebody else with money."""
        who = Keypair()
        self.ground.chain.endow(who.pubkey(), 10**9)
        self.ground.fund(str(who.pubkey()), amount)
        return who

    # -- the service ----------------------------------------------------------------------------------------------------

    def header(self, **fields: object) -> str:
        """`X-402-Payment` as published; a field that is ... is left out."""
        usual: dict[str, object] = {"wallet": self.wallet, "amount": "0.01", "currency": "USDC", "timestamp": int(self.ground.now() * 1000)}
        order = ("session", "proof", "wallet", "amount", "currency", "timestamp")
        said = {**usual, **fields}
        return "; ".join(f"{name}={said[name]}" for name in order if said.get(name, ...) is not ...)

    def get(self, path: str = "/joke", header: str | None = None, **fields: object):
        shown = header if header is not None else self.header(**fields) if fields else None
        return self.http.get(path, headers={"X-402-Payment": shown} if shown is not None else {})

    def signed(self, who: Keypair | None = None, **fields: object) -> str:
        """A header that its wallet has signed."""
        who = who or self.ground.payer
        text = self.header(**{"wallet": str(who.pubkey()), **fields})
        return f"{text}; signature={who.sign_message(text.encode())}"

    # -- the database's door --------------------------------------------------------------------------------------------

    def rest(self, method: str, path: str, body: object = None, key: str | None = None, prefer: str = "return=representation"):
        key = self.key if key is None else key
        headers = {"apikey": key, "authorization": f"Bearer {key}", "prefer": prefer} if key else {}
        return self.http.request(method, f"/rest/v1/{path}", json=body, headers=headers)

    def session_row(self, signature: str, amount: float = 0.1, **change: object) -> dict[str, object]:
        row = {
            "wallet_address": self.wallet, "session_token": secrets.token_hex(32), "authorized_amount": amount, "remaining_amount": amount, "currency": "USDC",
            "resource_pattern": f"agent/{SERVICE}/*", "service_id": SERVICE, "service_type": AGENT, "auto_renew": False, "status": "active",
            "initial_payment_signature": signature, "usd_amount": amount,
        }  # fmt: skip
        return {name: value for name, value in {**row, **change}.items() if value is not ...}

    def session(self, amount: int = 100_000, **change: object) -> dict:
        """A session that is paid."""
        reply = self.rest("POST", "x402_payment_sessions", self.session_row(self.pay(amount), amount / 1_000_000, **change))
        assert reply.status_code == 201, reply.text
        return reply.json()[0]

    def top_up_row(self, signature: str, amount: float = 0.1, **change: object) -> dict[str, object]:
        row = {"transaction_signature": signature, "wallet_address": self.wallet, "service_id": SERVICE, "service_type": AGENT, "amount": amount, "currency": "USDC",
               "status": "completed", "resource_type": "agent_execution", "http_method": "POST", "purpose": "credit_top_up"}  # fmt: skip
        return {**row, **change}

    def top_up(self, amount: int = 100_000) -> dict:
        reply = self.rest("POST", "x402_transactions", self.top_up_row(self.pay(amount), amount / 1_000_000))
        assert reply.status_code == 201, reply.text
        return reply.json()[0]

    def rows(self, sql: str, *values: object) -> list[dict]:
        with self.box.seller.store.pool.lent() as link:
            return link.rows(sql, *values)

    def spent(self) -> dict[str, tuple[int, int]]:
        """Transactions by what they were for: how many, and how much they were."""
        found = self.rows("select purpose, count(*) as n, sum(amount) as m from x402_transactions group by purpose")
        return {row["purpose"]: (int(row["n"]), int(row["m"])) for row in found}

    def stranger(self, method: str, path: str, headers: dict | None = None, body: bytes = b"", query: str = "", client: str = "10.1.2.3"):
        """What somebody at another address gets."""
        answer = self.box.app.handle(Request(method, self.box.origin, path, headers or {}, body, query, client))
        return answer.status, b"".join(answer.chunks)


@pytest.fixture(scope="session")
def server():
    """One PostgreSQL for all."""
    with postgres() as url:
        yield url


@pytest.fixture
def fresh(server):
    """The same with nothing in it."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as link:
        link.execute("drop schema if exists x402_lily cascade")
    return server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def database(request):
    return "" if request.param == "sqlite" else request.getfixturevalue("fresh")


def standing():
    """A clock on which no time passes but what a test lets pass."""
    now = time.time()
    return lambda: now


@pytest.fixture
def till_on():
    """A till with a scenario or a database of its own."""
    opened = []

    def make(scenario: object = "honest", **options: object) -> Till:
        opened.append(Sandbox(scenario, chain="solana", seller="lily", **{"clock": standing(), **options}))
        return Till(opened[-1])

    yield make
    for each in opened:
        each.close()


@pytest.fixture(scope="module")
def shared():
    """One till for many cases; `paid` is a payment that nothing has used up."""
    with Sandbox(chain="solana", seller="lily", clock=standing()) as box:
        made = Till(box)
        made.paid = made.pay(100_000)
        yield made


@pytest.fixture
def till(till_on, database):
    return till_on(database=database)
