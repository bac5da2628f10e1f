"""How the seller of tools behaves: as the shop does, and in what MCP alone has room for."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import SettingsError
from ..scenario import Scenario

__all__ = ["Manners"]


@dataclass(frozen=True, slots=True)
class Manners(Scenario):
    """`form` is how it asks: `result` (a result with `isError`), `text` (the same without structured content) or `error`
    (JSON-RPC error 402). `resource`: the tool that the challenge names instead of the one called. `empty`: what was paid
    brings a result with a receipt and nothing in it. `rug`: descriptions are others from the second listing on.
    """  # fmt: skip

    form: str = "result"
    resource: str = ""
    empty: bool = False
    rug: bool = False

    def __post_init__(self) -> None:
        Scenario.__post_init__(self)
        if self.form not in ("result", "text", "error"):
            raise SettingsError(f"scenario {self.name!r}: form {self.form!r}", rule="one of result, text, error")
