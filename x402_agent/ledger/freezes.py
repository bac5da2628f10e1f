"""Stop: what a person froze, a file that says so, and sellers who took payment after payment and delivered nothing.

It is looked at inside the transaction that holds money, and stops new payments only: a proof that is out already is
shown again as before, since that pays nothing new and may fetch what was paid for.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ..errors import LedgerError, PolicyDenied
from . import states
from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..model import Ask, Hold, Offer
    from .cache import Cache
    from .store import Store

__all__ = ["FREEZE_FILE", "Freeze", "Freezes", "Kind", "calm", "check_freezes"]

Kind: TypeAlias = Literal["all", "host", "agent", "payee"]
FREEZE_FILE = "freeze"  # a file of this name beside the ledger, or in the configuration folder, stops everything
_HOST = re.compile(r"[0-9A-Za-z_.-]{1,253}|[0-9A-Fa-f:.]{2,45}").fullmatch
_PLAIN = re.compile(r"[!-.0-~]{1,128}").fullmatch  # no slash, no blank
TRUST = 1.0  # seconds for which the owner of a payment under way is taken to be alive still
_WHAT = {"all": "payments are frozen", "host": "payments to {} are frozen", "agent": "payments of agent {} are frozen",
         "payee": "payments to the recipient {} are frozen"}  # fmt: skip
_OPEN = (
    "SELECT id, origin, host, network, to_address, state, owner FROM x402_payments "
    f"WHERE is_open = 1 AND state NOT IN {states.listed(states.UNSENT)} ORDER BY id DESC"
)
_DELIVERED = {
    "origin": "SELECT 1 FROM x402_payments WHERE id > ? AND delivered = 1 AND origin = ? LIMIT 1",
    "payee": "SELECT 1 FROM x402_payments WHERE id > ? AND delivered = 1 AND network || '/' || lower(to_address) = ? LIMIT 1",
}


@dataclass(frozen=True, slots=True)
class Freeze:
    """What is frozen: `kind` all, host, agent or payee; `since` in unix seconds; `note` in the words of whoever did it."""

    kind: Kind
    name: str
    since: int
    note: str = ""

    @property
    def option(self) -> str:
        """How the command line names it: ` --host api.example.com`, "" for everything."""
        return f" --{self.kind} {self.name}" if self.name else ""


class Freezes(Opened):
    """The part of the ledger that stops payments."""

    def freeze(self, kind: Kind = "all", name: str = "", note: str = "") -> Freeze:
        """From now on nothing new is paid to this host or payee, or by this agent, or at all; durable. Raises LedgerError."""
        name = _name(kind, name)
        text = "".join(letter if letter.isprintable() else " " for letter in note[:200])

        def write(store: Store) -> Freeze:
            made = Freeze(kind, name, int(store.clock()), text)
            store.db.execute("INSERT OR IGNORE INTO x402_freezes VALUES (?,?,?,?)", (kind, name, made.since, text))
            store.cache.frozen = None
            return made

        found: Freeze = self._job(write, write=True, full=True).run()
        return found

    def unfreeze(self, kind: Kind = "all", name: str = "") -> bool:
        """Lift a freeze; payments so far stop no others at this host or payee. -> whether it was frozen. Raises LedgerError."""
        name = _name(kind, name)

        def write(store: Store) -> bool:
            if kind in ("host", "payee"):
                newest = store.db.execute("SELECT COALESCE(MAX(id), 0) FROM x402_payments").fetchone()[0]
                pardon = (kind, name, newest, int(store.clock()))
                store.db.execute("INSERT OR REPLACE INTO x402_pardons VALUES (?,?,?,?)", pardon)
            store.cache.frozen = store.cache.bad = None
            return store.db.execute("DELETE FROM x402_freezes WHERE kind = ? AND name = ?", (kind, name)).rowcount > 0

        found: bool = self._job(write, write=True, full=True).run()
        return found

    def freezes(self) -> list[Freeze]:
        """Everything that is frozen, the oldest first."""
        query = "SELECT kind, name, since, note FROM x402_freezes ORDER BY since, kind, name"
        return [Freeze(*row) for row in self._job(lambda store: store.db.execute(query).fetchall(), write=False).run()]

    @cached_property
    def _stop_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.stop_files()))

    def stop_files(self) -> tuple[Path, ...]:
        """Where a file stops everything as long as it is there, whatever it holds."""
        beside = self.path.parent / FREEZE_FILE
        return (beside,) if self._notes is None else (beside, self._notes.parent / FREEZE_FILE)


def _name(kind: Kind, name: str) -> str:
    if kind not in get_args(Kind) or (kind == "all") != (not name):
        raise LedgerError(f"{kind!r} is frozen by its name, or everything without one", rule="all, host, agent or payee", hint='freeze("host", "api.example.com")')
    odd = {"host": not _HOST(name), "payee": not _PLAIN(name)}.get(kind, False)
    if odd:  # no payment has such a name: a freeze that stops nothing is worse than an error
        hint = "api.example.com, as a URL's host alone, in punycode" if kind == "host" else "the address alone: it is stopped on every network"
        raise LedgerError(f"no payment belongs to the {kind} {name[:80]!r}", rule="a freeze names what payments have", hint=hint)
    return name.lower() if kind == "host" or name.startswith(("0x", "0X")) else name


def calm(cache: Cache, ask: Ask, offer: Offer, after: int) -> bool:
    """Whether memory alone shows that nothing is stopped; `check_freezes` decides."""
    if cache.frozen != {}:
        return False
    if not after:
        return True
    bad = cache.bad
    if bad is None or cache.bad_until < time.monotonic():
        return False
    return not bad or all(len(bad.get(key, ())) < after for key in _keys(ask, offer))


def check_freezes(store: Store, hold: Hold, files: tuple[str, ...]) -> None:
    """Inside the transaction that holds money: raises PolicyDenied when nothing new is paid here."""
    ask, offer = hold.ask, hold.offer
    if store.cache.looked != store.cache.generation:  # once for all payments of a batch: it costs calls of the system
        for path in files:
            _no_file(path)
        store.cache.looked = store.cache.generation
    frozen = store.cache.frozen
    if frozen is None:
        rows = store.db.execute("SELECT kind, name, since, note FROM x402_freezes").fetchall()
        frozen = store.cache.frozen = {(kind, name): (since, note) for kind, name, since, note in rows}
    for kind, name in _names(ask, offer) if frozen else ():
        if (kind, name) in frozen:
            since, note = frozen[kind, name]
            option = Freeze(kind, name, since).option
            day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(since))
            raise PolicyDenied(
                f"{_WHAT[kind].format(name)} since {day} UTC{note and f' ({note})'}",
                rule=f"x402-agent freeze{option}", hint=f"x402-agent unfreeze{option}",
            )  # fmt: skip
    if hold.stop.after:
        _streak(store, hold)


def _no_file(path: str) -> None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as cause:
        why = f"{path} cannot be looked for: {cause.strerror}"
    else:
        why = f"payments are stopped by the file {path}"
    raise PolicyDenied(why, rule="a file of this name stops every new payment", hint="x402-agent unfreeze")


def _names(ask: Ask, offer: Offer) -> Iterator[tuple[Kind, str]]:
    yield "all", ""
    yield "host", ask.host
    yield "payee", offer.pay_to.lower() if offer.network.namespace == "eip155" else offer.pay_to
    for agent in ask.under.agent.split(",") if ask.under.agent else ():
        yield "agent", agent


# -- sellers who deliver nothing ----------------------------------------------------------------------------------------


def _keys(ask: Ask, offer: Offer) -> tuple[str, str]:
    return f"origin:{ask.origin}", f"payee:{offer.network.id}/{offer.pay_to.lower()}"


def _streak(store: Store, hold: Hold) -> None:
    after, cache = hold.stop.after, store.cache
    bad = cache.bad
    if bad is None or cache.bad_until < time.monotonic():
        bad = cache.bad = _bad(store, after)
    if not bad:
        return
    for key in _keys(hold.ask, hold.offer):
        numbers = bad.get(key, ())
        if len(numbers) < after:
            continue
        kind, _, name = key.partition(":")
        if store.db.execute(_DELIVERED[kind], (numbers[after - 1], name)).fetchone() is None:
            option = f"--host {hold.ask.host}" if kind == "origin" else f"--payee {hold.offer.pay_to}"
            raise PolicyDenied(
                f"the last {after} payments to {name if kind == 'origin' else hold.offer.pay_to} are in doubt or were not delivered",
                rule=hold.stop.rule, hint=f"x402-agent resume; then, if you mean to go on, x402-agent unfreeze {option}",
            )  # fmt: skip


def _bad(store: Store, least: int) -> dict[str, list[int]]:
    """By origin and payee, the rows of payments that are in doubt or undelivered, newest first; not those under way.

    Fewer open payments than `least` stop nobody, and are not looked at.
    """
    store.cache.bad_until = float("inf")
    if sum(store.cache.open_keys.values()) < least:
        return {}
    pardons = {(kind, name): number for kind, name, number in store.db.execute("SELECT kind, name, payment FROM x402_pardons")}
    alive: dict[str, bool] = {store.owner: True}
    found: dict[str, list[int]] = {}
    for number, origin, host, network, to, state, owner in store.db.execute(_OPEN).fetchall():
        if state not in states.NO_GOODS:
            if owner not in alive:
                alive[owner] = store.owners.alive(owner)
            if alive[owner]:
                if owner != store.owner:
                    store.cache.bad_until = time.monotonic() + TRUST
                continue
        payee = to.lower() if network.startswith("eip155:") else to
        if number > pardons.get(("host", host), 0):
            found.setdefault(f"origin:{origin}", []).append(number)
        if number > pardons.get(("payee", payee), 0):
            found.setdefault(f"payee:{network}/{to.lower()}", []).append(number)
    return found
