"""`x402-agent signer`: key, policy and ledger under a user of their own, behind a socket."""

from __future__ import annotations

import json as js
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from .. import Payer, PaymentError, Policy, Settings, SettingsError, SigningFailed, WalletError
from ..policy import load
from ..secret import Env
from ..signer import Link, Service, refuse_open, refuse_unsafe
from ..wallet import KEYS, LockedSigner, file_at
from .checks import Check, failed, tell
from .common import Exit, as_json, errors, say
from .secrets import payer as own_payer

__all__ = ["app"]

SOCKET = "/run/x402-agent/signer.sock"
_UNLOCK = ("X402_AGENT_PASSPHRASE_FILE", "X402_AGENT_PASSPHRASE", "X402_AGENT_KEYRING", *KEYS.values())
_Json = Annotated[bool, typer.Option("--json", help="JSON: one document, or a line for each event of `run`.")]
_Socket = Annotated[str, typer.Option(help=f"Path of the socket; X402_AGENT_SIGNER, else {SOCKET}.")]

app = typer.Typer(
    help="A boundary that holds: key, policy and ledger under a user of their own; agents ask through a socket.\n\n"
    "As the signer's user: x402-agent signer doctor, then x402-agent signer run.\n\n"
    "As the agent's user: export X402_AGENT_SIGNER=/run/x402-agent/signer.sock, then pay as ever.",
    short_help="Key and policy under another user.",
    no_args_is_help=True,
)


@app.command("run", short_help="Serve the agents of policy.toml.")
def run(
    socket: _Socket = "",
    group: Annotated[str, typer.Option(help="Name or number of the group that may connect; else every user may try.")] = "",
    json: _Json = False,
) -> None:
    """Serve until ^C or SIGTERM. Agents are the users in [signer.agents] of policy.toml; each sees its own payments only.

    Refuses to start when others can read the key or the ledger, or write the policy or any folder on the way to them.
    """
    with errors(json):
        settings, path, gid = _own_settings(), _path(socket), _gid(group)
        for each in _checks(settings, path):
            if each.ok is False:
                raise SettingsError(each.said, rule=f"signer doctor: {each.name}", hint="x402-agent signer doctor")
        with _payer() as payer:
            agents = {_uid(user, payer.policy): name for user, name in payer.policy.signer.items()}
            payer.ledger.recover()
            _folder(path, gid)
            service = Service(payer, path, agents, gid=gid)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: service.stop())
            handler = _Lines(json=json)
            logging.getLogger("x402_agent").addHandler(handler)
            logging.getLogger("x402_agent").setLevel(logging.INFO)
            if json:
                as_json({"ready": True, "socket": str(path), "agents": {str(uid): name for uid, name in agents.items()}})
            else:
                print(f"signer   {path}, user {os.geteuid()}\npays     {', '.join(filter(None, map(payer.wallet.address, KEYS)))}")
                for uid, name in agents.items():
                    print(f"agent    {name}, user {uid}{'; the same user as the signer: no boundary' if uid == os.geteuid() else ''}")
                print("Ready! (^C to quit)")
            sys.stdout.flush()
            service.serve()


@app.command("status", short_help="Does a signer answer, and who am I to it?")
def status(socket: _Socket = "", json: _Json = False) -> None:
    """Ask the signer at the socket who we are to it and which accounts it pays from. Exit 1 when none answers."""
    with errors(json):
        try:
            link = Link(_path(socket))
            connection = link.take()
        except SigningFailed as why:
            as_json({"running": False, "what": why.what, "hint": why.hint}) if json else say(f"{why}")
            raise typer.Exit(Exit.FAILED) from None
        told, who = connection.hello, connection.service
        facts = {"running": True, "socket": str(link.path), "user": who.uid, "pid": who.pid, "agent": told.text("agent"),
                 "group": told.text("group"), "accounts": told.raw("accounts"), "networks": list(told.texts("networks", 64)),
                 "proofs": told.whole("paid", 1 << 62), "connected": told.whole("connected", 1 << 31)}  # fmt: skip
        connection.close()
    if json:
        as_json(facts)
        return
    print(f"signer   {facts['socket']}, user {who.uid}, process {who.pid}")
    print(f"you are  {facts['agent'] or 'its operator, who pays nothing through it'}{' of ' + str(facts['group']) if facts['group'] else ''}")
    print(f"pays     {', '.join(map(str, told.raw('accounts').values())) or 'from nothing: no key'} on {', '.join(told.texts('networks', 64))}")
    if who.uid == os.geteuid():
        print("boundary none: the signer runs as your own user")


