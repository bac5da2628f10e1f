"""`x402-agent credentials buy`, `balance` and `top-up`: what a person pays ahead, and what lies at a seller."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .. import PaymentError, PaymentInDoubt, Settings, SettingsError
from ..payer import sandboxed
from ..policy import expected
from ..secret import plain
from .common import Json, as_json, errors, looked, sandbox_payer
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Receipt
    from ..payer import Payer
    from ..payer.ahead import Balance

__all__ = ["balance", "buy", "top_up"]

_Url = Annotated[str, typer.Argument(metavar="URL", help="What will be asked for: its 402 says the price, and its seller is paid.")]
_Asked = Annotated[str, typer.Argument(metavar="URL", help="What its seller sells: its 402 says the price, and nothing is paid.")]
_Sandbox = Annotated[bool, typer.Option("--sandbox", help="In test money, of the sandbox that `sandbox up` runs.")]
_Method = Annotated[str, typer.Option("--method", "-X", help="The method of the request that asks for the price.")]


def buy(
    url: _Url,
    calls: Annotated[int, typer.Option("--calls", help="How many calls, by one payment.")],
    method: _Method = "GET",
    sandbox: _Sandbox = False,
    json: Json = False,
) -> None:
    """Buy calls at a seller for later, by one payment and within policy: a session (Lily), or a day's calls (KAMIYO).

    The URL is asked once, unpaid, for the price. What was bought serves every call there until it is used up or ended: `credentials list`.
    Exit code 5: it is paid, and not opened; the same command, or `resume`, opens it by the same payment.
    """
    with errors(json), _paying("buy", url, f"--calls {calls}", method, sandbox=sandbox) as payer:
        expected(calls, "--calls")
        _said(payer, payer.buy_ahead(url, calls=calls, method=method), json=json, sandbox=sandbox, calls=calls)


def top_up(
    url: _Url,
    amount: Annotated[str, typer.Argument(metavar="DOLLARS", help="How much to pay ahead, as 1.00.")],
    method: _Method = "GET",
    sandbox: _Sandbox = False,
    json: Json = False,
) -> None:
    """Pay dollars ahead to your account at a seller who keeps credits (Lily), within policy. Calls there then cost from it.

    By itself nothing is topped up, unless policy.toml says so of a seller: [hosts."api.example.com"] top_up = "1.00".
    Exit code 5: it is paid, and not booked; the same command, or `resume`, tells the seller of the same payment again.
    """
    with errors(json), _paying("top-up", url, shlex.quote(plain(amount)), method, sandbox=sandbox) as payer:
        _said(payer, payer.top_up(url, amount, method=method), json=json, sandbox=sandbox)


def balance(url: _Asked, method: _Method = "GET", sandbox: _Sandbox = False, json: Json = False) -> None:
    """Ask what your account has at a seller who keeps credits (Lily), and for how many calls it lasts. Nothing is paid.

    Exit code 1: it cannot be read, or is not used, and the line says why.
    """
    with errors(json), _paying("balance", url, "", method, sandbox=sandbox) as payer:
        found = payer.credits(url, method=method)
        if json:
            as_json({"account": found.account, "dollars": None if found.dollars is None else f"{found.dollars:f}",
                     "price": None if found.price is None else f"{found.price:f}", "calls": found.calls, "why": found.why, "sandbox": sandbox})  # fmt: skip
        else:
            print(_lies(found, plain(url, 200)))
    raise typer.Exit(1 if found.why else 0)


def _lies(found: Balance, url: str) -> str:
    """What lies at a seller, in a line."""
    if found.dollars is None:
        return f"what you have at {url} cannot be told: {found.why}"
    calls = "" if found.price is None else f", {found.calls} call{'' if found.calls == 1 else 's'} at {found.price:f}"
    return f"{found.dollars:f} dollars of {found.account} lie at {url}{calls}{'; ' + found.why if found.why else ''}"


@contextmanager
def _paying(verb: str, url: str, words: str, method: str, *, sandbox: bool) -> Iterator[Payer]:
    """Whose money it is. A sandbox on this machine is paid in its own alone. `words` is what else was typed. Raises SettingsError."""
    rest = " ".join(("", *([words] if words else []), *([] if method == "GET" else ["-X", shlex.quote(plain(method))])))
    if "://" not in url:
        raise SettingsError(f"{url[:200]!r} is not a URL", rule="URL", hint=f"x402-agent credentials {verb} https://{url[:200]}{rest}")
    settings = Settings.load()
    if not sandbox and sandboxed(settings, url):
        raise SettingsError("this seller is a sandbox's, which takes test money alone", rule="--sandbox", hint=f"x402-agent credentials {verb} --sandbox {url}{rest}")
    with sandbox_payer(settings) if sandbox else own_payer() as payer:
        try:
            yield payer
        except PaymentError as why:
            looked(why, url, sandbox=sandbox)
            raise


def _said(payer: Payer, receipt: Receipt, *, json: bool, sandbox: bool, calls: int | None = None) -> None:
    """Raises PaymentInDoubt for what is paid, and opens nothing yet."""
    payer.ledger.flush()
    kept = next((each for each in payer.ledger.tokens() if each.payment_id == receipt.payment_id), None)
    left = kept.uses_left if kept is not None else None
    if receipt.outcome != "spent" or not payer.ledger.payment(receipt.payment_id).delivered:
        raise PaymentInDoubt(f"{receipt.money} is paid, and opens nothing yet", rule="paid once", payment_id=receipt.payment_id,
                             hint=f"x402-agent resume {receipt.payment_id[:8]}")  # fmt: skip
    if json:
        as_json({"payment": receipt.payment_id, "outcome": receipt.outcome, "money": str(receipt.money), "transaction": receipt.transaction,
                 "credential": kept.name if kept else "", "uses_left": left, "asked": calls, "again": receipt.again, "sandbox": sandbox})  # fmt: skip
        return
    short = calls is not None and left is not None and left < calls
    how = "" if left is None else f"; {left} calls of {calls} are paid for: its seller gives no more for one payment" if short else f"; {left} calls are paid for"
    print(f"{receipt.offer.description if receipt.offer else 'bought'} for {receipt.money}{' (paid before)' if receipt.again else ''}{how}")
