"""The verdict over a run: the ledger against itself, against the budgets and against the chains; and whether anything grew or hung."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from swarm import ledger_of, payer_of

__all__ = ["Judged", "judge"]

QUIET = 3_700  # seconds: longer than any proof of ours lives
LAG = 2.0  # seconds of the chains' clock between what two processes write down of one moment
LIVED = 60  # seconds after warm-up, a sample each, that show whether memory grows
FLAT = 4_096  # KiB that may be resident more at the end than after warm-up, and that for each 1,000 purchases


@dataclass
class Judged:
    """What a run showed: verdicts by name, each with the numbers behind it."""

    name: str
    verdicts: dict[str, tuple[bool, str]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def say(self, what: str, good: object, words: str) -> None:
        """One verdict."""
        self.verdicts[what] = bool(good), words

    @property
    def passed(self) -> bool:
        """Whether all are good."""
        return all(good for good, _ in self.verdicts.values())

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"variant": self.name, "passed": self.passed, "verdicts": {what: {"pass": good, "words": words} for what, (good, words) in self.verdicts.items()}, **self.told}

    def text(self) -> str:
        """As a table."""
        lines = [f"\n## Agents in {self.name}: {'PASS' if self.passed else 'FAIL'}\n", "| | verdict | |", "|---|---|---|"]
        lines += [f"| {what} | {'PASS' if good else 'FAIL'} | {words} |" for what, (good, words) in self.verdicts.items()]
        for title in ("purchases", "why", "states", "faults", "top"):
            rows = self.told.get(title) or {}
            shown = [f"  {count:6}  {name}" for name, count in sorted(rows.items(), key=lambda each: -each[1])[:40]] if isinstance(rows, dict) else [f"  {row}" for row in rows]
            lines += ["", f"{title}:", *shown] if shown else []
        return "\n".join(lines)


def judge(name: str, told: dict[str, Any], street: Any, said: list[dict[str, Any]], killed: int, *, processes: int) -> Judged:
    """Quiet, then `resume` with honest nodes and after every proof's time, then look."""
    made = Judged(name)
    ledger = ledger_of(told)
    with payer_of(told, ledger) as payer:
        made.told["after the run"] = _states(told)
        street.do("calm")
        street.do("mine", blocks=30)
        payer.resume()
        street.do("warp", seconds=QUIET)
        for _ in range(2):
            payer.resume()
        ledger.flush()
        problems = ledger.verify()
        truth = street.do("truth")
        _books(made, told, ledger, problems)
        _money(made, told, truth)
        _ends(made, told, truth["used_up"])
    _calls(made, said, processes, killed)
    made.told |= {"killed": killed, "faults": truth["faults"], "requests": truth["requests"]}
    purchases: Counter[str] = Counter()
    why: Counter[str] = Counter()
    for each in said:
        purchases.update(each["count"])
        why.update(each["why"])
    made.told |= {"purchases": dict(purchases), "why": dict(why), "states": _states(told)}
    made.told["top"] = said[0].get("top", []) if said else []
    return made


