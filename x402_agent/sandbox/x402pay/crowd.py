"""Who comes: a person or an agent, and how often. No price depends on it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from ..messages import json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..limits import Limiter
    from ..messages import Answer, Request
    from .books import X402PayBooks

__all__ = ["Visitor", "crowded", "noted", "visitor"]

AGENTS = (
    "python-requests", "python-urllib", "httpx", "aiohttp", "curl", "wget", "axios", "node-fetch", "undici", "go-http-client", "okhttp", "java/",
    "postman", "insomnia", "gptbot", "chatgpt", "claude", "anthropic", "openai", "langchain", "perplexity", "bot", "spider", "crawler", "x402",
)  # fmt: skip
_PAYMENTS, _API = (10, 60), (100, 900)  # calls in so many seconds


class Visitor(NamedTuple):
    """Whoever made a request: from which address, and how sure it is that this is an agent, in percent."""

    client: str
    name: str
    confidence: int
    signals: tuple[str, ...]

    @property
    def agent(self) -> bool:
        """Whether it counts as one."""
        return self.confidence >= 50


def visitor(request: Request) -> Visitor:
    """Who makes a request: X-Agent-Id says so, a user agent makes it likely."""
    named, said = request.headers.get("x-agent-id", "")[:100], request.headers.get("user-agent", "").lower()
    signals = ["x-agent-id"] if named else []
    signals += [f"user-agent: {each}" for each in AGENTS if each in said] or ([] if said else ["no user-agent"])
    confidence = 100 if named else 80 if any(each.startswith("user-agent") for each in signals) else 50 if signals else 0
    return Visitor(request.client, named, confidence, tuple(signals))


def noted(books: X402PayBooks, request: Request, found: Visitor, now: str) -> None:
    """Keep that an agent came."""
    if found.agent:
        books.database.rows(
            "insert into agent_detections (id, agent_id, user_agent, confidence, path, created_at) values (?, ?, ?, ?, ?, ?)",
            str(uuid.uuid4()), _plain(found.name, 100), _plain(request.headers.get("user-agent", ""), 200), found.confidence, _plain(request.path, 200), now,
        )  # fmt: skip


def _plain(text: str, most: int) -> str:
    """What any database can keep."""
    return "".join(each if each.isprintable() else "?" for each in text[:most])


def crowded(who: str, limits: Limiter, clock: Callable[[], float], *, payments: bool, quiet: bool) -> Answer | None:
    """A 429 for who calls too often: by a key that is known, else by address."""
    most, seconds = _PAYMENTS if payments else _API
    verdict = limits.call(f"{'payments' if payments else 'api'} {who}", most, seconds)
    if verdict.allowed:
        return None
    wait = max(1, verdict.ends - int(clock()))
    lines = [] if quiet else [("Retry-After", str(wait))]
    words = {"error": "Too many requests", "message": f"{most} calls in {seconds} seconds are allowed", "code": "RATE_LIMITED"}
    return json_answer(429, words, *lines)
