"""Many machines, one crawl: workers that share a frontier in PostgreSQL, one host at a time. procrastinate keeps their jobs.

A job is all that waits for one host, under a lock of that host's name, so no two workers are at one host. What happened is in the
frontier alone: jobs are made from it again and again, so that a job that is lost loses nothing. Each request is claimed in the
database before it is sent, so a worker that only seemed dead cannot break a host's rate either.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import SettingsError
from .crawler import DAY, Crawler
from .frontier import PROBE, Frontier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..guard import Guard
    from .frontier import Entry
    from .lines import Host
    from .polite import Caps, Manners
    from .report import Report
    from .store import Store

__all__ = ["BEAT", "Fleet"]

BEAT = 5.0  # seconds between two signs of life of a worker; after three of them its hosts are given to others
_TICK = 1.0  # seconds between two looks at what waits
_MERGED = 60.0  # seconds after which what was told so far is brought into the catalogue
_MANY = 500  # jobs made at a time
_HOSTS = 32  # of one worker at a time
_QUEUE, _CLOSING = "x402", "x402 closing"
_CLAIM = (
    "insert into hosts (host, free) values (?, extract(epoch from clock_timestamp()) + ?) on conflict (host) do update set free = excluded.free"
    " where hosts.free <= extract(epoch from clock_timestamp()) returning free"
)
_READY = (
    "select f.host from frontier f left join hosts h on h.host = f.host where f.pass = ? and f.status = 'waiting'"
    " group by f.host having min(f.due) <= ? and coalesce(max(h.free), 0) <= ? order by min(f.due) limit ?"
)


class Fleet:
    """One worker of a crawl that others share. `run()` once; it ends with the pass, whoever ended it. Raises SettingsError for a store that is no PostgreSQL."""

    def __init__(
        self, store: Store, roots: Sequence[tuple[str, str]], *, caps: Caps | None = None, manners: Manners | None = None, guard: Guard | None = None,
        probes: int = 0, fresh: float = DAY, tell: Callable[[dict[str, Any]], Any] | None = None, beat: float = BEAT,
    ) -> None:  # fmt: skip
        if store.database.engine != "postgresql":
            raise SettingsError("a crawl is shared by a catalogue in PostgreSQL", rule="--fleet", hint="--catalogue postgresql://user:password@host/name")
        self.store, self.beat = store, beat
        try:
            self._engine = import_module("procrastinate")
        except ImportError as cause:
            raise SettingsError("sharing a crawl needs procrastinate", rule="extra discovery-fleet", hint="pip install 'x402-agent-sdk[discovery-fleet]'") from cause
        self.crawler = Crawler(self.store, roots, caps=caps, manners=manners, guard=guard, probes=probes, fresh=fresh, tell=tell)
        self.frontier = Frontier(self.store)
        for name in ("procrastinate", "psycopg.pool"):  # they would quote hosts that strangers named
            logging.getLogger(name).addHandler(logging.NullHandler())

    async def run(self) -> Report:
        """Work until the pass has ended, or the cap of time. Needs asyncio. Raises SettingsError."""
        with self.store.database.spoken(self._engine.exceptions.ConnectorException):
            return await self._run()

    async def _run(self) -> Report:
        began, crawler = time.monotonic(), self.crawler
        number = await crawler._begun()
        schema = await crawler._in_thread(self._prepared)
        app = self._engine.App(connector=self._engine.PsycopgConnector(conninfo=self.store.url, min_size=1, kwargs={"options": f"-c search_path={schema}"}))
        app.task(self._slice, name="x402.slice", queue=_QUEUE)
        app.task(self._close, name="x402.close", queue=_QUEUE)
        async with app.open_async(), crawler._opened() as crawler._client, anyio.create_task_group() as tasks:
            tasks.start_soon(self._worked, app)
            with anyio.move_on_after(crawler.caps.seconds) as scope:
                await self._tended(app, number)
            tasks.cancel_scope.cancel()
        if scope.cancelled_caught:
            crawler.report.lost("the crawl", f"more than {crawler.caps.seconds:g} seconds; the next run goes on")
        return await crawler._over(began)

    def _prepared(self) -> str:
        """The schema of the engine's tables, made when it is missing: one for each version of it, since its tables change."""
        schema = f"x402_jobs_{self._engine.__version__.replace('.', '_')}"
        with self.store.writing() as db:
            if (db.one("select to_regclass(?) as there", f"{schema}.procrastinate_jobs") or {})["there"] is None:
                made = import_module("procrastinate.schema").SchemaManager.get_schema()
                db.script(f"create schema if not exists {schema}; set local search_path to {schema};\n{made}")
        return schema

    async def _worked(self, app: Any) -> None:
        while True:  # it stops by itself when a connection of its own breaks
            await app.run_worker_async(
                queues=[_QUEUE], concurrency=_HOSTS, delete_jobs="always", install_signal_handlers=False, fetch_job_polling_interval=_TICK,
                update_heartbeat_interval=self.beat, stalled_worker_timeout=3 * self.beat, shutdown_graceful_timeout=0.0,
            )  # fmt: skip
            await anyio.sleep(_TICK)

    async def _tended(self, app: Any, number: int) -> None:
        """Every worker does this, all the time: nobody has to be alive for the others to go on."""
        merged = time.monotonic()
        jobs, errors = app.job_manager, self._engine.exceptions
        while not await self.crawler._in_thread(self._ended, number):
            for job in await jobs.get_stalled_jobs(queue=_QUEUE, seconds_since_heartbeat=3 * self.beat):
                with suppress(errors.ConnectorException):  # somebody else was first
                    await jobs.finish_job(job, self._engine.jobs.Status.FAILED, delete_job=True)
            known = {job.lock for job in await jobs.list_jobs_async(queue=_QUEUE)}
            ready, waits = await self.crawler._in_thread(self._ready, number)
            if late := time.monotonic() - merged > _MERGED:
                merged = time.monotonic()
            for host in [*ready, _CLOSING] if late or not waits else ready:
                if host not in known:
                    name, args = ("x402.close", {"number": number}) if host == _CLOSING else ("x402.slice", {"host": host, "number": number})
                    with suppress(errors.AlreadyEnqueued):
                        await app.configure_task(name, lock=host, queueing_lock=host, queue=_QUEUE).defer_async(**args)
            await anyio.sleep(_TICK)

    def _ended(self, number: int) -> bool:
        with self.store.reading() as db:
            return db.one("select 1 as n from passes where number = ? and ended is not null", number) is not None

    def _ready(self, number: int) -> tuple[list[str], bool]:
        """Hosts that may be asked now, and whether anybody waits at all."""
        now = self.store.clock() + _TICK
        with self.store.reading() as db:
            ready = [row["host"] for row in db.rows(_READY, number, now, now, _MANY)]
            return ready, bool(ready) or db.one("select 1 as n from frontier where pass = ? and status = 'waiting' limit 1", number) is not None

    async def _slice(self, host: str, number: int) -> None:
        one = _Slice(self, host)
        await one._waiting(number, host)
        await one._all()

    async def _close(self, number: int) -> None:
        """What was told is found from now on. When nothing waits, what is listed is looked at, once; then the pass has ended."""
        crawler = self.crawler
        await crawler._in_thread(crawler._settled)
        if (await crawler._in_thread(self._ready, number))[1]:
            return
        if crawler.probes and not await crawler._in_thread(self.frontier.pages, number, PROBE) and await crawler._wanted(number):
            return
        await crawler._in_thread(self.frontier.end, number)


class _Slice(Crawler):
    """What waits for one host; what it finds of other hosts waits in the frontier."""

    longest = 5.0

    def __init__(self, fleet: Fleet, host: str) -> None:
        whole = fleet.crawler
        super().__init__(fleet.store, (), caps=whole.caps, manners=replace(whole.manners, in_all=whole.manners.at_once), guard=whole.guard, report=whole.report)
        self.host, self._client, self.sources = host, whole._client, whole.sources

    async def _meanwhile(self) -> None:
        """One of all workers does that."""

    def _queue(self, entry: Entry) -> None:
        if entry.host == self.host:
            super()._queue(entry)

    async def _claimed(self, host: Host) -> float:
        each = max(1.0 / self.manners.rate, host.delay)

        def claim() -> float:
            with self.store.reading() as db:
                if db.one(_CLAIM, host.name, each) is not None:
                    return 0.0
                row = db.one("select free - extract(epoch from clock_timestamp()) as wait from hosts where host = ?", host.name)
            return max(0.001, float(row["wait"])) if row else 0.001

        made: float = await self._in_thread(claim)
        return made