def _rows(told: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{told['ledger']}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def _states(told: dict[str, Any]) -> dict[str, int]:
    return {f"{network} {state}": count for network, state, count in _rows(told, "SELECT chain, state, COUNT(*) FROM x402_payments GROUP BY 1, 2")}


_LEFT = "state NOT IN ('RELEASED', 'DEAD', 'REVERTED')"


def _books(made: Judged, told: dict[str, Any], ledger: Any, problems: list[str]) -> None:
    """`verify` is clean, and no budget was exceeded: by what the rows say, and by the counters that limits are judged by."""
    made.say("the ledger agrees with itself", not problems, "; ".join(problems)[:300] or f"{ledger.verify.__name__} finds nothing")
    agents = dict(_rows(told, f"SELECT task, SUM(micros) FROM x402_payments WHERE {_LEFT} AND task <> '' GROUP BY 1"))
    hosts = dict(_rows(told, f"SELECT host, SUM(micros) FROM x402_payments WHERE {_LEFT} GROUP BY 1"))
    total = sum(hosts.values())
    worst = max(agents.values(), default=0)
    dear = max(hosts.values(), default=0)
    good = worst <= told["agent"] and dear <= told["host"] and total <= told["total"]
    words = f"an agent {worst / 1e6:.2f} of {told['agent'] / 1e6:.2f}, a host {dear / 1e6:.2f} of {told['host'] / 1e6:.2f}, all {total / 1e6:.2f} of {told['total'] / 1e6:.2f} dollars"
    made.say("no budget was exceeded", good, words)
    counted = {name: ledger.counted(f"task:{name}") for name in agents} | {name: ledger.counted(f"host:{name}") for name in hosts}
    wrong = [name for name, micros in (agents | hosts).items() if counted[name] != micros]
    made.say("counters are the sum of their rows", not wrong and ledger.counted("all") == total, ", ".join(wrong[:5]) or f"{len(counted) + 1} scopes")


def _money(made: Judged, told: dict[str, Any], truth: dict[str, Any]) -> None:
    """What left by the chains, beside what is spent and in doubt."""
    query = "SELECT asset, state, SUM(CAST(amount AS INTEGER)), COUNT(*) FROM x402_payments GROUP BY 1, 2"
    spent: Counter[str] = Counter()
    doubt: Counter[str] = Counter()
    for asset, state, amount, _ in _rows(told, query):
        (spent if state in ("CLAIMED", "CONFIRMED", "PAID_UNDELIVERED") else doubt if state not in ("RELEASED", "DEAD", "REVERTED") else Counter())[asset] += amount
    wrong, words = [], []
    for asset, moved in truth["moved"].items():
        words.append(f"{asset.rpartition('/')[0].partition(':')[0]} {moved} = {spent[asset]}" + (f" + {moved - spent[asset]} of {doubt[asset]}" if doubt[asset] else ""))
        if not spent[asset] <= moved <= spent[asset] + doubt[asset]:
            wrong.append(asset)
    made.say("what left is what is counted", not wrong, "; ".join(words))


def _ends(made: Judged, told: dict[str, Any], used_up: dict[str, float]) -> None:
    """Every payment has come to an end that is known, or is in doubt with a reason; none was paid twice.

    A session is bought by one call and serves as many as it holds, of all agents: who bought one that is used up may buy the next.
    """
    blank = _rows(told, f"SELECT payment_id, state FROM x402_payments WHERE state NOT IN ('RELEASED', 'DEAD', 'CLAIMED', 'CONFIRMED') AND note = '' AND status_code = 0 AND {_LEFT}")
    pending = _rows(told, "SELECT COUNT(*) FROM x402_payments WHERE state IN ('RESERVED', 'INFLIGHT', 'SEEN', 'MINED', 'PROVING')")[0][0]
    doubt = _rows(told, "SELECT COUNT(*) FROM x402_payments WHERE state NOT IN ('RELEASED', 'DEAD', 'REVERTED', 'CLAIMED', 'CONFIRMED')")[0][0]
    made.say("every payment ended, or says why not", not blank and not pending, f"{doubt} open with a reason, {len(blank)} without, {pending} under way")
    paid = _rows(told, f"SELECT ask_key, url, tx_hash, created_at FROM x402_payments WHERE {_LEFT} AND ask_key IN (SELECT ask_key FROM x402_payments WHERE {_LEFT} GROUP BY 1 HAVING COUNT(*) > 1) ORDER BY ask_key, id")
    pairs = [(before, after) for before, after in pairwise(paid) if before[0] == after[0]]
    twice = [after[1] for before, after in pairs if used_up.get(before[2], float("inf")) > after[3] + LAG]
    made.say("nothing was paid twice", not twice, "; ".join(twice[:5]) or f"one payment for each Ask, and {len(pairs)} more after a session that was used up")


def _calls(made: Judged, said: list[dict[str, Any]], processes: int, killed: int) -> None:
    """No call hangs, nothing breaks, and what a process holds does not grow."""
    hung, broken = [each for one in said for each in one["hung"]], [each for one in said for each in one["broken"]]
    longest = max((one["longest"] for one in said), default=0)
    made.say("every process told what it did", len(said) == processes, f"{len(said)} of {processes}, {killed} killed before")
    made.say("no call hung", not hung, "; ".join(hung[:5]) or f"the longest took {longest:.0f} s")
    made.say("only typed errors", not broken, "; ".join(broken[:3]) or "of ours and of the HTTP library")
    refused = sum(count for one in said for what, count in one["why"].items() if "Budget" in what)
    made.told["refused by a budget"] = refused
    bought = sum(count for one in said for what, count in one["count"].items() if "came" in what)
    made.told["bought"] = bought
    made.say("goods came", bought, f"{bought} purchases, {refused} calls refused by a budget")
    grown, leaks, words = [], [], []
    ready = max((sample[0] for one in said for sample in one["samples"]), default=0.0) / 3  # who took a killed one's place late has not done everything once
    for one in said:
        warm = [rss for at, rss, *_ in one["samples"] if at <= ready]
        rest = [rss for at, rss, *_ in one["samples"] if at > ready]
        if warm and len(rest) >= LIVED:
            grown.append(max(rest[-3:]) - max(warm))
            words.append(f"{max(warm) // 1024} to {max(rest[-3:]) // 1024} MiB")
        (_, fds, threads), (_, fds_after, threads_after) = one["before"], one["after"]
        leaks += [f"{fds_after - fds} descriptors"] * (fds_after > fds + 6) + [f"{threads_after - threads} threads"] * (threads_after > threads + 2)
    most = FLAT + FLAT * bought // 1000 // max(1, processes)
    made.say("memory is flat", all(each <= most for each in grown), "; ".join(words) or "too short to say")
    made.say("no connection or thread is left", not leaks, "; ".join(leaks) or "as many as before")

