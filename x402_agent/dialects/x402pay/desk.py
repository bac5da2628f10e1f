"""What settings say of one origin that sells by x402Pay, and questions to the API that they name. No answer of it pays anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ChallengeInvalid
from ...secret import Secret, Veiled
from ...steps import Fetch, Fetched
from .. import strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...steps import Steps

__all__ = ["NOBODY", "Desk", "desk", "fields_of", "pause"]

TIMEOUT = 20.0
LONGEST = 30.0  # seconds that a seller may ask us to wait


class Desk(NamedTuple):
    """`api` is the base of its API ("" for none), `key` goes there alone (X-API-Key), `agent` is our name (X-Agent-Id);
    `recipient` is who is paid where a 402 names nobody."""  # fmt: skip

    api: str = ""
    key: Secret = Secret()
    agent: str = ""
    recipient: str = ""

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None, bearer: str = "") -> Steps[Fetched]:
        """One question to the API."""
        headers = {"content-type": "application/json"} if document is not None else {}
        if len(self.key):
            headers["x-api-key"] = self.key.text
        if self.agent:
            headers["x-agent-id"] = self.agent
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        body = json.dumps(document).encode() if document is not None else b""
        got: Fetched = yield Fetch(method, self.api + path, body, Veiled(headers), timeout=TIMEOUT, theirs=False)
        return got


NOBODY = Desk()


def desk(said: Mapping[str, str]) -> Desk:
    """The table of one origin, which settings have checked."""
    return Desk(said.get("api", "").rstrip("/"), Secret(said.get("key", "")), said.get("agent", ""), said.get("recipient", ""))


def fields_of(got: Fetched) -> dict[str, Any]:
    """The JSON object of an answer, whatever its status; {} where there is none."""
    try:
        return strict.parse(got.content).fields
    except ChallengeInvalid:
        return {}


def pause(got: Fetched, usual: float) -> float:
    """Seconds until the next question: what Retry-After says, within reason, else the usual ones."""
    text = got.headers.get("retry-after", "")
    asked = float(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0.0
    return min(max(asked, usual), max(LONGEST, usual))
