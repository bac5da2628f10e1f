"""`x402-agent plan`: what a whole job costs, before any of it is paid; and the job itself on those terms."""

from __future__ import annotations

import json as jsons
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import BudgetExceeded, PaymentError, PaymentInDoubt, PaymentRefused, PolicyDenied, Settings, SettingsError
from ..policy import dollars, micros
from ..secret import plain
from .common import Exit, Json, as_json, asked, errors, sandbox_payer, say
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from .. import Plan
    from ..payer.plan import Done, Row

__all__ = ["run"]

_WORST = (Exit.IN_DOUBT, Exit.REFUSED, Exit.DENIED, Exit.NOTHING, Exit.FAILED, Exit.OK)
_CODES = {"spent": Exit.OK, "in_doubt": Exit.IN_DOUBT, "refused": Exit.IN_DOUBT, "released": Exit.REFUSED}
_KEYS = frozenset({"method", "url", "headers", "body"})


def run(
    file: Annotated[str, typer.Argument(help="A URL on each line, or JSON: {method, url, headers, body}; - is stdin.")],
    pay: Annotated[Path | None, typer.Option("--run", help="Pay, and write each answer to a new file in this folder.")] = None,
    maximum: Annotated[str, typer.Option("--max", help="Run nothing that costs more than this in all, in dollars.")] = "",
    partly: Annotated[bool, typer.Option("--partly", help="Run though a limit leaves too little for all of it.")] = False,
    workers: Annotated[int, typer.Option(help="So many requests at a time.")] = 8,
    deadline: Annotated[float | None, typer.Option(help="Send nothing new after so many seconds of the run.")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Pay the sandbox that `sandbox up` runs.")] = False,
    json: Json = False,
) -> None:
    """Price every request of a file by sending it once without money; with --run pay for them on exactly these terms.

    A seller who asks other terms by then is refused. Lines that begin with # are left out. Mind what is free: such a
    request is really made, once for the price and once for the answer.

    The exit code is the worst of all rows: 0 all can be had (with --run: were), 1 a request failed, 3 denied by policy,
    5 in doubt, 6 nothing acceptable.
    """
    with errors(json):
        wanted, most = _read(file), micros(maximum, "--max") if maximum else None
        _check(pay, len(wanted))
        with sandbox_payer(Settings.load()) if sandbox else own_payer(signs=pay is not None) as payer:
            plan = payer.plan(wanted, workers=workers)
            short = plan.short()
            if pay is None:
                raise typer.Exit(_shown(plan, short, json))
            if most is not None and plan.micros > most:
                raise BudgetExceeded(f"the plan takes {plan.total} USD", rule=f"--max {dollars(most)}", hint=f"--max {plan.total}")
            if not json:
                _table(plan, short)
            done = plan.run(workers=workers, deadline=deadline, partly=partly, each=lambda one: _write(pay, one))
            code = _ended(plan, done, pay, json)
    raise typer.Exit(code)


def _read(file: str) -> list[Any]:
    """Requests of a file of lines; raises SettingsError with the line."""
    import httpx

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except UnicodeDecodeError:
        raise SettingsError("a plan is text in UTF-8", rule=file, hint="save it as UTF-8") from None
    found: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        row = line.strip()
        if not row or row.startswith("#"):
            continue
        try:
            told = jsons.loads(row) if row.startswith("{") else {"url": row}
            good = _KEYS.issuperset(told) and all(isinstance(told.get(key, ""), str) for key in ("method", "url", "body"))
            if not good or "://" not in told["url"] or not isinstance(told.get("headers", {}), dict):
                raise ValueError
            body = told.get("body", "").encode()
            found.append(httpx.Request(told.get("method", "POST" if body else "GET"), told["url"], headers=told.get("headers"), content=body or None))
        except (ValueError, KeyError, TypeError, RecursionError, httpx.InvalidURL):
            raise SettingsError("no URL, and no request in JSON", rule=f"{file}:{number}",
                                hint='https://api.example.com/x, or {"method": "POST", "url": "https://…", "headers": {}, "body": "…"}') from None  # fmt: skip
    if not found:
        raise SettingsError("there is no request in it", rule=file, hint="a URL on each line")
    return found


def _check(folder: Path | None, count: int) -> None:
    """The folder is there and none of its files is in the way: before anything is paid."""
    if folder is None:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if there := [name for name in map(_name, range(count)) if (folder / name).exists()]:
        raise SettingsError(f"{folder / there[0]} exists and is never overwritten", rule="--run", hint="another folder")


def _name(number: int) -> str:
    return f"{number + 1:04}"


def _table(plan: Plan, short: list[BudgetExceeded]) -> None:
    for row in plan.rows:
        said = asked(row.offer) if row.offer else "free" if row.free else "-"
        cost = "" if row.offer is None else f"{'?' if row.cost is None else dollars(row.cost)} USD"
        say(f"  {_name(row.number)}  {said:<32}  {cost:>12}  {row.method} {plain(row.url, 200)}")
        if row.error is not None:
            say(f"        {_first(row.error)}")
    for each in short:
        say(f"  too little: {each}")
    say(f"in all {plan.total} USD")


def _first(error: Exception) -> str:
    text = error.what if isinstance(error, PaymentError) else str(error)
    return f"{type(error).__name__}: {plain(text.splitlines()[0] if text else '', 300)}"


def _facts(row: Row) -> dict[str, Any]:
    offer, cost = row.offer, row.cost
    return {
        "method": row.method, "url": row.url, "free": row.free, "error": _error(row.error),
        "offer": None if offer is None else {
            "digest": offer.digest, "amount": str(offer.amount), "money": str(offer.money), "asset": offer.asset.id,
            "network": offer.network.id, "pay_to": offer.pay_to, "scheme": offer.scheme, "cost_usd": None if cost is None else dollars(cost),
        },
    }  # fmt: skip


def _error(error: Exception | None) -> dict[str, str] | None:
    if error is None:
        return None
    if not isinstance(error, PaymentError):
        return {"error": type(error).__name__, "what": str(error), "rule": "", "hint": ""}
    return {"error": type(error).__name__, "what": error.what, "rule": error.rule, "hint": error.hint}


def _shown(plan: Plan, short: list[BudgetExceeded], json: bool) -> int:
    codes = {_code(row.error) for row in plan.rows} | ({Exit.DENIED} if short else set())
    code = next(each for each in _WORST if each in codes or each == Exit.OK)
    if json:
        as_json({"rows": [_facts(row) for row in plan.rows], "total_usd": plan.total, "short": [_error(each) for each in short],
                 "signed": False, "exit": code})  # fmt: skip
    else:
        _table(plan, short)
        say("nothing was signed")
    return code


def _code(error: Exception | None) -> int:
    if error is None:
        return Exit.OK
    kinds = ((PaymentInDoubt, Exit.IN_DOUBT), (PolicyDenied, Exit.DENIED), (PaymentRefused, Exit.REFUSED), (PaymentError, Exit.NOTHING))
    return next((code for kind, code in kinds if isinstance(error, kind)), Exit.FAILED)


def _ended(plan: Plan, done: list[Done], folder: Path, json: bool) -> int:
    rows, codes = [], set()
    for one in done:
        name = _name(one.row.number)
        path = folder / name
        codes.add(_answered(one))
        rows.append({**_facts(one.row), **_outcome(one), "file": "" if one.response is None else str(path)})
        if not json:
            say(f"  {name}  {rows[-1]['outcome'] or '-':<9}  {rows[-1]['status'] or '---'}  {_first(one.error) if one.error else path}")
    code = next(each for each in _WORST if each in codes)
    if json:
        as_json({"rows": rows, "total_usd": plan.total, "exit": code})
    return code


def _write(folder: Path, one: Done) -> None:
    """An answer goes to its file as it comes, so that what was paid for is not lost with this process."""
    if one.response is not None:
        with open(os.open(folder / _name(one.row.number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(one.response.content)


def _answered(one: Done) -> int:
    if one.response is None:
        return _code(one.error)
    if one.receipt is not None and one.receipt.outcome is not None and (code := _CODES[one.receipt.outcome]):
        return code
    return Exit.FAILED if one.response.status_code >= 400 else Exit.OK


def _outcome(one: Done) -> dict[str, Any]:
    receipt = one.receipt
    return {
        "status": 0 if one.response is None else one.response.status_code, "outcome": "" if receipt is None else receipt.outcome or "",
        "payment_id": getattr(one.error, "payment_id", "") if receipt is None else receipt.payment_id, "error": _error(one.error),
    }  # fmt: skip
