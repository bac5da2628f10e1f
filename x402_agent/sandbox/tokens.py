"""What opens content, and who is logged in: JSON Web Tokens by HMAC-SHA256 (RFC 7519, RFC 7515), of secrets that change.

A secret that was taken out of use opens for another day what it has signed; then nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from ..dialects import strict
from ..errors import ChallengeInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OVERLAP", "Tokens"]

OVERLAP = 86_400  # seconds that an old secret still opens
LONGEST = 4096
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}").fullmatch


class _Secret(NamedTuple):
    raw: bytes
    ends: float  # unix seconds from which on it opens nothing


class Tokens:
    """`clock` gives unix seconds. Secrets live in memory: no token outlives its process, as no chain here does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, _Secret] = {}
        self._now = ""
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new secret from here on; the one before it opens for OVERLAP."""
        now = self._clock()
        old = self._known.get(self._now)
        self._known = {kid: each for kid, each in self._known.items() if each.ends > now}
        if old is not None:
            self._known[self._now] = old._replace(ends=now + OVERLAP)
        self._now = secrets.token_hex(8)
        self._known[self._now] = _Secret(secrets.token_bytes(32), float("inf"))

    def issue(self, use: str, ends: int, **claims: str) -> str:
        """A token for one use until `ends`, in unix seconds."""
        head = {"alg": "HS256", "typ": "JWT", "kid": self._now}
        body = {"aud": use, "iat": int(self._clock()), "exp": ends, "jti": secrets.token_hex(8), **claims}
        text = f"{_packed(json.dumps(head).encode())}.{_packed(json.dumps(body).encode())}"
        return f"{text}.{_mac(self._known[self._now], text)}"

    def read(self, token: str, use: str) -> dict[str, Any] | None:
        """The claims of a token of ours for this use that has not ended; None for every other."""
        if len(token) > LONGEST or not _SHAPE(token):
            return None
        text, _, mac = token.rpartition(".")
        head, body = (_opened(part) for part in text.split("."))
        secret = self._known.get(str(head.get("kid")))
        now = self._clock()
        if secret is None or secret.ends <= now or head.get("alg") != "HS256" or not hmac.compare_digest(_mac(secret, text), mac):
            return None
        ends = body.get("exp")
        return body if body.get("aud") == use and type(ends) is int and ends > now else None


def _mac(secret: _Secret, text: str) -> str:
    return _packed(hmac.digest(secret.raw, text.encode(), hashlib.sha256))


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _opened(part: str) -> dict[str, Any]:
    """One part of a token; nothing where it is no JSON object."""
    try:
        found = strict.value(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), LONGEST)
    except (ChallengeInvalid, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
