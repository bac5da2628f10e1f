"""One request, one channel, one answer: everything but a timely yes is PolicyDenied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PolicyDenied
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
        own = request.reasons[0].hint
        raise _denied(request, "nobody can be asked", f"{HINT}{'; or ' if own else ''}{own}")
    try:
        yes = yield from who.ask(request)
    except TimeoutError as late:
        raise _denied(request, f"{who.name} did not answer in time") from late
    except Exception as failed:  # what cannot be asked has not said yes (R8)
        reason = failed.what if isinstance(failed, PolicyDenied) else type(failed).__name__
        raise _denied(request, f"{who.name} could not be asked ({plain(reason)})") from failed
    if yes is not True:
        raise _denied(request, f"{who.name} did not say yes")
    if clock() >= request.expires:
        raise _denied(request, f"{who.name} said yes too late")
    return f"approved by {who.name}"


def _denied(request: Request, why: str, hint: str = "") -> PolicyDenied:
    first = request.reasons[0]
    also = f" (and {len(request.reasons) - 1} more)" if len(request.reasons) > 1 else ""
    return PolicyDenied(
        f"{plain(first.what, 300)}{also}: {why}", rule=first.rule, hint=hint or first.hint, payment_id=request.payment_id
    )
