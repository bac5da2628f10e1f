"""`x402-agent wallet fund` and `wallet sweep`: where money goes in, how much is needed at least, and how it comes out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Money, PaymentInDoubt, Settings, SettingsError, WalletError, assets, chains
from ..transfers import everything, send
from ..transport.fetch import drive
from ..wallet import FAMILIES
from .common import Json, as_json, errors, sandbox_payer, say
from .secrets import payer as own_payer
from .wallet_approve import FEES, ask_person, asset_of, network_of, units_of
from .wallet_held import accounts_of, held, own_address, usual

if TYPE_CHECKING:
    from .. import Asset, Policy
    from ..ledger import Transaction
    from ..model import Network
    from ..transfers import Planned

__all__ = ["fund", "sweep"]


# What an account needs of its network's own coin, for people: the price comes on top of it, in the token that is asked. A node says how
# much; the figure beside it is a usual one, for who has none, and says so.
COINS = {
    "eip155": ("no coin: whoever settles pays the gas. One approve or transfer of your own takes about {}", "60000 gas"),
    "solana": ("no SOL: the seller's facilitator pays the fee. A transfer of your own that opens the payee's account of a token takes about {}",
               "0.00204428 SOL"),
    "stacks": ("STX for the fee of each payment, about {} unless the seller sponsors it", "0.01 STX"),
    "tron": ("no TRX to sign. One approve or transfer of your own burns about {} where no energy is staked", "14 TRX"),
}  # fmt: skip


def fund(
    account: Annotated[str, typer.Option(help="Which named account; the one that pays if not given.")] = "",
    network: Annotated[str, typer.Option(help="Only this network.")] = "",
    json: Json = False,
) -> None:
    """Show where to send money: the address on each network that policy pays on, and the least that is of use there.

    At least one call at your limit; what a day may cost lasts for a day. Needs no passphrase.
    """
    with errors(json):
        settings = Settings.load()
        policy, known = settings.policy(), accounts_of(settings, account)
        found = [each for where in _networks(policy, network) if (each := _needs(policy, settings, where, known))]
        if not found:
            raise SettingsError("this account pays on none of the networks of your policy", rule=policy.place("networks"),
                                hint="x402-agent wallet show, or X402_AGENT_NETWORKS=…")  # fmt: skip
        if json:
            as_json({"account": account, "fund": found})
            return
        for each in found:
            print(f"{each['network_name']:16} {each['address']}")
            for token in each["tokens"]:
                print(f"    {token['symbol']:8} at least {token['least']}, {token['day']}{'; has ' + token['has'] if token['has'] else ''}")
            print(f"    gas      {each['gas']}{'; has ' + each['coins'] if each['coins'] else ''}")


def _networks(policy: Policy, named: str) -> list[Network]:
    where = assets.network(named) if named else None
    if named and where is None:
        raise SettingsError(f"{named[:40]!r} is no network of the table", rule="--network", hint="--network base")
    paid = {chain.namespace for chain in chains.builtin()}
    wanted = [where] if where else [each for each in assets.networks() if policy.pays_on(each)]
    return [each for each in wanted if each.namespace in paid]


def _needs(policy: Policy, settings: Settings, where: Network, known: dict[str, str]) -> dict[str, Any]:
    address = known.get(where.namespace, "")
    tokens = [each for each in assets.assets() if each.network is where and _counted(policy, each)]
    if not address or not tokens:
        return {}
    has, own = held(settings, where, address)
    rows = [{"symbol": each.symbol, "asset": each.id, "least": _of(policy.per_call, each), "has": has.get(each.id, ""),
             "day": f"{_of(policy.day, each)} is a day's" if policy.day else "no limit for a day"} for each in tokens]  # fmt: skip
    said, (words, figure) = usual(settings, where, address), COINS[where.namespace]
    gas = f"{words.format(said or figure)}; {'by your node' if said else 'a usual figure, no node of yours says more'}"
    return {"network": where.id, "network_name": where.name, "family": FAMILIES[where.namespace], "address": own_address(address, where),
            "tokens": rows, "gas": gas, "gas_by_node": said, "coins": own}  # fmt: skip


def _counted(policy: Policy, asset: Asset) -> bool:
    named = policy.assets
    return asset.peg == "USD" and (not named or bool({asset.symbol, asset.id, asset.address} & set(named)))


def _of(micros: int, asset: Asset) -> str:
    """So many dollars of a token that is worth one: `0.1000`."""
    return Money(micros * 10**asset.decimals // 1_000_000, asset).text


def sweep(
    to: Annotated[str, typer.Option("--to", help="The address that gets it: another wallet of yours.")],
    token: Annotated[str, typer.Option(help="USDC, or another token or coin of the table.")] = "USDC",
    network: Annotated[str, typer.Option(help="base, polygon, …; not needed where one node is set.")] = "",
    account: Annotated[str, typer.Option(help="Which named account of the wallet; the one that pays if not given.")] = "",
    max_fee: Annotated[str, typer.Option("--max-fee", help="The most that its fee may be, in whole coins of the network; 0.001 of EVM and Solana, 0.05 STX, 50 TRX if not given.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for its block.")] = 120.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="In the sandbox that `sandbox up` runs.")] = False,
    json: Json = False,
) -> None:
    """Send all of a token or coin from an account of yours to an address, by a person: agents and programs have no such call.

    What payments in doubt may still take stays behind, of a coin also what fees need. It costs a fee, shown first and capped by --max-fee.
    Needs a node. If it ends in doubt: x402-agent resume.

    Examples: x402-agent wallet sweep --to 0x… --network base · x402-agent wallet sweep --to T… --token USDT --network tron
    """
    with errors(json):
        settings = Settings.load()
        if settings.signer is not None or len(settings.slip):
            raise SettingsError("whoever pays from a purse or through a signer does not empty the wallet", rule="a person sweeps",
                                hint="as the wallet's own user, without X402_AGENT_SIGNER and X402_AGENT_SLIP")  # fmt: skip
        if not 0 <= wait <= 86_400:
            raise SettingsError("a wait is from 0 to a day", rule="--wait", hint="--wait 120")
        with sandbox_payer(settings) if sandbox else own_payer() as payer:
            asset = asset_of(token, network or (payer.policy.networks[0] if sandbox else network_of(settings)))
            where = asset.network
            limit = units_of(max_fee or FEES[where.namespace], where.decimals, "--max-fee", FEES[where.namespace])
            payer.wallet = payer.wallet.named(account)
            if not payer.wallet.address(where.namespace):
                what = f"is no account of {where.name}" if payer.wallet.signers else "no account is called so"
                raise WalletError(f"{account[:40]!r}: {what}", rule="--account", hint="x402-agent wallet account list")
            made = drive(everything(payer, asset, to, max_fee=limit))
            _show(made)
            ask_person(yes)
            try:
                sent = drive(send(payer, made, patience=wait, say=lambda text: say(f"  {text}")))
            except KeyboardInterrupt:
                raise PaymentInDoubt("interrupted; what was written down may be under way", hint="x402-agent resume") from None
            _tell(made, sent, json=json)


def _show(made: Planned) -> None:
    where, asset = made.offer.network, made.offer.asset
    say(f"  send      {made.offer.money} from {made.owner}")
    say(f"  to        {made.offer.pay_to}")
    if made.kept:
        say(f"  stays     {Money(made.kept, asset).text}, which fees and payments in doubt may still take")
    say(f"  fee       at most {where.coins(made.cost)} of the coin of {where.name}")


def _tell(made: Planned, sent: Transaction, *, json: bool) -> None:
    offer = made.offer
    if json:
        as_json({"network": offer.network.id, "asset": offer.asset.id, "from": made.owner, "to": offer.pay_to, "amount": str(offer.amount),
                 "kept": str(made.kept), "transaction": sent.txid, "state": sent.state, "fee": str(sent.fee_paid or "")})  # fmt: skip
    else:
        print(f"{sent.state.lower()}  {offer.money} to {offer.pay_to}  {sent.txid}")
