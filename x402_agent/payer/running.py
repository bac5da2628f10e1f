"""The payer of what `x402-agent sandbox up` runs on this machine: test money, a ledger of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..ledger import SqliteLedger
from ..policy import Policy
from ..wallet import KeySigner, Wallet
from .facts import pretend
from .payer import Payer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings import Settings

__all__ = ["sandbox_payer", "sandboxed"]


def sandboxed(settings: Settings, url: str) -> bool:
    """Whether a URL is of a sandbox that `sandbox up` runs on this machine."""
    path = settings.data_dir / "sandbox" / "payer.json"
    return path.exists() and any(url.startswith(f"{facts['url']}/") for facts in json.loads(path.read_text("utf-8")))


def sandbox_payer(settings: Settings, trace: Callable[[Any, Any, Any], None] | None = None) -> Payer:
    """A payer with the keys of the sandboxes that `sandbox up` runs; raises SettingsError when none runs."""
    path = settings.data_dir / "sandbox" / "payer.json"
    if not path.exists():
        raise SettingsError("no sandbox is running", rule=str(path), hint="x402-agent sandbox up")
    found = json.loads(path.read_text("utf-8"))
    nodes: dict[str, str] = {}
    keys: dict[str, str] = {}
    dialects: dict[str, dict[str, Any]] = {}
    coins: dict[str, int] = {}
    for facts in found:  # sandboxes of one chain stand on one ground: one node, one key
        nodes[facts["network"]] = facts["node"]
        keys[facts["network"].partition(":")[0]] = facts["key"]
        coins |= facts.get("coins", {})
        for name, said in facts.get("dialects", {}).items():
            dialects.setdefault(name, {}).update(said)
    settings = replace(settings, nodes=nodes, dialects=dialects)
    policy = Policy(networks=tuple(nodes), source="the sandbox default")
    ledger = SqliteLedger(settings.sandbox_ledger, sandbox=True)
    wallet = Wallet(*(KeySigner(key, namespace) for namespace, key in keys.items()))
    return Payer(wallet=wallet, policy=policy, settings=settings, ledger=ledger, trace=trace, prices=pretend(coins))
