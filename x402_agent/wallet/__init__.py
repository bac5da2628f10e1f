"""Where keys live. A wallet answers two questions, which account and what signature; it never shows a key."""

from __future__ import annotations

from .adapters import AccountSigner
from .keys import KeySigner, Signer, Wallet

__all__ = ["AccountSigner", "KeySigner", "Signer", "Wallet"]
