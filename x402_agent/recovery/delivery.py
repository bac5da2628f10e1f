"""Goods on their way into a file: a payment counts as delivered only once they are durable there.

Where that fails, or the process dies on the way, the payment stays open: the same request shows the same proof again,
and `resume` writes the file, whose name is kept with the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PaymentError, PaymentInDoubt
from ..steps import Close, Collect
from .outfile import OutFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..model import Ask
    from ..payer.kit import Kit
    from ..payer.payer import Payer
    from ..steps import Reply, Step, Steps

__all__ = ["Held", "delivered"]


class Held:
    """A kit whose good answer is written down only once its goods are safe; all else is the kit's own."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self._late: tuple[Step, int] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kit, name)

    def conversation(self) -> Steps[Reply]:
        return self.kit.conversation()

    def perform(self, step: Step, milliseconds: int) -> Any:
        if isinstance(step, Collect) or (isinstance(step, Close) and step.state == "CLAIMED" and step.status):
            self._late = step, milliseconds
            return None
        if isinstance(step, Close):
            self._late = None  # the body broke after a good beginning
        return self.kit.perform(step, milliseconds)

    @property
    def waits(self) -> str:
        """The payment whose goods are not safe yet, or ""."""
        step = self._late[0] if self._late else None
        return step.hold.payment_id if isinstance(step, Close) else step.payment_id if isinstance(step, Collect) else ""

    def done(self, note: str = "") -> None:
        """The goods are safe: now the payment is delivered."""
        if self._late is not None:
            step, milliseconds = self._late
            self._late = None
            self._run(step._replace(note=note) if note and isinstance(step, Close) else step, milliseconds)

    def undone(self, note: str) -> None:
        """They are not: paid, and not delivered. What waited in the ledger waits on."""
        if self._late is not None and isinstance(self._late[0], Close):
            self._run(self._late[0]._replace(state="PAID_UNDELIVERED", status=0, note=note), self._late[1])
        self._late = None

    def _run(self, step: Step, milliseconds: int) -> None:
        job = self.kit.perform(step, milliseconds)
        if job is not None:
            job.run()


def delivered(
    payer: Payer, method: str, url: str, output: Path, *, overwrite: bool, other: Callable[[bytes], object], **options: Any
) -> tuple[Any, int]:
    """Fetch a URL, paid for if need be, into a file. -> (its answer, bytes written).

    An answer other than 2xx is no goods: it goes to `other`, and no file is made. Raises SettingsError before anything is
    sent when the file exists or cannot be written, PaymentInDoubt when what was paid for could not be written.
    """
    held: list[Held] = []

    def lead(ask: Ask) -> Any:
        ask.output = str(file.path)
        held.append(Held(payer.talk(ask)))
        return held[-1]

    with OutFile(output, overwrite=overwrite) as file:
        with payer.led(payer.client(), lead) as http, http.stream(method, url, **options) as reply:
            good = 200 <= reply.status_code < 300
            try:
                for chunk in reply.iter_bytes():
                    (file.write if good else other)(chunk)
                if good:
                    file.keep()
            except BaseException as why:
                raise _lost(held, why, file) from None
            for each in held:
                each.done(f"its goods are in {file.path}" if good else "")
        if "ledger" in payer.__dict__:
            payer.ledger.flush()
        return reply, file.size


def _lost(held: list[Held], why: BaseException, file: OutFile) -> BaseException:
    """The error for goods that did not reach their file."""
    paid = next((each.waits for each in held if each.waits), "")
    for each in held:
        each.undone("its goods could not be written")
    if not paid or not isinstance(why, (OSError, PaymentError)):
        return why
    said = why.what if isinstance(why, PaymentError) else why.strerror or type(why).__name__
    return PaymentInDoubt(f"paid, and its goods could not be written to {file.path}: {said}", rule="what is paid for is delivered once it is durable",
                          hint=f"x402-agent resume {paid[:8]} --output ANOTHER", payment_id=paid)  # fmt: skip
