"""`x402-agent get`: curl that pays."""

from __future__ import annotations

import base64
import codecs
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import NoAcceptableOffer, Payer, PaymentError, Settings, SettingsError
from ..model import Credential
from ..payer import sandboxed
from ..payer.quoting import HELD
from ..policy import expected, micros
from ..recovery import delivered
from ..secret import plain
from ..steps import Look, Progress, Return, Use
from ..vault.credentials import covers
from .catalogued import place
from .common import Exit, as_json, asked, errors, ledgers, looked, sandbox_payer, say
from .credentials import told_left
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .. import Offer, Quote, Receipt
    from ..ledger import Token

__all__ = ["run"]

_MOST = 32 << 20  # bytes of a body in one JSON document; without --json there is no limit
_ELSEWHERE = ("X402_AGENT_NETWORKS", "settings.toml")  # what a hint says of who forgot --sandbox
_CODES = {"spent": Exit.OK, "in_doubt": Exit.IN_DOUBT, "refused": Exit.IN_DOUBT, "released": Exit.REFUSED}


def run(
    url: Annotated[str, typer.Argument(help="What to fetch: a URL, or the ID of a service as `discover search` shows it.")],
    method: Annotated[str, typer.Option("-X", "--request", help="The method; POST when -d is given.")] = "",
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="'Name: value', repeatable.")] = None,
    data: Annotated[str | None, typer.Option("-d", "--data", help="The body; @file reads a file.")] = None,
    maximum: Annotated[str, typer.Option("--max", help="Pay at most this much, in dollars. It only lowers.")] = "",
    key: Annotated[str, typer.Option(help="Your own key of this purchase: the same key never buys twice.")] = "",
    again: Annotated[
        bool | None,
        typer.Option("--again/--no-again", help="Buy anew under a used key; or never buy what this request bought before."),
    ] = None,
    expect_calls: Annotated[int | None, typer.Option(help="How often this seller will be asked: calls may be cheaper in advance.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show offers and decision; sign nothing.")] = False,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Pay the sandbox that `sandbox up` runs.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write what comes to this new file, 0600, whole or not at all.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="--output may take the place of a file.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each read.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON document: status, headers, body, payment.")] = False,
) -> None:
    """Fetch a URL and pay for it if policy allows. The body goes to stdout, the payment to stderr.

    A terminal is shown the body's control characters as escapes; a file or pipe gets every byte as it came.
    With --output the payment counts as delivered once the file is durable; until then the same command, or `x402-agent resume`,
    shows the same proof again and writes it. An answer other than 2xx makes no file.
    """
    with errors(json):
        options: dict[str, Any] = {"headers": _headers(header), "content": _body(data), "timeout": timeout}
        known = None if "://" in url else place(url)
        url, usual = (known.url, known.method) if known else (url, "POST" if data is not None else "GET")
        verb = method or usual
        if not 0 < timeout <= 86_400:
            raise SettingsError("a timeout is above 0 and at most a day", rule="--timeout", hint="--timeout 60")
        if "://" not in url:
            whole = "--sandbox URL, as `x402-agent sandbox up` prints it" if sandbox else f"https://{url}"
            raise SettingsError(f"{url!r} is not a URL", rule="URL", hint=f"x402-agent get {whole}")
        if maximum:
            micros(maximum, "--max")
        if expect_calls is not None:
            options["extensions"] = {"payment": {"expect_calls": expected(expect_calls, "--expect-calls")}}
        with _hinted(url, sandbox, dry_run), sandbox_payer(Settings.load()) if sandbox else own_payer(signs=not dry_run) as payer:
            if dry_run:
                quote = payer.quote(url, method=verb, **options)
                _forgotten(quote.reason, url, sandbox)
                looked(quote.reason, url, sandbox=sandbox, here=True)
                code = _quote(quote, payer, json, _opens(url, sandbox) if quote.status == 402 else None)
            else:
                listed = known.listed if known else ""
                asked = {"max": maximum or None, "key": key or None, "again": again, "expect_calls": expect_calls, "listed": listed or None}
                payment = {name: value for name, value in asked.items() if value is not None}
                options["extensions"] = {"payment": payment}
                payer.trace = told = _Told(aloud=not json)
                if output:
                    code = _save(payer, verb, url, options, output, told, json=json, overwrite=overwrite)
                else:
                    code = _fetch(payer, verb, url, options, told, json)
    raise typer.Exit(code)


