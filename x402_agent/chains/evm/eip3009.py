"""TransferWithAuthorization as 32 bytes to sign (EIP-712, EIP-3009). Domains come from the closed table, cached.

Source: EIP-3009 "TransferWithAuthorization", EIP-712 "Definition of domainSeparator".
"""

from __future__ import annotations

import re
from functools import lru_cache

from ... import assets
from ...errors import SigningFailed
from ...primitives import checksum, keccak

__all__ = ["address_bytes", "digest", "domain_separator"]

_DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_TRANSFER = (
    b"TransferWithAuthorization(address from,address to,uint256 value,"
    b"uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}").fullmatch


@lru_cache(maxsize=4096)
def address_bytes(text: str) -> bytes:
    """The 20 bytes of a 0x-address; raises ValueError when it is not one or when its mixed case is not EIP-55."""
    if not _ADDRESS(text):
        raise ValueError("is not 0x and 40 hex digits (R2)")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and checksum(text) != text:
        raise ValueError("has a wrong EIP-55 checksum (R2)")
    return bytes.fromhex(digits)


@lru_cache(maxsize=256)
def domain_separator(asset_id: str) -> bytes:
    """The EIP-712 domain separator of a token of the table, 32 bytes; raises SigningFailed when it has none."""
    asset = assets.asset_by_id(asset_id)
    if asset is None or asset.eip712 is None:
        raise SigningFailed("this token has no signing domain", rule="assets.toml: eip712 (D1)")
    name, version = asset.eip712
    chain_id = int(asset.network.id.partition(":")[2])
    words = keccak(_DOMAIN), keccak(name.encode()), keccak(version.encode()), chain_id.to_bytes(32, "big")
    return keccak(b"".join(words) + bytes(12) + bytes.fromhex(asset.address[2:]))


@lru_cache(maxsize=256)
def _head(payer: str) -> bytes:
    return keccak(_TRANSFER) + bytes(12) + address_bytes(payer)


def digest(asset_id: str, payer: str, pay_to: str, value: int, window: tuple[int, int], nonce: bytes) -> bytes:
    """The 32 bytes to sign. `value` in atomic units, `window` = (validAfter, validBefore) in unix seconds.

    Raises ValueError for an address that is not one, SigningFailed for a token without a domain.
    """
    after, before = window
    body = b"".join(
        (
            _head(payer),
            bytes(12),
            address_bytes(pay_to),
            value.to_bytes(32, "big"),
            after.to_bytes(32, "big"),
            before.to_bytes(32, "big"),
            nonce,
        )
    )
    return keccak(b"\x19\x01" + domain_separator(asset_id) + keccak(body))
