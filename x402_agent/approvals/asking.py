"""One request, one channel, one answer: everything but a timely yes is PolicyDenied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PaymentError, PolicyDenied
from ..secret import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..steps import Steps
    from .channels import Approver
    from .request import Request

__all__ = ["ask"]

HINT = 'Payer(approve=…), or in policy.toml: [approval] how = "terminal", "file" or "webhook"'


def ask(who: Approver | None, request: Request, clock: Callable[[], float]) -> Steps[str]:
    """Ask, and wait for the answer. -> who said yes, in the words of the ledger's note; raises PolicyDenied."""
    if who is None:
        raise _denied(request, "nobody can be asked", HINT)
    try:
        yes = yield from who.ask(request)
    except TimeoutError as late:
        raise _denied(request, f"{who.name} did not answer in time") from late
    except Exception as failed:  # what cannot be asked has not said yes (R8)
        reason = failed.what if isinstance(failed, PolicyDenied) else type(failed).__name__
        hint = plain(failed.hint, 300) if isinstance(failed, PaymentError) else ""
        raise _denied(request, f"{who.name} could not be asked ({plain(reason)})", hint) from failed
    if yes is not True:
        raise _denied(request, f"{who.name} did not say yes")
    if clock() >= request.expires:
        raise _denied(request, f"{who.name} said yes too late")
    return f"approved by {who.name}"


def _denied(request: Request, why: str, hint: str = "") -> PolicyDenied:
    first = request.reasons[0]
    also = f" (and {len(request.reasons) - 1} more)" if len(request.reasons) > 1 else ""
    return PolicyDenied(
        f"{plain(first.what, 300)}{also}: {why}", rule=first.rule, hint="; or ".join(filter(None, (hint, first.hint))),
        payment_id=request.payment_id,
    )  # fmt: skip
