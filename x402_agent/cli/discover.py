"""`x402-agent discover`: who sells what, from every catalogue, asked offline. It spends nothing and holds no key."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import PaymentError, Settings, SettingsError
from ..assets import asset_by_id
from ..discovery.nouns import counted
from ..model import Money
from ..payer import sandboxed
from ..payer.history import past
from ..policy import dollars, micros
from .common import Exit, Json, as_json, colored, errors, ledgers, say
from .writing import Form, form, target, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..discovery import Catalogue, Past, Report, Result

__all__ = ["app", "catalogue", "price", "unknown"]

app = typer.Typer(
    help="Find what is for sale. `crawl` reads catalogues into one of your own, `search` asks it without a network.\n"
    "Nothing here pays, and nothing here can: what you find is bought by `x402-agent get ID`.",
    short_help="Find what is for sale.",
    no_args_is_help=True,
)
_Where = Annotated[str, typer.Option("--catalogue", envvar="X402_AGENT_CATALOGUE", help="A file, or postgresql://…; otherwise beside your ledger.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="A service's id, or how it begins, as `discover search` shows it.")]
_Loopback = Annotated[bool, typer.Option("--allow-loopback", help="Ask servers on this machine, too: for tests and the sandbox.")]


@contextmanager
def catalogue(where: str, settings: Settings | None = None) -> Iterator[Catalogue]:
    """The catalogue at hand, closed afterwards. Raises SettingsError."""
    from ..discovery import Catalogue, Store

    settings = settings or Settings.load()
    store = Store(where or str(settings.catalogue_path))
    try:
        with store.database.spoken():
            yield Catalogue(store, _pasts(settings))
    finally:
        store.close()


def _pasts(settings: Settings) -> list[Past]:
    """Your ledgers, for what was bought; one that cannot be opened hinders no question."""
    with suppress(PaymentError):
        return [_past(each, settings) for each in ledgers(settings)]
    return []


def _past(ledger: Any, settings: Settings) -> Past:
    return past(str(getattr(ledger, "path", settings.signer)), lambda: ledger)


@app.command("crawl", short_help="Read catalogues, and look at what they list.")
def crawl(
    source: Annotated[list[str] | None, typer.Option("--source", help="A catalogue's URL, or KIND=URL; repeatable. Otherwise the public ones.")] = None,
    probe: Annotated[int, typer.Option(min=0, max=1_000_000, help="Then ask at most so many services what they cost, without paying.")] = 200,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="Requests a second to one host, at most.")] = 2.0,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time to one host, at most.")] = 2,
    minutes: Annotated[float, typer.Option(min=0.01, help="Stop after so long; the next crawl goes on where this one stopped.")] = 60.0,
    pages: Annotated[int, typer.Option(min=1, help="Pages of one source, at most.")] = 2_000,
    fleet: Annotated[bool, typer.Option("--fleet", help="Share the crawl with whoever runs this on the same --catalogue postgresql://…")] = False,
    allow_loopback: _Loopback = False,
    where: _Where = "",
    json: Annotated[bool, typer.Option("--json", help="An event in each line; the last one is the report.")] = False,
) -> None:
    """Read catalogues into your own, politely: robots.txt and Retry-After are kept to, one slow host holds nobody up.

    What was read before and has not changed is not read again. A crawl that was stopped, or killed, goes on.
    With --fleet every machine that runs the same command is a worker: each host is asked by one of them, and who dies is replaced by the others.
    """
    import anyio

    from ..discovery import PUBLIC, Caps, Crawler, Fleet, Guard, Manners, resolved

    with errors(json), catalogue(where) as found:
        roots = [root for each in source or PUBLIC for root in resolved(each)]
        found.learn()
        with _progress(json) as tell:
            crawler = (Fleet if fleet else Crawler)(found.store, roots, caps=Caps(pages=pages, seconds=60 * minutes), manners=Manners(rate=rate, at_once=at_once),
                                                    guard=Guard(loopback=allow_loopback), probes=probe, tell=tell)  # fmt: skip
            report = anyio.run(crawler.run)
        if not json:
            _told(report)
            _nearby(" ".join(report.failed), allow_loopback)
        raise SystemExit(Exit.OK if report.rows or report.services else Exit.NOTHING)


@app.command("search", short_help="Who sells this, the best evidence first.")
def search(
    words: Annotated[list[str] | None, typer.Argument(help="What you want: all of the words must be there.")] = None,
    maximum: Annotated[str, typer.Option("--max", help="Dollars a call, at most.")] = "",
    network: Annotated[str, typer.Option(help="On this network only.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Only what answered 402 when it was last asked.")] = False,
    payable: Annotated[bool, typer.Option("--payable", help="Only what we have a way to pay.")] = False,
    every: Annotated[bool, typer.Option("--all", help="What is suspicious, too, and more than three of one provider.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="So many, at most.")] = 20,
    where: _Where = "",
    json: Json = False,
) -> None:
    """Search your catalogue, without a network. What stands first has the best evidence, not the best words: `show ID` says which.

    Names and descriptions are the sellers' own: untrusted.
    """
    from .. import assets

    with errors(json), catalogue(where) as found:
        on = assets.network(network)
        if network and on is None:
            raise SettingsError(f"no network is called {network[:40]!r}", rule="--network", hint="--network base")
        most = micros(maximum, "--max") if maximum else None
        made = found.search(" ".join(words or ()), most=most, network=on.id if on else "", live=live, payable=payable, every=every, limit=limit)
        if json:
            as_json([each.as_dict() for each in made])
            return
        for each in made:
            print(_line(each))
        if not made:
            say("nothing found; `x402-agent discover crawl` reads the catalogues, `discover search --all` shows what is suspicious")
            raise SystemExit(Exit.NOTHING)


@app.command("show", short_help="One service: what is known, and from whom.")
def show(service: _Id, where: _Where = "", json: Json = False) -> None:
    """Show one service: what each catalogue says of it, what it answered when it was asked, and why it ranks where it does."""
    with errors(json), catalogue(where) as found:
        made = found.show(service)
        if made is None:
            raise unknown(service)
        one, told, probes = made
        if json:
            as_json({**one.as_dict(), "listings": told, "probes": probes})
            return
        print(_line(one))
        print(f"  {one.description}" if one.description else "  (no description)")
        for price in one.prices:
            print(f"  price        {_price(price)}")
        for each in one.why:
            print(f"  because      {each}")
        for each in one.suspicious:
            print(f"  suspicious   {each}")
        for row in told:
            print(f"  listed by    {row['source']}, last seen {_age(row['last'])} ago{''.join(f', {flag}' for flag in row['flags'])}")
        for row in probes:
            print(f"  asked        {_age(row['at'])} ago: {row['verdict']}, {row['why']}")
        box = " --sandbox" if sandboxed(Settings.load(), one.url) else ""
        print(f"  buy          x402-agent get {one.id}{box}" if one.payable and not one.template and not one.tool else f"  buy          no: {_not(one)}")


@app.command("probe", short_help="Ask one service what it costs, now.")
def probe(service: _Id, allow_loopback: _Loopback = False, where: _Where = "", json: Json = False) -> None:
    """Ask one service of your catalogue, without paying, and keep the answer."""
    import anyio

    from ..discovery import Crawler, Guard

    with errors(json), catalogue(where) as found:
        known = found.show(service)
        if known is None:
            raise unknown(service)
        made = anyio.run(Crawler(found.store, (), guard=Guard(loopback=allow_loopback)).look, known[0].id)
        if json:
            as_json(made)
            return
        print(f"{made['verdict']}: {made['why']}")
        _nearby(made["why"], allow_loopback)


@app.command("sources", short_help="What can be read, and what was.")
def sources(where: _Where = "", json: Json = False) -> None:
    """List the kinds of catalogues that can be read, the public ones, and what yours was made of."""
    from ..discovery import PUBLIC, known

    with errors(json), catalogue(where) as found:
        facts = found.facts()
        kinds = {name: one.about for name, one in known().items()}
        if json:
            as_json({"kinds": kinds, "public": PUBLIC, **facts})
            return
        for name, about in kinds.items():
            print(f"{name:12} {about}")
        for each in PUBLIC:
            print(f"public       {each}")
        for row in facts["sources"]:
            print(f"{row['listings']:>9} listing{'s' if row['listings'] != 1 else ''} of {row['source']}, last seen {_age(row['seen'])} ago")
        print(f"{facts['services'] or 0:>9} service{'s' if facts['services'] != 1 else ''}: {', '.join(f'{count} {word}' for word, count in facts['verdicts'].items()) or 'none; x402-agent discover crawl'}")


@app.command("export", short_help="The whole catalogue as JSON lines or CSV.")
def export(
    format: Form = "jsonl",  # noqa: A002 - the option's name
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file, made 0600; otherwise stdout.")] = None,
    where: _Where = "",
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Write out every service, the best evidence first: micros in millionths of a dollar, unix seconds."""
    with errors(json), catalogue(where) as found, target(output) as file:
        form(format, machine=json)
        flat = format == "csv"
        count = write(file, (each.as_row() if flat else each.as_dict() for each in found.every()), format)
        if output is not None:
            say(f"{counted(count, 'service')} in {output}")


