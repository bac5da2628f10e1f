"""Signed offers and receipts of x402: EIP-712 and JWS, read strictly, their signer found without asking anybody.

A signature shows which key signed, never that the key may speak for the seller: `judge` compares it with the payee.
Source: x402 "Offer and Receipt Extension", sections 3 to 5; RFC 7515 (JWS), RFC 7518 (ES256), RFC 8812 (ES256K),
RFC 8037 (EdDSA).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..dialects import strict
from ..errors import ChallengeInvalid
from ..primitives import keccak, recover
from . import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELDS", "MAX_TEXT", "Kind", "Signed", "digest", "read"]

Kind = Literal["offer", "receipt"]
MAX_TEXT = 8 * 1024
# Section 4.3 and 5.3: the types are never on the wire. Name -> (EIP-712 type, may be absent).
FIELDS: dict[Kind, dict[str, tuple[str, bool]]] = {
    "offer": {
        "version": ("uint256", False), "resourceUrl": ("string", False), "scheme": ("string", False),
        "network": ("string", False), "asset": ("string", False), "payTo": ("string", False),
        "amount": ("string", False), "validUntil": ("uint256", True),
    },
    "receipt": {
        "version": ("uint256", False), "network": ("string", False), "resourceUrl": ("string", False),
        "payer": ("string", False), "issuedAt": ("uint256", False), "transaction": ("string", True),
    },
}  # fmt: skip
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}").fullmatch


@dataclass(frozen=True, slots=True)
class Signed:
    """One signed offer or receipt. `signer` is an EVM address, a base58 Ed25519 key or `p256:…`, "" when not known.

    `problem` says why it proves nothing, "" when the signature holds; `unproved` names a key that cannot be looked up
    here. `text` is the whole artifact as compact JSON.
    """

    kind: Kind
    payload: Mapping[str, Any]
    signer: str = ""
    problem: str = ""
    unproved: str = ""
    text: str = field(default="", repr=False)


class _Bad(Exception):
    pass


def read(artifact: object, kind: Kind) -> Signed:
    """A parsed artifact, checked. Never raises for what a seller wrote: `problem` says what is wrong with it."""
    payload: Mapping[str, Any] = {}
    text = strict.compact(artifact) if isinstance(artifact, dict) else ""
    try:
        if not text or len(text) > MAX_TEXT:
            raise _Bad("it is not an object of at most 8 KiB")
        assert isinstance(artifact, dict)
        if artifact.get("format") == "eip712":
            payload = _payload(artifact.get("payload"), kind)
            return Signed(kind, payload, _recovered(artifact.get("signature"), payload, kind), text=text)
        if artifact.get("format") == "jws":
            header, payload, message, signature = _jws(artifact.get("signature"), kind)
            signer, unproved = keys.signer(header, message, signature)
            return Signed(kind, payload, signer, unproved=unproved, text=text)
        raise _Bad("its format is neither eip712 nor jws")
    except (_Bad, keys.BadKey, ChallengeInvalid) as why:
        said = why.what if isinstance(why, ChallengeInvalid) else str(why)
        return Signed(kind, payload, problem=said, text=text)


def _payload(found: object, kind: Kind) -> Mapping[str, Any]:
    """The signed fields and no others, each of its type; raises _Bad."""
    if not isinstance(found, dict):
        raise _Bad("its payload is not an object")
    made: dict[str, Any] = {}
    for name, (type_, optional) in FIELDS[kind].items():
        value = found.get(name)
        if value is None and optional:
            value = 0 if type_ == "uint256" else ""
        good = type(value) is int and 0 <= value < 1 << 256 if type_ == "uint256" else type(value) is str
        if not good:
            raise _Bad(f"{name} is missing or of another type")
        made[name] = value
    if made["version"] != 1:
        raise _Bad(f"version {made['version']} of its payload is not known")
    return made


def digest(payload: Mapping[str, Any], kind: Kind) -> bytes:
    """The 32 bytes that were signed (EIP-712): domain `x402 offer` or `x402 receipt`, version 1, chain 1 (3.2)."""
    fields = FIELDS[kind]
    head = f"{kind.capitalize()}({','.join(f'{type_} {name}' for name, (type_, _) in fields.items())})"
    words = [keccak(head.encode())]
    for name, (type_, _) in fields.items():
        value = payload[name]
        words.append(value.to_bytes(32, "big") if type_ == "uint256" else keccak(value.encode()))
    return keccak(b"\x19\x01" + _separator(kind) + keccak(b"".join(words)))


def _separator(kind: Kind) -> bytes:
    domain = b"EIP712Domain(string name,string version,uint256 chainId)"
    name = f"x402 {kind}".encode()
    return keccak(keccak(domain) + keccak(name) + keccak(b"1") + (1).to_bytes(32, "big"))


def _recovered(signature: object, payload: Mapping[str, Any], kind: Kind) -> str:
    if not isinstance(signature, str) or not _SIGNATURE(signature):
        raise _Bad("its signature is not 65 bytes of hex")
    try:
        return recover(digest(payload, kind), bytes.fromhex(signature[2:]))
    except ValueError:
        raise _Bad("its signature belongs to no key") from None


def _jws(compact: object, kind: Kind) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes, bytes]:
    """Header, payload, the signed bytes and the signature of a JWS in compact form (RFC 7515, 7.1); raises _Bad."""
    parts = compact.split(".") if isinstance(compact, str) else []
    if len(parts) != 3 or not compact.isascii():  # type: ignore[attr-defined]
        raise _Bad("its signature is not a compact JWS")
    header = strict.parse(strict.decode64(parts[0])).fields
    if "crit" in header or "b64" in header:
        raise _Bad("its header demands an extension of JWS")
    payload = _payload(strict.parse(strict.decode64(parts[1])).fields, kind)
    return header, payload, f"{parts[0]}.{parts[1]}".encode(), strict.decode64(parts[2])
