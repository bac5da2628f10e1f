"""How a wallet comes to its key: it signs that it wants to come in (Supabase's `grant_type=web3`, Sign in with Solana).

The message names the wallet in its second line and says when it was made (`Issued At`), which is soon; the key lives for an hour. It is for
this machine: a Host header says what its sender likes, and a message that a wallet signed for another site opens nothing here.
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ...encodings import unbase58
from ...primitives import verify_ed25519
from ..messages import json_answer
from ..posting import loopback
from .policies import AUTHENTICATED
from .rest import USE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import Answer, Request
    from ..tokens import Tokens

__all__ = ["PATH", "SignIn"]

PATH = "/auth/v1/token"
LIFE = 3_600  # seconds that a key lives
SOON = 600  # seconds that a message is good for
_MESSAGE = re.compile(r"(\S{1,255}) wants you to sign in with your Solana account:\n([1-9A-HJ-NP-Za-km-z]{32,44})\n[^\0]{0,1000}\nIssued At: (\S{19,35})(\n[^\0]{0,1000})?").fullmatch


class SignIn:
    """`clock` is the seller's, in unix seconds."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens, self._clock = tokens, clock

    def handle(self, request: Request) -> Answer:
        """POST {chain, message, signature}; the signature in base64."""
        if request.method != "POST":
            return json_answer(405, {"error": "method_not_allowed"}, ("allow", "POST"))
        if parse_qs(request.query).get("grant_type") != ["web3"]:
            return _refused("unsupported_grant_type", "grant_type=web3")
        try:
            body = request.json()
        except ValueError:
            body = None
        message, signature = (body.get(name) for name in ("message", "signature")) if isinstance(body, dict) else (None, None)
        if not isinstance(message, str) or not isinstance(signature, str) or body.get("chain") != "solana":
            return _refused("validation_failed", "chain solana, message, signature")
        wallet = self._wallet(message, request.origin)
        if not wallet or not _signed(wallet, message, signature):
            return _refused("invalid_grant", "the message is not one of this wallet's, for this origin, of now")
        token = self._tokens.issue(USE, int(self._clock()) + LIFE, role=AUTHENTICATED, wallet_address=wallet)
        return json_answer(200, {"access_token": token, "token_type": "bearer", "expires_in": LIFE}, ("cache-control", "no-store"))

    def _wallet(self, message: str, origin: str) -> str:
        """Whose message it is, "" where it is none for us, of now."""
        found = _MESSAGE(message)
        if found is None or found[1] != origin.partition("://")[2] or not _here(found[1]):
            return ""
        try:
            when = datetime.fromisoformat(found[3])
        except ValueError:
            return ""
        return found[2] if when.tzinfo and abs(when.timestamp() - self._clock()) <= SOON else ""


def _here(host: str) -> bool:
    return loopback(f"http://{host}") is not None or host.partition(":")[0].endswith(".localhost")


def _signed(wallet: str, message: str, signature: str) -> bool:
    try:
        key, made = unbase58(wallet, 44), binascii.a2b_base64(signature, strict_mode=True)
    except ValueError:
        return False
    return len(key) == 32 and len(made) == 64 and verify_ed25519(key, message.encode(), made)


def _refused(code: str, words: str) -> Answer:
    return json_answer(400, {"error": code, "error_description": words}, ("cache-control", "no-store"))