@contextmanager
def _progress(machine: bool) -> Iterator[Any]:
    """Where events go: lines of JSON, a line that moves on a terminal, or nowhere."""
    if machine:
        yield as_json
        return
    if not sys.stderr.isatty():
        yield dict.copy  # nobody looks
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("reading", total=None)
        counts = {"pages": 0, "rows": 0, "probed": 0, "failed": 0}

        def tell(event: dict[str, Any]) -> None:
            counts["pages"] += event["event"] == "page"
            counts["rows"] += event.get("rows", 0) if event["event"] == "page" else 0
            counts["probed"] += event["event"] == "probe"
            counts["failed"] += event["event"] == "failed"
            bar.update(line, description="  ".join(f"{name} {count}" for name, count in counts.items() if count))

        yield tell


def _told(report: Report) -> None:
    print(f"{counted(report.services, 'service')}; {counted(report.rows, 'row')} on {counted(report.pages, 'page')} ({report.unchanged} unchanged), {report.probed} asked, {report.seconds:.1f} s")
    for word, count in report.verdicts.most_common():
        print(f"  {count:>7} {word}")
    if report.skipped:
        print(f"  {counted(report.skipped, 'row')} {'was' if report.skipped == 1 else 'were'} none: " + "; ".join(f"{count} × {why}" for why, count in report.reasons.most_common(3)))
    for each in report.absent if not report.rows else ():
        print(f"  nothing there: {each}")
    for each in report.failed[:20]:
        print(f"  not read: {each}")
    if report.waiting:
        print(f"  the same command goes on with what is left: {counted(report.waiting, 'request')}")


