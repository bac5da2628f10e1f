"""What a crawl did, for people and for programs: counts, and every source, host and row that was left out, by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..secret import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .nouns import Skip

__all__ = ["Report"]

_NAMED, _REASONS, _ABSENT = 200, 1_000, 20


@dataclass
class Report:
    """`tell` is called with each event as it happens: a dict of plain values, which is also a line of `crawl --json`."""

    tell: Callable[[dict[str, Any]], Any]
    number: int = 0
    pages: int = 0
    unchanged: int = 0
    rows: int = 0
    changed: int = 0
    skipped: int = 0
    probed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    services: int = 0
    waiting: int = 0  # of this pass, for the next run
    whole: bool = True
    reasons: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # pages that a server does not have, the first few
    verdicts: Counter[str] = field(default_factory=Counter)

    def page(self, url: str, rows: int, changed: int, skipped: Sequence[Skip], note: str) -> None:
        """A page was read."""
        self.pages += 1
        self.rows += rows
        self.changed += changed
        for each in skipped:
            self.skip(each.why)
        if note.startswith("answered") and len(self.absent) < _ABSENT:
            self.absent.append(f"{plain(url, 200)}: {note}")
        self.event("page", url=plain(url, 200), rows=rows, changed=changed, skipped=len(skipped), **({"note": note} if note else {}))

    def look(self, url: str, verdict: str, why: str) -> None:
        """A service was asked."""
        self.probed += 1
        self.verdicts[verdict] += 1
        self.event("probe", url=plain(url, 200), verdict=verdict, why=why)

    def skip(self, why: str) -> None:
        """A row that was none. Each of a million may have a reason of its own: not all of them are kept."""
        self.skipped += 1
        self.reasons[why if why in self.reasons or len(self.reasons) < _REASONS else "other reasons"] += 1

    def event(self, kind: str, **facts: Any) -> None:
        """Tell it."""
        self.tell({"event": kind, **facts})

    def lost(self, what: str, why: str) -> None:
        """Something that was to be fetched and was not."""
        self.whole = False
        if len(self.failed) < _NAMED:
            self.failed.append(f"{what}: {why}")
        self.event("failed", what=what, why=why)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pass": self.number, "pages": self.pages, "unchanged": self.unchanged, "rows": self.rows, "changed": self.changed, "skipped": self.skipped,
            "reasons": dict(self.reasons.most_common(50)), "probed": self.probed, "verdicts": dict(self.verdicts), "failed": self.failed,
            "bytes": self.bytes, "seconds": round(self.seconds, 3), "services": self.services, "waiting": self.waiting, "whole": self.whole,
        }  # fmt: skip
