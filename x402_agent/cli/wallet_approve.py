"""`x402-agent wallet approve`: let Permit2 take an exact amount of a token, by a person; nothing else here ever does."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .. import Asset, Money, PaymentInDoubt, PolicyDenied, Settings, SettingsError, assets
from ..broadcast import Plan, plan, send
from ..payer.allowances import seen, spenders
from ..transport.fetch import drive
from .common import Json, as_json, errors, sandbox_payer, say
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from ..ledger import Transaction
    from ..model import Network
    from ..payer import Payer

__all__ = ["ask_person", "asset_of", "network_of", "run", "units_of"]

_MOST = 1_000_000  # whole tokens: more is "unlimited" by another name
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,18})?", re.ASCII).fullmatch


def run(
    token: Annotated[str, typer.Argument(help="USDC, or another token of the table.")],
    whom: Annotated[str, typer.Option("--for", help="Who may take it: permit2; on TRON payment-permit, too.")] = "permit2",
    amount: Annotated[str, typer.Option(help="Exactly this much, in whole tokens: 20 or 0.5.")] = "",
    network: Annotated[str, typer.Option(help="base, polygon, …; not needed where one node is set.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the allowance back.")] = False,
    max_fee: Annotated[str, typer.Option("--max-fee", help="The most that gas may cost, in the network's own coin.")] = "0.001",
    wait: Annotated[float, typer.Option(help="Seconds to wait for its block.")] = 120.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    account: Annotated[str, typer.Option(help="Which named account of the wallet; the one that pays if not given.")] = "",
    sandbox: Annotated[bool, typer.Option("--sandbox", help="In the sandbox that `sandbox up` runs.")] = False,
    json: Json = False,
) -> None:
    """Let Permit2 take an exact amount of a token from your account, so that offers by Permit2 and `upto` can be paid.

    It costs gas, which is shown first and capped by --max-fee. The amount is never "unlimited"; --revoke takes it back.
    Needs a node: export X402_AGENT_NODES=base=https://…   If it ends in doubt: x402-agent resume.
    On TRON nothing is sent: approve in a wallet of your own, then this command looks, and counts on what the chain shows.
    """
    with errors(json):
        settings = Settings.load()
        if not 0 <= wait <= 86_400:
            raise SettingsError("a wait is from 0 to a day", rule="--wait", hint="--wait 120")
        if revoke == bool(amount):
            raise SettingsError("an amount, or --revoke", rule="exact amounts only", hint=f"--amount 20, in {token[:20]}")
        asset = asset_of(token, network or network_of(settings, sandbox=sandbox))
        units = 0 if revoke else units_of(amount, asset.decimals, "--amount", "20")
        limit, spender = units_of(max_fee, 18, "--max-fee", "0.001"), _spender(asset.network, whom)
        with sandbox_payer(settings) if sandbox else own_payer() as payer:
            payer.wallet = payer.wallet.named(account)
            if asset.network.namespace == "tron":
                return _look(payer, asset, whom, units, json)
            made = drive(plan(payer, asset, spender, units, max_fee=limit))
            if not made.enough:
                _show(made, whom)
                ask_person(yes)
            try:
                sent = drive(send(payer, made, patience=wait, say=lambda text: say(f"  {text}")))
            except KeyboardInterrupt:
                raise PaymentInDoubt("interrupted; what was written down may be under way", hint="x402-agent resume") from None
            left = payer.ledger.allowance(asset.network.id, asset.address, made.owner, made.party)
            _tell(made, sent, left, json, sandbox=payer.ledger.sandbox)
    return None


def _spender(network: Network, whom: str) -> str:
    known = spenders(network)
    if whom not in known:
        what = f"nobody is known as {whom[:40]!r} on {network.name}"
        raise SettingsError(what, rule="--for", hint=f"--for {' or '.join(known)}" if known else "a network of EVM or TRON")
    return known[whom]


def _look(payer: Payer, asset: Asset, whom: str, units: int, json: bool) -> None:
    """TRON: nothing is sent, what the chain shows is written down."""
    had, where = drive(seen(payer, asset, whom, units)), asset.network
    owner, spender = payer.wallet.address(where.namespace), spenders(where)[whom]
    left = payer.ledger.allowance(where.id, asset.address, owner, spender)
    if json:
        as_json({
            "network": where.id, "asset": asset.id, "owner": owner, "spender": spender, "amount": str(units), "left": str(left),
            "on_chain_before": str(had), "transaction": "", "state": "", "fee": "0", "explorer": "",
        })  # fmt: skip
        return
    print(f"on chain {Money(had, asset).text} is allowed; {Money(left, asset)} of it is what payments here count on")


def network_of(settings: Settings, *, sandbox: bool) -> str:
    """The one network that a node is set for; raises SettingsError."""
    known = ["eip155:84532"] if sandbox else list(settings.nodes)
    if len(known) != 1:
        names = ", ".join(where.name for name in known if (where := assets.network(name)))
        raise SettingsError(
            f"which network? there are nodes of {names}" if known else "which network? no node is known",
            rule="--network", hint="--network base, and export X402_AGENT_NODES=base=https://…",
        )  # fmt: skip
    return known[0]


def asset_of(token: str, network: str) -> Asset:
    """The token of the table that a person means; raises SettingsError."""
    where = assets.network(network)
    if where is None:
        raise SettingsError(f"{network[:40]!r} is no network of the table", rule="--network", hint="--network base")
    for each in assets.assets():
        if each.network is where and token.lower() in (each.symbol.lower(), each.address.lower(), each.id.lower()):
            return each
    raise SettingsError(f"{token[:50]!r} is no token of {where.name} here", rule="assets.toml", hint="USDC")


def units_of(text: str, decimals: int, option: str, sample: str) -> int:
    """Whole tokens to atomic units, digit by digit; raises SettingsError for what is no plain number above zero."""
    whole, _, part = text.partition(".")
    if not _NUMBER(text) or len(part) > decimals or not int(whole + part) or int(whole) > _MOST:
        raise SettingsError(f"{text[:40]!r} is no amount from 10^-{decimals} to {_MOST}", rule=option, hint=f"{option} {sample}")
    return int(whole + part.ljust(decimals, "0"))


def _show(made: Plan, whom: str) -> None:
    where = made.asset.network.name
    may = f"to take at most {Money(made.amount, made.asset)}" if made.amount else f"to take no {made.asset.symbol} any more"
    say(f"  allow     {whom} ({made.party}) {may}")
    say(f"  from      {made.owner}, where {Money(made.had, made.asset).text} is allowed on chain now")
    say(f"  gas       at most {made.asset.network.coins(made.fee_cap)} of the coin of {where} ({made.gas} gas)")


def ask_person(yes: bool) -> None:
    """A person says yes, here or by --yes; a program without a terminal is never left waiting."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SettingsError("nobody can be asked; nothing was signed", rule="a person says yes", hint="add --yes")
    if not typer.confirm("  send it?", err=True):
        raise PolicyDenied("nothing was signed", rule="you said no")


def _tell(made: Plan, sent: Transaction | None, left: int, json: bool, *, sandbox: bool) -> None:
    money, network = Money(left, made.asset), made.asset.network
    page = "" if sandbox or sent is None else network.link(sent.txid)  # the sandbox's chain is in no explorer
    if json:
        as_json({
            "network": network.id, "asset": made.asset.id, "owner": made.owner, "spender": made.party,
            "amount": str(made.amount), "left": str(left), "on_chain_before": str(made.had), "transaction": sent.txid if sent else "",
            "state": sent.state if sent else "", "fee": str(sent.fee_paid or 0) if sent else "0",
            "explorer": page,
        })  # fmt: skip
        return
    if sent is None:
        more = made.had > made.amount
        print(f"nothing to do: on chain {Money(made.had, made.asset).text} is allowed already{'; --revoke first makes it less' if more else ''}")
    else:
        print(f"{sent.state.lower()}  {page or sent.txid}")
    print(f"{money} of it is what payments here count on" if sent is None else f"{money} may be taken by {made.party}")
