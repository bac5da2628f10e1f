"""What is owed to other people's servers: a rate and a number of connections for each host (`lines` keeps them), its robots.txt, its Retry-After."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.robotparser import RobotFileParser

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AGENT", "LONGEST", "MAX_ROBOTS", "Caps", "Manners", "backoff", "retry_after", "robots"]

AGENT = "x402-agent-discovery"
LONGEST = 3_600.0  # seconds that a Retry-After or Crawl-delay is believed for
_NUMBERED = re.compile(r"\s*(crawl-delay|request-rate)", re.IGNORECASE).match
MAX_ROBOTS = 512 * 1024


@dataclass(frozen=True, slots=True)
class Caps:
    """Where a crawl stops whatever its sources say: pages of one source, rows, bytes and seconds in all; seconds of one answer."""

    pages: int = 2_000
    rows: int = 500_000
    bytes: int = 4 << 30
    seconds: float = 3_600.0
    answer: float = 30.0


@dataclass(frozen=True, slots=True)
class Manners:
    """Of a whole crawl: requests a second and at a time for one host, requests at a time in all, tries of one request."""

    rate: float = 2.0
    at_once: int = 2
    in_all: int = 32
    tries: int = 4
    jitter: float = 0.2


def robots(body: bytes) -> RobotFileParser:
    """The rules in a robots.txt; what cannot be read allows."""
    lines = body[:MAX_ROBOTS].decode("utf-8", "replace").splitlines()
    made = RobotFileParser()
    try:
        made.parse(lines)
    except ValueError:  # a number that is none: the rules stand without it
        made = RobotFileParser()
        made.parse([each for each in lines if not _NUMBERED(each)])
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
