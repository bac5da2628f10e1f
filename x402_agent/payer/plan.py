"""A whole job, priced before any of it is paid: each request is sent once without money, and what it asks is locked.

    plan = payer.plan(["https://a.example/x", httpx.Request("POST", "https://b.example/y", json={…})])
    print(plan.total)                       # dollars, as text
    for each in plan.run():                 # pays on these terms and no others, at most the total in all
        print(each.row.url, each.response or each.error)

No chain is asked what its fee is just now: where a payer pays it and its coin has a price, the most that policy lets it be counts.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import BudgetExceeded, NoAcceptableOffer, NotReplayable, PaymentError, SettingsError
from ..model import Limit
from ..policy import dollars
from ..policy.value import with_fee
from ..tasks.task import over
from .kit import Quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model import Offer, Receipt
    from ..tasks import Task
    from .payer import Payer

__all__ = ["Done", "Plan", "Row", "made", "made_async"]

_MOST = 10_000
_ASKED: ContextVar[list[Quote]] = ContextVar("x402_agent.plan")


@dataclass(frozen=True)
class _Wanted:
    """A request that can be made as often as it is needed. Its headers may be secret."""

    method: str
    url: str
    headers: list[tuple[bytes, bytes]] | None = field(repr=False, default=None)
    body: bytes = field(repr=False, default=b"")

    def build(self, client: Any, payment: dict[str, Any]) -> Any:
        return client.build_request(self.method, self.url, headers=self.headers, content=self.body or None, extensions={"payment": payment})


@dataclass(frozen=True)
class Row:
    """One request of a plan, by its `number` from 0. `error` says why it is not paid for and not sent again; None for what will be paid, or is free."""

    method: str
    url: str
    quote: Quote
    error: Exception | None = None
    number: int = 0
    wanted: _Wanted = field(repr=False, compare=False, default=_Wanted("GET", ""))

    @property
    def offer(self) -> Offer | None:
        """The locked offer, which is the only one that the run pays for this request; None when nothing is to be paid."""
        return None if self.error else self.quote.chosen

    @property
    def free(self) -> bool:
        """Whether it was answered without money."""
        return self.error is None and self.quote.chosen is None

    @property
    def cost(self) -> int | None:
        """What it costs all told, in millionths of a dollar: 0 for what is free or not paid, None where nobody knows."""
        if self.offer is None:
            return 0
        return self.quote.costs[0]


@dataclass(frozen=True)
class Done:
    """What came of one row: an answer (a response of httpx), or the error that a client would have raised."""

    row: Row
    response: Any = None
    error: Exception | None = None

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of what was paid for it; None when nothing was."""
        return None if self.response is None else self.response.extensions.get("payment")


