"""What a channel is, and the plainest one: a function of the program that pays."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import SettingsError
from ..secret import Secret
from ..steps import Call
from .file import File
from .terminal import Terminal
from .webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ..policy import Approval
    from ..steps import Steps
    from .request import Request

__all__ = ["Approver", "Callback", "approver", "asking"]

_HERE: ContextVar[Approver | None] = ContextVar("x402_agent.approvals", default=None)


@runtime_checkable
class Approver(Protocol):
    """A way to a person, or to a hook that stands for one."""

    @property
    def name(self) -> str:
        """What the ledger's note calls it: `terminal`."""

    def ask(self, request: Request) -> Steps[bool]:
        """True for a yes to this very request. A generator of Fetch, Sleep and Call steps, which may be closed at any of
        them when the caller is cancelled; whatever it raises is a no, TimeoutError when nobody answered."""


class Callback:
    """A function, sync or async: of one argument, the Request, or of two, the Offer and the Ask. Only True is a yes.

    A sync one runs in the caller's thread, from an event loop in a worker thread, where a cancellation leaves it behind.
    An async one runs in the caller's loop, from a sync client in a loop of its own.
    """

    name = "the program's own hook"

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._both = _takes_two(function)

    def ask(self, request: Request) -> Steps[bool]:
        words = (request.offer, request.ask) if self._both else (request,)
        answer = yield Call(lambda: self.function(*words), seconds=request.expires - request.created)
        return answer is True


@contextmanager
def asking(who: Approver | None, *, otherwise: bool = False) -> Iterator[None]:
    """Inside, `who` is asked about what is paid: a person at the door by which the request came. None leaves it as it is,
    and `otherwise` leaves whoever is asked already."""
    here = _HERE.get()
    token = _HERE.set(here if who is None or (otherwise and here is not None) else who)
    try:
        yield
    finally:
        _HERE.reset(token)


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built in: it tells nothing
        return True
    try:
        signature.bind(None)
    except TypeError:
        return True
    kinds = (inspect.Parameter.VAR_POSITIONAL,)
    return any(each.kind in kinds for each in signature.parameters.values())


def approver(rules: Approval, given: Any, folder: Path, env: Mapping[str, str]) -> Approver | None:
    """Who is asked: whoever asks on behalf of this call (`asking`), else the channel that policy.toml names, else what the
    program gave, else nobody. Raises SettingsError.

    `folder` is where requests lie for `x402-agent approve`; `env` holds the webhook's secret under `rules.secret_env`.
    """
    if (here := _HERE.get()) is not None:
        return here
    if rules.how == "terminal":
        return Terminal()
    if rules.how == "file":
        return File(folder)
    if rules.how == "webhook":
        secret = Secret(env.get(rules.secret_env, ""))
        if not len(secret):
            raise SettingsError(f"{rules.secret_env} is not set, so no webhook can be signed", rule=rules.rule,
                                hint=f"export {rules.secret_env}=whsec_…")  # fmt: skip
        return Webhook(rules.url, secret)
    if given is None or isinstance(given, Approver):
        return given
    if not callable(given):
        raise SettingsError("approve is neither a function nor a channel", rule="Payer(approve=…)", hint="approve=lambda offer, ask: …")
    return Callback(given)
