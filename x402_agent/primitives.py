"""keccak-256 and secp256k1 for every room that needs them: one backend each, chosen and imported on first use.

Backends, fastest kept: `coincurve`, else `wallycore` (wheels where coincurve has none), for secp256k1 with RFC 6979
nonces and low s; `safe-pysha3`, else `pycryptodome`, for Keccak-256. Nothing here imports eth_account, web3 or py_ecc.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Protocol

from .errors import SigningFailed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EvmKey", "checksum", "evm_address", "keccak", "recover"]

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_MISSING = "uv add 'x402-agent-sdk[evm]'"


class _Curve(Protocol):
    def public(self, key: bytes) -> bytes: ...
    def signer(self, key: bytes) -> Callable[[bytes], bytes]: ...
    def recover(self, digest: bytes, signature: bytes) -> bytes: ...


class _Coincurve:
    def __init__(self) -> None:
        import coincurve

        self._lib = coincurve

    def public(self, key: bytes) -> bytes:
        return bytes(self._lib.PrivateKey(key).public_key.format(compressed=False))

    def signer(self, key: bytes) -> Callable[[bytes], bytes]:
        sign = self._lib.PrivateKey(key).sign_recoverable
        return lambda digest: sign(digest, hasher=None)

    def recover(self, digest: bytes, signature: bytes) -> bytes:
        found = self._lib.PublicKey.from_signature_and_message(signature, digest, hasher=None)
        return bytes(found.format(compressed=False))


class _Wally:
    def __init__(self) -> None:
        import wallycore  # type: ignore[import-untyped]

        self._lib = wallycore

    def public(self, key: bytes) -> bytes:
        return bytes(self._lib.ec_public_key_decompress(self._lib.ec_public_key_from_private_key(key)))

    def signer(self, key: bytes) -> Callable[[bytes], bytes]:
        lib = self._lib
        flags = lib.EC_FLAG_ECDSA | lib.EC_FLAG_RECOVERABLE

        def sign(digest: bytes) -> bytes:
            made = bytes(lib.ec_sig_from_bytes(key, digest, flags))  # header byte 27 + recid (+ 4 compressed), r, s
            return made[1:] + bytes(((made[0] - 27) & 3,))

        return sign

    def recover(self, digest: bytes, signature: bytes) -> bytes:
        made = bytes((27 + signature[64],)) + signature[:64]
        return bytes(self._lib.ec_public_key_decompress(self._lib.ec_sig_to_public_key(digest, made)))


@cache
def _curve() -> _Curve:
    for backend in (_Coincurve, _Wally):
        try:
            return backend()
        except ImportError:
            continue
    raise SigningFailed("no secp256k1 library is installed", rule="extra `evm`", hint=_MISSING)


@cache
def _hasher() -> Callable[[bytes], bytes]:
    try:
        from sha3 import keccak_256  # type: ignore[import-untyped]
    except ImportError:
        pass
    else:
        return lambda data: bytes(keccak_256(data).digest())
    try:
        from Crypto.Hash import keccak as crypto
    except ImportError:
        raise SigningFailed("no Keccak-256 library is installed", rule="extra `evm`", hint=_MISSING) from None
    return lambda data: crypto.new(data=data, digest_bits=256, update_after_digest=True).digest()


def keccak(data: bytes) -> bytes:
    """Keccak-256 of `data`, 32 bytes."""
    return _hasher()(data)


@lru_cache(maxsize=4096)
def checksum(address: str) -> str:
    """The EIP-55 form of a 0x-address of 40 hex digits."""
    low = address[2:].lower()
    digits = keccak(low.encode()).hex()
    return "0x" + "".join(c.upper() if digits[i] >= "8" else c for i, c in enumerate(low))


def _address(public: bytes) -> str:
    return checksum("0x" + keccak(public[1:])[-20:].hex())


def evm_address(key: bytes) -> str:
    """The EIP-55 address of a 32-byte private key."""
    return _address(_curve().public(key))


def recover(digest: bytes, signature: bytes) -> str:
    """The EIP-55 address that signed a 32-byte digest; `signature` is r, s and v (0, 1, 27 or 28), 65 bytes.

    Raises ValueError for anything that is not a signature.
    """
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        raise ValueError("a signature is 65 bytes with v 27 or 28")
    recid = signature[64] - 27 if signature[64] >= 27 else signature[64]
    try:
        return _address(_curve().recover(digest, signature[:64] + bytes((recid,))))
    except SigningFailed:
        raise
    except Exception as cause:
        raise ValueError("not a signature over this digest") from cause


class EvmKey:
    """A secp256k1 private key, parsed once. Its repr shows the address and nothing else."""

    __slots__ = ("_sign", "address")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32 or not 0 < int.from_bytes(key, "big") < _ORDER:
            raise SigningFailed("a private key is 32 bytes below the order of secp256k1", hint="check the key")
        self.address = evm_address(key)
        self._sign = _curve().signer(key)

    def sign(self, digest: bytes) -> bytes:
        """r, s and v (27 or 28) over a 32-byte digest: RFC 6979, low s, so equal digests give equal bytes."""
        made = self._sign(digest)
        return made[:64] + bytes((27 + made[64],))

    def __repr__(self) -> str:
        return f"EvmKey({self.address})"