class Plan:
    """Priced rows in the order in which they were given, to be run once."""

    def __init__(self, payer: Payer, rows: list[Row]) -> None:
        self.payer, self.rows = payer, tuple(rows)
        self._run = False

    @property
    def micros(self) -> int:
        """What the locked offers count in budgets together, in millionths of a dollar; those that nobody can value not.

        With them what their networks take of us, as each hold will count it, but by its upper bound: `[chains.fees]`, or the chain's
        own ceiling. So what is paid may count less, and never more.
        """
        return sum(self._micros(row) for row in self.rows)

    @property
    def total(self) -> str:
        """The same in dollars, as text: the budget of its run."""
        return dollars(self.micros)

    def short(self) -> list[BudgetExceeded]:
        """The limits over time that leave too little for all of it, as they stand now; empty when it fits."""
        needs: dict[tuple[Limit, str], int] = {}
        for row in self.rows:
            if (offer := row.offer) is not None:
                realm = "sandbox" if self.payer.sandboxed else "test" if offer.network.testnet else "real"
                for limit in row.quote.limits:
                    needs[limit, realm] = needs.get((limit, realm), 0) + self._units(limit, offer, row)
        found = []
        for (limit, realm), need in needs.items():
            (room,) = self.payer.ledger.spent([limit], realm=realm)
            if need > max(0, room.left):
                found.append(_too_small(limit, need, max(0, room.left)))
        return found

    def run(
        self, *, workers: int = 8, deadline: float | None = None, partly: bool = False, each: Callable[[Done], object] = lambda _: None
    ) -> list[Done]:  # fmt: skip
        """Make every request and pay on the locked terms, `workers` at a time, under a task of its own with the total as budget.

        Nothing new is sent `deadline` seconds after the start. One row's error is in its Done and stops no other; `each` is
        called with every Done as it comes, by the thread that has it.
        Raises BudgetExceeded where the limits leave too little for all of it (unless `partly`), SettingsError when it is
        run a second time.
        """
        from concurrent.futures import ThreadPoolExecutor

        task = self._begin(workers, deadline, partly=partly)

        def one(row: Row) -> Done:
            each(made := _done(client, task, row))
            return made

        with task.client() as client:
            pool = ThreadPoolExecutor(workers)
            try:
                return list(pool.map(one, self.rows))
            finally:
                task.end()
                pool.shutdown(cancel_futures=True)

    async def run_async(self, *, workers: int = 8, deadline: float | None = None, partly: bool = False) -> list[Done]:
        """The same on asyncio and trio, without `each`."""
        task = self._begin(workers, deadline, partly=partly)
        found: dict[int, Done] = {}

        async def one(number: int) -> None:
            found[number] = await _done_async(client, task, self.rows[number])

        async with task.async_client() as client:
            try:
                await _all(one, len(self.rows), workers)
            finally:
                task.end()
        return [found[number] for number in range(len(self.rows))]

    def _units(self, limit: Limit, offer: Offer, row: Row) -> int:
        """What a row takes of a limit at most, in its unit."""
        if limit.unit == "payments":
            return 1
        return offer.money.amount if limit.unit == "units" else self._micros(row)

    def _micros(self, row: Row) -> int:
        """What a row takes of budgets of dollars at most. Behind a signer only its quote knows the prices of coins."""
        if (offer := row.offer) is None:
            return 0
        facts = self.payer.facts
        fee = facts.most(offer)
        held = with_fee(offer, fee.asset, fee.amount, facts) if fee else offer
        return max(held.micros or 0, row.cost or 0)

    def _begin(self, workers: int, deadline: float | None, *, partly: bool) -> Task:
        _check(workers)
        if self._run:
            raise SettingsError("a plan is run once", rule="plan.run()", hint="payer.plan([…]) prices the job anew")
        if not partly and (short := self.short()):
            raise short[0]
        self._run = True
        return self.payer.task("plan", budget=self.total, deadline=deadline)

    def __repr__(self) -> str:
        paid, free = sum(row.offer is not None for row in self.rows), sum(row.free for row in self.rows)
        return f"Plan({self.total} USD for {paid}, {free} free, {len(self.rows) - paid - free} refused)"


def made(payer: Payer, requests: Iterable[Any], workers: int) -> Plan:
    """`payer.plan`: what each request asks, and what policy says; nothing is signed, held or paid."""
    from concurrent.futures import ThreadPoolExecutor

    _check(workers)
    wanted = [_wanted(each) for each in _few(requests)]
    with payer.led(payer.client(), _asking(payer)) as client, ThreadPoolExecutor(workers) as pool:
        return Plan(payer, list(pool.map(lambda each: _priced(client, *each), enumerate(wanted))))


async def made_async(payer: Payer, requests: Iterable[Any], workers: int) -> Plan:
    """`payer.plan_async`."""
    _check(workers)
    wanted = [_wanted(each) for each in _few(requests)]
    rows: dict[int, Row] = {}

    async def one(number: int) -> None:
        rows[number] = await _priced_async(client, number, wanted[number])

    async with payer.led(payer.async_client(), _asking(payer)) as client:
        await _all(one, len(wanted), workers)
    return Plan(payer, [rows[number] for number in range(len(wanted))])


def _asking(payer: Payer) -> Any:
    return lambda ask: payer.quote_kit(ask, _ASKED.get())