def _line(one: Result) -> str:
    odd = f"  ! {', '.join(one.suspicious)}" if one.suspicious else ""
    if odd and colored():
        odd = f"\033[33m{odd}\033[0m"
    networks = ", ".join(dict.fromkeys(each.network for each in one.prices if each.network)) or "-"
    return f"{one.id}  {price(one):>12}  {one.verdict or 'never probed':22} {networks:16} {one.method} {one.url}{f'#{one.tool}' if one.tool else ''}  {one.name}{odd}"


def price(one: Result) -> str:
    """What it asks for a call, at least: in dollars, else in a token of our table; `price unknown` for neither."""
    if one.micros is not None:
        return f"${dollars(one.micros)}"
    known = ((each.amount, asset_by_id(each.asset)) for each in one.prices if each.amount is not None)
    return next((f"{Money(amount, asset).text} {asset.symbol}" for amount, asset in known if asset is not None), "price unknown")


def _price(price: Any) -> str:
    known = f"{price.amount} atomic units of {price.asset}" if price.amount is not None else f"{price.token or 'some token'} on {price.network or 'some network'}"
    worth = f", ${dollars(price.micros)}" if price.micros is not None else ""
    return f"{known}{worth}{f' to {price.pay_to}' if price.pay_to else ''} ({price.rail}{'' if price.payable else ', which we cannot pay'})"


def _not(one: Result) -> str:
    if one.payable and one.tool:
        return "it is a tool of an MCP server: x402-agent-mcp proxy URL"
    return "its URL has places to fill in: get the URL you mean" if one.template else "no way to pay that we have"


def _age(at: float | None) -> str:
    from ..discovery.search import age

    return age(at, time.time())


def unknown(service: str) -> SettingsError:
    """What to say of an ID that names no service, or begins those of several."""
    return SettingsError(f"no service of your catalogue has the id {service[:20]!r}, or several have one that begins so", rule="ID", hint="x402-agent discover search WORDS")


def _nearby(words: str, allowed: bool) -> None:
    """What to type where the guard has kept us from this machine."""
    if "this one is loopback" in words and not allowed:
        say("that is on this machine: servers of your own, and the sandbox, are asked with --allow-loopback")
