"""`x402-agent receipt`, `claim` and `refund`: the evidence of one purchase, for its payer and for third parties."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from .. import ChallengeInvalid, LedgerError, Money, Settings, recovery
from ..dialects.strict import parse
from ..evidence import read, says
from ..model import CALL
from ..secret import plain
from .common import Exit, Json, account, as_json, errors, found, row, sandbox_payer, say
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from ..ledger import Payment, SqliteLedger

__all__ = ["claim", "receipt", "refund"]

FORMAT = "x402-agent evidence 1"
_MOST = 1 << 20  # bytes of an evidence file that is read


def receipt(
    what: Annotated[str, typer.Argument(help="A payment id, or a file that `receipt -o` or `claim -o` wrote.")],
    verify: Annotated[bool, typer.Option("--verify", help="Exit 1 unless a signed receipt holds.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the evidence there, for others to verify.")] = None,
    json: Json = False,
) -> None:
    """What the seller signed for one payment, and who signed it. Verified without ledger and network.

    A third party needs the file alone: `x402-agent receipt evidence.json --verify`.
    """
    with errors(json):
        document = _opened(Path(what)) if _is_file(what) else _document(*found(Settings.load(), what))
        _finish(document, output, json=json)
        if verify and not any(each["holds"] for each in _judged(document) if each["kind"] == "receipt"):
            raise SystemExit(Exit.FAILED)


def claim(
    payment: Annotated[str, typer.Argument(help="A payment id, or at least 4 characters of its start.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the claim there.")] = None,
    json: Json = False,
) -> None:
    """Bundle the evidence of a purchase that was not delivered: what was asked, promised, paid and answered.

    It holds no key, no proof and no credential. Give it to the seller, a marketplace or an arbiter.
    """
    with errors(json):
        ledger, one = found(Settings.load(), payment)
        if one.delivered:
            raise LedgerError(f"payment {one.payment_id} was delivered", rule="a claim is for what was not delivered",
                              hint=f"x402-agent receipt {one.payment_id[:8]}")  # fmt: skip
        if one.outcome == "released":
            raise LedgerError(f"nothing was paid by {one.payment_id}", rule="a claim is for money that left",
                              hint=f"x402-agent why {one.payment_id[:8]}")  # fmt: skip
        document = _document(ledger, one)
        document["claim"] = _words(one)
        _finish(document, output, json=json)


def refund(
    payment: Annotated[str, typer.Argument(help="A payment id, or at least 4 characters of its start.")],
    transaction: Annotated[str, typer.Argument(help="The transaction that brought money back, 0x and 64 hex digits.")],
    json: Json = False,
) -> None:
    """Link a transaction that brought money back to the payment that it gives back, once the chain shows it final.

    A node is needed (X402_AGENT_NODES). Refunds stand beside their payment, in `why` and in evidence; no budget grows.
    """
    with errors(json):
        settings = Settings.load()
        ledger, one = found(settings, payment)
        with sandbox_payer(settings) if ledger.sandbox else own_payer(signs=False) as payer:
            moved = recovery.refund(payer, one.payment_id, transaction)
        money = Money(moved, one.money.asset) if one.money else moved
        if json:
            as_json({"payment_id": one.payment_id, "transaction": transaction.lower(), "amount": str(moved)})
        else:
            print(f"{one.payment_id}  {money} came back of {one.money}")


def _is_file(what: str) -> bool:
    return "/" in what or "." in what or Path(what).is_file()


def _opened(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found_ = parse(file.read(_MOST + 1), limit=_MOST).fields
    except (OSError, ChallengeInvalid) as why:
        words = f"there is no file {path}" if isinstance(why, FileNotFoundError) else f"{path} cannot be read: {type(why).__name__}"
        raise LedgerError(words, rule=FORMAT, hint="x402-agent receipt ID -o evidence.json, or x402-agent claim ID -o claim.json") from None
    signed, payment = found_.get("signed"), found_.get("payment")
    good = isinstance(signed, list) and isinstance(payment, dict) and found_.get("format") == FORMAT
    entries = signed if good and isinstance(signed, list) else [None]
    if not all(isinstance(each, dict) and each.get("kind") in ("offer", "receipt") for each in entries):
        raise LedgerError(f"{path} is no evidence file", rule=FORMAT, hint="x402-agent receipt ID -o evidence.json")
    return found_


def _document(ledger: SqliteLedger, one: Payment) -> dict[str, Any]:
    facts = row(one, sandbox=ledger.sandbox)
    moves = [{"at": e.at, "from": e.from_state, "to": e.state, **e.data} for e in ledger.events(one.payment_id)]
    signed = [{"kind": kind, "artifact": json.loads(text)} for kind, text in ledger.evidence(one.payment_id)]
    back = [{**asdict(each), "amount": str(each.amount)} for each in ledger.refunds(one.payment_id)]
    return {"format": FORMAT, "payment": facts, "events": moves, "signed": signed, "refunds": back}


def _judged(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Each signed artifact with its verdict. `holds`: signed by the payee, for this URL's origin, payer and network."""
    payment = document["payment"]
    payee = str(payment.get("pay_to", ""))
    made = []
    for each in document["signed"]:
        signed = read(each.get("artifact"), each["kind"])
        words = says(signed, payee)
        other = _other(signed.payload, payment) if not signed.problem else ""
        holds = bool(payee) and signed.signer.lower() == payee.lower() and not other
        made.append({"kind": each["kind"], "signer": signed.signer, "holds": holds, "says": words + other,
                     "payload": dict(signed.payload)})  # fmt: skip
    return made