@app.command("doctor", short_help="Is the signer's own setup fine?")
def doctor(socket: _Socket = "", json: _Json = False) -> None:
    """As the signer's user: check key, policy, ledger, their folders, the socket's folder and the table of agents."""
    with errors(json):
        checks = _checks(_own_settings(), _path(socket))
    tell(checks, json=json)


def _own_settings() -> Settings:
    """The service's own: it pays by itself, whatever X402_AGENT_SIGNER says to agents."""
    from dataclasses import replace

    return replace(Settings.load(), signer=None)


def _payer() -> Payer:
    os.environ.pop("X402_AGENT_SIGNER", None)
    if os.environ.get("X402_AGENT_SLIP"):
        raise SettingsError("a signer pays from no slip", rule="X402_AGENT_SLIP", hint="unset it")
    made = own_payer()
    signer = next(iter(made.wallet.signers), None)
    if signer is None or isinstance(signer, LockedSigner):
        raise WalletError("there is no key" if signer is None else "the wallet is locked", rule="a signer signs",
                          hint="x402-agent wallet new, X402_AGENT_PASSPHRASE_FILE=/path")  # fmt: skip
    return made


def _path(named: str) -> Path:
    return Path(named).absolute() if named else Settings.load().signer or Path(SOCKET)


def _gid(group: str) -> int:
    if not group:
        return -1
    import grp

    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingsError(f"there is no group {group!r}", rule="--group", hint="--group with its name, or its number") from None


def _uid(user: str, policy: Policy) -> int:
    import pwd

    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise SettingsError(f"there is no user {user!r}", rule=policy.place("signer.agents"), hint='[signer.agents] 1001 = "research"') from None


def _folder(path: Path, gid: int) -> None:
    """The socket's folder: passable for agents, writable for nobody but us."""
    try:
        path.parent.mkdir(mode=0o711, exist_ok=True)
        if path.parent.stat().st_uid == os.geteuid():
            if gid >= 0:
                os.chown(path.parent, -1, gid)
            os.chmod(path.parent, 0o710 if gid >= 0 else 0o711)
    except OSError as why:
        raise SettingsError(f"{path.parent} cannot be made ready: {why.strerror}", rule="--socket, --group",
                            hint="the signer's user is a member of the group, and may write where the socket's folder lies") from None  # fmt: skip


def _checks(settings: Settings, socket: Path) -> list[Check]:
    wallet = file_at(Env(), settings.wallet_path)
    passphrase = os.environ.get("X402_AGENT_PASSPHRASE_FILE", "")
    files = [("key", wallet, False), ("ledger", settings.ledger_path, False), ("policy", settings.policy_path, True)]
    files += [("secret", Path(passphrase), True)] if passphrase else []
    found = [_check(name, path, shared=shared) for name, path, shared in files]
    if not wallet.exists() and not any(os.environ.get(name) for name in ("X402_AGENT_KEYRING", *KEYS.values())):
        found[0] = Check("key", False, f"there is no {wallet}; try: x402-agent wallet new, as this user")
    elif wallet.exists() and not any(os.environ.get(name) for name in _UNLOCK):
        found.append(Check("secret", None, "X402_AGENT_PASSPHRASE_FILE is not set: a person must unlock the wallet at each start"))
    found.append(_check("socket", socket))
    try:
        policy = load(settings.policy_path)
        uids = {_uid(user, policy): name for user, name in policy.signer.items()}
    except PaymentError as why:
        return [*found, Check("agents", False, f"{why.what} ({why.rule})")]
    same = [name for uid, name in uids.items() if uid in (0, os.geteuid())]
    if same:
        return [*found, Check("agents", None, f"{', '.join(same)}: the signer's own user, or root; no boundary holds there")]
    said = ", ".join(f"{name} (user {uid})" for uid, name in uids.items())
    return [*found, Check("agents", True if uids else None, said or 'none; [signer.agents] 1001 = "research", or --group')]


def _check(name: str, path: Path, *, shared: bool = False) -> Check:
    """Whether others can reach this file, or put another in its way. The socket itself is for others."""
    try:
        if name != "socket":
            refuse_open(path, f"{name} file", shared=shared)
        refuse_unsafe(_existing(path.parent), str(path))
    except PaymentError as why:
        return failed(name, why)
    return Check(name, True, str(path))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that is there: what is missing we make ourselves."""
    while not folder.exists():
        folder = folder.parent
    return folder


class _Lines(logging.Handler):
    """The log as lines on standard error: for people, or as JSON."""

    def __init__(self, *, json: bool) -> None:
        super().__init__(logging.INFO)
        self.machine = json

    def emit(self, record: logging.LogRecord) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        said = record.getMessage()
        line = js.dumps({"at": at, "level": record.levelname.lower(), "said": said}) if self.machine else f"{at} {said}"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
