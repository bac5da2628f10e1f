"""`x402-agent doctor`: is this setup fine."""

from __future__ import annotations

import importlib.util
import os
import time
from typing import TYPE_CHECKING

import typer

from .. import Money, Payer, PaymentError, Settings, Wallet, assets
from ..approvals import approver, waiting
from ..broadcast import coins
from ..chains.evm import reads
from ..chains.evm.rpc import Node
from ..ledger import SqliteLedger, note_path
from ..policy import dollars
from ..secret import Env
from ..signer import Link
from ..tasks import left as left_of
from ..transport.fetch import drive
from .common import Exit, Json, as_json, colored, errors
from .freeze import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from ..steps import Steps

__all__ = ["run"]


def run(json: Json = False) -> None:
    """Check key, policy, approvals, ledger, lock, clock, nodes with the account's balances, extras and HTTP libraries."""
    with errors(json):
        settings = Settings.load()
        if settings.signer is None:
            checks = [_key(settings), _policy(settings), _approval(settings), *_ledger(settings), *_slip(settings), _clock(), *_nodes(settings)]
        else:
            checks = [_signer(settings.signer), _clock()]
        checks += _extras()
    if json:
        as_json([{"check": name, "ok": ok, "said": said} for name, ok, said in checks])
    else:
        for name, ok, said in checks:
            mark = "ok  " if ok else "FAIL" if ok is False else "-   "
            color = colored()
            shade = "\x1b[32m" if ok else "\x1b[31m" if ok is False else "\x1b[2m"
            print(f"{shade if color else ''}{mark}{chr(27) + '[0m' if color else ''}  {name:10} {said}")
    raise typer.Exit(Exit.FAILED if any(ok is False for _, ok, _ in checks) else Exit.OK)


Check = tuple[str, bool | None, str]


def _signer(path: Path) -> Check:
    """Whether the service answers that keeps key, policy and ledger, and whom it takes us for."""
    try:
        link = Link(path)
        told = link.take()
    except PaymentError as why:
        return "signer", False, f"{why.what}{'; try: ' + why.hint if why.hint else ''}"
    same = "; it runs as this very user: no boundary" if told.service.uid == os.getuid() else ""
    told.close()
    return "signer", True, f"{path}, user {told.service.uid}; we are {told.hello.text('agent') or 'its operator'}{same}"


def _key(settings: Settings) -> Check:
    try:
        wallet = Wallet.from_env(None, settings.wallet_path)
    except PaymentError as why:
        return "key", False, f"{why.what}{'; try: ' + why.hint if why.hint else ''}"
    address = wallet.address("eip155") or wallet.account
    if not address:
        return "key", None, "none; x402-agent wallet new, or export X402_AGENT_EVM_KEY=0x…"
    kind = type(wallet.signers[0]).__name__
    where = "; the wallet file is readable and locked: no passphrase in the environment" if kind == "LockedSigner" else ""
    return "key", True, f"pays from {address}{where}"


def _policy(settings: Settings) -> Check:
    try:
        policy = settings.policy()
    except PaymentError as why:
        return "policy", False, f"{why.what} ({why.rule})"
    where = settings.policy_path if settings.policy_path.exists() else policy.source
    return "policy", True, f"{where}; pays on {', '.join(policy.networks)}"


def _approval(settings: Settings) -> Check:
    """Whether somebody can be asked where a rule wants a person's yes."""
    if settings.signer is not None:
        return "approval", None, "the signer asks, where it runs"
    try:
        rules = settings.policy().approval
        who = approver(rules, None, settings.approvals, Env())
        if rules.how == "file":
            waiting(settings.approvals, time.time())
    except PaymentError as why:
        return "approval", False, f"{why.what}{'; try: ' + why.hint if why.hint else ''}"
    if who is None:
        return "approval", None, "whoever the program brings (approve=), or the terminal of `get`; else what needs a yes is refused"
    return "approval", True, f"{who.name}; a person has {rules.seconds} s"


