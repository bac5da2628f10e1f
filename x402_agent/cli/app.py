"""The verbs, gathered."""

from __future__ import annotations

import typer

from . import budget, doctor, get, log, resume, sandbox, try_, wallet, wallet_approve, wallet_transactions, why

__all__ = ["app"]

app = typer.Typer(
    help="Pay for what answers 402, within a policy, and lose track of nothing.\n\n"
    "Start with: x402-agent try   (test money, nothing leaves this machine)\n\n"
    "Exit codes: 0 ok, 2 usage, 3 denied by policy, 4 refused by seller, 5 in doubt, 6 nothing acceptable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("try")(try_.run)
app.command("get")(get.run)
app.command("log")(log.run)
app.command("why")(why.run)
app.command("resume")(resume.run)
app.command("doctor")(doctor.run)
app.add_typer(budget.app, name="budget")
wallet.app.command("approve")(wallet_approve.run)
wallet.app.command("transactions")(wallet_transactions.run)
app.add_typer(wallet.app, name="wallet")
app.add_typer(sandbox.app, name="sandbox")
