"""How sellers ask. A dialect reads bytes and writes headers; it holds no key and opens no socket.

Third-party dialects are entry points of the group `x402_agent.dialects`; found is not trusted: only named ones load.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .kamiyo import Escrow, Kamiyo
from .lily import Lily
from .stacks_v1 import StacksV1
from .tron_invoice import TronInvoice
from .x402 import X402
from .x402pay import X402Pay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..flow import Dialect

__all__ = ["X402", "Escrow", "Kamiyo", "Lily", "StacksV1", "TronInvoice", "X402Pay", "builtin", "load"]

GROUP = "x402_agent.dialects"


def builtin(settings: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None, clock: Callable[[], float] = time.time) -> tuple[Dialect, ...]:
    """Our own dialects, in their order of trust, each with its own part of `Settings.dialects`; `clock` says unix seconds, for those that need them."""
    said = settings or {}
    return (X402(), Kamiyo(), Escrow(), StacksV1(), X402Pay(said.get(X402Pay.name)), Lily(said.get(Lily.name), clock=clock), TronInvoice())


def load(names: Iterable[str]) -> tuple[Dialect, ...]:
    """The dialects named in settings, ours or plug-ins; raises SettingsError for a name that nobody provides."""
    known = {dialect.name: dialect for dialect in builtin()}
    return tuple(known.get(name) or _plugin(name) for name in names)


def _plugin(name: str) -> Dialect:
    from importlib.metadata import entry_points  # which takes longer to import than all our dialects

    for point in entry_points(group=GROUP, name=name):
        made: Dialect = point.load()()
        return made
    raise SettingsError(f"no dialect is called {name!r}", rule=f"entry points {GROUP}", hint="x402-agent doctor")
