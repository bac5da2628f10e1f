"""Keys in a key management service or a security module: whatever signs a digest, as a Signer.

    kms = boto3.client("kms")
    signer = KmsSigner(
        lambda digest: kms.sign(KeyId=KEY, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")["Signature"],
        kms.get_public_key(KeyId=KEY)["PublicKey"],
    )
    Payer(wallet=Wallet(signer))

Such services answer in DER, with either of the two values of s, and without the recovery id: all three are set right here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..errors import SigningFailed
from ..primitives import address_of, recover
from ..secret import Secret, without_frames

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KmsSigner"]

_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_SPKI = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")  # SubjectPublicKeyInfo, id-ecPublicKey, secp256k1 (RFC 5480)
_REMEMBERED = 1024


class KmsSigner:
    """`sign(digest)` -> a signature of those 32 bytes: DER, or r and s; `public_key`: SubjectPublicKeyInfo in DER, or the point.

    What was signed is remembered: such a service makes other bytes each time, and one Ask has one proof. Another process
    cannot show such a proof again; it stays in doubt until the chain decides. Raises SigningFailed for no key of secp256k1.
    """

    local = False
    __slots__ = ("_account", "_lock", "_made", "_sign")

    def __init__(self, sign: Callable[[bytes], bytes], public_key: bytes) -> None:
        try:
            self._account = address_of(_point(public_key))
        except ValueError as why:
            raise SigningFailed("the public key is not one of secp256k1", rule="key spec ECC_SECG_P256K1",
                                hint="33 or 65 bytes, or SubjectPublicKeyInfo in DER") from why  # fmt: skip
        self._sign = sign
        self._made: dict[bytes, Secret] = {}  # digest -> signature: a bearer secret
        self._lock = threading.Lock()

    def address(self, namespace: str) -> str:
        """The EIP-55 address on `eip155`, else ""."""
        return self._account if namespace == "eip155" else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, low s and v (27 or 28); the same bytes for the same digest. Raises SigningFailed."""
        if namespace != "eip155":
            raise SigningFailed(f"this key signs on EVM, not on {namespace}")
        with self._lock:
            known = self._made.get(digest)
        if known is None:
            fresh = Secret(self._signed(digest))
            with self._lock:
                known = self._made.setdefault(digest, fresh)  # whoever was first: one digest, one signature
                if len(self._made) > _REMEMBERED:
                    self._made.pop(next(iter(self._made)))
        return known.raw

    def _signed(self, digest: bytes) -> bytes:
        failed, found = "", Secret()
        try:
            found = Secret(self._sign(digest))
        except Exception as why:  # its words may quote a request with credentials
            without_frames(why)
            failed = type(why).__name__
        if failed:
            raise SigningFailed(f"the key service did not sign: {failed}", rule="KmsSigner(sign, …)", hint="its credentials, its key, its network")
        return _recoverable(self._account, digest, found)

    def __repr__(self) -> str:
        return f"KmsSigner({self._account})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a signer is not pickled")


def _point(key: bytes) -> bytes:
    """The point in a public key, 33 or 65 bytes; raises ValueError."""
    point = key.removeprefix(_SPKI)
    heads = {33: (2, 3), 65: (4,)}.get(len(point))
    if heads is None or point[0] not in heads:
        raise ValueError("neither 33 nor 65 bytes")
    if len(point) == 65 and address_of(bytes((2 + (point[64] & 1),)) + point[1:33]) != address_of(point):
        raise ValueError("not a point of secp256k1")
    return point


def _recoverable(account: str, digest: bytes, signature: Secret) -> bytes:
    """r, s and v of a signature by `account`; raises SigningFailed for anything else."""
    try:
        r, s = _numbers(signature.raw)
        body = r.to_bytes(32, "big") + min(s, _ORDER - s).to_bytes(32, "big")
        for v in (27, 28):
            if _recovers(digest, body + bytes((v,))) == account:
                return body + bytes((v,))
    except ValueError:
        pass
    raise SigningFailed("the key service's answer is no signature of its key over this digest",
                        rule="ECDSA over the digest itself: MessageType DIGEST", hint="compare key id and public key") from None  # fmt: skip


def _recovers(digest: bytes, signature: bytes) -> str:
    try:
        return recover(digest, signature)
    except ValueError:
        return ""


def _numbers(signature: bytes) -> tuple[int, int]:
    """Both numbers of 64 raw bytes, or of DER's SEQUENCE of two INTEGERs in their shortest form; raises ValueError."""
    if len(signature) == 64:
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    else:
        if len(signature) < 8 or signature[0] != 0x30 or signature[1] != len(signature) - 2 or signature[1] > 127:
            raise ValueError("not DER")
        r, rest = _integer(signature[2:])
        s, rest = _integer(rest)
        if rest:
            raise ValueError("not DER")
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        raise ValueError("out of range")
    return r, s


def _integer(data: bytes) -> tuple[int, bytes]:
    size = data[1] if len(data) > 2 and data[0] == 2 else 0
    body = data[2 : 2 + size]
    if not 0 < size <= 33 or len(body) != size or body[0] & 0x80 or (size > 1 and body[0] == 0 and not body[1] & 0x80):
        raise ValueError("not DER")
    return int.from_bytes(body, "big"), data[2 + size :]
