"""`x402-agent doctor`: is this setup fine."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Annotated

import typer

from .. import PaymentError, Settings, Wallet
from ..ledger import SqliteLedger
from ..policy import load
from .common import Exit, as_json, errors

__all__ = ["run"]


def run(json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Check key, policy, ledger, lock, clock, extras and HTTP libraries."""
    with errors(json):
        settings = Settings.load()
        checks = [_key(settings), _policy(settings), _ledger(settings), _clock(), *_extras()]
    if json:
        as_json([{"check": name, "ok": ok, "said": said} for name, ok, said in checks])
    else:
        for name, ok, said in checks:
            mark = "ok  " if ok else "FAIL" if ok is False else "-   "
            color = sys.stdout.isatty()
            shade = "\x1b[32m" if ok else "\x1b[31m" if ok is False else "\x1b[2m"
            print(f"{shade if color else ''}{mark}{chr(27) + '[0m' if color else ''}  {name:10} {said}")
    raise typer.Exit(Exit.FAILED if any(ok is False for _, ok, _ in checks) else Exit.OK)


Check = tuple[str, bool | None, str]


def _key(settings: Settings) -> Check:
    try:
        wallet = Wallet.from_env(None, settings.wallet_path)
    except PaymentError as why:
        return "key", False, f"{why.what}{'; try ' + why.hint if why.hint else ''}"
    address = wallet.address("eip155")
    if not address:
        return "key", None, "none; x402-agent wallet new, or export X402_AGENT_EVM_KEY=0x…"
    kind = type(wallet.signer("eip155")).__name__
    where = "; the wallet file is readable and locked: no passphrase in the environment" if kind == "LockedSigner" else ""
    return "key", True, f"pays from {address}{where}"


def _policy(settings: Settings) -> Check:
    try:
        policy = load(settings.policy_path)
    except PaymentError as why:
        return "policy", False, f"{why.what} ({why.rule})"
    return "policy", True, f"{settings.policy_path if settings.policy_path.exists() else policy.source}"


def _ledger(settings: Settings) -> Check:
    if not settings.ledger_path.exists():
        return "ledger", None, f"none yet; it will be {settings.ledger_path}"
    try:
        ledger = SqliteLedger(settings.ledger_path, notes=settings.notes_path)
        problems = ledger.verify()
        open_ = len(ledger.open_payments())
        ledger.shut()
    except PaymentError as why:
        return "ledger", False, why.what
    return "ledger", not problems, problems[0] if problems else f"{settings.ledger_path}, {open_} in doubt"


def _clock() -> Check:
    year = time.gmtime().tm_year
    return "clock", year >= 2026, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _extras() -> list[Check]:
    named = {"evm": ("coincurve", "wallycore"), "sandbox": ("pyrevm", "eth"), "httpx2": ("httpx2",), "httpx": ("httpx",)}
    found = []
    for name, modules in named.items():
        have = [m for m in modules if importlib.util.find_spec(m)]
        found.append((name, True if have else None, ", ".join(have) or f"not installed: x402-agent-sdk[{name}]"))
    return found
