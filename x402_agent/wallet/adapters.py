"""Keys that people already hold, as signers: an eth_account LocalAccount, taken by its methods, never imported."""

from __future__ import annotations

from typing import Any

from ..errors import SigningFailed
from ..primitives import hkdf, keccak
from ..secret import Secret

__all__ = ["AccountSigner"]


class AccountSigner:
    """An `eth_account.signers.local.LocalAccount` (or anything with `address` and `unsafe_sign_hash`).

    eth_account signs by RFC 6979, so the same digest gives the same bytes; that is checked when a proof is shown again.
    """

    local = True
    __slots__ = ("_account",)

    def __init__(self, account: Any) -> None:
        if not (hasattr(account, "address") and hasattr(account, "unsafe_sign_hash")):
            raise SigningFailed(
                f"{type(account).__name__} is not an account that can sign",
                rule="address and unsafe_sign_hash, as eth_account's LocalAccount has them",
                hint="Wallet(AccountSigner(Account.from_key(...)))",
            )
        self._account = account

    def address(self, namespace: str) -> str:
        """The account's EIP-55 address on `eip155`, else ""."""
        return str(self._account.address) if namespace == "eip155" else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v (27 or 28), 65 bytes; raises SigningFailed."""
        if namespace != "eip155":
            raise SigningFailed(f"this account signs on EVM, not on {namespace}")
        try:
            return bytes(self._account.unsafe_sign_hash(digest).signature)
        except Exception as cause:
            raise SigningFailed(f"the account did not sign: {type(cause).__name__}") from cause

    def secret(self, purpose: str) -> Secret:
        """32 bytes made of its signature over a fixed text that is no transaction, message or typed data (EIP-191, 712).

        Empty when it signs otherwise each time. Raises SigningFailed.
        """
        digest = keccak(f"x402-agent: what lies encrypted beside this key, {purpose}".encode())
        made, again = (Secret(self.sign_digest("eip155", digest)) for _ in range(2))
        return hkdf(made, b"x402-agent", purpose.encode()) if made.raw == again.raw else Secret()

    def __repr__(self) -> str:
        return f"AccountSigner({self._account.address})"
