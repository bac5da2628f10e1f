"""The crawl: pages of sources, then a free look at what they list. It pays nothing: there is no signer in this room (Y9).

Many hosts at once, each of them politely; whatever one of them does, the others go on. What is under way when the process dies
is fetched again by the next one.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import anyio
from anyio import to_thread

from ..errors import AddressRefused, PaymentError, SettingsError
from ..guard import Guard
from ..secret import plain
from . import fetch, listed, merge, probe
from .address import anonymous
from .frontier import PROBE, Entry, Frontier, host_of
from .lines import LONG, Host, Lines
from .nouns import Fetch, Found, Page
from .polite import AGENT, MAX_ROBOTS, Caps, Manners, backoff, retry_after, robots
from .report import Report
from .sources import known
from .sources.rows import MAX_PAGE
from .store import chunks
from .verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .lines import Turn
    from .nouns import Source
    from .store import Store

__all__ = ["Caps", "Crawler"]

HEADERS = {"accept": "application/json, text/plain;q=0.8, */*;q=0.1", "user-agent": AGENT}
ROBOTS = "its robots.txt says no"
DAY = 86_400.0
_HOPS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})


class Crawler:
    """One crawl of these sources (`NAME` and where it is) into a store; `run()` once. Then it looks at `probes` services, at most, that
    nobody has looked at for `fresh` seconds."""

    longest = math.inf  # seconds that it waits for somebody while there is nothing else to do

    def __init__(
        self, store: Store, roots: Sequence[tuple[str, str]], *, caps: Caps | None = None, manners: Manners | None = None, guard: Guard | None = None,
        probes: int = 0, fresh: float = DAY, tell: Callable[[dict[str, Any]], Any] | None = None,
        report: Report | None = None,
    ) -> None:  # fmt: skip
        self.store, self.roots = store, roots
        self.caps, self.manners, self.guard = caps or Caps(), manners or Manners(), guard or Guard()
        self.frontier = Frontier(store)
        self.sources: dict[str, Source] = known()
        self.report = report or Report(tell=tell or dict)
        self.verdicts = Verdicts(store, self.frontier, self.report)
        self.lines = Lines(self.manners)
        self.probes, self.fresh = probes, fresh
        self._pages: dict[str, int] = {}
        self._seen: dict[str, set[str]] = {}
        self._under_way = self._merged = 0
        self._woken = anyio.Event()
        self._client: Any = None

    async def run(self) -> Report:
        """Crawl until nothing waits or a cap is reached. What was cut off goes on in the next run. Raises SettingsError."""
        with self.store.database.spoken():
            return await self._run()

    async def _run(self) -> Report:
        began = time.monotonic()
        number = await self._begun()
        await self._waiting(number)
        async with self._opened() as self._client:
            with anyio.move_on_after(self.caps.seconds) as scope:
                await self._all()
                if self.probes and not self.lines:
                    for entry in await self._wanted(number):
                        self._queue(entry)
                    await self._all()
        if scope.cancelled_caught:
            self.report.lost("the crawl", f"more than {self.caps.seconds:g} seconds; the next run goes on")
        elif not self.lines:
            await self._in_thread(self.frontier.end, number)
        return await self._over(began)

    async def _over(self, began: float) -> Report:
        self.report.services = await self._in_thread(self._settled)
        self.report.waiting = await self._in_thread(self.frontier.open, self.report.number)
        self.report.seconds = time.monotonic() - began
        self.report.event("done", **self.report.as_dict())
        return self.report

    async def _begun(self) -> int:
        """The pass that is under way, or a new one, with what its sources want first. -> its number."""
        number: int = await self._in_thread(self.frontier.begin)
        self.report.number = number
        for name, where in self.roots:
            root = f"{name} {where}"
            await self._in_thread(self.frontier.want, number, root, name, list(self.sources[name].first(where)))
        return number

    async def look(self, service: str) -> dict[str, Any]:
        """Ask one service now, whatever was known of it. -> its newest probe. Raises SettingsError."""
        with self.store.reading() as db:
            row = db.one("select id, url, method, path, tool from services where id = ?", service)
        if row is None or row["method"] not in probe.COLD or row["tool"] or "{" in row["path"]:
            raise SettingsError("what may change something, has places to fill in or is a tool is not asked", rule="a URL by GET, HEAD or POST", hint="x402-agent get URL --dry-run")
        entry = Entry(row["id"], PROBE, PROBE, row["url"], row["method"], host_of(row["url"]), {"service": row["id"]}, 0, tries=self.manners.tries)
        self._queue(entry)
        async with self._opened() as self._client:
            await self._all()
        await self._in_thread(merge.touch, self.store, row["id"])
        with self.store.reading() as db:
            return db.one("select verdict, status, why, at from probes where service = ? order by at desc limit 1", row["id"]) or {"verdict": "", "why": "; ".join(self.report.failed)}

    def _opened(self) -> Any:
        return fetch.Clients(self.guard, HEADERS, self.manners.in_all, self.caps.answer)

    async def _waiting(self, number: int, host: str | None = None) -> None:
        """Stand in line with what the frontier has, for one host or all; who wanted to be left alone still is."""
        for row in await self._in_thread(self.frontier.left):
            self.lines.hosts[row["host"]] = Host(row["host"], float(row["free"]), refusals=int(row["refusals"]))
        for entry in await self._in_thread(self.frontier.waiting, number, host):
            self._queue(entry)

    async def _wanted(self, number: int) -> list[Entry]:
        """What is to be looked at, the best first: in the frontier from now on."""
        await self._in_thread(self._settled)

        def wanted() -> list[Entry]:
            with self.store.writing() as db:
                found = probe.due(db, self.store.clock() - self.fresh, self.probes)
                return self.frontier.add(db, number, PROBE, PROBE, [each for _, each in found])

        found: list[Entry] = await self._in_thread(wanted)
        return found

    def _settled(self) -> int:
        merge.settle(self.store, lambda done: self.report.event("merged", services=done))
        with self.store.reading() as db:
            found = db.one("select count(*) as n from services")
        return int(found["n"]) if found else 0

    def _queue(self, entry: Entry) -> None:
        self.lines.add(entry)
        self._woken.set()

    async def _all(self) -> None:
        async with anyio.create_task_group() as tasks:
            while self.lines or self._under_way:
                self._woken = anyio.Event()
                started = self._start(tasks)
                if self._full():
                    break
                if not started:
                    wait = self.lines.wait(self.store.clock())
                    if wait > self.longest and not self._under_way:
                        break
                    with anyio.move_on_after(min(wait, LONG)) as quiet:
                        await self._woken.wait()
                    if quiet.cancelled_caught and wait >= LONG:
                        await self._meanwhile()

    def _full(self) -> bool:
        over = "bytes" if self.report.bytes >= self.caps.bytes else "rows" if self.report.rows >= self.caps.rows else ""
        if over:
            self.report.lost("the crawl", f"its cap of {over} is reached; the next run goes on")
        return bool(over)

    async def _meanwhile(self) -> None:
        """Somebody hangs, and nobody else is to be asked: what the others told is found from now on."""
        if self.report.changed + self.report.probed > self._merged:
            self._merged = self.report.changed + self.report.probed
            await self._in_thread(self._settled)

    def _start(self, tasks: Any) -> int:
        """Whatever may be asked now."""
        started = 0
        for turn in self.lines.turns(self.store.clock(), self.manners.in_all - self._under_way):
            started += 1
            self._under_way += 1
            tasks.start_soon(self._done, turn)
        return started

    async def _done(self, turn: Turn) -> None:
        try:
            if turn.why:
                await self._fail(turn.entries, turn.why, turn.verdict)
            elif wait := await self._claimed(turn.host):
                turn.host.free = max(turn.host.free, self.store.clock() + wait)
                self.lines.back(turn)
            else:
                turn.host.begun(self.store.clock(), self.manners)  # later than planned where the loop was busy: a rate is held between beginnings
                await (self._learn if turn.learn else self._one)(turn.entries[0], turn.host)
        finally:
            self.lines.over(turn)
            self._under_way -= 1
            self._woken.set()

    async def _claimed(self, host: Host) -> float:
        """Whether this host may be asked now, as far as others ask it, too: seconds to wait. Nobody else does."""
        return 0.0

    async def _one(self, entry: Entry, host: Host) -> None:
        try:
            await self._fetch(entry, host)
        except PaymentError as why:
            await self._fail([entry], f"{why.what} [{why.rule}]", "hostile" if isinstance(why, AddressRefused) else "dead")
        except Exception as why:  # one page never ends the crawl
            await self._again(entry, host, type(why).__name__)

    async def _fetch(self, entry: Entry, host: Host) -> None:
        if not host.site(entry.url).allows(entry.url):
            await self._fail([entry], ROBOTS)
            return
        if entry.kind == PROBE:
            await self._probed(entry, host)
            return
        status, headers, body, cut = await self._get(entry.url, entry.method, entry.conditions)
        if status == 304 and entry.digest:
            await self._unchanged(entry, entry.digest, headers)
        elif (status == 200 or (status == 402 and getattr(self.sources[entry.kind], "reads_402", False))) and not cut:
            await self._read(entry, Found(entry.url, status, headers, body))
        elif cut:
            await self._fail([entry], f"more than {MAX_PAGE >> 20} MiB")
        elif status in _MOVED:
            await self._moved(entry, headers)
        elif status in (404, 410):
            await self._written(entry, Page(), headers, "", f"answered {status}")  # an answer: what it listed before is missing now
        elif status in (408, 425, 429, 500, 502, 503, 504):
            await self._again(entry, host, f"answered {status}", retry_after(headers, self.store.clock()), refused=status == 429)
        else:
            await self._fail([entry], f"answered {status}")

    async def _probed(self, entry: Entry, host: Host) -> None:
        body = {"content-type": "application/json"} if entry.method == "POST" else {}
        got = await fetch.get(self._client, entry.url, entry.method, body, self.caps.answer)
        self.report.bytes += len(got.raw)
        if got.status == 429 or got.status >= 500:
            await self._again(entry, host, f"answered {got.status}", retry_after(got.plain, self.store.clock()), refused=got.status == 429)
            return
        await self.verdicts.add(entry, probe.verdict(entry.url, entry.method, got.status, got.headers, got.raw, complete=got.complete))

    async def _moved(self, entry: Entry, headers: dict[str, str]) -> None:
        """Where it went is fetched in its own turn: its host has manners of its own, and the guard judges it again (Y2)."""
        hops = int(entry.state.get("hops", 0)) + 1
        if hops > _HOPS:
            await self._fail([entry], f"moved more than {_HOPS} times")
            return
        try:
            there = anonymous(urljoin(entry.url, headers.get("location", "")))
        except ValueError:
            there = ""
        await self._written(entry, Page(following=(Fetch(there, {**entry.state, "hops": hops}, entry.method),)), {}, "", "moved")

    async def _learn(self, entry: Entry, host: Host) -> None:
        """The robots.txt of its site. One that is not there forbids nothing; while the server fails, everything is forbidden (RFC 9309, 2.3.1)."""
        site, wait = host.site(entry.url), None
        try:
            status, headers, body, _ = await self._get(site.where or urljoin(entry.url, "/robots.txt"), "GET", {}, MAX_ROBOTS)
            if status == 429 or status >= 500:
                wait = retry_after(headers, self.store.clock())
                raise OSError(f"robots.txt answered {status}")
            if status == 200:
                host.learnt(site, await self._in_thread(robots, body))
            site.moved(entry.url, headers.get("location", "") if status in _MOVED else "")
        except AddressRefused as why:
            site.banned, site.verdict = f"{why.what} [{why.rule}]", "hostile"
        except Exception as why:
            site.tries, site.asked = site.tries + 1, False
            if site.tries + entry.tries >= self.manners.tries:
                site.banned, site.verdict = f"its robots.txt: {why if type(why) is OSError else type(why).__name__}", "dead"
            host.free = max(host.free, self.store.clock() + (wait if wait is not None else backoff(site.tries - 1)))

    async def _get(self, url: str, method: str, headers: dict[str, str], most: int = MAX_PAGE) -> tuple[int, dict[str, str], bytes, bool]:
        """Status, headers, at most so many bytes, and whether there was more."""
        got = await fetch.get(self._client, url, method, headers, self.caps.answer, page=most)
        self.report.bytes += len(got.raw)
        return got.status, got.plain, *got.inflated(most)

    async def _read(self, entry: Entry, found: Found) -> None:
        digest = hashlib.sha256(found.body + found.headers.get("payment-required", "").encode()).hexdigest()
        if digest == entry.digest:
            await self._unchanged(entry, digest, found.headers)
            return
        seen = self._seen.get(entry.root)
        if seen is None:
            seen = self._seen[entry.root] = await self._in_thread(self.frontier.digests, entry.number, entry.root)
        if digest in seen:
            await self._written(entry, Page(), found.headers, digest, "the same page again: nothing new follows it")
            return
        seen.add(digest)
        page = await self._in_thread(self.sources[entry.kind].read, entry.fetch, found)
        await self._written(entry, page, found.headers, digest)

    async def _written(self, entry: Entry, page: Page, headers: Any, digest: str, why: str = "") -> None:
        await self._follow(entry, page.following)

        def write() -> int:
            with self.store.writing() as db:
                changed = listed.keep(db, entry.root, entry.id, entry.number, self.store.clock(), page.listings)
                listed.skip(db, entry.number, entry.root, entry.url, page.skipped)
                self.frontier.done(db, entry, why=why, etag=fetch.token(headers, "etag"), modified=fetch.token(headers, "last-modified"), digest=digest, following=page.following)
                return changed

        changed = await self._in_thread(write)
        self.report.page(entry.url, len(page.listings), changed, page.skipped, why)

    async def _unchanged(self, entry: Entry, digest: str, headers: Any) -> None:
        await self._follow(entry, entry.following)

        def write() -> int:
            with self.store.writing() as db:
                rows = listed.seen(db, entry.id, entry.number, self.store.clock())
                self.frontier.done(db, entry, etag=fetch.token(headers, "etag", entry.etag), modified=fetch.token(headers, "last-modified", entry.modified), digest=digest, following=entry.following)
                return rows

        rows = await self._in_thread(write)
        self.report.unchanged += 1
        self.report.page(entry.url, rows, 0, (), "unchanged")

    async def _follow(self, entry: Entry, following: Iterable[Fetch]) -> None:
        """Queue what follows, as far as this source may still be read: it is fetched while the page is written. Until that is done the page waits, too."""
        found = list(following)
        if entry.root not in self._pages:
            self._pages[entry.root] = await self._in_thread(self.frontier.pages, entry.number, entry.root)
        done = self._pages[entry.root] = self._pages[entry.root] + 1
        wanted = await self._in_thread(self.frontier.want, entry.number, entry.root, entry.kind, found) if found else []
        if wanted and done >= self.caps.pages:
            await self._fail(wanted, f"more than {self.caps.pages} pages of one source")
            return
        for each in wanted:
            self._queue(each)

    async def _again(self, entry: Entry, host: Host, why: str, wait: float | None = None, *, refused: bool = False) -> None:
        """Another try, when the host wants it or a little later; a host that refuses for ever is left alone."""
        now = self.store.clock()
        host.refusals += refused
        if entry.tries + 1 >= self.manners.tries or host.refusals > self.manners.tries:
            if refused:
                host.banned = f"{why} {host.refusals} times"
            await self._fail([entry], why, "" if refused else "dead")
            return
        due = now + (wait if wait is not None else backoff(entry.tries))
        if refused or wait is not None:
            host.free = max(host.free, due)
            await self._in_thread(self.frontier.leave, host.name, host.free, host.refusals)
        self._queue(await self._in_thread(self.frontier.later, entry, due, why))
        self.report.event("again", url=plain(entry.url, 200), why=why, seconds=round(due - now, 1))

    async def _fail(self, entries: Sequence[Entry], why: str, verdict: str = "") -> None:
        """They are not tried again in this pass. `verdict` is what that says of services that were looked at; nothing, where it says nothing."""
        found = probe.Verdict(verdict, 0, why=plain(why, 200))

        def write(part: Sequence[Entry]) -> None:
            with self.store.writing() as db:
                for each in part:
                    if verdict and each.kind == PROBE:
                        self.verdicts.write(db, each, found)
                    else:
                        self.frontier.failed(db, each, plain(why, 300))

        for part in chunks(entries):
            await self._in_thread(write, part)
            for each in part:
                if verdict and each.kind == PROBE:
                    self.verdicts.told(each, found)
                else:
                    self.report.lost(plain(each.url, 200), plain(why, 300))

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await to_thread.run_sync(lambda: function(*args))
