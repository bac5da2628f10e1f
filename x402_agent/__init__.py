"""x402_agent: the payment client of AI agents. It meets 402, pays what its policy allows, and loses track of nothing.

    from x402_agent import Budget, Payer

    payer = Payer.from_env(budget=Budget("5.00/day", per_call="0.10"))
    with payer.client() as http:
        http.get("https://api.example.com/report")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        AddressRefused,
        BudgetExceeded,
        ChallengeInvalid,
        LedgerError,
        NoAcceptableOffer,
        NodeError,
        NotReplayable,
        PaymentError,
        PaymentInDoubt,
        PaymentRefused,
        PolicyDenied,
        SettingsError,
        SigningFailed,
        WalletError,
    )
    from .guard import Guard
    from .model import Asset, Money, Offer, Receipt
    from .payer import Payer, Plan, Quote, attach
    from .policy import Bounds, Budget, Policy, Price
    from .settings import Settings
    from .tasks import Task
    from .transport.drivers import PaymentTransport
    from .wallet import AccountSigner, KmsSigner, Signer, Wallet

__version__ = "0.1.0"
__all__ = [
    "AccountSigner",
    "AddressRefused",
    "Asset",
    "Bounds",
    "Budget",
    "BudgetExceeded",
    "ChallengeInvalid",
    "Guard",
    "KmsSigner",
    "LedgerError",
    "Money",
    "NoAcceptableOffer",
    "NodeError",
    "NotReplayable",
    "Offer",
    "Payer",
    "PaymentError",
    "PaymentInDoubt",
    "PaymentRefused",
    "PaymentTransport",
    "Plan",
    "Policy",
    "PolicyDenied",
    "Price",
    "Quote",
    "Receipt",
    "Settings",
    "SettingsError",
    "Signer",
    "SigningFailed",
    "Task",
    "Wallet",
    "WalletError",
    "attach",
]

_HOMES = {
    "errors": "AddressRefused BudgetExceeded ChallengeInvalid LedgerError NoAcceptableOffer NodeError NotReplayable PaymentError"
    " PaymentInDoubt PaymentRefused PolicyDenied SettingsError SigningFailed WalletError",
    "guard": "Guard",
    "model": "Asset Money Offer Receipt",
    "payer": "Payer Plan Quote attach",
    "policy": "Bounds Budget Policy Price",
    "settings": "Settings",
    "tasks": "Task",
    "transport.drivers": "PaymentTransport",
    "wallet": "AccountSigner KmsSigner Signer Wallet",
}
_ROOMS = {name: room for room, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_ROOMS[name]}", __name__), name)
    found.__module__ = __name__
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
