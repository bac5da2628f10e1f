"""The verbs, gathered."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from .. import SettingsError, __version__
from . import (
    ahead,
    approve,
    budget,
    credentials,
    discover,
    doctor,
    freeze,
    get,
    invoice,
    ledger,
    log,
    mcp,
    pins,
    plan,
    policy,
    receipt,
    resume,
    sandbox,
    signer,
    slip,
    try_,
    wallet,
    wallet_account,
    wallet_approve,
    wallet_keyring,
    wallet_money,
    wallet_transactions,
    why,
)
from .common import errors
from .examples import teach

__all__ = ["app"]

app = typer.Typer(
    help="Pay for what answers 402, within a policy, and lose track of nothing.\n\n"
    "Start with: x402-agent try   (test money, nothing leaves this machine)\n\n"
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 denied by policy, 4 refused by seller, 5 in doubt, 6 nothing acceptable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"x402-agent {__version__}")
        raise typer.Exit


# What a person does to the rules or the journal: with a signer set, those are its, and an edit here would do nothing.
_ITS_OWN = frozenset({"approve", "budget", "freeze", "ledger", "pin", "pins", "policy", "slip", "unfreeze", "unpin"})


def _check_words() -> None:
    """Bytes that are no text in this locale stand in argv as surrogates: no request, file or row could be named by them."""
    for word in sys.argv[1:]:
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise SettingsError(f"{word[:80]!a} is no text in this locale", rule="the encoding of the command line",
                                hint="export LC_ALL=C.UTF-8")  # fmt: skip


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)] = False,
) -> None:
    with errors("--json" in sys.argv):
        _check_words()
    if context.invoked_subcommand in _ITS_OWN and os.environ.get("X402_AGENT_SIGNER") and not {"--help", "-h"} & set(sys.argv):
        with errors("--json" in sys.argv):
            raise SettingsError(f"with a signer set, `{context.invoked_subcommand}` is its operator's", rule="X402_AGENT_SIGNER",
                                hint=f"as the signer's own user: x402-agent {context.invoked_subcommand} …")  # fmt: skip


app.command("try", short_help="A first paid request on test money.")(try_.run)
app.command("get", short_help="Fetch a URL, and pay if policy allows.")(get.run)
app.add_typer(invoice.app, name="invoice")
app.command("plan", short_help="Price a whole job; pay on those terms.")(plan.run)
app.command("log", short_help="List payments.")(log.run)
app.command("why", short_help="One payment, move by move.")(why.run)
app.command("receipt", short_help="What a seller signed for a payment.")(receipt.receipt)
app.command("claim", short_help="Evidence of what was not delivered.")(receipt.claim)
app.command("refund", short_help="Note what came back, by the chain.")(receipt.refund)
app.command("resume", short_help="Settle what is in doubt; signs nothing new.")(resume.run)
app.command("doctor", short_help="Is this setup fine?")(doctor.run)
app.add_typer(approve.app, name="approve", short_help="Answer payments that wait for a person.")
app.command("freeze", short_help="Pay nothing new.")(freeze.freeze)
app.command("unfreeze", short_help="Pay again.")(freeze.unfreeze)
app.add_typer(budget.app, name="budget")
credentials.app.command("buy", short_help="Buy calls at a seller for later.")(ahead.buy)
credentials.app.command("balance", short_help="What your account has at a seller.")(ahead.balance)
credentials.app.command("top-up", short_help="Pay ahead to your account at a seller.")(ahead.top_up)
app.add_typer(credentials.app, name="credentials")
app.add_typer(discover.app, name="discover")
app.add_typer(ledger.app, name="ledger")
app.add_typer(policy.app, name="policy")
app.add_typer(mcp.app, name="mcp")
app.command("pins", short_help="Whose money goes where.")(pins.pins)
app.command("pin", short_help="Change a seller's recipient.")(pins.pin)
app.command("unpin", short_help="Forget a seller's recipient.")(pins.unpin)
app.add_typer(slip.app, name="slip")
wallet.app.command("approve", short_help="Let Permit2 take an exact amount.")(wallet_approve.run)
wallet.app.command("transactions", short_help="Approvals, and allowances left.")(wallet_transactions.run)
wallet.app.command("keyring", short_help="A key or passphrase in the system's keyring.")(wallet_keyring.run)
wallet.app.command("fund", short_help="Where to send money, and how much at least.")(wallet_money.fund)
wallet.app.command("sweep", short_help="Send all of a token elsewhere, by a person.")(wallet_money.sweep)
wallet.app.command("rotate", short_help="A fresh account in the place of an old one.")(wallet_account.rotate)
wallet.app.add_typer(wallet_account.app, name="account")
app.add_typer(wallet.app, name="wallet")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(signer.app, name="signer")
teach(app)