def _other(payload: Any, payment: dict[str, Any]) -> str:
    """Where signed words speak of another purchase."""
    pairs = (("resourceUrl", "url"), ("network", "network"), ("payer", "payer"), ("payTo", "pay_to"))
    for signed, ours in pairs:
        if signed not in payload:
            continue
        said, known = str(payload[signed]), str(payment.get(ours, ""))
        same = _page(said) in _pages(payment) if signed == "resourceUrl" else said.lower() == known.lower()
        if not same:
            return f"; but {signed} is not this payment's"
    return ""


def _pages(payment: dict[str, Any]) -> tuple[str, ...]:
    """How a seller may name what was bought: by its URL, and a tool also by x402's own name for it."""
    url = _page(str(payment.get("url", "")))
    return (url, f"mcp://tool/{unquote(url.rpartition('/')[2])}") if payment.get("method") == CALL else (url,)


def _page(url: str) -> str:
    return url.partition("?")[0].partition("#")[0].rstrip("/")


def _words(one: Payment) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(one.created_at))
    answer = f"the last answer was {one.status}" if one.status else "no answer came"
    return (
        f"On {when} {account(one)} authorised {one.money or one.amount} to {one.pay_to} for {one.method} {one.url}. "
        f"What was bought was not delivered: {answer}."
    )


def _finish(document: dict[str, Any], output: Path | None, *, json: bool) -> None:
    judged = _judged(document)
    if output is not None:
        _write(output, document)
    if json:
        as_json({**document, "judged": judged})
        return
    told = {name: plain(str(value)) for name, value in document["payment"].items()}  # a file may say anything
    print("  ".join(told.get(name, "?") for name in ("payment_id", "outcome", "money", "url")))
    print(plain(document["claim"], 1000) if "claim" in document else f"  paid to    {told.get('pay_to')}")
    if told.get("transaction"):
        print(f"  tx         {told['transaction']}   as the seller says")
    for each in judged:
        print(f"  {each['kind']:<10} {'holds: ' if each['holds'] else ''}{each['says']}")
    if not judged:
        print("  the seller signed neither offer nor receipt; his answers are in the events (--json)")
    if output is not None:
        say(f"written to {output}")


def _write(output: Path, document: dict[str, Any]) -> None:
    try:
        output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    except OSError as why:
        raise LedgerError(f"{output} cannot be written: {why.strerror}", rule="-o FILE", hint="-o FILE, in a folder of yours") from None
