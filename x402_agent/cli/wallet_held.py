"""What accounts have, where a node is set: what `wallet show` and `wallet fund` tell beside an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import Money, NodeError, SettingsError, Wallet, WalletError, assets, chains
from ..secret import Env
from ..transport.fetch import drive
from ..wallet import KEYS, WalletFile, file_at

if TYPE_CHECKING:
    from .. import Settings
    from ..model import Network

__all__ = ["accounts_of", "balances", "held", "own_address", "usual"]


def accounts_of(settings: Settings, name: str) -> dict[str, str]:
    """Addresses by CAIP-2 namespace that pay, or those of a named account; raises WalletError. Needs no passphrase."""
    env = Env()
    wallet = Wallet.from_env({each: env[each] for each in KEYS.values() if env.get(each)})
    if wallet.signers and not name:
        return {namespace: found for namespace in KEYS if (found := wallet.address(namespace))}
    known = [each for each in WalletFile.read(file_at(env, settings.wallet_path)).accounts if name in ("", each.get("name", ""))]
    if not known:
        raise WalletError(f"no account is called {name[:40]!r}", rule="--account", hint="x402-agent wallet account list")
    return {namespace: next(each[namespace] for each in known if namespace in each)
            for namespace in KEYS if any(namespace in each for each in known)}  # fmt: skip


def own_address(account: str, where: Network) -> str:
    """An account as this network writes it: Stacks' testnet has another spelling of the same key's address."""
    if where.namespace != "stacks":
        return account
    from ..chains.stacks.signing import own

    return own(account, where)


def held(settings: Settings, where: Network, address: str) -> tuple[dict[str, str], str]:
    """What an account has by CAIP-19 id, as text, and of the network's own coin; a node's failure in words. Empty without a node."""
    node = settings.nodes.get(where.id, "")
    chain: Any = next((each for each in chains.builtin() if each.namespace == where.namespace), None)
    found: dict[str, str] = {}
    if not node or not hasattr(chain, "balance"):
        return found, ""
    try:
        for asset in assets.assets():
            if asset.network is where and not (asset.native and hasattr(chain, "coin")):  # told once, as the coin
                found[asset.id] = Money(drive(chain.balance(asset, address, node)), asset).text
        return found, where.coins(drive(chain.coin(where, address, node))) if hasattr(chain, "coin") else ""
    except (NodeError, SettingsError) as why:
        return found, f"unknown: {why.what}"


def usual(settings: Settings, where: Network, address: str) -> str:
    """What a usual transaction of an account's own takes by the node's prices, with its coin; "" where no node says it."""
    node = settings.nodes.get(where.id, "")
    chain: Any = next((each for each in chains.builtin() if each.namespace == where.namespace), None)
    coin = next((each for each in assets.assets() if each.network is where and each.native), None)
    if not node or not hasattr(chain, "needs"):
        return ""
    try:
        units: int = drive(chain.needs(where, address, node))
    except (NodeError, SettingsError):
        return ""
    return f"{Money(units, coin).decimal.normalize():f} {coin.symbol}" if coin else f"{where.coins(units)} of the coin of {where.name}"


def balances(settings: Settings, address: str, namespace: str) -> dict[str, dict[str, str]]:
    """By network that a node is set for: token and coin, as text, what is empty left out."""
    made: dict[str, dict[str, str]] = {}
    for name in settings.nodes:
        where = assets.network(name)
        if where is None or where.namespace != namespace:
            continue
        has, own = held(settings, where, address)
        symbols = {each.id: each.symbol for each in assets.assets() if each.network is where}
        rows = {symbols[asset]: amount for asset, amount in has.items() if amount.strip("0.")}
        made[where.name] = {**rows, **({"coin": own} if own else {})}
    return made
