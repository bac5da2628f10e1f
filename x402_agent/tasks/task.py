"""Tasks: budgets inside budgets, carried by the context. Whatever lies inside can only narrow.

    with payer.task("research", budget="0.50", calls=20, deadline=600):
        with payer.task("prices", budget="0.10"):
            http.get("https://api.example.com/prices")        # counts for both, and must fit into both

A task belongs to its payer: payments of another one are not its business. asyncio, trio and threads (`threads`) inherit
it; where a context does not reach, `task.client()` is bound to it. After its deadline or its end nothing new is paid
under it; a proof that is open already may still be shown again. A forked child learns of its end through a page that
both processes see, and pays nothing new once the process that it was forked from is gone.
"""

from __future__ import annotations

import os
import secrets
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from ..errors import PolicyDenied, SettingsError
from ..model import NOBODY, Cap, Limit, Under, run_id
from ..policy import Policy, dollars, expected, micros
from . import threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap

    import httpx

    from ..ledger.writer import Job
    from ..model import Ask
    from ..payer import Payer
    from ..transport.mcp import PaidSession

__all__ = ["Confines", "Task", "ground", "lasts", "left", "named", "narrowed", "over", "place", "refusal", "standing"]


class Confines(NamedTuple):
    """What narrows a payment beside policy. `hosts`: each set of allowed ones, and the rule that says so. `expect` narrows nothing:
    how many calls each seller is expected to be asked for, 0 where that is not said."""  # fmt: skip

    under: Under = NOBODY
    limits: tuple[Limit, ...] = ()
    caps: tuple[Cap, ...] = ()
    hosts: tuple[tuple[frozenset[str], str], ...] = ()
    expect: int = 0

    def within(self, outer: Confines) -> Confines:
        """Both at once, the outer names first."""
        return Confines(
            _both(outer.under, self.under),
            tuple(dict.fromkeys((*outer.limits, *self.limits))),
            tuple(dict.fromkeys((*outer.caps, *self.caps))),
            tuple(dict.fromkeys((*outer.hosts, *self.hosts))),
            self.expect or outer.expect,
        )


def _both(outer: Under, inner: Under) -> Under:
    if NOBODY in (inner, outer):
        return outer if inner == NOBODY else inner
    task = inner.task
    if outer.task and not f"{task}/".startswith(f"{outer.task}/"):
        task = outer.task if f"{outer.task}/".startswith(f"{task}/") or not task else f"{outer.task}/{task}"
    runs = tuple(dict.fromkeys((*outer.runs, *inner.runs)))
    agent, group, tool, category, slip = (
        ",".join(dict.fromkeys(filter(None, f"{getattr(outer, kind)},{getattr(inner, kind)}".split(","))))
        for kind in ("agent", "group", "tool", "category", "slip")
    )
    return Under(agent, group, task, runs, tool, category, slip)


