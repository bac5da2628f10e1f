"""What every verb shares: errors as exit codes, JSON for machines, and which ledgers there are."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import (
    LedgerError,
    NoAcceptableOffer,
    NodeError,
    PaymentError,
    PaymentInDoubt,
    PaymentRefused,
    PolicyDenied,
    Settings,
    SettingsError,
    WalletError,
    assets,
)
from ..payer import sandbox_payer
from ..sandbox import GROUNDS, SELLERS
from ..secret import plain
from .wallet_held import own_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ledger import Payment, SqliteLedger
    from ..model import Offer

__all__ = ["SELLER", "SOLD", "Chain", "Exit", "Json", "SellerName", "account", "as_json", "asked", "colored", "errors", "exit_code", "found", "ledgers", "link", "looked", "row", "sandbox_payer", "say"]


Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Chain = Annotated[str, typer.Option(show_default=False, help=f"The chain it stands on: {', '.join(GROUNDS)}; the first of these on which the seller sells, unless said.")]
SOLD = ", ".join(f"{name} ({', '.join(chains)})" if chains else name for name, (_, _, chains) in SELLERS.items())  # and on which chains, where not on all
SELLER = f"Whose seller: {SOLD}. `shop` is plain x402, `mcp` sells tools, `catalogue` lists what is not so."
SellerName = Annotated[str, typer.Option("--seller", help=SELLER)]
_OPTION = re.compile(r'extensions=\{"payment": \{"max": "([0-9.]+)"\}\}')  # what a program writes; here it is an option
_LOOK = "x402-agent get --dry-run "
_AWAKE = "x402-agent sandbox up, where it was the sandbox; else see whether the address is right and its server runs"


class Exit:
    """Exit codes, the same for every verb."""

    OK, FAILED, USAGE, DENIED, REFUSED, IN_DOUBT, NOTHING = 0, 1, 2, 3, 4, 5, 6


_CODES: tuple[tuple[type[PaymentError], int], ...] = (
    (SettingsError, Exit.USAGE),
    (PolicyDenied, Exit.DENIED),
    (PaymentRefused, Exit.REFUSED),
    (PaymentInDoubt, Exit.IN_DOUBT),
    (NoAcceptableOffer, Exit.NOTHING),
    (LedgerError, Exit.FAILED),
    (WalletError, Exit.FAILED),
    (NodeError, Exit.FAILED),
    (PaymentError, Exit.NOTHING),
)


def exit_code(kind: type[PaymentError]) -> int:
    """The exit code of this kind of error."""
    return next(code for each, code in _CODES if issubclass(kind, each))


def say(text: str) -> None:
    """A line for people, beside the output that programs read."""
    sys.stderr.write(text + "\n")


def as_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value) + "\n")


def _network() -> tuple[type[Exception], ...]:
    """What httpx raises, where somebody has imported it: most commands send nothing, and importing it is a third of their time."""
    httpx = sys.modules.get("httpx")
    return () if httpx is None else (httpx.HTTPError, httpx.InvalidURL)


def looked(why: PaymentError | None, url: str, *, sandbox: bool, here: bool = False) -> None:
    """Where the next step is a look at a seller's offers: by the URL that was typed, and in the same money; none for who is looking (`here`)."""
    if why is not None and why.hint.startswith(_LOOK):
        why.hint = "" if here else f"{_LOOK}{'--sandbox ' if sandbox else ''}{shlex.quote(plain(url, 2000))}"


@contextmanager
def errors(machine: bool) -> Iterator[None]:
    """A PaymentError becomes its three lines (or JSON) and its exit code; a network error becomes exit 1."""
    try:
        yield
    except PaymentError as why:
        why.hint = _OPTION.sub(r"--max \1", why.hint)
        code = exit_code(type(why))
        if machine:
            facts = {"what": why.what, "rule": why.rule, "hint": why.hint, "payment_id": why.payment_id}
            as_json({"error": type(why).__name__, **facts, "retry_safe": why.retry_safe, "exit": code})
        else:
            say(f"{type(why).__name__}: {why}")
        raise SystemExit(code) from None
    except _network() as why:
        hint = _AWAKE if type(why).__name__ == "ConnectError" else ""
        if machine:
            as_json({"error": type(why).__name__, "what": str(why), "hint": hint, "exit": Exit.FAILED})
        else:
            say(f"{type(why).__name__}: {plain(str(why))}; nothing was paid" + (f"\n  try          {hint}" if hint else ""))
        raise SystemExit(Exit.FAILED) from None
    except BrokenPipeError:
        raise  # whoever read our output has gone: nobody is left to tell
    except OSError as why:
        if why.filename is None:  # the output, most likely: `main` says so
            raise
        if machine:
            as_json({"error": type(why).__name__, "what": why.strerror, "rule": str(why.filename), "exit": Exit.FAILED})
        else:
            say(f"{type(why).__name__}: {why.strerror}\n  decided by   {why.filename}")
        raise SystemExit(Exit.FAILED) from None


def colored() -> bool:
    """Whether lines for people may have colours: a terminal that has some, and NO_COLOR is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def ledgers(settings: Settings) -> list[SqliteLedger]:
    """Yours, then the sandbox's: those that exist. With a signer set, what it tells its agent."""
    if settings.signer is not None:
        from ..signer import Desk, Link

        desk: Any = Desk(Link(settings.signer))
        return [desk]
    from ..ledger import SqliteLedger

    pairs = ((settings.ledger_path, False), (settings.sandbox_ledger, True))
    return [SqliteLedger(path, sandbox=box) for path, box in pairs if path.exists()]


def found(settings: Settings, prefix: str) -> tuple[SqliteLedger, Payment]:
    """The payment whose id begins so, in whichever ledger; raises LedgerError."""
    last = LedgerError("nothing was paid yet: there is no ledger", hint="x402-agent try")
    for ledger in ledgers(settings):
        try:
            return ledger, ledger.payment(prefix)
        except LedgerError as why:
            last = why
            ledger.shut()
    raise last


def link(payment: Payment, *, sandbox: bool) -> str:
    """The explorer's page of the transaction that the answer named, or "": the sandbox's chain is in no explorer."""
    return "" if sandbox or payment.money is None else payment.money.asset.network.link(payment.transaction)


def asked(offer: Offer | None) -> str:
    """What an offer asks, for people: `at most` where it may take less."""
    return "" if offer is None else f"{'at most ' if offer.scheme == 'upto' else ''}{offer.money}"


def account(payment: Payment) -> str:
    """Whose money it was, as its network writes that."""
    where = assets.network(payment.network)
    return own_address(payment.payer, where) if where else payment.payer


def row(payment: Payment, *, sandbox: bool) -> dict[str, Any]:
    """A payment as stable JSON: amounts as text in atomic units, no secret in it."""
    facts = asdict(payment)
    facts.pop("money")
    facts["amount"] = str(payment.amount)
    facts["gas"] = str(payment.gas)
    facts["payer"] = account(payment)
    for name in ("charged", "gas_paid"):
        facts[name] = None if facts[name] is None else str(facts[name])
    facts["money"] = str(payment.money) if payment.money else ""
    return {**facts, "explorer": link(payment, sandbox=sandbox), "sandbox": sandbox}
