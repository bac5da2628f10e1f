"""Which transport pays under a client, and whose conversations it leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask
    from ..steps import Step
    from .kit import Kit
    from .payer import Payer

__all__ = ["Led", "transport_for"]


class Led:
    """The rooms of a driver, with another kit to lead the conversation."""

    def __init__(self, payer: Payer, talk: Callable[[Ask], Kit], trace: Callable[[Ask, Step, Any], None] | None) -> None:
        self.deadline, self.answer_timeout, self.trace = payer.deadline, payer.answer_timeout, trace or payer.trace
        self.talk = talk


def transport_for(client: Any) -> Any:
    """The transport that pays under this client, None for one that is of neither library."""
    roots = {base.__module__.partition(".")[0] for base in type(client).__mro__}
    if "httpx2" in roots:
        from ..transport._httpx2 import PaymentTransport as Twin

        return Twin
    if "httpx" in roots:
        from ..transport.drivers import PaymentTransport

        return PaymentTransport
    return None
