"""What `doctor` says of chains: for each family what is missing to pay there, and of each network's nodes which answers, is behind or lies."""

from __future__ import annotations

import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from .. import PaymentError, assets, chains
from ..chains.rpc import shown
from ..secret import Secret, plain
from ..transport.fetch import drive
from ..wallet import FAMILIES, KEYS
from .checks import Check
from .wallet_held import accounts_of, held, own_address

if TYPE_CHECKING:
    from .. import Policy, Settings
    from ..model import Network

__all__ = ["families", "nodes"]

LATE = 900.0  # seconds: a newest block older than this is no newest block
# Without a node: who pays on the first two must ask one before he signs, on the others it is asked afterwards alone.
_BEFORE = {"solana": "a fresh blockhash", "stacks": "the account's next nonce"}
_NODE = {"eip155": "base=https://…", "solana": "solana=https://…", "stacks": "stacks=https://api.hiro.so", "tron": "tron=https://api.trongrid.io"}
_SIGNS = {"solana": (("solders",), "solana")}  # else the extra `evm`: secp256k1
_CURVES = (("coincurve", "wallycore"), "evm")


def families(settings: Settings, policy: Policy) -> list[Check]:
    """One check for each family of chains: the account, the networks, and what is missing, each with what to type. Asks no node."""
    try:
        known = accounts_of(settings, "")
    except PaymentError:
        known = {}  # the check of the key says why
    return [_family(each.namespace, settings, policy, known) for each in chains.builtin()]


def _family(namespace: str, settings: Settings, policy: Policy, known: dict[str, str]) -> Check:
    address, paid = known.get(namespace, ""), [each for each in assets.networks() if each.namespace == namespace and policy.pays_on(each)]
    reached = [each for each in paid if each.id in settings.nodes]
    missing = [*_no_library(namespace), *_no_account(namespace, address, known)]
    if not paid:
        missing.append("policy pays on no network of it: networks = […] in policy.toml, or X402_AGENT_NETWORKS=mainnet")
    elif not reached:
        first = _BEFORE.get(namespace)
        why = f"no node, and a payment needs {first}" if first else "no node: no balance is known, and nothing in doubt is ever freed"
        line = _example(namespace, paid)
        missing.append(f"{why}: {f'add ,{line} to X402_AGENT_NODES' if settings.nodes else f'export X402_AGENT_NODES={line!r}'}")
    ready = bool(address and paid and not _no_library(namespace) and (reached or namespace not in _BEFORE))
    name = f"pays {FAMILIES[namespace]}"
    said = f"{address or 'no account'}, on {_names(paid)}" if paid else address or "no account"
    facts = {"family": FAMILIES[namespace], "address": address, "networks": [each.id for each in paid],
             "nodes": [each.id for each in reached], "missing": missing, "ready": ready}  # fmt: skip
    return Check(name, True if ready else None, "; ".join([said, *missing]), facts)


def _no_library(namespace: str) -> list[str]:
    modules, extra = _SIGNS.get(namespace, _CURVES)
    there = any(importlib.util.find_spec(each) for each in modules)
    return [] if there else [f"{' or '.join(modules)} is not installed: pip install 'x402-agent-sdk[{extra}]'"]


def _no_account(namespace: str, address: str, known: dict[str, str]) -> list[str]:
    if address:
        return []
    if known:
        return [f"your wallet has no key of it: export {KEYS[namespace]}=…, or x402-agent wallet import FILE --chain {FAMILIES[namespace].lower()}"]
    return [f"x402-agent wallet new, or export {KEYS[namespace]}=…"]


def _names(paid: list[Network]) -> str:
    first = ", ".join(each.name for each in paid[:3])
    return first if len(paid) <= 3 else f"{first} and {len(paid) - 3} more"


def _example(namespace: str, paid: list[Network]) -> str:
    """A line of X402_AGENT_NODES for a network that policy pays on."""
    name, _, url = _NODE[namespace].partition("=")
    return f"{name}={url}" if any(each.name == name for each in paid) else f"{paid[0].name}=https://…"


def nodes(settings: Settings) -> list[Check]:
    """Each network's nodes, asked one by one: on the right chain, at which block, how old; and what the account has there."""
    if not settings.nodes:
        return [Check("node", None, "none; X402_AGENT_NODES names them: only a chain can free what is in doubt")]
    try:
        known = accounts_of(settings, "")
    except PaymentError:
        known = {}
    named = [where for name in settings.nodes if (where := assets.network(name))]
    with ThreadPoolExecutor(16) as pool:  # one that hangs takes half a minute, and the others need not wait for it
        return list(pool.map(lambda where: _network(where, settings, known.get(where.namespace, "")), named))


def _network(where: Network, settings: Settings, account: str) -> Check:
    name, urls = f"node {where.name}", [Secret(url) for url in Secret(settings.nodes[where.id]).text.split("|")]
    with ThreadPoolExecutor(len(urls)) as pool:
        rows = list(pool.map(lambda url: _asked(where, url), urls))
    best = max((row["block"] for row in rows), default=0)
    for row in rows:
        if row["ok"] and row["block"] + _far(best) < best:
            row |= {"ok": False, "said": f"behind, at block {row['block']}: another node of it is at {best}"}
    fine = [row for row in rows if row["ok"]]
    said = [f"{row['node']}: {row['said']}" for row in rows]
    facts: dict[str, Any] = {"network": where.id, "nodes": rows}
    if fine and len(fine) < len(rows):
        said.append(f"{fine[0]['node']} is asked instead; nothing in doubt is freed until all of them answer")
    if fine and account:
        address = own_address(account, where)
        has, coin = held(settings, where, account)
        symbols = {each.id: each.symbol for each in assets.assets()}
        some = [f"{amount} {symbols[asset]}" for asset, amount in has.items() if amount.strip("0.")]
        said.append(f"{address} has {', '.join([*some, *([coin + ' of its coin'] if coin else [])]) or 'nothing'}")
        facts |= {"address": address, "balances": has, "coin": coin}
    return Check(name, True if len(fine) == len(rows) else None if fine else False, "; ".join(said), facts)


def _far(block: int) -> int:
    """How many blocks one node may be behind another: a small part of all, so that fast chains and slow ones have one rule."""
    return max(20, block // 100_000)


def _asked(where: Network, url: Secret) -> dict[str, Any]:
    """What one node says of itself. Of its URL only scheme and host are ever shown."""
    chain: Any = next(each for each in chains.builtin() if each.namespace == where.namespace)
    row: dict[str, Any] = {"node": shown(Secret(url.text.strip())), "ok": False, "block": 0, "seconds": None}
    try:
        block, at = drive(chain.tip(where, url.text))
    except PaymentError as why:
        return row | {"said": plain(why.what.partition(f": {row['node']}: ")[2] or why.what, 400)}
    old = max(0, int(time.time()) - at) if at else None
    row |= {"block": block, "seconds": old}
    if old is not None and old > LATE:
        return row | {"said": f"stale: its newest block, {block}, is {_span(old)} old"}
    return row | {"ok": True, "said": f"at block {block}{'' if old is None else f', {old} s old'}"}


def _span(seconds: int) -> str:
    return f"{seconds // 86400} days" if seconds > 2 * 86400 else f"{seconds // 3600} hours" if seconds > 7200 else f"{seconds // 60} minutes"
