"""What settings say of one origin that sells by x402Pay, and questions to the API that they name. No answer of it pays anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ChallengeInvalid
from ...secret import Secret, Veiled
from ...steps import Fetch, Fetched
from .. import strict
from ..desks import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...steps import Steps

__all__ = ["NOBODY", "Desk", "desk", "fields_of"]


class Desk(NamedTuple):
    """`api` is the base of its API ("" for none), `key` goes there alone (X-API-Key), `agent` is our name (X-Agent-Id);
    `recipient` is who is paid where a 402 names nobody, `lacks` the variable that its key should be in and is not."""  # fmt: skip

    api: str = ""
    key: Secret = Secret()
    agent: str = ""
    recipient: str = ""
    lacks: str = ""

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
    return Desk(said.get("api", "").rstrip("/"), Secret(said.get("key", "")), said.get("agent", ""), said.get("recipient", ""), said.get("key_env", ""))


def fields_of(got: Fetched) -> dict[str, Any]:
    """The JSON object of an answer, whatever its status; {} where there is none."""
    try:
        return strict.parse(got.content).fields
    except ChallengeInvalid:
        return {}
