"""The payer of the sandbox that `x402-agent sandbox up` runs on this machine: test money, a ledger of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..ledger import SqliteLedger
from ..policy import Policy
from ..wallet import Wallet
from .facts import pretend
from .payer import Payer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings import Settings

__all__ = ["sandbox_payer"]


def sandbox_payer(settings: Settings, trace: Callable[[Any, Any, Any], None] | None = None) -> Payer:
    """A payer with the key of the sandbox that `sandbox up` runs; raises SettingsError when none runs."""
    path = settings.data_dir / "sandbox" / "payer.json"
    if not path.exists():
        raise SettingsError("no sandbox is running", rule=str(path), hint="x402-agent sandbox up")
    facts = json.loads(path.read_text("utf-8"))
    network = facts["network"]
    settings = replace(settings, nodes={network: facts["node"]}, dialects=facts.get("dialects", {}))
    policy = Policy(networks=(network,), source="the sandbox default")
    ledger = SqliteLedger(settings.sandbox_ledger, sandbox=True)
    wallet = Wallet.from_key(facts["key"], network.partition(":")[0])
    return Payer(wallet=wallet, policy=policy, settings=settings, ledger=ledger, trace=trace, prices=pretend(facts.get("coins", {})))
