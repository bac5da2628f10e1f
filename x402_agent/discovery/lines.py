"""Who waits for whom: a line for each host, so that 10^5 rows about one victim hold up nobody else (Y10), and what is known of its manners."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from .frontier import host_of
from .polite import AGENT, LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.robotparser import RobotFileParser

    from .frontier import Entry
    from .polite import Manners

__all__ = ["LONG", "PATIENCE", "Host", "Lines", "Site", "Turn"]

PATIENCE = 300.0  # seconds: who wants to be left alone for longer is left alone in this pass
_HOPS = 3
_SHORT, LONG = 0.001, 1.0  # seconds that nobody is looked for


@dataclass(slots=True)
class Site:
    """One origin of a host. Nothing is asked of it before its robots.txt: `asked` while that is under way, `known` afterwards."""

    asked: bool = False
    known: bool = False
    robots: RobotFileParser | None = None
    where: str = ""  # its robots.txt, where that has moved
    tries: int = 0
    banned: str = ""  # why it is not asked again in this pass
    verdict: str = ""  # and what that says of what it lists: dead, hostile, or nothing

    def moved(self, url: str, location: str) -> None:
        """It is known now, or asked for again where it has moved on its own host: a redirect sends nobody to a victim (Y10)."""
        try:
            there = urljoin(urljoin(url, "/robots.txt"), location) if location else ""
        except ValueError:
            there = ""
        self.tries += 1
        again = bool(there) and host_of(there) == host_of(url) and self.tries <= _HOPS
        self.where, self.asked, self.known = there, not again, not again

    def allows(self, url: str) -> bool:
        """Whether its robots.txt lets us (RFC 9309)."""
        return self.robots is None or self.robots.can_fetch(AGENT, url)


@dataclass(slots=True)
class Host:
    """One host as this crawl knows it: its time and its connections are one, whatever its ports. `free` is when it may be asked again, in unix seconds."""

    name: str
    free: float = 0.0
    busy: int = 0
    delay: float = 0.0  # that its robots.txt asks for between two requests
    banned: str = ""
    refusals: int = 0
    sites: dict[str, Site] = field(default_factory=dict)

    def may(self, manners: Manners) -> bool:
        """Whether there is a connection left for it."""
        return self.busy < manners.at_once

    def taken(self, now: float, manners: Manners) -> None:
        """One of its connections is in use from now on."""
        self.busy += 1
        self.begun(now, manners)

    def begun(self, now: float, manners: Manners) -> None:
        """It is asked at this moment, and not again before its time."""
        each = max(1.0 / manners.rate, self.delay)
        self.free = max(self.free, now + each * (1 + random.random() * manners.jitter))  # noqa: S311 - jitter is no secret

    def learnt(self, site: Site, found: RobotFileParser) -> None:
        """What its robots.txt says."""
        site.robots = found
        self.delay = max(self.delay, float(min(int(found.crawl_delay(AGENT) or 0), LONGEST)))

    def site(self, url: str) -> Site:
        """The origin of a URL."""
        return self.sites.setdefault("/".join(url.split("/", 3)[:3]), Site())


class Turn(NamedTuple):
    """What is to be done now. `learn`: the robots.txt of the first one's site is asked for, and it goes on waiting. `why`: they are given up, and `verdict` said of them."""

    host: Host
    entries: list[Entry]
    learn: bool = False
    why: str = ""
    verdict: str = ""


class Lines:
    """All that waits. In memory: what has to survive is in the frontier. A host whose time has not come costs nothing: it stands in a calendar."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.hosts: dict[str, Host] = {}
        self.waiting: dict[str, deque[tuple[Entry, Site]]] = {}
        self._calendar: list[tuple[float, str]] = []
        self._noted: dict[str, float] = {}  # hosts in the calendar: when
        self._due: dict[str, None] = {}  # hosts to be looked at: something has happened there, or their time has come

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def add(self, entry: Entry) -> None:
        """At the end of its host's line."""
        host = self.hosts.setdefault(entry.host, Host(entry.host))
        self.waiting.setdefault(entry.host, deque()).append((entry, host.site(entry.url)))
        self._due[entry.host] = None

    def turns(self, now: float, room: int) -> Iterator[Turn]:
        """Whatever may be done now, one of each host."""
        while self._calendar and self._calendar[0][0] <= now:
            at, name = heappop(self._calendar)
            if self._noted.get(name) == at:
                del self._noted[name]
                self._due[name] = None
        while self._due and room > 0:
            del self._due[name := next(iter(self._due))]
            if (line := self.waiting.get(name)) is None:
                continue
            if (turn := self._turn(self.hosts[name], line, now)) is None:
                self._note(self.hosts[name], line)
                continue
            room -= 1
            if line:
                self._due[name] = None
            else:
                del self.waiting[name]
            yield turn

    def _note(self, host: Host, line: deque[tuple[Entry, Site]]) -> None:
        """When to look again, where time decides that; else what is under way there ends first."""
        entry, site = line[0]
        at = max(host.free, entry.due)
        if host.may(self.manners) and site.asked == site.known and self._noted.get(host.name) != at:
            self._noted[host.name] = at
            heappush(self._calendar, (at, host.name))

    def over(self, turn: Turn) -> None:
        """It is done: its connection is free."""
        turn.host.busy -= not turn.why
        self._due[turn.host.name] = None

    def _turn(self, host: Host, line: deque[tuple[Entry, Site]], now: float) -> Turn | None:
        entry, site = line[0]
        wait = max(host.free, entry.due) - now
        why = host.banned or (f"it wants to be left alone for {wait:.0f} seconds" if wait > PATIENCE else "")
        if why or site.banned:
            given_up = []
            while line and (why or line[0][1] is site):
                given_up.append(line.popleft()[0])
            return Turn(host, given_up, why=why or site.banned, verdict="" if why else site.verdict)
        if wait > 0 or not host.may(self.manners) or site.asked > site.known:
            return None
        host.taken(now, self.manners)
        if not site.known:
            site.asked = True
            return Turn(host, [entry], learn=True)
        return Turn(host, [line.popleft()[0]])

    def back(self, turn: Turn) -> None:
        """It could not be done: at the front of its line again."""
        entry = turn.entries[0]
        site = turn.host.site(entry.url)
        if turn.learn:
            site.asked = False
        else:
            self.waiting.setdefault(entry.host, deque()).appendleft((entry, site))

    def wait(self, now: float) -> float:
        """Seconds until somebody may be asked, as far as time alone decides; what ends meanwhile wakes whoever waits."""
        while self._calendar and self._noted.get(self._calendar[0][1]) != self._calendar[0][0]:
            heappop(self._calendar)
        return max(_SHORT, self._calendar[0][0] - now) if self._calendar else LONG
