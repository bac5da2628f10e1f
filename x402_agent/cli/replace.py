"""`x402-agent resume ID --bump` and `--cancel`: what a person can do about a payment that no block takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import LedgerError, Settings, SettingsError, assets
from ..replacing import plan, send
from ..transport.fetch import drive
from .common import found, sandbox_payer, say
from .secrets import payer as own_payer
from .wallet_approve import ask_person, units_of

if TYPE_CHECKING:
    from .. import Payer
    from ..recovery import Resumed
    from ..replacing import Kind

__all__ = ["replaced"]


def replaced(settings: Settings, payment: str, kind: Kind, max_fee: str, *, yes: bool) -> list[Resumed]:
    """Put another transaction in the place of one that is stuck, once a person has said yes, and see what comes of it.

    Raises SettingsError, LedgerError, PolicyDenied when it would offer more than `max_fee` (whole coins, "" for the chain's cap).
    """
    if settings.signer is not None:
        raise SettingsError("only the user whose key it is puts another transaction in its place", rule="X402_AGENT_SIGNER",
                            hint="the same command as the signer's user")  # fmt: skip
    ledger, row = found(settings, payment)
    network = assets.network(row.network)
    if network is None:
        raise LedgerError(f"{row.network} left the table", rule="assets.toml", hint="install the release of x402-agent-sdk that wrote it")
    most = units_of(max_fee, network.decimals, "--max-fee", "0.02") if max_fee else None
    with sandbox_payer(settings) if ledger.sandbox else own_payer() as payer:
        _replace(payer, row.payment_id, kind, most, yes=yes)
        return list(payer.resume(row.payment_id))


def _replace(payer: Payer, payment_id: str, kind: Kind, most: int | None, *, yes: bool) -> None:
    made = drive(plan(payer, payment_id, kind, max_fee=most))
    offer = made.hold.offer
    what = f"{offer.money} to {offer.pay_to}, the same payment again" if kind == "bump" else f"a transaction that moves nothing, instead of {offer.money}"
    say(f"  {kind:9} {what}")
    say(f"  nonce     {made.hold.terms.anchor.number} of {made.hold.terms.payer}: of all forms at most one can settle")
    coins = offer.network.coins
    say(f"  fee       {coins(made.fee)} of the coin of {offer.network.name}; {coins(made.stands)} are offered now")
    ask_person(yes)
    sent, words = drive(send(payer, made))
    say(f"  written down, then handed to a node: {sent.txid}{': ' + words if words else ''}")
