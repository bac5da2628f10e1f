"""A request and an answer without a library: what both doors hand to the app and carry out for it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..dialects import strict
from ..errors import ChallengeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_BODY", "Answer", "Request", "decode64", "encode64", "json_answer"]


MAX_BODY = 4 * 1024 * 1024  # bytes: what is decoded holds everybody else up


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are in lower case. Its repr shows no header: they may hold a proof."""

    method: str
    origin: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    query: str = ""  # what stood behind the question mark, still encoded
    client: str = "127.0.0.1"  # the address it came from

    @property
    def url(self) -> str:
        """Where it was sent, without the query."""
        return self.origin + self.path

    def json(self) -> Any:
        """The decoded body, read as strictly as a seller's words are; raises ValueError."""
        return _value(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What happens to a request: after `delay` seconds an answer, chunk by chunk, `pause` seconds apart.

    `ending` drop: the connection ends without an answer; hang: nothing comes until the delay is over, then drop.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()
    delay: float = 0.0
    pause: float = 0.0
    ending: Literal["whole", "drop"] = "whole"

    def plus(self, *headers: tuple[str, str]) -> Answer:
        """The same answer with more header lines."""
        return replace(self, headers=self.headers + headers)

    def wire_headers(self, method: str) -> list[tuple[str, str]]:
        """Every header line, with a length when the body is one chunk."""
        lines = list(self.headers)
        if self.chunks and not self.pause and self.status not in (204, 304):
            lines.append(("content-length", str(sum(map(len, self.chunks)))))
        elif not self.chunks and method != "HEAD":
            lines.append(("content-length", "0"))
        return lines


def json_answer(status: int, document: object, *headers: tuple[str, str]) -> Answer:
    """An answer whose body is JSON."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return Answer(status, (("content-type", "application/json"), *headers), (body,))


def encode64(document: object) -> str:
    """Padded standard base64 of compact JSON, as x402 headers carry it."""
    return base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode("ascii")


def decode64(text: str) -> Any:
    """The document in a header; raises ValueError. Strict like the official decoder: padding is required."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64 of JSON") from None
    return _value(data)


def _value(data: bytes) -> Any:
    """JSON that a stranger sent; how deep it is nested is counted before a parser sees it."""
    try:
        return strict.value(data, MAX_BODY)
    except ChallengeInvalid as why:
        raise ValueError(why.what) from None
