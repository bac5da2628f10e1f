"""What is owed to other people's servers: a rate and a number of connections for each host, its robots.txt, its Retry-After."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.robotparser import RobotFileParser

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AGENT", "Host", "Manners", "backoff", "retry_after", "robots"]

AGENT = "x402-agent-discovery"
LONGEST = 3_600.0  # seconds that a Retry-After or Crawl-delay is believed for
MAX_ROBOTS = 512 * 1024


@dataclass(frozen=True, slots=True)
class Manners:
    """Of a whole crawl: requests a second and at a time for one host, requests at a time in all, tries of one request."""

    rate: float = 2.0
    at_once: int = 2
    in_all: int = 32
    tries: int = 4
    jitter: float = 0.2


@dataclass(slots=True)
class Host:
    """One host as this crawl knows it. `free` is when it may be asked again, in unix seconds."""

    name: str
    free: float = 0.0
    busy: int = 0
    banned: str = ""  # why it is not asked again in this pass
    robots: RobotFileParser | None = None
    asked: bool = False  # for its robots.txt
    refusals: int = field(default=0)

    def may(self, now: float, manners: Manners) -> bool:
        """Whether it may be asked at this moment."""
        return not self.banned and self.busy < manners.at_once and self.free <= now

    def taken(self, now: float, manners: Manners) -> None:
        """It is asked now, and not again before its time."""
        self.busy += 1
        delay = self.robots.crawl_delay(AGENT) if self.robots else None
        each = max(1.0 / manners.rate, min(float(delay), LONGEST) if delay else 0.0)
        self.free = now + each * (1 + random.random() * manners.jitter)  # noqa: S311 - jitter is no secret

    def allows(self, url: str) -> bool:
        """Whether its robots.txt lets us (RFC 9309)."""
        return self.robots is None or self.robots.can_fetch(AGENT, url)


def robots(body: bytes) -> RobotFileParser:
    """The rules in a robots.txt; what cannot be read allows."""
    made = RobotFileParser()
    made.parse(body[:MAX_ROBOTS].decode("utf-8", "replace").splitlines())
    return made


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); at most LONGEST, None where nothing is said."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), LONGEST)
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError):
        return None
    return max(0.0, min((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.fromtimestamp(now, UTC).timestamp(), LONGEST))


def backoff(tries: int) -> float:
    """Seconds before another try: 1, 2, 4 … 300, half of it by chance."""
    return min(300.0, 2.0**tries) * (0.5 + random.random() / 2)  # noqa: S311 - jitter is no secret
