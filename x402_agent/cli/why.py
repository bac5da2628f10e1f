"""`x402-agent why`: one payment, step by step."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from .. import Money, Settings, SettingsError, assets
from ..ledger.states import means
from ..model import FOREVER
from ..secret import Env, plain
from .common import Json, account, as_json, errors, found, link, row
from .credentials import bought_by, told_left, told_until

if TYPE_CHECKING:
    from ..ledger import Payment, SqliteLedger, Token

__all__ = ["run"]

_NEXT = {
    "in_doubt": "x402-agent resume {id}",
    "refused": "x402-agent resume {id}",
    "spent": "x402-agent log --host {host}",
    "released": "repeat the call: nothing was paid",
}


def _shared(ledger: SqliteLedger, one: Payment) -> str:
    """That a seller named this transaction before, or ""."""
    others = ledger.namesakes(one)
    return f"named for {others} other payment{'s' if others > 1 else ''} too; only a node can tell" if others else ""


def _next(ledger: SqliteLedger, one: Payment) -> str:
    """The line to try."""
    if one.state == "CLAIMED":
        asks = "while `sandbox up` runs it asks the sandbox's chain" if ledger.sandbox else "with X402_AGENT_NODES set it asks the chain"
        return f"x402-agent resume {one.payment_id[:8]}   ({asks})"
    if one.anew:
        return f"x402-agent why {one.anew[:8]}   (a person said yes, and that payment took its place)"
    return _NEXT[one.outcome].format(id=one.payment_id[:8], host=one.host)


def run(
    payment: Annotated[str, typer.Argument(help="A payment id, or at least 4 characters of its start.")],
    check: Annotated[bool, typer.Option("--check", help="Ask KAMIYO's verification service about its transaction, with X402_AGENT_KAMIYO_KEY if set: a hint, which moves nothing that is counted.")] = False,
    json: Json = False,
) -> None:
    """What happened to one payment: each move, the last answer, and one line to try."""
    with errors(json):
        ledger, one = found(Settings.load(), payment)
        events = ledger.events(one.payment_id)
        hint = _next(ledger, one)
        checked = _checked(one, sandbox=ledger.sandbox) if check else ""
        meaning, shared, opens = means(one.state, delivered=one.delivered), _shared(ledger, one), bought_by(ledger, one.payment_id)
        if json:
            refunds = [{"transaction": each.transaction, "amount": str(each.amount)} for each in ledger.refunds(one.payment_id)]
            moves = [{"at": e.at, "from": e.from_state, "to": e.state, **e.data} for e in events]
            as_json({**row(one, sandbox=ledger.sandbox), "means": meaning, "for": one.description, "check": checked, "shared": shared, "opens": [_opens(each) for each in opens], "events": moves, "refunds": refunds, "try": hint})
            return
        label = ", sandbox" if ledger.sandbox else ""
        print(f"{one.payment_id}  {one.outcome} ({one.state})  {str(one.money)[:-1]}{label})")
        print(f"  that is    {meaning}")
        print(f"  asked      {one.method} {one.url}")
        if one.description:
            print(f"  for        {plain(one.description)}")
        for each in opens:
            last = f", last {_clock(each.last_used_at)}" if each.last_used_at else ""
            print(f"  opens      {plain(each.origin + each.path)}, {told_left(each)}, {told_until(each)}{last}")
        print(f"  from       {account(one)}\n  to         {one.pay_to}")
        print(f"  proof      {one.nonce[2:6]}…{one.nonce[-2:]}   {_end(one.valid_before)}")
        if one.status:
            print(f"  answer     {one.status}   {'tx ' + one.transaction if one.transaction else 'no transaction named'}")
        for name, words in (("the check", checked), ("catalogue", _known(one)), ("the tx", shared)):
            if words:
                print(f"  {name:9}  {words}")
        if one.charged is not None and one.money:
            print(f"  charged    {Money(one.charged, one.money.asset).text} of at most {one.money.text}, by the chain")
        if one.gas:
            where = assets.network(one.network)
            coins = where.coins if where else str
            took = "at most " + coins(one.gas) if one.gas_paid is None else f"{coins(one.gas_paid)} of at most {coins(one.gas)}"
            print(f"  gas        {took} of the network's own coin")
        for back in ledger.refunds(one.payment_id):
            print(f"  came back  {Money(back.amount, one.money.asset) if one.money else back.amount}   tx {back.transaction}")
        if page := link(one, sandbox=ledger.sandbox):
            print(f"  explorer   {page}")
        for event in events:
            note = event.data.get("note") or ""
            print(f"  {_clock(event.at / 1000)}   {event.from_state or 'new':>10} -> {event.state:16} {note}")
        print(f"  try        {hint}")


def _known(one: Payment) -> str:
    """What your catalogue knows of what was asked, "" where there is none: evidence for a first payment, or against the next."""
    from ..discovery import Catalogue
    from ..discovery.search import age

    settings = Settings.load()
    where = Env().get("X402_AGENT_CATALOGUE", "")
    if not where and not settings.catalogue_path.exists():
        return ""
    try:
        with closing(Catalogue.at(where or str(settings.catalogue_path)).store) as store:
            found = Catalogue(store).listed(one.method, one.url)
    except SettingsError as why:
        return plain(why.what)
    if found is None:
        return ""
    probed = f"{found.verdict}, probed {age(found.probed, time.time())} ago" if found.probed else "never probed"
    words = ", ".join((probed, *filter(None, (found.agreement, *found.suspicious))))
    return f"{words}   x402-agent discover show {found.id}"


def _checked(one: Payment, *, sandbox: bool) -> str:
    """What KAMIYO's service makes of its transaction: a stranger's word, which is shown and nothing else."""
    from ..payer.verifier import Verifier, service

    env = Env()
    base = env.get("X402_AGENT_KAMIYO_URL", "")
    if sandbox and urlsplit(base).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise SettingsError("sandbox money: no service outside knows of it", rule="--check", hint="X402_AGENT_KAMIYO_URL=http://127.0.0.1:PORT/api/v1/x402 of `sandbox up --seller kamiyo`, or no --check")
    where = assets.network(one.network)
    if where is None or not one.transaction or one.money is None or one.money.asset.symbol != "USDC":
        return "no transaction in USDC is known that the service could look at"
    asked = Verifier(service("kamiyo", env.get("X402_AGENT_KAMIYO_KEY", ""), base, time.time, loopback=True))
    found = asked.verify(one.transaction, where.name, expected=f"{one.money.decimal:f}", to=one.pay_to)
    if found.success:
        return f"KAMIYO's service finds this payment, too ({found.confirmations} confirmations)"
    why = "; ".join(filter(None, (found.code, found.words)))
    return f"KAMIYO's service {'decided nothing' if found.success is None else 'finds no such payment to its own merchant'} ({why})"


def _opens(one: Token) -> dict[str, Any]:
    return {"origin": one.origin, "path": one.path, "uses_left": one.uses_left, "expires": one.expires, "last_used_at": one.last_used_at}


def _end(at: int) -> str:
    return "until the chain shows its end" if at == FOREVER else f"expires {_clock(at)}"


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
