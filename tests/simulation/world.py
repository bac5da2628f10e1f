"""A world that lies, crashes and loses power around the real payer: its conversation, policy, signatures and ledger.

Time, disk, network, sellers, node and processes are pretended and obey one random generator, so a seed replays a
history. The world keeps its own truth (who holds which authorisation, what settled when) and judges by that alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from asyncio import CancelledError
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.errors import LedgerError, PaymentError
from x402_agent.ledger import SqliteLedger, store
from x402_agent.ledger.writer import Writer
from x402_agent.model import Ask
from x402_agent.policy import Bounds
from x402_agent.primitives import EvmKey
from x402_agent.sandbox.messages import decode64, encode64
from x402_agent.steps import Commit, Fetch, Fetched, NoAnswer, Reply, Send, Sleep

__all__ = ["PRICE", "Violation", "World"]

START = 1_795_000_000
PRICE, CAP, HOST_ROOM, ROOM = 10_000, 100_000, 30_000, 40_000  # atomic units of USDC, which are micro-dollars
KEY = bytes(range(1, 33))
NETWORK, TOKEN = "eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
NODE = "https://node.example"
PAYEES = {host: EvmKey(bytes([number] * 32)).address for number, host in enumerate(("a.example", "b.example"), 50)}
THIEF = EvmKey(bytes([99] * 32)).address
LIFETIMES = (12, 12, 30, 10 * 365 * 86_400)
ANSWERS = ("200", "200", "200", "bare200", "402", "402", "refused", "500", "paid500", "busy", "lost", "lost")


class Violation(Exception):
    """What must never happen, by the world's own truth."""


@dataclass
class Cheque:
    """One authorisation that left: what its holder may cash until `expires` (unix seconds, the chain's)."""

    nonce: str
    key: str
    keyed: bool
    value: int
    to: str
    host: str
    expires: int
    settled_at: int | None = None
    delivered: bool = False

    def alive(self, now: int) -> bool:
        return self.settled_at is not None or now < self.expires


@dataclass
class Call:
    """One request under way in one process. `steps` is the real conversation, `work` our driver of it."""

    process: int
    ask: Ask
    steps: Any = None
    work: Iterator[None] | None = None
    shows: str = ""  # the nonce it is presenting
    sent: set[str] = field(default_factory=set)