async def _all(one: Any, count: int, workers: int) -> None:
    """`one(number)` for each, so many at a time."""
    from anyio import create_task_group

    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    async with create_task_group() as group:
        for _ in range(min(workers, count)):
            group.start_soon(work)


def _check(workers: int) -> None:
    if isinstance(workers, bool) or not isinstance(workers, int) or not 0 < workers <= 256:
        raise SettingsError("workers are 1 to 256", rule="workers", hint="workers=8")


def _few(requests: Iterable[Any]) -> list[Any]:
    found = [requests] if isinstance(requests, str) else list(requests)
    if len(found) > _MOST:
        raise SettingsError(f"{len(found)} requests are too many for one plan", rule=f"at most {_MOST}", hint="several plans")
    return found


def _wanted(given: Any) -> _Wanted:
    """A URL, or a request of httpx or httpx2 whose body is at hand; raises SettingsError, NotReplayable."""
    if isinstance(given, str):
        return _Wanted("GET", given)
    if not hasattr(given, "headers") or not hasattr(given, "url"):
        raise SettingsError(f"{type(given).__name__} is no request", rule="payer.plan([…])", hint="a URL, or an httpx.Request")
    try:
        body = given.read()
    except Exception as why:
        raise NotReplayable(f"the body of {given.method} {given.url.host} can be read only once", rule="a plan sends each request twice",
                            hint="content=bytes") from why  # fmt: skip
    return _Wanted(given.method, str(given.url), list(given.headers.raw), body)


def _priced(client: Any, number: int, wanted: _Wanted) -> Row:
    found: list[Quote] = []
    _ASKED.set(found)
    status, error = 0, None
    try:
        response = client.send(wanted.build(client, {}), stream=True)  # what is free is not read
        status = response.status_code
        response.close()
    except Exception as why:
        error = why
    return _row(number, wanted, found, status, error)


async def _priced_async(client: Any, number: int, wanted: _Wanted) -> Row:
    found: list[Quote] = []
    _ASKED.set(found)
    status, error = 0, None
    try:
        response = await client.send(wanted.build(client, {}), stream=True)
        status = response.status_code
        await response.aclose()
    except Exception as why:
        error = why
    return _row(number, wanted, found, status, error)


def _row(number: int, wanted: _Wanted, found: list[Quote], status: int, error: Exception | None) -> Row:
    quote = found[0] if found else Quote(status, reason=error if isinstance(error, PaymentError) else None)
    error = error or quote.reason
    if error is None and status == 402 and not found:
        error = NoAcceptableOffer("402 without an offer that any dialect here understands", rule="dialects", hint="x402-agent get --dry-run URL")
    return Row(wanted.method, wanted.url, quote, error, number, wanted)


def _held(task: Task, row: Row) -> Exception | None:
    """Why a row is not sent at all."""
    return row.error or over(task.lineage)


def _terms(row: Row) -> dict[str, Any]:
    return {"max": "0"} if row.offer is None else {"offer": row.offer}


def _done(client: Any, task: Task, row: Row) -> Done:
    if (no := _held(task, row)) is not None:
        return Done(row, error=no)
    try:
        return Done(row, client.send(row.wanted.build(client, _terms(row))))
    except Exception as why:
        return Done(row, error=why)


async def _done_async(client: Any, task: Task, row: Row) -> Done:
    if (no := _held(task, row)) is not None:
        return Done(row, error=no)
    try:
        return Done(row, await client.send(row.wanted.build(client, _terms(row))))
    except Exception as why:
        return Done(row, error=why)


def _too_small(limit: Limit, need: int, left: int) -> BudgetExceeded:
    show = dollars if limit.unit == "micros" else str
    unit = {"micros": "USD", "payments": "payments"}.get(limit.unit, "atomic units")
    return BudgetExceeded(f"the plan takes {show(need)} {unit} of {limit.scope}, and {show(left)} are left in this {limit.window}",
                          rule=limit.rule, hint=limit.hint.replace("{amount}", show(need)))  # fmt: skip
