"""A self-signed certificate for this machine, made in the test: no file of keys lies in the repository."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS
from Crypto.Util.asn1 import DerBitString, DerInteger, DerObjectId, DerOctetString, DerSequence, DerSetOf


def _tagged(tag: int, value: bytes) -> bytes:
    short = len(value) < 0x80
    return bytes((tag, len(value)) if short else (tag, 0x82, *len(value).to_bytes(2, "big"))) + value


def _name(text: str) -> bytes:
    pair = DerSequence([DerObjectId("2.5.4.3").encode(), _tagged(0x0C, text.encode())]).encode()
    return DerSequence([DerSetOf([pair]).encode()]).encode()


def _extension(oid: str, value: bytes) -> bytes:
    return DerSequence([DerObjectId(oid).encode(), DerOctetString(value).encode()]).encode()


def certificate(key: ECC.EccKey, name: str = "localhost") -> bytes:
    """X.509 v3 in DER (RFC 5280): its own issuer, good for `name` and 127.0.0.1, from yesterday until tomorrow."""
    algorithm = DerSequence([DerObjectId("1.2.840.10045.4.3.2").encode()]).encode()  # ecdsa-with-SHA256
    now = datetime.now(UTC)
    times = [_tagged(0x17, (now + timedelta(days=d)).strftime("%y%m%d%H%M%SZ").encode()) for d in (-1, 1)]
    names = DerSequence([_tagged(0x82, name.encode()), _tagged(0x87, bytes((127, 0, 0, 1)))]).encode()
    basic = DerSequence([_tagged(0x01, b"\xff")]).encode()
    extensions = DerSequence([_extension("2.5.29.17", names), _extension("2.5.29.19", basic)]).encode()
    body = DerSequence([
        _tagged(0xA0, DerInteger(2).encode()), DerInteger(1).encode(), algorithm, _name(name),
        DerSequence(times).encode(), _name(name), key.public_key().export_key(format="DER"), _tagged(0xA3, extensions),
    ]).encode()  # fmt: skip
    signature = DSS.new(key, "fips-186-3", encoding="der").sign(SHA256.new(body))
    return DerSequence([body, algorithm, DerBitString(signature).encode()]).encode()


def pair(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and a client's that trusts that server alone."""
    key = ECC.generate(curve="P-256")
    pem = ssl.DER_cert_to_PEM_cert(certificate(key))
    file = folder / "server.pem"
    file.write_text(key.export_key(format="PEM", use_pkcs8=True) + "\n" + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=pem)
    return server, client
