"""keccak-256 and secp256k1 for every room that needs them: one backend each, chosen and imported on first use.

Backends, fastest kept: `coincurve`, else `wallycore` (wheels where coincurve has none), for secp256k1 with RFC 6979
nonces and low s; `safe-pysha3`, else `pycryptodome`, for Keccak-256. Nothing here imports eth_account, web3 or py_ecc.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from .encodings import base58
from .errors import SigningFailed
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ORDER",
    "EvmKey",
    "SolanaKey",
    "address_of",
    "aes128_ctr",
    "checksum",
    "ed25519_public",
    "evm_address",
    "hkdf",
    "keccak",
    "public_key",
    "public_points",
    "recover",
    "recover_point",
    "ripemd160",
    "scrypt_beyond",
    "seal",
    "sha512_256",
    "unseal",
    "verify_ed25519",
    "verify_p256",
]

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_FIELD = 2**256 - 2**32 - 977
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
        import warnings

        with warnings.catch_warnings():  # its SWIG types warn as they are made, and crash at exit when that is an error
            warnings.simplefilter("ignore", DeprecationWarning)
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


def evm_address(key: bytes | Secret) -> str:
    """The EIP-55 address of a 32-byte private key."""
    key = Secret(key)
    return _address(_curve().public(key.raw))


def address_of(public: bytes) -> str:
    """The EIP-55 address of a secp256k1 public key: 33 bytes compressed, or 65. Raises ValueError for no such point."""
    if len(public) == 33:
        x = int.from_bytes(public[1:], "big")
        y = pow(x**3 + 7, (_FIELD + 1) // 4, _FIELD)
        if y * y % _FIELD != (x**3 + 7) % _FIELD or x >= _FIELD:
            raise ValueError("not a point of secp256k1")
        y = y if y & 1 == public[0] & 1 else _FIELD - y
        public = b"\4" + public[1:] + y.to_bytes(32, "big")
    return _address(public)


def public_points(digest: bytes, signature: bytes) -> list[bytes]:
    """The public keys (65 bytes each, two at most) that may have made `signature`: r and s, 64 bytes, over `digest`."""
    found = []
    for recid in (0, 1):
        with suppress(Exception):  # each backend has its own word for "no such point"
            found.append(_curve().recover(digest, signature + bytes((recid,))))
    return found


def recover(digest: bytes, signature: bytes) -> str:
    """The EIP-55 address that signed a 32-byte digest; `signature` is r, s and v (0, 1, 27 or 28), 65 bytes.

    Raises ValueError for anything that is not a signature.
    """
    return _address(recover_point(digest, signature))


def recover_point(digest: bytes, signature: bytes) -> bytes:
    """The public key, 65 bytes, of whoever signed a 32-byte digest; `signature` as for `recover`. Raises ValueError."""
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        raise ValueError("a signature is 65 bytes with v 27 or 28")
    recid = signature[64] - 27 if signature[64] >= 27 else signature[64]
    try:
        return _curve().recover(digest, signature[:64] + bytes((recid,)))
    except SigningFailed:
        raise
    except Exception as cause:
        raise ValueError("not a signature over this digest") from cause


def hkdf(key: Secret, salt: bytes, info: bytes) -> Secret:
    """32 bytes by HKDF-SHA256 (RFC 5869): for another `info` another key, and none of them tells of `key`."""
    prk = Secret(hmac.digest(salt, key.raw, "sha256"))
    return Secret(hmac.digest(prk.raw, info + b"\x01", "sha256"))


class EvmKey:
    """A secp256k1 private key, parsed once. Its repr shows the address and nothing else."""

    __slots__ = ("_root", "_sign", "address")

    def __init__(self, key: bytes | Secret) -> None:
        key = Secret(key)
        if len(key) != 32 or not 0 < int.from_bytes(key.raw, "big") < ORDER:
            raise SigningFailed("a private key is 32 bytes below the order of secp256k1", hint="check the key")
        curve = _curve()
        self.address = _address(curve.public(key.raw))
        self._sign = curve.signer(key.raw)
        self._root = hkdf(key, b"x402-agent", b"root")

    def derive(self, purpose: str) -> Secret:
        """32 bytes that only this key gives, for what lies encrypted beside it."""
        return hkdf(self._root, b"x402-agent", purpose.encode())

    def sign(self, digest: bytes) -> bytes:
        """r, s and v (27 or 28) over a 32-byte digest: RFC 6979, low s, so equal digests give equal bytes."""
        made = self._sign(digest)
        return made[:64] + bytes((27 + made[64],))

    def __repr__(self) -> str:
        return f"EvmKey({self.address})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a key is not pickled")


class SolanaKey:
    """An Ed25519 private key (32 bytes, RFC 8032), parsed once. Its repr shows the address and nothing else."""

    __slots__ = ("_root", "_sign", "address")

    def __init__(self, key: bytes | Secret) -> None:
        key = Secret(key)
        if len(key) != 32:
            raise SigningFailed("a private key of Ed25519 is 32 bytes", hint="check the key")
        self.address = base58(ed25519_public(key))
        self._sign = _ed25519_signer(key)
        self._root = hkdf(key, b"x402-agent", b"root")

    def derive(self, purpose: str) -> Secret:
        """32 bytes that only this key gives, for what lies encrypted beside it."""
        return hkdf(self._root, b"x402-agent", purpose.encode())

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes over a whole message: equal messages give equal bytes."""
        return self._sign(message)

    def __repr__(self) -> str:
        return f"SolanaKey({self.address})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a key is not pickled")


