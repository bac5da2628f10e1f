"""Passphrases at a terminal, and a process that leaves no core dump."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import Payer, Settings, WalletError
from ..approvals import Terminal
from ..secret import Env, Secret
from ..wallet import passphrase as from_env

__all__ = ["ask", "can_ask", "new_passphrase", "no_dumps", "passphrase_of", "payer", "prompt"]

_HINT = "X402_AGENT_PASSPHRASE_FILE=/path, or run the command in a terminal"


def no_dumps() -> None:
    """No core file of this process, nor its memory piped to a crash collector (Z11): called before a key is in it."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        # A core_pattern that is a pipe ignores the limit (core(5)); PR_SET_DUMPABLE does not, and it also keeps other
        # processes of this user from attaching and from reading /proc/PID/environ.
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def can_ask() -> bool:
    """Whether a person is there: standard error is a terminal, and the controlling terminal can be opened."""
    if not sys.stderr.isatty():
        return False
    if sys.platform == "win32":
        return sys.stdin.isatty()
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask(question: str, *, hint: str = _HINT) -> Secret:
    """One line that is not shown while it is typed; raises WalletError when nobody can be asked, or nothing is typed."""
    if not can_ask():
        raise WalletError(
            "a passphrase is needed and there is no terminal to ask at", rule="never wait for nobody", hint=hint
        )
    import getpass

    try:
        typed = Secret(getpass.getpass(question))
    except EOFError:
        typed = Secret()
    if not len(typed):
        raise WalletError("nothing was typed", rule="an empty line", hint=hint)
    return typed


def prompt(path: Path) -> str:
    """The passphrase of a wallet file, typed by a person: for `Payer.from_env(unlock=prompt)`."""
    return ask(f"Passphrase of {path}: ").text


def passphrase_of(path: Path) -> Secret:
    """What the environment says, else what a person types; raises WalletError."""
    return from_env(Env()) or ask(f"Passphrase of {path}: ")


def new_passphrase(path: Path) -> Secret:
    """The same for a file that is about to be made: typed twice. Raises WalletError when the two differ."""
    given = from_env(Env())
    if given is not None:
        return given
    first = ask(f"New passphrase for {path}: ")
    if first.raw != ask("The same again: ").raw:
        raise WalletError("the two are not the same", rule="typed twice", hint="again")
    return first


def payer(*, signs: bool = True) -> Payer:
    """The payer of this environment; a person is asked for the wallet's passphrase when something may be signed."""
    no_dumps()
    asks = signs and can_ask()
    here = asks and Settings.load().signer is None  # a signer asks where it runs
    return Payer.from_env(unlock=prompt if asks else None, approve=Terminal() if here else None)
