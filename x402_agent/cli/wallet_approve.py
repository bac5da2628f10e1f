"""`x402-agent wallet approve`: let Permit2, or PaymentPermit, take an exact amount of a token, by a person; nothing else here ever does."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .. import Asset, Money, PaymentInDoubt, PolicyDenied, Settings, SettingsError, assets
from ..broadcast import Plan, plan, send
from ..payer.allowances import spenders
from ..transfers import Planned, allow, plan_allowance
from ..transport.fetch import drive
from .common import Json, as_json, errors, sandbox_payer, say
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from ..ledger import Transaction
    from ..model import Network

__all__ = ["FEES", "ask_person", "asset_of", "network_of", "run", "units_of"]

FEES = {"eip155": "0.001", "solana": "0.001", "stacks": "0.05", "tron": "50"}  # whole coins that one may cost where nobody says more
_MOST = 1_000_000  # whole tokens: more is "unlimited" by another name
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,18})?", re.ASCII).fullmatch


def run(
    token: Annotated[str, typer.Argument(help="USDC, or another token of the table.")],
    whom: Annotated[str, typer.Option("--for", help="Who may take it: permit2; on TRON payment-permit, too.")] = "permit2",
    amount: Annotated[str, typer.Option(help="Exactly this much, in whole tokens: 20 or 0.5.")] = "",
    network: Annotated[str, typer.Option(help="base, polygon, …; not needed where one node is set.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the allowance back.")] = False,
    max_fee: Annotated[str, typer.Option("--max-fee", help="The most that it may cost, in the network's own coin; 0.001 of EVM, 50 TRX if not given.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for its block.")] = 120.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    account: Annotated[str, typer.Option(help="Which named account of the wallet; the one that pays if not given.")] = "",
    sandbox: Annotated[bool, typer.Option("--sandbox", help="In the sandbox that `sandbox up` runs.")] = False,
    json: Json = False,
) -> None:
    """Let Permit2 (on TRON PaymentPermit, too) take an exact amount of a token from your account, so that offers by it can be paid.

    It costs gas or TRX, which is shown first and capped by --max-fee. The amount is never "unlimited"; --revoke takes it back.
    Needs a node: export X402_AGENT_NODES=base=https://…   If it ends in doubt: x402-agent resume.
    """
    with errors(json):
        settings = Settings.load()
        if not 0 <= wait <= 86_400:
            raise SettingsError("a wait is from 0 to a day", rule="--wait", hint="--wait 120")
        if revoke == bool(amount):
            raise SettingsError("an amount, or --revoke", rule="exact amounts only", hint=f"--amount 20, in {token[:20]}")
        with sandbox_payer(settings) if sandbox else own_payer() as payer:
            asset = asset_of(token, network or (payer.policy.networks[0] if sandbox else network_of(settings)))
            where, units = asset.network, 0 if revoke else units_of(amount, asset.decimals, "--amount", "20")
            limit, spender = units_of(max_fee or FEES[where.namespace], where.decimals, "--max-fee", FEES[where.namespace]), _spender(where, whom)
            payer.wallet = payer.wallet.named(account)
            doors: Any = (plan, send) if where.namespace == "eip155" else (plan_allowance, allow)
            made = drive(doors[0](payer, asset, spender, units, max_fee=limit))
            wanted = _Wanted(asset, made.owner, spender, units, made.had)
            if not made.enough:
                _show(wanted, whom, made)
                ask_person(yes)
            try:
                sent = drive(doors[1](payer, made, patience=wait, say=lambda text: say(f"  {text}")))
            except KeyboardInterrupt:
                raise PaymentInDoubt("interrupted; what was written down may be under way", hint="x402-agent resume") from None
            left = payer.ledger.allowance(where.id, asset.address, made.owner, spender)
            _tell(wanted, sent, left, json, sandbox=payer.ledger.sandbox)


class _Wanted(NamedTuple):
    """Who may take how much of whose token; `had` is what the chain showed. Amounts in atomic units."""

    asset: Asset
    owner: str
    party: str
    amount: int
    had: int


def _spender(network: Network, whom: str) -> str:
    known = spenders(network)
    if whom not in known:
        what = f"nobody is known as {whom[:40]!r} on {network.name}"
        raise SettingsError(what, rule="--for", hint=f"--for {' or '.join(known)}" if known else "a network of EVM or TRON")
    return known[whom]


def network_of(settings: Settings) -> str:
    """The one network that a node is set for; raises SettingsError."""
    known = list(settings.nodes)
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
    known = ", ".join(each.symbol for each in assets.assets() if each.network is where)
    raise SettingsError(f"{token[:50]!r} is no token of {where.name} here", rule="assets.toml", hint=known or "another network")


def units_of(text: str, decimals: int, option: str, sample: str) -> int:
    """Whole tokens to atomic units, digit by digit; raises SettingsError for what is no plain number above zero."""
    whole, _, part = text.partition(".")
    if not _NUMBER(text) or len(part) > decimals or not int(whole + part) or int(whole) > _MOST:
        raise SettingsError(f"{text[:40]!r} is no amount from 10^-{decimals} to {_MOST}", rule=option, hint=f"{option} {sample}")
    return int(whole + part.ljust(decimals, "0"))


def _show(made: _Wanted, whom: str, planned: Plan | Planned) -> None:
    where = made.asset.network
    cost = f"{where.coins(planned.fee_cap)} of the coin of {where.name} ({planned.gas} gas)" if isinstance(planned, Plan) else (
        f"{where.coins(planned.cost)} of the coin of {where.name}")  # fmt: skip
    may = f"to take at most {Money(made.amount, made.asset)}" if made.amount else f"to take no {made.asset.symbol} any more"
    say(f"  allow     {whom} ({made.party}) {may}")
    say(f"  from      {made.owner}, where {Money(made.had, made.asset).text} is allowed on chain now")
    say(f"  gas       at most {cost}")


def ask_person(yes: bool) -> None:
    """A person says yes, here or by --yes; a program without a terminal is never left waiting."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SettingsError("nobody can be asked; nothing was signed", rule="a person says yes", hint="add --yes")
    if not typer.confirm("  send it?", err=True):
        raise PolicyDenied("nothing was signed", rule="you said no")


def _tell(made: _Wanted, sent: Transaction | None, left: int, json: bool, *, sandbox: bool) -> None:
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