@contextmanager
def _hinted(url: str, sandbox: bool, here: bool) -> Iterator[None]:
    """For a payment: what `_forgotten` and `looked` say."""
    try:
        yield
    except PaymentError as why:
        _forgotten(why, url, sandbox)
        looked(why, url, sandbox=sandbox, here=here)
        raise


def _forgotten(why: Exception | None, url: str, sandbox: bool) -> None:
    """Who forgets --sandbox is told so, and not to pay in test money of his own."""
    if isinstance(why, NoAcceptableOffer) and any(each in why.hint for each in _ELSEWHERE) and not sandbox and sandboxed(Settings.load(), url):
        why.hint = f"x402-agent get --sandbox {url}"


@dataclass
class _Told:
    """What its trace says of a request: how far a payment has come that is broadcast first, and what was shown that was bought earlier."""

    aloud: bool
    progress: list[dict[str, str]] = field(default_factory=list)
    shown: Credential | None = None

    def __call__(self, _ask: Any, step: Any, value: Any) -> None:
        """A trace for `Payer.trace`."""
        if isinstance(step, Progress):
            self.progress.append({"state": step.state, "words": plain(step.words, 300)})
            if self.aloud:
                say(f"  {step.state.lower():9} {self.progress[-1]['words']}")
        elif isinstance(step, Look | Use) and isinstance(value, Credential):
            self.shown = value
        elif isinstance(step, Return) and self.shown:
            self.shown = None if step.refused else replace(self.shown, uses_left=_least(self.shown.uses_left, step.left))

    def opened(self, receipt: Receipt | None, status: int) -> dict[str, Any] | None:
        """Which earlier payment opened the door, and for how many more requests it does, None for no count; None where none did."""
        if self.shown is None or receipt is not None or not 200 <= status < 300:
            return None
        return {"payment_id": self.shown.payment_id, "credential": self.shown.name, "left": self.shown.uses_left}


def _least(ours: int | None, theirs: int | None) -> int | None:
    return min((each for each in (ours, theirs) if each is not None), default=None)


