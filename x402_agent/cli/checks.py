"""What `doctor` and `signer doctor` share: a check, what it found, and how all of them are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from ..secret import plain
from .common import Exit, as_json, colored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .. import PaymentError

__all__ = ["Check", "failed", "tell"]

_SHADES = {True: "\x1b[32m", False: "\x1b[31m", None: "\x1b[2m"}
_MARKS = {True: "ok  ", False: "FAIL", None: "-   "}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `ok` is None where something is missing that not everybody needs; `facts` are for programs."""

    name: str
    ok: bool | None
    said: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def failed(name: str, why: PaymentError) -> Check:
    """A check that met this error: what happened, and what to type."""
    return Check(name, False, f"{why.what}{'; try: ' + why.hint if why.hint else ''}")


def tell(checks: Sequence[Check], *, json: bool) -> None:
    """All of them, a line each or one JSON document; leaves with exit code 1 where one of them is no."""
    if json:
        as_json([{"check": each.name, "ok": each.ok, "said": each.said, **each.facts} for each in checks])
    else:
        wide = max(len(each.name) for each in checks)
        for each in checks:
            shade, end = (_SHADES[each.ok], "\x1b[0m") if colored() else ("", "")
            print(f"{shade}{_MARKS[each.ok]}{end}  {each.name:{wide}} {plain(each.said, 2000)}")
    raise typer.Exit(Exit.FAILED if any(each.ok is False for each in checks) else Exit.OK)
