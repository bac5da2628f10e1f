"""`x402-agent credentials`: what was bought and still opens doors. Never what it sends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import LedgerError, PolicyDenied, Settings, SettingsError
from ..payer.ahead import revoked
from ..secret import plain
from .common import Json, as_json, errors, ledgers, sandbox_payer
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from ..ledger import Payment, SqliteLedger, Token

__all__ = ["app", "bought_by", "told_left", "told_until"]

app = typer.Typer(
    help="Tokens, sessions and credits that payments bought: where they are shown, how often and until when. They lie in\n"
    "the ledger, sealed with the wallet's key; no command shows what they send.",
    short_help="Tokens, sessions and credits that were bought.",
    no_args_is_help=True,
)
_Which = Annotated[str, typer.Argument(metavar="ID", help="The credential's id, or how it begins, as `credentials list` shows it.")]


@app.command("list", short_help="Those that still open a door.")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are used up or expired, too.")] = False, json: Json = False
) -> None:
    """List credentials: id, where they are shown, what is left, until when, and the payment that bought each."""
    with errors(json):
        found = [(ledger, one) for ledger in ledgers(Settings.load()) for one in ledger.tokens()]
        found = [each for each in found if every or each[1].lives(each[0].clock())]
        if json:
            as_json([_row(*each) for each in found])
            return
        for each in found:
            print(_line(*each))
        if not found:
            print("no credential is kept" if every else "no credential opens a door; `--all` shows those that are over")


@app.command("show", short_help="One credential and its payment.")
def show(credential: _Which, json: Json = False) -> None:
    """Show one credential: also when it was bought and last used, by which dialect, and whose key seals it."""
    with errors(json):
        ledger, one = _found(credential)
        bought = _payment(ledger, one)
        if json:
            as_json({**_row(ledger, one), "money": str(bought.money or "") if bought else ""})
            return
        print(_line(ledger, one))
        cost = f"  for {bought.money}, {bought.outcome}" if bought else ""
        print(f"  bought      {_time(one.created_at)}{cost}")
        print(f"  last used   {_time(one.last_used_at) if one.last_used_at else 'not counted' if one.uses_left is None else 'never'}")
        print(f"  sealed for  {one.account or 'the signer, or this ledger alone: the key lies elsewhere'}")
        print(f"  read by     {one.dialect}")


@app.command("renew", short_help="Get it again: by the same payment, or a new one.")
def renew(
    credential: _Which,
    give_up: Annotated[bool, typer.Option("--give-up", help="Also while calls that were paid for are left: they are lost.")] = False,
    json: Json = False,
) -> None:
    """Get a credential again. Only a person does this: nothing is topped up by itself but by a rule of policy (top_up).

    While the payment that bought it still stands for it (not delivered, or in doubt), the same proof is shown again and
    nothing new is signed. Else the credential is forgotten, and the next request there buys a new one, under your limits.
    """
    with errors(json):
        ledger, one = _found(credential)
        stands = _stands(ledger, one)
        if stands:
            with sandbox_payer(Settings.load()) if ledger.sandbox else own_payer() as payer:
                words = "; ".join(each.note for each in payer.resume(one.payment_id))
        else:
            if one.uses_left and (one.expires is None or ledger.clock() < one.expires) and not give_up:
                raise PolicyDenied(f"{'it opens' if one.uses_left > 0 else 'it is'} {told_left(one)}, {told_until(one)}, and that is paid for", rule="what is paid for is used first",
                                   hint=f"x402-agent credentials renew {one.name[:8]} --give-up")  # fmt: skip
            ledger.forget_token(one.name)
            bought = _payment(ledger, one)
            last = f" (the last one cost {bought.money})" if bought and bought.money else ""
            buys = "buys a new one" if one.path != "/" else "pays anew, unless something else that you bought opens it"
            words = f"forgotten; the next request to {plain(one.origin + one.path)} {buys}, under your limits{last}"
        _said(ledger, one, words, json=json, forgotten=not stands)


@app.command("revoke", short_help="Forget it, here and in every process.")
def revoke(credential: _Which, json: Json = False) -> None:
    """Forget a credential: no process of yours shows it again. A seller who keeps sessions in a table is told; others are not, and
    nothing is refunded."""  # fmt: skip
    with errors(json):
        ledger, one = _found(credential)
        still = f"whoever has its value can still use it at {plain(one.origin)}: {told_left(one)}, {told_until(one)}"
        told = ""
        if one.dialect == "lily":
            told = _revoked(ledger, one)
        ledger.forget_token(one.name)
        words = f"forgotten; {told or still}" if one.lives(ledger.clock()) else "forgotten; it was over"
        _said(ledger, one, words, json=json, forgotten=True)


def _revoked(ledger: SqliteLedger, one: Token) -> str:
    """What came of telling its seller; a sandbox that is gone hears nothing."""
    try:
        opened = sandbox_payer(Settings.load()) if ledger.sandbox else own_payer()
    except SettingsError:
        if not ledger.sandbox:
            raise
        return "its sandbox does not run any more"
    with opened as payer:
        return revoked(payer, one)


def _found(prefix: str) -> tuple[SqliteLedger, Token]:
    last = LedgerError("no credential is kept: there is no ledger", hint="x402-agent try")
    for ledger in ledgers(Settings.load()):
        try:
            return ledger, ledger.token(prefix)
        except LedgerError as why:
            last = why
    raise last


def _stands(ledger: SqliteLedger, one: Token) -> bool:
    """Whether the payment that bought it is open; with a signer set its desk tells fields."""
    found: list[Any] = list(ledger.open_payments())
    return one.payment_id in (each.text("payment_id") if hasattr(each, "text") else each.payment_id for each in found)


def _payment(ledger: SqliteLedger, one: Token) -> Payment | None:
    try:
        return ledger.payment(one.payment_id)
    except LedgerError:
        return None


def _said(ledger: SqliteLedger, one: Token, words: str, *, json: bool, forgotten: bool) -> None:
    if json:
        as_json({**_row(ledger, one), "forgotten": forgotten, "note": words})
    else:
        print(f"{one.name[:8]}  {words}")


def _time(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def told_left(one: Token) -> str:
    """How many more times it opens, in words."""
    if one.uses_left is not None and one.uses_left < 0:
        return f"refused with {-one.uses_left} paid calls left"
    return "as often as you like" if one.uses_left is None else f"{one.uses_left} more time{'' if one.uses_left == 1 else 's'}"


def told_until(one: Token) -> str:
    """Until when."""
    return "without end" if one.expires is None else f"until {_time(one.expires)}"


def _state(ledger: SqliteLedger, one: Token) -> str:
    return "live" if one.lives(ledger.clock()) else "used up" if one.uses_left == 0 else "refused" if (one.uses_left or 0) < 0 else "expired"


def bought_by(ledger: SqliteLedger, payment_id: str) -> list[Token]:
    """What a payment bought for later requests, as far as it is kept."""
    return [each for each in ledger.tokens() if each.payment_id == payment_id]


def _line(ledger: SqliteLedger, one: Token) -> str:
    tail = f"  {one.in_use} in use" if one.in_use else ""
    bought = _payment(ledger, one)
    tail += f"  payment {one.payment_id[:8]}" if one.payment_id else ""
    tail += f": {plain(bought.description, 80)}" if bought and bought.description else ""
    where = plain(one.origin + one.path)
    return f"{one.name[:8]}  {_state(ledger, one):<7}  {where}  {told_left(one)}  {told_until(one)}{tail}{'  (sandbox)' if ledger.sandbox else ''}"


def _row(ledger: SqliteLedger, one: Token) -> dict[str, Any]:
    return {
        "id": one.name, "state": _state(ledger, one), "origin": one.origin, "path": one.path, "uses_left": one.uses_left,
        "in_use": one.in_use, "expires_at": one.expires, "payment_id": one.payment_id, "dialect": one.dialect,
        "account": one.account, "created_at": one.created_at, "last_used_at": one.last_used_at, "sandbox": ledger.sandbox,
    }  # fmt: skip
