"""Bytes at rest: sealed under the wallet's key and bound to what they are about (AES-256-GCM, HKDF-SHA256).

The key is made of the ledger's secret file and, where the signer can give one, a secret of the wallet's key. A remote
signer gives none: then whoever can read the ledger's folder can open what is sealed there, and nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING

from ..primitives import hkdf, seal, unseal
from ..secret import Secret

if TYPE_CHECKING:
    from ..wallet import Wallet

__all__ = ["Vault"]

VERSION = b"\x01"


class Vault:
    """Seals and opens with the keys of one wallet and the secret of one ledger (`salt`, 32 bytes)."""

    def __init__(self, wallet: Wallet, salt: Secret) -> None:
        self._wallet, self._salt = wallet, salt
        self._keys: dict[tuple[str, str], Secret] = {}

    def close(self, purpose: str, plain: Secret, *about: str) -> tuple[str, bytes]:
        """-> the account whose key seals it, and version, nonce, ciphertext, tag; `about` must be the same at `open`.

        Raises WalletError when the wallet is locked, SigningFailed when no cipher is installed.
        """
        account, nonce = self._wallet.account, secrets.token_bytes(12)
        key = self._key(purpose, account) or Secret()
        return account, VERSION + nonce + seal(key, nonce, plain, _header(purpose, account, about))

    def open(self, purpose: str, account: str, sealed: bytes, *about: str) -> Secret | None:
        """What was sealed; None when it is of another wallet, damaged, or about something else. Raises as `close` does."""
        key = self._key(purpose, account)
        if key is None or sealed[:1] != VERSION or len(sealed) < 29:
            return None
        return unseal(key, sealed[1:13], sealed[13:], _header(purpose, account, about))

    def name(self, purpose: str, plain: Secret) -> str:
        """32 hex digits that name a secret and tell nothing of it to who lacks the key."""
        key = self._key(purpose, self._wallet.account) or Secret()
        return hmac.new(key.raw, b"name" + plain.raw, hashlib.sha256).hexdigest()[:32]

    def _key(self, purpose: str, account: str) -> Secret | None:
        found = self._keys.get((purpose, account))
        if found is None:
            own = self._wallet.secret(account, purpose) if account else Secret()
            if own is None:
                return None
            found = self._keys[purpose, account] = hkdf(own, self._salt.raw, purpose.encode())
        return found

    def __repr__(self) -> str:
        return f"Vault({self._wallet!r})"


def _header(purpose: str, account: str, about: tuple[str, ...]) -> bytes:
    return json.dumps(["x402-agent", 1, purpose, account, *about]).encode()
