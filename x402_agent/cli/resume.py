"""`x402-agent resume`: settle what is in doubt, signing nothing new."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import LedgerError, Settings, SettingsError
from ..broadcast import resume
from ..ledger import IN_DOUBT
from ..recovery import Resumed
from ..transport.fetch import drive
from .common import Exit, Json, as_json, errors, found, ledgers, sandbox_payer
from .replace import replaced
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from ..replacing import Kind

__all__ = ["run"]

_LEAST = 8  # characters of a transaction's id, where it does not begin with 0x: a payment's are hex, too


def run(
    payment: Annotated[str, typer.Argument(help="A payment id or its start, or that of a transaction of yours (0x…); nothing for all that is open.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the goods of this one payment to a new file.")] = None,
    bump: Annotated[bool, typer.Option("--bump", help="A payment of yours that no block takes: the same one again, at a higher fee.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Put a transaction that moves nothing in its place.")] = False,
    max_fee: Annotated[str, typer.Option(help="With these: the most it may offer, in whole coins of its network.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="With these: nobody is asked.")] = False,
    json: Json = False,
) -> None:
    """Ask the chain, show the same proof again, broadcast the same bytes again. Signs nothing new but for --bump and --cancel.

    Goods that come this way wait in the ledger, sealed, for the next identical request; --output takes them out.

    A proof that is open is made again from the same terms, byte for byte, so the wallet must be unlocked for it.

    On Stacks a transaction with too low a fee holds its account nonce, and all that follow. Both --bump and --cancel have that very
    nonce, so of all forms one at most can settle; the hold of a cancelled payment is freed once the chain shows that as final.

    Examples: x402-agent resume · x402-agent resume 3f9a --output goods.bin · x402-agent resume 3f9a --bump --max-fee 0.02
    """
    with errors(json):
        settings = Settings.load()
        _one_payment(output, payment)
        results, waits = list[Resumed](), False
        if kind := _kind(payment, max_fee, bump=bump, cancel=cancel, yes=yes):
            results = replaced(settings, payment, kind, max_fee, yes=yes)
        elif settings.signer and not payment.startswith("0x"):
            with own_payer(signs=False) as payer:
                results, waits = payer.resume(payment or None), False
        else:
            results, waits = _settled(settings, payment, output)
        if json:
            as_json([vars(one) if hasattr(one, "__dict__") else one for one in results])
        else:
            for one in results:
                print(f"{one.payment_id}  {one.before} -> {one.after}   {one.note}{_and(one.todo)}")
            if waits:
                print("payments of a sandbox that does not run are in doubt; test money: x402-agent log --in-doubt")
            elif not results:
                print("nothing is in doubt")
    open_ = [one for one in results if one.after in IN_DOUBT]
    raise typer.Exit(Exit.IN_DOUBT if open_ else Exit.OK)


def _settled(settings: Settings, payment: str, output: Path | None) -> tuple[list[Resumed], bool]:
    """What came of everything in this user's own ledgers, and whether a sandbox that does not run has some in doubt."""
    kept = [] if settings.signer else ledgers(settings)
    opened = [(ledger.sandbox, bool(ledger.open_payments())) for ledger in kept]
    kinds = [sandbox for sandbox, _ in opened]
    own = payment.startswith("0x") or any(ledger.transaction(payment) for ledger in kept if len(payment) >= _LEAST)
    if own:
        payment, box = _transaction(settings, payment)
        kinds = [box]
    elif payment:
        kinds = [found(settings, payment)[0].sandbox]
    results, waits = list[Resumed](), False
    for sandbox in kinds:
        try:
            payer = sandbox_payer(settings) if sandbox else own_payer(signs=(False, True) in opened)
        except SettingsError:
            if payment or not sandbox:
                raise
            waits = any(ledger.payments(in_doubt=True) for ledger in kept if ledger.sandbox)
            continue
        with payer:
            results += [] if own else payer.resume(payment or None, output=output)
            if own or not payment:
                results += [Resumed(b.txid, b.state, a.state, words) for b, a, words in drive(resume(payer, payment))]
    return results, waits


def _one_payment(output: Path | None, payment: str) -> None:
    if output is not None and (not payment or payment.startswith("0x")):
        raise SettingsError("the goods of which payment?", rule="--output", hint="x402-agent resume ID --output FILE")


def _kind(payment: str, max_fee: str, *, bump: bool, cancel: bool, yes: bool) -> Kind | None:
    if (bump and cancel) or ((bump or cancel) and (not payment or payment.startswith("0x"))) or ((max_fee or yes) and not (bump or cancel)):
        raise SettingsError("which payment is to be replaced, and by what?", rule="--bump or --cancel", hint="x402-agent resume ID --bump")
    return "bump" if bump else "cancel" if cancel else None


def _and(todo: str) -> str:
    return f"\n  {todo}" if todo else ""


def _transaction(settings: Settings, prefix: str) -> tuple[str, bool]:
    """One of our own transactions by the start of its id, and whether it was the sandbox's; raises LedgerError."""
    for ledger in ledgers(settings):
        one = ledger.transaction(prefix)
        if one is not None:
            return one.txid, ledger.sandbox
    raise LedgerError(f"no transaction, or more than one, begins with {prefix[:70]}", hint="x402-agent wallet transactions")
