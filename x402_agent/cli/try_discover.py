"""`x402-agent try --discover`: what a sandbox lists is read, asked and ranked in a catalogue that goes with it; the best of it is bought, and told what came of it."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import NoAcceptableOffer
from ..discovery.nouns import counted
from ..payer.history import past
from ..policy import dollars
from ..secret import plain
from .discover import price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..discovery import Catalogue, Report, Result
    from ..payer import Payer
    from ..sandbox import Sandbox

__all__ = ["Find", "finding"]

KINDS = ("bazaar", "well-known", "openapi", "llms")
SHOWN = 3  # of a ranking: the best, and of what is suspicious


@contextmanager
def finding(payer: Payer, box: Sandbox, path: str, write: Callable[[str], None]) -> Iterator[Find]:
    """What to buy at a sandbox that serves: of whatever is called like the last part of `path`, that with the best evidence. Raises NoAcceptableOffer."""
    from ..discovery import Catalogue, Store

    with tempfile.TemporaryDirectory(prefix="x402-agent-") as folder:
        store = Store(str(Path(folder) / "catalogue.db"))
        try:
            yield Find(box, Catalogue(store, [past(str(payer.ledger.path), lambda: payer.ledger)]), path.rpartition("/")[2], write)
        finally:
            store.close()


class Find:
    """One search in one sandbox. `chosen` is what to buy; the payer's ledger tells the catalogue what came of it."""

    def __init__(self, box: Sandbox, catalogue: Catalogue, words: str, write: Callable[[str], None]) -> None:
        self._box, self._catalogue, self._words, self._write = box, catalogue, words, write
        self.report = self._crawled()
        found = self._catalogue.search(words, every=True, limit=100)
        self.ranking = sorted((each for each in found if not each.hidden), key=_rank)
        self.left_out = [each for each in found if each.hidden]
        self._told(found)
        fit = [each for each in self.ranking if each.payable and each.method == "GET" and not each.tool and not each.template]
        if not fit:
            why = self.report.failed[0] if self.report.failed else f"nothing that can be bought is called {words!r}"
            raise NoAcceptableOffer("the catalogue shows nothing to buy", rule=plain(why, 300), hint="x402-agent try --discover")
        self.chosen = fit[0]
        write(f"choose    {self._line(self.chosen)}    the best evidence; of equals the cheapest, then the shortest address")

    @property
    def payment(self) -> dict[str, str]:
        """Options of the request that buys: who asks much more than is listed waits for a person."""
        return {} if self.chosen.micros is None else {"listed": dollars(self.chosen.micros)}

    def ended(self) -> dict[str, Any]:
        """What the purchase has changed, told, and all of it for a document."""
        chosen = self.chosen
        shown = self._catalogue.show(chosen.id)
        after = shown[0] if shown else chosen
        why = " · ".join(each for each in after.why if each not in chosen.why)
        self._write(f"outcome   {why}: {chosen.points} -> {after.points} points")
        return {"words": self._words, "report": self.report.as_dict(), "ranking": [each.as_dict() for each in self.ranking],
                "left_out": [each.as_dict() for each in self.left_out], "chosen": chosen.id, "points": [chosen.points, after.points]}  # fmt: skip

    def _crawled(self) -> Report:
        """Whatever it answers, it takes seconds: it is our own, on this machine, and nobody else is asked."""
        import anyio

        from ..discovery import Caps, Crawler, Guard, Manners

        crawler = Crawler(self._catalogue.store, [(kind, self._box.origin) for kind in KINDS], caps=Caps(pages=100, seconds=30.0, answer=4.0),
                          manners=Manners(rate=1_000, at_once=8, tries=1), guard=Guard(loopback=True), probes=200)  # fmt: skip
        return anyio.run(crawler.run)

    def _told(self, found: list[Result]) -> None:
        report, write = self.report, self._write
        write(f"crawl     {counted(report.rows, 'row')} of {len(KINDS)} catalogues are {counted(report.services, 'service')}   {report.seconds:.1f} s")
        for lost in report.failed[:SHOWN]:
            write(f"          not read: {plain(lost, 200)}")
        agreements = {word: sum(each.agreement == word for each in self._catalogue.every()) for word in ("agreement", "drift", "conflict")}
        write(f"probe     {' · '.join(f'{count} {word}' for word, count in (*report.verdicts.most_common(), *agreements.items()) if count) or 'nothing'}    no money, no proof")
        write(f"search    {self._words}    {len(found)} found, {len(self.left_out)} left out")
        for number, each in enumerate(self.ranking[:SHOWN], 1):
            write(f"  {number}  {each.points:>4}  {self._line(each)}")
            write(f"           {' · '.join(each.why)}")
        odd = [each for each in (*self.left_out, *self.ranking) if each.suspicious]
        for each in odd[:SHOWN]:
            write(f"  !  {each.points:>4}  {self._line(each)}    {', '.join(each.suspicious)}{': left out' if each.hidden else ''}")

    def _line(self, one: Result) -> str:
        return f"{one.id[:8]}  {price(one):>8}  {one.method} {one.url.removeprefix(self._box.origin)}{f'#{one.tool}' if one.tool else ''}"


def _rank(one: Result) -> tuple[Any, ...]:
    return (-one.points, one.micros if one.micros is not None else 1 << 62, len(one.url), one.url)