def _ed25519_signer(key: Secret) -> Callable[[bytes], bytes]:
    """solders, which whoever pays on Solana has, takes 50 us; pycryptodome 1 ms."""
    try:
        from solders.keypair import Keypair
    except ImportError:
        signer = _crypto("Signature.eddsa").new(_crypto("PublicKey.ECC").construct(curve="Ed25519", seed=key.raw), "rfc8032")
        return lambda message: bytes(signer.sign(message))
    pair = Keypair.from_seed(key.raw)
    return lambda message: bytes(pair.sign_message(message))


def public_key(key: Secret, *, compressed: bool = True) -> bytes:
    """The secp256k1 public key of a private one: 33 bytes, or 65 uncompressed (SEC 1)."""
    point = _curve().public(key.raw)
    if not compressed:
        return point
    return bytes((2 + (point[64] & 1),)) + point[1:33]


def _crypto(name: str) -> Any:
    """A module of pycryptodome; raises SigningFailed when it is not installed."""
    try:
        return import_module(f"Crypto.{name}")
    except ImportError:
        raise SigningFailed("pycryptodome is not installed", rule="extra `evm`", hint=_MISSING) from None


def ed25519_public(key: Secret) -> bytes:
    """The Ed25519 public key, 32 bytes, of a 32-byte private key (RFC 8032)."""
    made = _crypto("PublicKey.ECC").construct(curve="Ed25519", seed=key.raw)
    return bytes(made.public_key().export_key(format="raw"))


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a 32-byte Ed25519 key signed `message` (RFC 8032). solders, where it is, takes a fiftieth of pycryptodome's time."""
    if len(public) != 32 or len(signature) != 64:  # of which solders panics
        return False
    try:
        from solders.pubkey import Pubkey
        from solders.signature import Signature
    except ImportError:
        eddsa = _crypto("Signature.eddsa")
        try:
            eddsa.new(eddsa.import_public_key(public), "rfc8032").verify(message, signature)
        except ValueError:
            return False
        return True
    try:
        return Signature.from_bytes(signature).verify(Pubkey.from_bytes(public), message)
    except ValueError:
        return False


def verify_p256(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a P-256 key (33 bytes, compressed) signed `message`: ES256 of RFC 7518, r and s in 64 bytes."""
    ecc, dss = _crypto("PublicKey.ECC"), _crypto("Signature.DSS")
    try:
        key = ecc.import_key(public, curve_name="P-256")
        dss.new(key, "fips-186-3").verify(_crypto("Hash.SHA256").new(message), signature)
    except ValueError:
        return False
    return True


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160 of `data`, 20 bytes."""
    return bytes(_crypto("Hash.RIPEMD160").new(data).digest())


@cache
def _truncated() -> Callable[[bytes], bytes]:
    """OpenSSL's, where it has it, else pycryptodome's: a tenth as fast."""
    if "sha512_256" in hashlib.algorithms_available:
        return lambda data: hashlib.new("sha512_256", data).digest()
    made = _crypto("Hash.SHA512")
    return lambda data: bytes(made.new(data, truncate="256").digest())


def sha512_256(data: bytes) -> bytes:
    """SHA-512/256 of `data`, 32 bytes (FIPS 180-4): another hash than SHA-512, cut."""
    return _truncated()(data)


def seal(key: Secret, nonce: bytes, plain: Secret, header: bytes) -> bytes:
    """AES-256-GCM (NIST SP 800-38D): ciphertext and a 16-byte tag over it and `header`. One nonce of 12 bytes per key."""
    aes = _crypto("Cipher.AES")
    made, tag = aes.new(key.raw, aes.MODE_GCM, nonce=nonce).update(header).encrypt_and_digest(plain.raw)
    return bytes(made + tag)


def unseal(key: Secret, nonce: bytes, sealed: bytes, header: bytes) -> Secret | None:
    """What `seal` was given, or None when key, header or ciphertext are not the same."""
    aes = _crypto("Cipher.AES")
    try:
        opened = aes.new(key.raw, aes.MODE_GCM, nonce=nonce).update(header)
        return Secret(opened.decrypt_and_verify(sealed[:-16], sealed[-16:]))
    except ValueError:
        return None


def aes128_ctr(key: Secret, iv: bytes, data: Secret) -> Secret:
    """AES-128 in counter mode, the 16-byte `iv` as the first counter block; the same call encrypts and decrypts."""
    aes = _crypto("Cipher.AES")
    return Secret(aes.new(key.raw, aes.MODE_CTR, nonce=b"", initial_value=iv).encrypt(data.raw))


def scrypt_beyond(passphrase: Secret, salt: bytes, n: int, r: int, p: int) -> Secret:
    """32 bytes by scrypt with an `n` of 2^(16 r) or more, which hashlib's does not run; half as fast."""
    return Secret(_crypto("Protocol.KDF").scrypt(passphrase.raw, salt, 32, N=n, r=r, p=p))
