"""Which key signed a JWS, from the header alone: `jwk`, or a `kid` that is its own key (did:jwk, did:key, did:pkh).

A key that must be fetched (did:web) is not known here: nothing is asked of a network. Where `jwk` and `kid` both give
a key they must be the same (section 4.5 of the extension).
Source: RFC 7517, did:jwk, did:key and did:pkh method specifications, multicodec table.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..dialects import strict
from ..encodings import base58, unbase58
from ..primitives import address_of, checksum, public_points, verify_ed25519, verify_p256
from ..secret import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BadKey", "signer"]

_ALGORITHMS = {"ES256K": "secp256k1", "EdDSA": "Ed25519", "Ed25519": "Ed25519", "ES256": "P-256"}
_CODECS = {b"\xe7\x01": "secp256k1", b"\xed\x01": "Ed25519", b"\x80\x24": "P-256"}
_PKH = re.compile(r"did:pkh:eip155:[0-9]{1,20}:(0x[0-9a-fA-F]{40})").fullmatch


class BadKey(Exception):
    """Why a header names no key that signed this."""


class _Key(NamedTuple):
    """A public key: 33 compressed bytes of a point, 32 of Ed25519, or only an EVM address."""

    curve: str
    data: bytes
    address: str = ""


def signer(header: Mapping[str, Any], message: bytes, signature: bytes) -> tuple[str, str]:
    """-> (who signed, ""), or ("", the key that would have to be looked up). Raises BadKey when it was not signed so."""
    curve = _ALGORITHMS.get(header.get("alg", "")) if isinstance(header.get("alg"), str) else None
    if curve is None:
        raise BadKey("its algorithm is none of ES256K, EdDSA, ES256")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise BadKey("its header names no key (kid)")
    given, named = _of_jwk(header["jwk"]) if "jwk" in header else None, _of_kid(kid)
    key = given or named
    if key is None:
        return "", plain(kid, 120)
    try:
        name = _name(key)
    except ValueError:
        raise BadKey("its key is no point of its curve") from None
    if key.curve != curve or (given and named and _name(given) != _name(named)):
        raise BadKey("its header names two different keys" if given and named else "its key is of another curve")
    if len(signature) != 64 or not _holds(key, name, message, signature):
        raise BadKey("its signature does not hold")
    return name, ""


def _name(key: _Key) -> str:
    if key.curve == "secp256k1":
        return key.address or address_of(key.data)
    return base58(key.data) if key.curve == "Ed25519" else f"p256:{key.data.hex()}"


def _holds(key: _Key, name: str, message: bytes, signature: bytes) -> bool:
    if key.curve == "Ed25519":
        return verify_ed25519(key.data, message, signature)
    if key.curve == "P-256":
        return verify_p256(key.data, message, signature)
    return any(address_of(point) == name for point in public_points(hashlib.sha256(message).digest(), signature))


def _of_kid(kid: str) -> _Key | None:
    """The key that a DID is, None when it must be fetched; raises BadKey when it is broken."""
    did = kid.partition("#")[0]
    if match := _PKH(did):
        return _Key("secp256k1", b"", checksum(match[1]))
    if did.startswith("did:jwk:"):
        return _of_jwk(strict.parse(strict.decode64(did[8:])).fields)
    if did.startswith("did:key:z"):
        try:
            data = unbase58(did[9:])
        except ValueError:
            raise BadKey("its did:key is not base58") from None
        curve = _CODECS.get(data[:2])
        if curve is None or len(data) != (34 if curve == "Ed25519" else 35):
            raise BadKey("its did:key is of a kind that is not known")
        return _Key(curve, data[2:])
    return None


def _of_jwk(found: object) -> _Key:
    if not isinstance(found, dict) or "d" in found:
        raise BadKey("its key is not a public JWK")
    curve, x, y = found.get("crv"), _coordinate(found.get("x")), _coordinate(found.get("y", ""))
    if found.get("kty") == "OKP" and curve == "Ed25519" and len(x) == 32:
        return _Key("Ed25519", x)
    if found.get("kty") == "EC" and curve in ("secp256k1", "P-256") and len(x) == 32 and len(y) == 32:
        return _Key(curve, bytes((2 + (y[31] & 1),)) + x)
    raise BadKey("its key is of a kind that is not known")


def _coordinate(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > 64:
        raise BadKey("its key is not a public JWK")
    return strict.decode64(text) if text else b""