class World:
    """One history. `tick` moves time and lets sellers settle; `step`, `kill`, `power_cut` happen to the payer."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.folder, self.path, self.saved = folder, folder / "now" / "ledger.db", folder / "durable"
        self.t, self.skew, self.serial, self.fault = START, 0, 0, ""
        self.cheques: dict[str, Cheque] = {}
        self.calls: dict[int, Call] = {}
        self.payers: dict[int, Payer] = {}
        self.payees: dict[str, str] = {}
        self.count = {"kills": 0, "cuts": 0, "faults": 0, "cancels": 0}
        shutil.rmtree(folder, ignore_errors=True)
        self.path.parent.mkdir(parents=True, mode=0o700)

    def clock(self) -> float:
        """This machine's clock, which may be off."""
        return float(self.t + self.skew)

    # -- processes -----------------------------------------------------------------------------------------------

    def payer(self, number: int) -> Payer:
        """The payer of one process, started when it is first needed."""
        if number not in self.payers:
            home = self.folder / "home"
            settings = Settings(home, home, self.path, home / "policy.toml", nodes={NETWORK: NODE})
            ledger = SqliteLedger(self.path, clock=self.clock)
            rules = {f"host:{host}": Bounds(total=HOST_ROOM) for host in PAYEES}
            policy = Policy(per_call=CAP, day=None, total=ROOM, budgets=rules, networks=("base-sepolia",), prepay=("b.example",),
                            know_balance=False)
            self.payers[number] = Payer(
                wallet=Wallet.from_key(KEY), policy=policy, settings=settings, ledger=ledger, clock=self.clock,
                nonce=lambda: self.rng.randbytes(32),
            )  # fmt: skip
        return self.payers[number]

    def kill(self, number: int) -> None:
        """kill -9: its calls stop where they are, what it had not written is gone, its locks are free."""
        self.count["kills"] += 1
        for each in [name for name, call in self.calls.items() if call.process == number]:
            bury(self.calls.pop(each))
        payer = self.payers.pop(number, None)
        if payer is not None:
            crash(payer.ledger)
        store._FAILED.clear()

    def power_cut(self) -> None:
        """Everything dies; what was written after the last durable commit may be lost."""
        self.count["cuts"] += 1
        for number in list(self.payers):
            self.kill(number)
        if self.saved.exists() and self.rng.random() < 0.7:
            shutil.rmtree(self.path.parent)
            shutil.copytree(self.saved, self.path.parent)

    def durable(self) -> set[str]:
        """Nonces that a power cut could not take back."""
        copy = self.saved / self.path.name
        return set(nonces(copy)) if copy.exists() else set()

    def committed(self, opened: Any) -> None:
        """A commit that reached the disk: what a power cut leaves."""
        if opened.path == self.path:
            shutil.rmtree(self.saved, ignore_errors=True)
            skip = shutil.ignore_patterns("*-shm", "*.owners")
            shutil.copytree(self.path.parent, self.saved, ignore=skip)

    def disk(self, opened: Any) -> None:
        """Called before each COMMIT: raises what a failing disk raises."""
        fault, self.fault = self.fault, ""
        if fault:
            self.count["faults"] += 1
            raise OSError(28, "No space left on device") if fault == "full" else sqlite3.OperationalError("disk I/O error")

    # -- time and sellers -----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Time passes; sellers cash what they hold, at any moment before it expires."""
        self.t += self.rng.choice((0, 0, 1, 1, 3, 10))
        if self.rng.random() < 0.05:
            self.skew = self.rng.choice((0, 0, 40, -40, 200, 200))
        if self.rng.random() < 0.02:
            self.fault = self.rng.choice(("full", "io"))
        for cheque in self.cheques.values():
            if cheque.settled_at is None and self.t < cheque.expires and self.rng.random() < 0.12:
                cheque.settled_at = self.t
        self.judge()

    def judge(self) -> None:
        """I1: never more than the budgets, settled and still settleable together. I2: a keyed purchase is paid once."""
        alive = [each for each in self.cheques.values() if each.alive(self.t)]
        if sum(each.value for each in alive) > ROOM:
            raise Violation("I1 settled and settleable exceed the budget")
        if any(sum(each.value for each in alive if each.host == host) > HOST_ROOM for host in PAYEES):
            raise Violation("I1 settled and settleable exceed the budget of a host")
        paid = [each.key for each in self.cheques.values() if each.keyed and each.settled_at is not None]
        if len(paid) != len(set(paid)):
            raise Violation("I2 a keyed purchase settled twice")

    def answer(self, call: Call, step: Send) -> Reply:
        """What the seller says to one request; raises NoAnswer."""
        header = step.headers.get("PAYMENT-SIGNATURE")
        if header is None:
            return self.challenge(call.ask)
        payload = decode64(header)
        self.receive(call, payload["payload"]["authorization"])
        return self.reply(call, payload)

    def challenge(self, ask: Ask) -> Reply:
        """A 402: mostly honest, sometimes dear, sometimes with another payee, sometimes with both prices."""
        rng = self.rng
        payee = THIEF if ask.host in self.payees and rng.random() < 0.1 else PAYEES[ask.host]
        prices = rng.choice(([PRICE], [PRICE], [PRICE, 30_000], [CAP + 1, PRICE], [CAP + 1]))
        accepts = [
            {"scheme": "exact", "network": NETWORK, "amount": str(price), "asset": TOKEN, "payTo": payee,
             "maxTimeoutSeconds": rng.choice(LIFETIMES), "extra": {"name": "USDC", "version": "2"}}
            for price in prices
        ]  # fmt: skip
        document = {"x402Version": 2, "resource": {"url": ask.url}, "accepts": accepts}
        return Reply(402, httpx.Headers({"payment-required": encode64(document)}))

    def receive(self, call: Call, found: dict[str, str]) -> None:
        """An authorisation reaches the seller: it is his to cash, whatever he answers."""
        nonce, ask = found["nonce"], call.ask
        row = next((row for row in self.rows() if row["nonce"] == nonce), None)
        if nonce not in self.durable() or row is None:
            raise Violation("I3 it left before a durable row named it")
        signed = (found["value"], found["to"].lower(), int(found["validBefore"]), ask.origin)
        if signed != (row["amount"], row["to_address"].lower(), row["valid_before"], row["origin"]):
            raise Violation("I13 what was signed is not what was written down")
        if int(found["validBefore"]) > self.clock() + 3600:
            raise Violation("D5 it lives longer than an hour")
        call.sent.add(nonce)
        self.cheques.setdefault(
            nonce,
            Cheque(nonce, ask.key, bool(ask.caller_key), int(found["value"]), found["to"], ask.host, int(found["validBefore"])),
        )
        self.payees.setdefault(ask.host, found["to"])
        if found["to"] != self.payees[ask.host]:
            raise Violation("R4 another payee than the first")
        if int(found["value"]) > CAP:
            raise Violation("P1 dearer than one call may be")

    def present(self, call: Call, hold: Any) -> None:
        """A proof may leave from here on. I2: no second one for a purchase while an older one is loose."""
        busy = {each.shows for each in self.calls.values()}
        call.shows = hold.terms.nonce
        if hold.resumed:
            return
        for older in self.cheques.values():
            settled = older.delivered or older.nonce in busy
            if older.key == call.ask.key and older.alive(self.t) and (older.keyed or not settled):
                raise Violation("I2 a second authorisation while the first can settle")

    def reply(self, call: Call, payload: dict[str, Any]) -> Reply:
        """The seller's answer to a proof: true, false, or none."""
        cheque = self.cheques[payload["payload"]["authorization"]["nonce"]]
        said = self.rng.choice(ANSWERS)
        if said == "lost":
            raise NoAnswer("reset")
        receipt = {"success": said in ("200", "paid500"), "transaction": "0x" + "ab" * 32, "network": NETWORK}
        headers = httpx.Headers({"payment-response": encode64(receipt)} if said in ("200", "paid500", "refused") else {})
        if said in ("200", "bare200"):
            cheque.delivered = True
            return Reply(200, headers)
        if said == "402":
            return self.challenge(call.ask)
        return Reply({"refused": 402, "busy": 503}.get(said, 500), headers)

    # -- the node --------------------------------------------------------------------------------------------------

    def node(self, step: Fetch, *, honest: bool = False) -> Fetched:
        """JSON-RPC, from a view that may be old; now and then nothing, an error, or another chain."""
        asked = json.loads(step.content)
        if not honest and self.rng.random() < 0.15:
            return Fetched(self.rng.choice((0, 500)), {}, b"")
        behind = 0 if honest else self.rng.choice((0, 0, 2, 25, 60, 120))
        latest = self.t - behind
        method, params = asked["method"], asked["params"]
        if method == "eth_chainId":
            result: Any = hex(84532 if honest or self.rng.random() > 0.03 else 1)
        elif method == "eth_getBlockByNumber":
            result = {"number": hex(latest), "timestamp": hex(latest)}
        elif method == "eth_call":
            at = latest if params[1] == "latest" else int(params[1], 16)
            cheque = self.cheques.get("0x" + params[0]["data"][-64:])
            used = cheque is not None and cheque.settled_at is not None and cheque.settled_at <= at
            result = f"0x{int(used):064x}"
        else:
            return Fetched(200, {}, json.dumps({"error": {"message": "unknown method"}}).encode())
        return Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode())

    # -- the driver ------------------------------------------------------------------------------------------------

    def ask(self) -> Ask:
        """One of a few purchases, with or without the caller's key."""
        host = self.rng.choice(list(PAYEES))
        key = self.rng.choice(("", "k"))
        path = f"/{self.rng.randrange(2)}{key}"
        return Ask("GET", f"https://{host}{path}", f"https://{host}", host, path, caller_key=key and host + path)

    def start(self, number: int) -> None:
        """A new call in one process."""
        payer = self.payer(number)
        self.serial += 1
        call = self.calls[self.serial] = Call(number, self.ask())
        call.work = self.drive(call, payer)

    def drive(self, call: Call, payer: Payer) -> Iterator[None]:
        """What transport/drivers.py does with a conversation, with a place to die or be overtaken before every step."""
        kit = payer.talk(call.ask)
        call.steps = kit.conversation()
        resume, value = call.steps.send, None
        while True:
            try:
                step = resume(value)
            except StopIteration:
                return
            yield
            try:
                value, resume = self.perform(call, kit, step), call.steps.send
            except Violation:
                raise
            except BaseException as error:
                value, resume = error, call.steps.throw

    def perform(self, call: Call, kit: Any, step: Any) -> Any:
        """One step, by the real rooms or by the world. A cancellation comes before it, or, where it is shielded, after it."""
        cancelled = self.rng.random() < 0.02
        self.count["cancels"] += cancelled
        if cancelled and isinstance(step, Send | Fetch | Sleep):
            raise CancelledError
        if isinstance(step, Send):
            return self.answer(call, step)
        if isinstance(step, Fetch):
            return self.node(step)
        if isinstance(step, Sleep):
            self.t += int(step.seconds) + 1
            return None
        made = kit.perform(step, 0)
        value = made.run() if hasattr(made, "run") else made
        if isinstance(step, Commit) and value is not None:
            self.present(call, value)
        if cancelled:
            raise CancelledError
        return value

    def step(self) -> None:
        """Let one call go on."""
        name = self.rng.choice(list(self.calls))
        call = self.calls[name]
        assert call.work is not None
        try:
            next(call.work)
        except StopIteration:
            del self.calls[name]
        except (PaymentError, CancelledError) as error:
            del self.calls[name]
            if isinstance(error, PaymentError) and error.retry_safe and call.sent:
                raise Violation(f"I5 {type(error).__name__} says that nothing was paid") from None
        except BaseException:
            bury(self.calls.pop(name))
            raise

    # -- looking ---------------------------------------------------------------------------------------------------

    def rows(self) -> list[sqlite3.Row]:
        """The payments as any process sees them."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            found = db.execute("SELECT * FROM x402_payments").fetchall()
        db.close()
        return found

    def end(self) -> None:
        """Quiet: everybody dead, a day gone, an honest node. What did not settle is free (I7), what did is counted (I6)."""
        for number in list(self.payers):
            self.kill(number)
        self.t, self.skew, self.fault = self.t + 3700, 0, ""
        self.judge()
        payer = self.payer(0)
        before = None
        for _ in range(3):  # I8: once more changes nothing
            payer.resume()
            payer.ledger.flush()
            after = [(each.payment_id, each.state) for each in payer.ledger.payments()]
            if before not in (None, after):
                raise Violation("I8 resuming again changed something")
            before = after if _ else None
        for payment in payer.ledger.payments():
            cheque = self.cheques.get(payment.nonce)
            settled = cheque is not None and cheque.settled_at is not None
            if payment.outcome == "released" and settled:
                raise Violation("I6 released, and settled")
            if payment.outcome != "released" and not settled and payment.state != "CLAIMED":
                raise Violation(f"I7 {payment.state} stays counted and never settled")
        if {each.nonce for each in payer.ledger.payments()} < set(self.cheques):
            raise Violation("I4 a payment is forgotten")
        if problems := payer.ledger.verify():
            raise Violation(f"I4 {problems[0]}")


def nonces(path: Path) -> list[str]:
    """What a ledger file names, as a new process would find it after a power cut."""
    db = sqlite3.connect(path)
    try:
        return [nonce for (nonce,) in db.execute("SELECT nonce FROM x402_payments WHERE state <> 'RESERVED'")]
    finally:
        db.close()


def bury(call: Call) -> None:
    """The steps of a dead process are never performed; its generators are run out so that nothing lingers."""
    steps = call.steps
    if call.work is not None:
        call.work.close()  # type: ignore[attr-defined]
    throw: Any = KeyboardInterrupt()
    try:
        while steps is not None and steps.gi_frame is not None:
            steps.throw(throw) if throw else steps.send(None)
            throw = None
    except BaseException:
        pass


def crash(ledger: SqliteLedger) -> None:
    """What kill -9 leaves of a ledger: the file as written, and free locks."""
    opened = ledger._store
    if opened is None:
        return
    ledger._store = None
    ledger._writer._queue.clear()
    ledger._writer.stop()
    opened.owners.forget()
    opened.db.close()
    os.close(opened.fd)


def install(monkeypatch: Any, current: list[World]) -> None:
    """The world's disk and node under the real rooms, and no thread that writes when it likes."""
    commit = store.Store._commit

    def watched(opened: Any, jobs: Any) -> None:
        if current:
            try:
                current[-1].disk(opened)
            except BaseException as cause:
                opened._undo(cause)
                raise
        commit(opened, jobs)
        if current and opened._full:
            current[-1].committed(opened)

    monkeypatch.setattr(store.Store, "_commit", watched)
    monkeypatch.setattr(Writer, "_nudge", lambda writer: None)
    monkeypatch.setattr("x402_agent.transport.fetch.fetch", lambda step, lines: current[-1].node(step, honest=True))
    monkeypatch.setattr("x402_agent.recovery.again.show", lambda payer, hold, output: "the seller is gone")


def history(seed: int, folder: Path, current: list[World]) -> tuple[str, World]:
    """Run one seed. -> ("", world) or (the violation, world)."""
    world = World(seed, folder)
    current.append(world)
    rng = world.rng
    try:
        for _ in range(120):
            world.tick()
            try:
                if len(world.calls) < 3 and rng.random() < 0.6:
                    world.start(rng.randrange(2))
                if world.calls:
                    world.step()
            except LedgerError:  # a disk that fails while a process starts: it does not start
                store._FAILED.clear()
            if rng.random() < 0.03:
                world.kill(rng.randrange(2))
            if rng.random() < 0.02:
                world.power_cut()
        world.end()
    except Violation as found:
        return str(found), world
    finally:
        for number in (0, 1):
            world.kill(number)
        current.remove(world)
    return "", world
