"""`x402-agent doctor`: is this setup fine."""

from __future__ import annotations

import importlib.util
import os
import time
from typing import TYPE_CHECKING

from .. import Payer, PaymentError, Settings, Wallet
from ..approvals import approver, waiting
from ..ledger import SqliteLedger, note_path
from ..policy import dollars
from ..secret import Env
from ..signer import Link
from ..tasks import left as left_of
from ..wallet import KEYS
from .checks import Check, failed, tell
from .common import Json, errors
from .doctor_chains import families, nodes
from .freeze import frozen

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["run"]


def run(json: Json = False) -> None:
    """Check key, policy, approvals, ledger, lock, clock, extras; what each family of chains lacks; every node, with balances.

    A line that begins with FAIL stops payments (exit code 1), one with - is missing and not everybody's need; each says what to type.
    A node is asked for its chain and its newest block: one on another chain, one that stands still and one behind the others is
    named. `x402-agent doctor --json` has addresses, networks, nodes and balances as fields.
    """
    with errors(json):
        settings = Settings.load()
        if settings.signer is None:
            checks = [_key(settings), _policy(settings), _approval(settings), _sellers(settings), *_ledger(settings), *_slip(settings), _clock(),
                      *_chains(settings)]  # fmt: skip
        else:
            checks = [_signer(settings.signer), _sellers(settings), _clock()]
        checks += _extras()
    tell(checks, json=json)


def _chains(settings: Settings) -> list[Check]:
    """Families, then nodes; without rules that can be read nobody knows where anything would be paid."""
    try:
        policy = settings.policy()
    except PaymentError:
        return nodes(settings)
    return [*families(settings, policy), *nodes(settings)]


def _signer(path: Path) -> Check:
    """Whether the service answers that keeps key, policy and ledger, and whom it takes us for."""
    try:
        link = Link(path)
        told = link.take()
    except PaymentError as why:
        return failed("signer", why)
    same = "; it runs as this very user: no boundary" if told.service.uid == os.getuid() else ""
    told.close()
    return Check("signer", True, f"{path}, user {told.service.uid}; we are {told.hello.text('agent') or 'its operator'}{same}")


def _key(settings: Settings) -> Check:
    try:
        wallet = Wallet.from_env(None, settings.wallet_path)
    except PaymentError as why:
        return failed("key", why)
    address = wallet.address("eip155") or wallet.account
    if not address:
        return Check("key", None, f"none; x402-agent wallet new, or export one of {', '.join(KEYS.values())}")
    kind = type(wallet.signers[0]).__name__
    where = "; the wallet file is readable and locked: no passphrase in the environment" if kind == "LockedSigner" else ""
    return Check("key", True, f"pays from {address}{where}")


def _policy(settings: Settings) -> Check:
    try:
        policy = settings.policy()
    except PaymentError as why:
        return Check("policy", False, f"{why.what} ({why.rule})")
    where = settings.policy_path if settings.policy_path.exists() else policy.source
    return Check("policy", True, f"{where}; pays on {', '.join(policy.networks)}")


def _approval(settings: Settings) -> Check:
    """Whether somebody can be asked where a rule wants a person's yes."""
    if settings.signer is not None:
        return Check("approval", None, "the signer asks, where it runs")
    try:
        rules = settings.policy().approval
        who = approver(rules, None, settings.approvals, Env())
        if rules.how == "file":
            waiting(settings.approvals, time.time())
    except PaymentError as why:
        return failed("approval", why)
    if who is None:
        return Check("approval", None, "whoever the program brings (approve=), or the terminal of `get`; else what needs a yes is refused")
    return Check("approval", True, f"{who.name}; a person has {rules.seconds} s")


def _sellers(settings: Settings) -> Check:
    """Of whom settings.toml tells what a 402 does not say."""
    where = Env().get("X402_AGENT_SETTINGS") or settings.sellers_path
    if lacking := [said["key_env"] for own in settings.dialects.values() for said in own.values() if "key_env" in said]:
        return Check("sellers", False, f"{where} names {', '.join(lacking)}, which the environment has not; try: export {lacking[0]}=…")
    named = [f"{origin} ({name})" for name, own in settings.dialects.items() for origin in own]
    return Check("sellers", True if named else None, f"{where} tells of {', '.join(named) or 'nobody; x402Pay and Lily need a line there'}")


def _ledger(settings: Settings) -> list[Check]:
    deleted = note_path(settings.notes_path, settings.ledger_path).exists()  # opening it says what is missing (Z4)
    if not settings.ledger_path.exists() and not deleted:
        folder = next(each for each in settings.ledger_path.absolute().parents if each.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            return [Check("ledger", False, f"none yet, and {folder} cannot be written; try: export X402_AGENT_HOME=/path")]
        return [Check("ledger", None, f"none yet; it will be {settings.ledger_path}"), *_frozen(frozen(settings, None))]
    try:
        ledger = SqliteLedger(settings.ledger_path, notes=settings.notes_path)
        problems = ledger.verify()
        open_ = len(ledger.open_payments())
        stopped = frozen(settings, ledger)
        ledger.shut()
    except PaymentError as why:
        return [failed("ledger", why)]
    said = f"{problems[0]}; try: x402-agent ledger verify" if problems else f"{settings.ledger_path}, {open_} in doubt"
    return [Check("ledger", not problems, said), *_frozen(stopped)]


def _frozen(stopped: list[str]) -> list[Check]:
    """What a person froze: no fault, unless it is everything, since then nothing can be paid."""
    if not stopped:
        return []
    everything = any(each.startswith("everything") for each in stopped)
    return [Check("frozen", False if everything else None, f"{'; '.join(stopped)}; x402-agent freeze --show")]


def _slip(settings: Settings) -> list[Check]:
    """The purse that this environment pays from, if it has one."""
    if not len(settings.slip):
        return []
    try:
        with Payer(wallet=Wallet(), settings=settings) as payer:
            slip = payer.ledger.slip_of(settings.slip)
            left = left_of(payer, payer.bounds)
    except PaymentError as why:
        return [Check("slip", False, f"{why.what}; no payment is made from this environment")]
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(slip.expires_at))
    return [Check("slip", slip.state == "active", f"{slip.slip_id}, {slip.state}, {dollars(left or 0)} USD left, until {until}")]


def _clock() -> Check:
    year = time.gmtime().tm_year
    return Check("clock", year >= 2026, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def _extras() -> list[Check]:
    named = {"evm": ("coincurve", "wallycore"), "solana": ("solders",), "sandbox": ("pyrevm", "eth"),
             "httpx2": ("httpx2",), "httpx": ("httpx",)}  # fmt: skip
    found = []
    for name, modules in named.items():
        have = [m for m in modules if importlib.util.find_spec(m)]
        found.append(Check(name, True if have else None, ", ".join(have) or f"not installed: x402-agent-sdk[{name}]"))
    return found
