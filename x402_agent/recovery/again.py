"""Showing an open proof again without the caller who first made it, and what becomes of the goods that come of it."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..flow import show_again
from ..model import BUY, CALL
from ..payer.kit import Kit
from ..transport.wire import plain_headers
from ..vault.keeping import MOST
from .delivery import Held
from .outfile import OutFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model import Hold, Repeat
    from ..payer import Payer
    from ..steps import Reply, Steps

__all__ = ["ONLY_THERE", "Again", "handed", "show", "shown"]

ONLY_THERE = "waits until you call the tool again: only a session with its server can, and it shows the same proof"


class Again(Kit):
    """Leads a conversation that shows one proof."""

    def __init__(self, payer: Payer, ask: Any, hold: Hold) -> None:
        super().__init__(payer, ask)
        self.open = hold

    def conversation(self) -> Steps[Reply]:
        return show_again(self.open, self)


def show(payer: Payer, hold: Hold, output: Path | None) -> str:
    """Show the proof of an open payment to the very Ask of its row. -> in words what came of it. Raises what httpx raises."""
    if payer.ledger.goods(hold.payment_id) is not None:
        return f"its goods wait for the same request; x402-agent resume {hold.payment_id[:8]} --output FILE writes them"
    if hold.ask.method == CALL:
        return ONLY_THERE
    kept = payer.ledger.request(hold.payment_id)
    repeat = payer.keeping.repeat(hold, kept)
    if repeat is None and hold.ask.has_body:
        why = "is sealed with another wallet's key" if kept else "was not kept: it is larger than 1 MiB, or could be read only once"
        return f"waits until you repeat the request: its body {why}"
    return shown(payer, hold, repeat, output, Again)


def shown(payer: Payer, hold: Hold, repeat: Repeat | None, output: Path | None, kit: Callable[..., Again]) -> str:
    """Make the request of an open payment again, led by a `kit` of (payer, ask, hold). -> in words what came of it."""
    with _target(output, repeat) as file:
        return _shown(payer, hold, repeat, file, kit)


def _target(output: Path | None, repeat: Repeat | None) -> Any:
    """The new file that goods are for: the one that is named now, or was when it was bought, where it can be made."""
    if output is not None:
        return OutFile(output)
    with suppress(SettingsError):
        return OutFile(Path(repeat.output)) if repeat is not None and repeat.output else nullcontext()
    return nullcontext()


def _shown(payer: Payer, hold: Hold, repeat: Repeat | None, file: OutFile | None, kit: Callable[..., Again]) -> str:
    led: list[Held] = []
    ahead = hold.ask.method == BUY

    def lead(ask: Any) -> Any:
        led.append(Held(kit(payer, ask, hold)))
        return led[-1]

    options: dict[str, Any] = {}
    if repeat is not None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in repeat.headers]
        options = {"headers": headers, "content": repeat.body}
    with (
        payer.talking(lead) as client,
        client.stream("GET" if ahead else hold.ask.method, hold.ask.url, follow_redirects=False, **options) as reply,
    ):
        if ahead:
            return "what it bought is kept"
        if reply.status_code >= 400:
            return f"the seller answered {reply.status_code} to the same proof"
        try:
            note = _to_file(file, reply.iter_bytes()) if file else _to_ledger(payer, hold, reply)
        except Exception:
            led[-1].undone("its goods could not be written")
            raise
        if not note:
            led[-1].undone("its goods are too large to be kept")
            return f"spent; its goods are larger than {MOST >> 20} MiB: x402-agent resume {hold.payment_id[:8]} --output FILE"
        led[-1].done(note)
    return f"spent, receipt found; {note}"


def _to_ledger(payer: Payer, hold: Hold, reply: Any) -> str:
    body = bytearray()
    for chunk in reply.iter_bytes():
        body += chunk
        if len(body) > MOST:
            return ""
    sealed = payer.keeping.goods(hold, reply.status_code, plain_headers(reply), bytes(body))
    payer.ledger.keep_goods(hold, sealed).run()
    payer.credentials.waits(hold.ask.origin)
    return "its goods wait for the same request"


def _to_file(file: OutFile, chunks: Iterable[bytes]) -> str:
    for chunk in chunks:
        file.write(chunk)
    file.keep()
    return f"its goods are in {file.path}"


def handed(payer: Payer, payment_id: str, output: Path) -> list[tuple[str, str, str, str]]:
    """Write goods that wait in the ledger to a file. -> (payment, state before, state after, words), [] when none wait."""
    waiting = payer.ledger.goods(payment_id)
    goods = None if waiting is None else payer.keeping.opened(waiting, sandbox=payer.ledger.sandbox)
    if waiting is None or goods is None:
        return []
    with OutFile(output) as file:
        words = _to_file(file, [goods.body])
    payer.ledger.collected(payment_id).run()
    payer.ledger.flush()
    return [(payment_id, waiting.hold.state, payer.ledger.payment(payment_id).state, words)]
