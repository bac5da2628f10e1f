"""What lies sealed under the wallet's key (`sealing`): credentials that still open doors, and what is kept of a purchase
until somebody has it (`keeping`)."""

from __future__ import annotations

from .credentials import Credentials
from .keeping import Keeping
from .sealing import Vault

__all__ = ["Credentials", "Keeping", "Vault"]
