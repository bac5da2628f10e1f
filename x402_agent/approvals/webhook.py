"""A person behind a web service: the request is posted, signed; the answer must be signed with the same secret.

Both ways as https://www.standardwebhooks.com has it: `webhook-id`, `webhook-timestamp`, and `webhook-signature`, which is
`v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`. The service answers 202 while nobody has decided (it is asked
again, with the same id), then 200 and `{"digest": "…", "answer": "yes"}`. Redirects are not followed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

from ..errors import PolicyDenied, SettingsError
from ..policy import posted_to
from ..secret import Secret
from ..steps import Fetch, Sleep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..steps import Fetched, Steps
    from .request import Request

__all__ = ["Webhook", "signature"]

PAUSE = 1.0
TRIES = 3  # when no answer comes, or 429 or 5xx; each waits twice as long as the one before
SKEW = 300  # seconds between their clock and ours
MAX_ANSWER = 4096
MIN_SECRET = 16


class Webhook:
    """`url` is https, or http on this machine; `secret` is text, or `whsec_` and base64. Raises SettingsError."""

    def __init__(self, url: str | Secret, secret: str | Secret) -> None:
        url, secret = Secret(url), Secret(secret)  # a path may be a key, too
        self._url, self._secret = url, _key(secret)
        parts = posted_to(url)
        if parts is None:
            raise SettingsError("a webhook's url is https, or http on this machine", rule="Webhook(url)", hint="https://…")
        if len(self._secret) < MIN_SECRET:
            raise SettingsError(f"a webhook's secret has {MIN_SECRET} bytes or more", rule="Webhook(secret)",
                                hint="python -c 'import secrets; print(secrets.token_hex(24))'")  # fmt: skip
        self.name = f"webhook {parts}"

    def ask(self, request: Request) -> Steps[bool]:
        """True for a signed yes that names this request's digest; raises PolicyDenied, and TimeoutError when time is up."""
        end = time.monotonic() + request.expires - request.created
        body = json.dumps({**request.facts, "digest": request.digest}).encode()
        failed = 0
        while (left := end - time.monotonic()) > 0:
            reply: Fetched = yield self._post(request.id, body, min(left, 60.0))
            if reply.status == 200:
                return self._answered(request, reply)
            if reply.status != 202:
                failed += 1
                if failed >= TRIES or not (reply.status in (0, 429) or reply.status >= 500):
                    raise PolicyDenied(f"it answered {reply.status}" if reply.status else "it did not answer")
            yield Sleep(max(0.0, min(PAUSE * 2**failed, end - time.monotonic())))
        raise TimeoutError

    def _post(self, name: str, body: bytes, timeout: float) -> Fetch:
        at = str(int(time.time()))
        headers = {"content-type": "application/json", "webhook-id": name, "webhook-timestamp": at,
                   "webhook-signature": signature(self._secret, name, at, body)}  # fmt: skip
        return Fetch("POST", self._url.text, body, headers, timeout=timeout, limit=MAX_ANSWER)

    def _answered(self, request: Request, reply: Fetched) -> bool:
        if not _signed(self._secret, request.id, reply.headers, reply.content):
            raise PolicyDenied("its answer is not signed with our secret, or not now", hint="one secret, and the right time, on both sides")
        try:
            found: Any = json.loads(reply.content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.get("digest") != request.digest:
            raise PolicyDenied("its answer is about another request")
        return found.get("answer") == "yes"

    def __repr__(self) -> str:
        return f"Webhook({self.name.partition(' ')[2]})"


def signature(secret: Secret, name: str, at: str, body: bytes) -> str:
    """`v1,BASE64` over `name.at.body`; `at` in unix seconds."""
    made = hmac.digest(secret.raw, f"{name}.{at}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(made).decode("ascii")


def _signed(secret: Secret, name: str, headers: Mapping[str, str], body: bytes) -> bool:
    at = headers.get("webhook-timestamp", "")
    if not (at.isascii() and at.isdigit() and len(at) < 12) or abs(time.time() - int(at)) > SKEW:
        return False
    wanted = signature(secret, name, at, body).encode()
    given = headers.get("webhook-signature", "").encode("utf-8", "replace")
    return any(hmac.compare_digest(wanted, each) for each in given.split()[:8])


def _key(secret: Secret) -> Secret:
    if not secret.raw.startswith(b"whsec_"):
        return secret
    try:
        return Secret(base64.b64decode(secret.raw[6:], validate=True))
    except binascii.Error:
        raise SettingsError("a secret that begins with whsec_ goes on in base64", rule="Webhook(secret)", hint="the whole of it, as it was shown") from None
