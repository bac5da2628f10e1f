"""The crawl: pages of sources, then a free look at what they list. It pays nothing: there is no signer in this room (Y9).

Many hosts at once, each of them politely; whatever one of them does, the others go on. What is under way when the process dies
is fetched again by the next one.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import anyio
from anyio import to_thread

from ..errors import AddressRefused, PaymentError, SettingsError
from ..guard import Guard
from ..secret import plain
from . import fetch, listed, merge, probe
from .frontier import PROBE, Entry, Frontier, host_of
from .nouns import Fetch, Found, Page
from .polite import AGENT, Host, Manners, backoff, retry_after, robots
from .report import Report
from .sources import known
from .sources.rows import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .nouns import Source
    from .store import Store

__all__ = ["Caps", "Crawler"]

HEADERS = {"accept": "application/json, text/plain;q=0.8, */*;q=0.1", "user-agent": AGENT}
ROBOTS = "its robots.txt says no"
DAY = 86_400.0
_SHORT, _LONG = 0.001, 1.0  # seconds that nobody is looked for
_HOPS = 3


@dataclass(frozen=True, slots=True)
class Caps:
    """Where a crawl stops whatever its sources say: pages of one source, rows, bytes and seconds in all; seconds of one answer."""

    pages: int = 2_000
    rows: int = 500_000
    bytes: int = 4 << 30
    seconds: float = 3_600.0
    answer: float = 30.0


class Crawler:
    """One crawl of these sources (`NAME` and where it is) into a store; `run()` once. Then it looks at `probes` services, at most, that
    nobody has looked at for `fresh` seconds."""

    def __init__(
        self, store: Store, roots: Sequence[tuple[str, str]], *, caps: Caps | None = None, manners: Manners | None = None, guard: Guard | None = None,
        probes: int = 0, fresh: float = DAY, tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:  # fmt: skip
        self.store, self.roots = store, roots
        self.caps, self.manners, self.guard = caps or Caps(), manners or Manners(), guard or Guard()
        self.frontier = Frontier(store)
        self.sources: dict[str, Source] = known()
        self.report = Report(tell=tell or _nobody)
        self.hosts: dict[str, Host] = {}
        self._waiting: dict[str, deque[Entry]] = {}
        self.probes, self.fresh = probes, fresh
        self._pages: dict[str, int] = {}
        self._seen: dict[str, set[str]] = {}
        self._under_way = 0
        self._woken = anyio.Event()
        self._client: Any = None

    async def run(self) -> Report:
        """Crawl until nothing waits or a cap is reached. What was cut off goes on in the next run. Raises SettingsError, LedgerError."""
        began = time.monotonic()
        number = self.report.number = await self._in_thread(self.frontier.begin)
        for name, where in self.roots:
            root = f"{name} {where}"
            await self._in_thread(self.frontier.want, number, root, name, list(self.sources[name].first(where)))
        for entry in await self._in_thread(self.frontier.waiting, number):
            self._queue(entry)
        async with self._opened() as self._client:
            with anyio.move_on_after(self.caps.seconds) as scope:
                await self._all()
                if self.probes and not self._waiting:
                    await self._look(number)
        if scope.cancelled_caught:
            self.report.lost("the crawl", f"more than {self.caps.seconds:g} seconds; the next run goes on")
        elif not self._waiting:
            await self._in_thread(self.frontier.end, number)
        self.report.services = await self._in_thread(self._settled)
        self.report.seconds = time.monotonic() - began
        self.report.event("done", **self.report.as_dict())
        return self.report

    async def look(self, service: str) -> dict[str, Any]:
        """Ask one service now, whatever was known of it. -> its newest probe. Raises SettingsError."""
        with self.store.reading() as db:
            row = db.one("select id, url, method from services where id like ?", f"{service}%")
        if row is None or row["method"] not in probe.COLD:
            raise SettingsError("it is not asked by a method that may change something", rule="GET, HEAD and POST are asked", hint="x402-agent get URL --dry-run")
        entry = Entry(row["id"], PROBE, PROBE, row["url"], row["method"], host_of(row["url"]), {"service": row["id"]}, 0, tries=self.manners.tries)
        async with self._opened() as self._client:
            await self._one(entry, Host(entry.host))
        await self._in_thread(merge.touch, self.store, row["id"])
        with self.store.reading() as db:
            return db.one("select verdict, status, why, at from probes where service = ? order by at desc limit 1", row["id"]) or {"verdict": "", "why": "; ".join(self.report.failed)}

    def _opened(self) -> Any:
        return self.guard.async_client(library="httpx2", timeout=self.caps.answer, headers=HEADERS, limits=fetch.limits(self.manners.in_all))

    async def _look(self, number: int) -> None:
        """At what is listed, the best first."""
        await self._in_thread(self._settled)

        def wanted() -> list[Entry]:
            with self.store.writing() as db:
                found = probe.due(db, self.store.clock() - self.fresh, self.probes)
                return self.frontier.add(db, number, PROBE, PROBE, [each for _, each in found])

        for entry in await self._in_thread(wanted):
            self._queue(entry)
        await self._all()

    def _settled(self) -> int:
        merge.settle(self.store, lambda done: self.report.event("merged", services=done))
        with self.store.reading() as db:
            found = db.one("select count(*) as n from services")
        return int(found["n"]) if found else 0

    def _queue(self, entry: Entry) -> None:
        self.hosts.setdefault(entry.host, Host(entry.host))
        self._waiting.setdefault(entry.host, deque()).append(entry)
        self._woken.set()

    async def _all(self) -> None:
        async with anyio.create_task_group() as tasks:
            while self._waiting or self._under_way:
                self._woken = anyio.Event()
                started = self._start(tasks)
                if self._full():
                    break
                if not started:
                    with anyio.move_on_after(self._idle()):
                        await self._woken.wait()

    def _idle(self) -> float:
        """Seconds until somebody may be asked, as far as time alone decides; something that ends meanwhile wakes us."""
        now = self.store.clock()
        due = [max(self.hosts[name].free, line[0].due) - now for name, line in self._waiting.items() if self.hosts[name].busy < self.manners.at_once]
        return min(_LONG, max(_SHORT, min(due, default=_LONG)))

    def _full(self) -> bool:
        over = "bytes" if self.report.bytes >= self.caps.bytes else "rows" if self.report.rows >= self.caps.rows else ""
        if over:
            self.report.lost("the crawl", f"its cap of {over} is reached; the next run goes on")
        return bool(over)

    def _start(self, tasks: Any) -> int:
        """Whatever may be asked now. A host's queue is looked at in its turn, so that a long one holds nobody else up (Y10)."""
        started, now = 0, self.store.clock()
        for name in list(self._waiting):
            if self._under_way >= self.manners.in_all:
                break
            host, line = self.hosts[name], self._waiting[name]
            if host.banned:
                for entry in line:
                    self._under_way += 1
                    tasks.start_soon(self._given_up, entry, host.banned)
                    started += 1
                del self._waiting[name]
                continue
            if not host.may(now, self.manners) or line[0].due > now:
                continue
            entry = line.popleft()
            if not line:
                del self._waiting[name]
            host.taken(now, self.manners)
            self._under_way += 1
            started += 1
            tasks.start_soon(self._one, entry, host)
        return started

    async def _given_up(self, entry: Entry, why: str) -> None:
        try:
            await self._fail(entry, why)
        finally:
            self._under_way -= 1
            self._woken.set()

    async def _one(self, entry: Entry, host: Host) -> None:
        try:
            await self._fetch(entry, host)
        except PaymentError as why:
            await self._fail(entry, f"{why.what} [{why.rule}]", hostile=isinstance(why, AddressRefused))
        except Exception as why:  # one page never ends the crawl
            await self._again(entry, host, type(why).__name__)
        finally:
            host.busy -= 1
            self._under_way -= 1
            self._woken.set()

    async def _fetch(self, entry: Entry, host: Host) -> None:
        if not host.asked:
            await self._robots(entry, host)
        if not host.allows(entry.url):
            await self._fail(entry, ROBOTS)
            return
        if entry.kind == PROBE:
            await self._probed(entry, host)
            return
        status, headers, body, cut = await self._get(entry.url, entry.method, _conditions(entry))
        if status == 304 and entry.digest:
            await self._unchanged(entry, entry.digest, headers)
        elif status == 200 and not cut:
            await self._read(entry, Found(entry.url, status, headers, body))
        elif cut:
            await self._fail(entry, f"more than {MAX_PAGE >> 20} MiB")
        elif status in (301, 302, 303, 307, 308):
            await self._moved(entry, headers)
        elif status in (404, 410):
            await self._written(entry, Page(), headers, "", f"answered {status}")  # an answer: what it listed before is missing now
        elif status in (408, 425, 429, 500, 502, 503, 504):
            await self._again(entry, host, f"answered {status}", retry_after(headers, self.store.clock()), refused=status == 429)
        else:
            await self._fail(entry, f"answered {status}")

    async def _probed(self, entry: Entry, host: Host) -> None:
        body = {"content-type": "application/json"} if entry.method == "POST" else {}
        got = await fetch.get(self._client, entry.url, entry.method, body, self.caps.answer, page=False)
        self.report.bytes += len(got.raw)
        if got.status == 429 or got.status >= 500:
            await self._again(entry, host, f"answered {got.status}", retry_after(got.plain, self.store.clock()), refused=got.status == 429)
            return
        await self._judged(entry, probe.verdict(entry.url, entry.method, got.status, got.headers, got.raw, complete=got.complete))

    async def _judged(self, entry: Entry, found: probe.Verdict) -> None:
        def write() -> None:
            with self.store.writing() as db:
                probe.write(db, str(entry.state.get("service", "")), self.store.clock(), found, listed.prices_out(found.prices))
                self.frontier.done(db, entry, why=found.why)

        await self._in_thread(write)
        self.report.probed += 1
        self.report.verdicts[found.word] += 1
        self.report.event("probe", url=plain(entry.url, 200), verdict=found.word, why=found.why)

    async def _moved(self, entry: Entry, headers: dict[str, str]) -> None:
        """Where it went is fetched in its own turn: its host has manners of its own, and the guard judges it again (Y2)."""
        hops = int(entry.state.get("hops", 0)) + 1
        if hops > _HOPS:
            await self._fail(entry, f"moved more than {_HOPS} times")
            return
        try:
            there = urljoin(entry.url, headers.get("location", ""))
        except ValueError:
            there = ""
        await self._written(entry, Page(following=(Fetch(there, {**entry.state, "hops": hops}, entry.method),)), {}, "", "moved")

    async def _robots(self, entry: Entry, host: Host) -> None:
        """Once for each host. A file that cannot be read forbids nothing where there is none, and everything where the server fails (RFC 9309, 2.3.1)."""
        host.asked = True
        scheme = entry.url.partition(":")[0]
        status, _, body, _ = await self._get(f"{scheme}://{entry.host}/robots.txt", "GET", {})
        if status == 200:
            host.robots = robots(body)
        elif status >= 500:
            host.asked = False
            raise OSError(f"robots.txt answered {status}")

    async def _get(self, url: str, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes, bool]:
        """Status, headers, at most MAX_PAGE bytes, and whether there was more."""
        got = await fetch.get(self._client, url, method, headers, self.caps.answer, page=True)
        self.report.bytes += len(got.raw)
        return got.status, got.plain, *got.inflated(MAX_PAGE)

    async def _read(self, entry: Entry, found: Found) -> None:
        digest = hashlib.sha256(found.body).hexdigest()
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
                self.frontier.done(db, entry, why=why, etag=headers.get("etag", ""), modified=headers.get("last-modified", ""), digest=digest, following=page.following)
                return changed

        changed = await self._in_thread(write)
        report = self.report
        report.pages += 1
        report.rows += len(page.listings)
        report.changed += changed
        report.skipped += len(page.skipped)
        report.reasons.update(each.why for each in page.skipped)
        report.event("page", url=plain(entry.url, 200), rows=len(page.listings), changed=changed, skipped=len(page.skipped), **({"note": why} if why else {}))

    async def _unchanged(self, entry: Entry, digest: str, headers: Any) -> None:
        await self._follow(entry, entry.following)

        def write() -> int:
            with self.store.writing() as db:
                rows = listed.seen(db, entry.id, entry.number, self.store.clock())
                self.frontier.done(db, entry, etag=headers.get("etag", entry.etag), modified=headers.get("last-modified", entry.modified), digest=digest, following=entry.following)
                return rows

        rows = await self._in_thread(write)
        self.report.pages += 1
        self.report.unchanged += 1
        self.report.rows += rows
        self.report.event("page", url=plain(entry.url, 200), rows=rows, changed=0, skipped=0, note="unchanged")

    async def _follow(self, entry: Entry, following: Iterable[Fetch]) -> None:
        """Queue what follows, as far as this source may still be read: it is fetched while the page is written. Until that is done the page waits, too."""
        found = list(following)
        done = self._pages[entry.root] = self._pages.get(entry.root, 0) + 1
        if found and done >= self.caps.pages:
            self.report.lost(entry.root, f"more than {self.caps.pages} pages")
        elif found:
            for each in await self._in_thread(self.frontier.want, entry.number, entry.root, entry.kind, found):
                self._queue(each)

    async def _again(self, entry: Entry, host: Host, why: str, wait: float | None = None, *, refused: bool = False) -> None:
        """Another try, when the host wants it or a little later; a host that refuses for ever is left alone."""
        now = self.store.clock()
        host.refusals += refused
        if entry.tries + 1 >= self.manners.tries or host.refusals > self.manners.tries:
            if refused:
                host.banned = f"{why} {host.refusals} times"
            await self._fail(entry, why)
            return
        due = now + (wait if wait is not None else backoff(entry.tries))
        if refused or wait is not None:
            host.free = max(host.free, due)
        self._queue(await self._in_thread(self.frontier.later, entry, due, why))
        self.report.event("again", url=plain(entry.url, 200), why=why, seconds=round(due - now, 1))

    async def _fail(self, entry: Entry, why: str, *, hostile: bool = False) -> None:
        if entry.kind == PROBE and why != ROBOTS:
            await self._judged(entry, probe.refused(why) if hostile else probe.Verdict("dead", 0, why=plain(why, 200)))
            return
        await self._in_thread(self.frontier.failed, entry, plain(why, 300))
        self.report.lost(plain(entry.url, 200), plain(why, 300))

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await to_thread.run_sync(lambda: function(*args))


def _conditions(entry: Entry) -> dict[str, str]:
    found = {"if-none-match": entry.etag, "if-modified-since": entry.modified}
    return {name: value for name, value in found.items() if value}


def _nobody(event: dict[str, Any]) -> None:
    """Who listens when nobody does."""