def _headers(lines: list[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for line in lines or []:
        name, colon, value = line.partition(":")
        if not colon:
            raise SettingsError("a header is 'Name: value'", rule="-H", hint="-H 'accept: text/plain'")
        pairs.append((name.strip(), value.strip()))
    return pairs


def _body(data: str | None) -> bytes | None:
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode()
    try:
        with open(data[1:], "rb") as file:
            return file.read()
    except OSError as why:
        raise SettingsError(f"{data[1:]} cannot be read: {why.strerror}", rule="-d @file", hint="-d @FILE, one that can be read") from None


def _fetch(payer: Payer, verb: str, url: str, options: dict[str, Any], told: _Told, json: bool) -> int:
    show = _shown()
    with payer.client() as http, http.stream(verb, url, **options) as reply:
        body = bytearray()
        for chunk in reply.iter_bytes():
            if json:
                body += chunk
                if len(body) > _MOST:
                    break
                continue
            body[:] = chunk or body
            show(chunk, reply.extensions.get("payment"))
    if not json and body and not body.endswith(b"\n") and sys.stdout.isatty():
        say("")
    return _ended(reply, _content(bytes(body)) if json else {}, told, json)


def _save(
    payer: Payer, verb: str, url: str, options: dict[str, Any], output: Path, told: _Told, *, json: bool, overwrite: bool
) -> int:  # fmt: skip
    """Into a file; what is no goods goes where it always goes."""
    said = bytearray()

    def kept(chunk: bytes) -> None:
        said.extend(chunk[: _MOST + 1 - len(said)])

    reply, size = delivered(payer, verb, url, output, overwrite=overwrite, other=kept if json else _shown(), **options)
    good = 200 <= reply.status_code < 300
    content = {"output": str(output.absolute()), "bytes": size} if good else _content(bytes(said))
    code = _ended(reply, content, told, json)
    if good and not json:
        say(f"{size} bytes in {output}")
    return code


def _ended(reply: Any, content: dict[str, Any], told: _Told, json: bool) -> int:
    """What came of it, for people or as one document. -> the exit code."""
    receipt: Receipt | None = reply.extensions.get("payment")
    code = _code(reply.status_code, receipt)
    opened = told.opened(receipt, reply.status_code)
    if json:
        as_json({"status": reply.status_code, "headers": dict(reply.headers), **content, "progress": told.progress,
                 "payment": _payment(receipt), "opened_by": opened, "exit": code})  # fmt: skip
    elif opened:
        left = "" if opened["left"] is None else f"; {opened['left']} more requests are paid for"
        whose = f"what payment {opened['payment_id'][:16]} bought was shown again" if opened["payment_id"] else "credits at its seller were spent"
        say(f"nothing new was paid: {whose}{left}")
    elif receipt is not None:
        say(f"{receipt.outcome}  {asked(receipt.offer)}  payment {receipt.payment_id}  {receipt.milliseconds} ms")
        if receipt.again:
            answered = f", and the answer was {reply.status_code}" if code == Exit.FAILED else ""
            say(f"nothing new was paid: the proof of that earlier payment was shown again{answered}; --again buys anew")
    elif code == Exit.NOTHING:
        say("402 without an offer that any dialect here understands; nothing was paid")
    if code == Exit.FAILED and receipt is not None and not receipt.again and not json:
        say(f"paid, and the answer was {reply.status_code}; the same call shows the same proof again, --again buys anew")
    if receipt is not None and receipt.reason is not None:
        say(f"{type(receipt.reason).__name__}: {receipt.reason}")
    if code == Exit.IN_DOUBT and receipt is not None:
        say(f"the money stays counted; try  x402-agent resume {receipt.payment_id[:8]}")
    return code


def _shown() -> Callable[..., None]:
    """Writes a body to stdout as it comes."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace") if sys.stdout.isatty() else None

    def show(chunk: bytes, receipt: Receipt | None = None) -> None:
        _write(chunk if decoder is None else _harmless(decoder.decode(chunk)).encode(), receipt)

    return show


def _harmless(text: str) -> str:
    """A body as a terminal may show it: what is no letter, line end or tab is shown as its escape (W12)."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(plain(part, len(part)) for part in line.split("\t")) for line in lines)


def _write(chunk: bytes, receipt: Receipt | None) -> None:
    try:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError:
        if receipt is not None:
            say(f"paid, and not all of it could be written: payment {receipt.payment_id}; "
                "--no-again shows the same proof once more and buys nothing")  # fmt: skip
        raise


def _code(status: int, receipt: Receipt | None) -> int:
    if receipt is not None and receipt.outcome is not None:
        code = _CODES[receipt.outcome]
    else:
        code = Exit.NOTHING if status == 402 else Exit.OK
    return Exit.FAILED if code == Exit.OK and status >= 400 else code


def _content(body: bytes) -> dict[str, Any]:
    """The body as text, beside it the very bytes where they are none; `truncated` when it goes on beyond _MOST."""
    truncated, body = len(body) > _MOST, body[:_MOST]
    facts = {"body": body.decode("utf-8", "replace"), "truncated": truncated}
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return {**facts, "base64": base64.b64encode(body).decode("ascii")}
    return facts


def _payment(receipt: Receipt | None) -> dict[str, Any] | None:
    if receipt is None or receipt.offer is None:
        return None
    return {
        "payment_id": receipt.payment_id, "outcome": receipt.outcome, "amount": str(receipt.offer.amount),
        "asset": receipt.offer.asset.id, "money": str(receipt.money), "pay_to": receipt.offer.pay_to,
        "transaction": receipt.transaction, "milliseconds": receipt.milliseconds, "again": receipt.again,
    }  # fmt: skip


def _opens(url: str, sandbox: bool) -> Token | None:
    """What was bought earlier, and is shown before anything is paid; nothing of it is opened."""
    import httpx

    from ..transport.wire import ask

    made = ask(httpx.Request("GET", url), httpx)
    for ledger in ledgers(Settings.load()):
        if ledger.sandbox == sandbox:
            now = ledger.clock()
            return next((each for each in ledger.tokens() if each.origin == made.origin and each.lives(now) and covers(each.path, made.path)), None)
    return None


def _opened(opens: Token) -> str:
    return f"what payment {opens.payment_id[:16]} bought opens it, {told_left(opens)}" if opens.payment_id else f"credits at its seller open it, {told_left(opens)}"


def _quote(quote: Quote, payer: Payer, json: bool, opens: Token | None) -> int:
    if opens is not None and quote.dialect and opens.dialect not in ("", quote.dialect):
        opens = None  # asked there in another way than where it was sold, and not by what it opens
    code = Exit.OK
    if quote.reason is not None:
        code = Exit.DENIED if type(quote.reason).__name__ in ("PolicyDenied", "BudgetExceeded") else Exit.NOTHING
    elif quote.status == 402 and not quote.understood:
        code = Exit.NOTHING
    free = _opened(opens) if opens is not None else "credits at its seller open it" if HELD in quote.unread else ""
    code = Exit.OK if free else code
    left = _left(payer, quote)
    if json:
        offers = [{"amount": str(o.amount), "money": str(o.money), "network": o.network.id, "asset": o.asset.id,
                   "pay_to": o.pay_to, "scheme": o.scheme, "method": o.method, "cost_usd": cost or None,
                   "chosen": o is quote.chosen, "passed_over": why} for o, why, cost in _rows(quote)]  # fmt: skip
        as_json({"status": quote.status, "understood": quote.understood, "offers": offers, "unread": list(quote.unread),
                 "reason": str(quote.reason) if quote.reason else "", "left": left, "signed": False, "asks": [each.what for each in quote.asks],
                 "opened_by": opens and {"payment_id": opens.payment_id, "credential": opens.name, "left": opens.uses_left}, "exit": code})  # fmt: skip
        return code
    width = max((len(asked(offer)) for offer, _ in quote.offers), default=0)
    for offer, why, cost in _rows(quote):
        by = f" by {offer.method}" if offer.method else ""
        say(f"  {'*' if offer is quote.chosen else '-'} {asked(offer):{width}}  {cost or '?':>8} USD  to {offer.pay_to}{by}"
            f"{'   ' + plain(why, 300) if why else ''}")  # fmt: skip
    for why in quote.unread:
        say(f"  - {why}")
    if free:
        say(f"would pay nothing: {free}; nothing was signed")
    elif quote.chosen is not None:
        say(f"would pay {asked(quote.chosen)}{'; ' + left if left else ''}; nothing was signed")
        for each in quote.asks:
            say(f"would ask a person first: {plain(each.what, 300)}   [{each.rule}]")
    elif quote.reason is not None:
        say(f"{type(quote.reason).__name__}: {quote.reason}")
    elif quote.status == 402:
        say("402 without an offer that any dialect here understands")
    else:
        say(f"answered {quote.status} without asking for money")
    return code


def _rows(quote: Quote) -> list[tuple[Offer, str, str]]:
    """Each offer, why it is not the one, and what it costs all told in dollars, "" where nobody knows."""
    from ..policy import dollars

    return [(offer, why, "" if cost is None else dollars(cost)) for (offer, why), cost in zip(quote.offers, quote.costs, strict=True)]


def _left(payer: Payer, quote: Quote) -> str:
    from ..policy import dollars

    if quote.chosen is None or not quote.limits:
        return ""
    realm = "sandbox" if payer.ledger.sandbox else "test" if quote.chosen.network.testnet else "real"
    found = min(payer.ledger.spent(quote.limits, realm=realm), key=lambda one: one.left)
    after = max(0, found.left - (quote.chosen.micros or 0))
    return f"left {'today' if found.limit.window == 'day' else 'in total'} {dollars(after)}"