class Task:
    """One `payer.task(…)`: a context manager, also an asynchronous one, used once. Its limits count what is paid under it."""

    def __init__(self, payer: Payer, name: str, own: Confines, *, deadline: float | None = None, kind: str = "task") -> None:
        outer, lineage = standing(payer)
        self.payer, self.name, self._kind, self._seconds = payer, name, kind, deadline
        self.bounds = own.within(outer)
        self.lineage = (*lineage, self)
        self.ends = None if deadline is None else time.monotonic() + deadline
        self.lends = False  # whether a slip was given from under it
        self._state, self._process = "new", os.getpid()
        self._shared: mmap | None = None  # from the first fork on: 1 once it has ended
        self._forker = 0  # the process that forked last, so in a child the one that it was forked from
        _MADE.add(self)
        threads.follow(_ENTERED)

    @property
    def over(self) -> str:
        """Why nothing new is paid under it, or ""."""
        if self._state == "ended" or (self._shared is not None and self._shared[0]):
            return "has ended"
        if self._process != os.getpid() and os.getppid() != self._forker:
            return "was of a process that is gone"
        if self.ends is not None and time.monotonic() >= self.ends:
            return f"is past its deadline of {self._seconds:g} seconds"
        return ""

    @property
    def spent(self) -> str:
        """Dollars counted under it so far, those in doubt included: `0.03`."""
        return dollars(_counted(self.payer, f"run:{self.bounds.under.runs[-1]}"))

    @property
    def left(self) -> str | None:
        """Dollars that its budget and those around it leave; None when none of them has one. Policy may leave less."""
        found = left(self.payer, self.bounds)
        return None if found is None else dollars(found)

    # -- while it is entered, every client of its payer pays under it ---------------------------------------------

    def __enter__(self) -> Task:
        if self._state != "new":
            raise SettingsError(f"{self!r} is entered a second time", rule="a task is used once", hint="payer.task(…) makes a new one")
        self._state = "entered"
        _ENTERED.set((*_ENTERED.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        if (job := self._leave()) is not None:
            job.run()

    async def __aenter__(self) -> Task:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        from ..transport.waiting import wait

        if (job := self._leave()) is not None:
            await wait(job)

    def end(self) -> None:
        """Nothing new is paid under it from now on, nor by a slip that was given from under it. Raises LedgerError."""
        self.__exit__()

    def _leave(self) -> Job[Any] | None:
        self._state = "ended"
        _ENTERED.set(tuple(task for task in _ENTERED.get() if task is not self))
        # A task outlives a copy of its block that a forked child leaves; a slip, any block that it was used in.
        mine = self._process == os.getpid()
        if mine and self._shared is not None:
            self._shared[0] = 1
        return self.payer.ledger.end_slips(self.bounds.under.runs[-1]) if mine and self.lends and self._kind == "task" else None

    # -- bound to it, whatever the context ------------------------------------------------------------------------

    def client(self, **options: Any) -> httpx.Client:
        """`payer.client()`, bound to this task wherever it is used."""
        return self._bound(self.payer.client(**options))  # type: ignore[no-any-return]

    def async_client(self, **options: Any) -> httpx.AsyncClient:
        """`payer.async_client()`, bound to this task wherever it is used."""
        return self._bound(self.payer.async_client(**options))  # type: ignore[no-any-return]

    def attach(self, client: Any) -> Any:
        """`payer.attach(client)`, bound to this task wherever it is used."""
        return self._bound(self.payer.attach(client))

    def mcp(self, session: Any, server: str = "") -> PaidSession:
        """`payer.mcp(session)`, bound to this task wherever it is used."""
        from ..transport.mcp import PaidSession

        return PaidSession(session, self.payer, server, talk=lambda ask: self.payer.talk(ask, self))

    def _bound(self, client: Any) -> Any:
        return self.payer.led(client, lambda ask: self.payer.talk(ask, self))

    def __repr__(self) -> str:
        state = {"new": "", "entered": ", entered", "ended": ", ended"}[self._state]
        return f"Task({self._kind} {self.bounds.under.task if self._kind == 'task' else self.name}{state})"


_ENTERED: ContextVar[tuple[Task, ...]] = ContextVar("x402_agent.tasks", default=())
_MADE: WeakSet[Task] = WeakSet()


def _before_fork() -> None:
    """Give every task that is not over a page of memory that its copies in the child see, too, and the name of their parent."""
    for task in list(_MADE):
        task._forker = os.getpid()
        if task._shared is None and task._state != "ended":
            from mmap import mmap

            task._shared = mmap(-1, 1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


def named(
    payer: Payer, name: str, *, budget: str | None, calls: int | None, deadline: float | None, per_call: str | None,
    hosts: Sequence[str], tool: str, category: str, expect_calls: int | None,
) -> Task:  # fmt: skip
    """What `payer.task` makes; raises SettingsError for what is no name, amount, count or host."""
    _is_name(name, "a task's name")
    for word, what in ((tool, "tool"), (category, "category")):
        if word:
            _is_name(word, f"{what} of task {name}")
    if deadline is not None:
        lasts(deadline, f"deadline of task {name}", "seconds", "deadline=600")
    run = run_id(payer.clock(), secrets.token_bytes(6))
    outer, _ = standing(payer)
    path = f"{outer.under.task}/{name}" if outer.under.task else name
    under = Under(task=path, runs=(run,), tool=tool, category=category)
    own = narrowed(f"task {name}", f'payer.task("{name}", {{}})', under, budget, calls, per_call, hosts)
    if expect_calls is not None:
        own = own._replace(expect=expected(expect_calls, f"expect_calls of task {name}"))
    return Task(payer, name, own, deadline=deadline)


def narrowed(
    who: str, maker: str, under: Under, budget: str | None, calls: int | None, per_call: str | None, hosts: Sequence[str]
) -> Confines:
    """The bounds of one task or slip, whose run is the last of `under`. Raises SettingsError."""
    scope, limits, caps, allowed = f"run:{under.runs[-1]}", [], [], []

    def place(option: str, value: object) -> str:
        return f"{who} ({option}={value}) in code"

    if budget is not None:
        most = micros(budget, f"budget of {who}")
        hint = maker.format(f'budget="{dollars(most * 2)}"')
        limits.append(Limit(scope, "total", most, place("budget", dollars(most)), hint))
    if calls is not None:
        if isinstance(calls, bool) or not isinstance(calls, int) or calls < 0:
            raise SettingsError("calls are counted in whole numbers", rule=f"calls of {who}", hint="calls=20")
        limits.append(Limit(scope, "total", calls, place("calls", calls), maker.format(f"calls={calls * 2}"), "payments"))
    if per_call is not None:
        cap = micros(per_call, f"per_call of {who}")
        caps.append(Cap(cap, place("per_call", dollars(cap)), maker.format('per_call="{amount}"')))
    if hosts:
        allowed.append((_hosts(hosts, f"hosts of {who}"), place("hosts", ", ".join(hosts))))
    return Confines(under, tuple(limits), tuple(caps), tuple(allowed))


def lasts(given: float, rule: str, unit: str, hint: str) -> None:
    """Raise SettingsError for what is no length of time."""
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= 10**8:
        raise SettingsError(f"{given!r:.40} is no number of {unit}, above zero and below 10^8", rule=rule, hint=hint)


def _is_name(name: str, what: str) -> None:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64 or set(name) & set("/,{}\"'\\"):
        raise SettingsError(f"{name!r:.80} is no name", rule=what, hint="up to 64 letters, without / and ,")


def _hosts(hosts: Sequence[str], rule: str) -> frozenset[str]:
    if isinstance(hosts, str):
        raise SettingsError("hosts is a list of host names", rule=rule, hint=f'hosts=["{hosts}"]')
    try:
        return frozenset(Policy(allow=tuple(hosts)).allow)  # spelt as requests have them
    except SettingsError as why:
        raise SettingsError(why.what, rule=rule, hint=why.hint) from None


def standing(payer: Payer, bound: Task | None = None) -> tuple[Confines, tuple[Task, ...]]:
    """What a payment of this payer stands under here and now, and by which tasks, outermost first.

    That of the context and that of a bound client: one that contains the other, as a rule; else both count.
    """
    bounds: Confines = payer.bounds
    lineage: tuple[Task, ...] = ()
    entered = _ENTERED.get()
    for task in entered if bound is None else (*entered, bound):
        if task.payer is not payer or task in lineage:
            continue
        if lineage == task.lineage[: len(lineage)]:
            bounds, lineage = task.bounds, task.lineage
        else:
            bounds, lineage = task.bounds.within(bounds), tuple(dict.fromkeys((*lineage, *task.lineage)))
    return bounds, lineage


def ground(payer: Payer) -> Confines:
    """What every payment of a payer stands under: its names, and the slip in X402_AGENT_SLIP. Raises what `under` does."""
    where = payer.settings
    bounds = Confines(Under(agent=where.agent, group=where.group))
    if len(where.slip):
        from . import slips

        return bounds.within(slips.own(payer))
    return bounds


def place(ask: Ask, bounds: Confines) -> None:
    """Write down on whose behalf an Ask is made, and what narrows it."""
    ask.under = _both(bounds.under, ask.under)
    if bounds.limits or bounds.caps:
        ask.limits = bounds.limits
        ask.caps = (*bounds.caps, *ask.caps)


def refusal(ask: Ask, bounds: Confines, lineage: tuple[Task, ...]) -> PolicyDenied | None:
    """Why nothing new is paid for this Ask under these tasks, whatever the price; None when it may be."""
    if (no := over(lineage)) is not None:
        return no
    for allowed, rule in bounds.hosts:
        if not allowed & {ask.host, ask.origin, ask.origin.partition("://")[2]}:
            return PolicyDenied(f"{ask.host} is not among the hosts that may be paid here", rule=rule, hint=f'hosts=[…, "{ask.host}"]')
    return None


def over(lineage: tuple[Task, ...]) -> PolicyDenied | None:
    """The error that says which of these tasks is over; None when none is."""
    for task in lineage:
        if why := task.over:
            return PolicyDenied(f"{task._kind} {task.name} {why}: nothing new is paid under it",
                                rule=f"{task._kind} {task.name} in code", hint="a new task: payer.task(…)")  # fmt: skip
    return None


def left(payer: Payer, bounds: Confines) -> int | None:
    """Micro-dollars that the budgets of tasks and slips leave; None when none of them has one."""
    money = [limit for limit in bounds.limits if limit.unit == "micros"]
    return min((max(0, limit.most - _counted(payer, limit.scope)) for limit in money), default=None)


def _counted(payer: Payer, scope: str) -> int:
    ledger = payer._journal()
    return 0 if ledger is None else ledger.counted(scope)