def _ledger(settings: Settings) -> list[Check]:
    deleted = note_path(settings.notes_path, settings.ledger_path).exists()  # opening it says what is missing (Z4)
    if not settings.ledger_path.exists() and not deleted:
        folder = next(each for each in settings.ledger_path.absolute().parents if each.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            return [("ledger", False, f"none yet, and {folder} cannot be written; try: export X402_AGENT_HOME=/path")]
        return [("ledger", None, f"none yet; it will be {settings.ledger_path}"), *_frozen(frozen(settings, None))]
    try:
        ledger = SqliteLedger(settings.ledger_path, notes=settings.notes_path)
        problems = ledger.verify()
        open_ = len(ledger.open_payments())
        stopped = frozen(settings, ledger)
        ledger.shut()
    except PaymentError as why:
        return [("ledger", False, f"{why.what}{'; try: ' + why.hint if why.hint else ''}")]
    said = f"{problems[0]}; try: x402-agent ledger verify" if problems else f"{settings.ledger_path}, {open_} in doubt"
    return [("ledger", not problems, said), *_frozen(stopped)]


def _frozen(stopped: list[str]) -> list[Check]:
    """What a person froze: no fault, unless it is everything, since then nothing can be paid."""
    if not stopped:
        return []
    everything = any(each.startswith("everything") for each in stopped)
    return [("frozen", False if everything else None, f"{'; '.join(stopped)}; x402-agent freeze --show")]


def _slip(settings: Settings) -> list[Check]:
    """The purse that this environment pays from, if it has one."""
    if not len(settings.slip):
        return []
    try:
        with Payer(wallet=Wallet(), settings=settings) as payer:
            slip = payer.ledger.slip_of(settings.slip)
            left = left_of(payer, payer.bounds)
    except PaymentError as why:
        return [("slip", False, f"{why.what}; no payment is made from this environment")]
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(slip.expires_at))
    return [("slip", slip.state == "active", f"{slip.slip_id}, {slip.state}, {dollars(left or 0)} USD left, until {until}")]


def _clock() -> Check:
    year = time.gmtime().tm_year
    return "clock", year >= 2026, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _nodes(settings: Settings) -> list[Check]:
    """Each network's nodes: on the right chain, and what the paying account has there."""
    try:
        owner = Wallet.from_env(None, settings.wallet_path).address("eip155")
    except PaymentError:
        owner = ""
    if not settings.nodes:
        return [("node", None, "none; X402_AGENT_NODES names them: only a chain can free what is in doubt")]
    found: list[Check] = []
    for name in settings.nodes:
        where = assets.network(name)
        if where is None or where.namespace != "eip155":
            continue
        try:
            said = drive(_holdings(Node(where, settings.nodes[name]), owner))
        except PaymentError as why:
            found.append((f"node {where.name}", False, why.what))
        else:
            found.append((f"node {where.name}", True, said))
    return found


def _holdings(node: Node, owner: str) -> Steps[str]:
    """`1.2300 USDC, 0.001 of its coin, at block 123 (https://node.example)`; raises NodeError."""
    block = yield from reads.height(node)
    parts: list[str] = []
    tokens = [asset for asset in assets.assets() if asset.network is node.network] if owner else []
    for asset in tokens:
        held = yield from reads.balance(node, asset.address, owner)
        parts += [f"{Money(held, asset).text} {asset.symbol}"] if held else []
    if owner:
        parts.append(f"{coins((yield from reads.native(node, owner)))} of its coin")
    return ", ".join([*parts, f"at block {block}"]) + f" ({node.hosts})"


def _extras() -> list[Check]:
    named = {"evm": ("coincurve", "wallycore"), "sandbox": ("pyrevm", "eth"), "httpx2": ("httpx2",), "httpx": ("httpx",)}
    found = []
    for name, modules in named.items():
        have = [m for m in modules if importlib.util.find_spec(m)]
        found.append((name, True if have else None, ", ".join(have) or f"not installed: x402-agent-sdk[{name}]"))
    return found
