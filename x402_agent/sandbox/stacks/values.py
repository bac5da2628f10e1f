"""Clarity values as a contract of the double sees them: which type they fit, and how they are printed.

Source: SIP-002 (types), the interface JSON of a Stacks node (how types are named there).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...chains.stacks import NONE, Value, uint

__all__ = ["FALSE", "NONE", "TRUE", "Type", "Value", "ascii_", "err", "fits", "ok", "say", "type_name", "uint"]

Type = str | dict[str, Any]

TRUE = Value("bool", True)
FALSE = Value("bool", False)


def ascii_(text: str) -> Value:
    """A `string-ascii`."""
    return Value("ascii", text)


def ok(value: Value) -> Value:
    """`(ok …)`: what a public function keeps."""
    return Value("ok", value)


def err(code: int) -> Value:
    """`(err u…)`: everything that the call did is undone."""
    return Value("err", uint(code))


def fits(kind: Type, value: Value) -> bool:
    """Whether a value may be an argument of this type, named as a contract's interface names it."""
    found, inner = value
    if isinstance(kind, str):
        return {"uint128": "uint", "int128": "int", "principal": "principal", "bool": "bool"}[kind] == found
    ((name, more),) = kind.items()
    if name == "optional":
        return found == "none" or (found == "some" and fits(more, inner))
    return {"buffer": "buffer", "string-ascii": "ascii"}[name] == found and len(inner) <= more["length"]


def type_name(kind: Type) -> str:
    """A type as Clarity source writes it: `(optional (buff 34))`."""
    if isinstance(kind, str):
        return {"uint128": "uint", "int128": "int"}.get(kind, kind)
    ((name, more),) = kind.items()
    if name == "optional":
        return f"(optional {type_name(more)})"
    return f"({'buff' if name == 'buffer' else name} {more['length']})"


def say(value: Value) -> str:
    """A value as a node prints it, its `repr`."""
    kind, inner = value
    if kind in ("ok", "err", "some"):
        return f"({kind} {say(inner)})"
    if kind == "tuple":
        return "(tuple" + "".join(f" ({name} {say(each)})" for name, each in sorted(inner.items())) + ")"
    if kind == "list":
        return f"(list{''.join(f' {say(each)}' for each in inner)})"
    words: dict[str, Callable[[], str]] = {
        "uint": lambda: f"u{inner}",
        "int": lambda: str(inner),
        "bool": lambda: "true" if inner else "false",
        "none": lambda: "none",
        "buffer": lambda: "0x" + bytes(inner).hex(),
        "principal": lambda: f"'{inner}",
        "ascii": lambda: '"' + inner.replace("\\", "\\\\").replace('"', '\\"') + '"',
        "utf8": lambda: 'u"' + inner.replace("\\", "\\\\").replace('"', '\\"') + '"',
    }
    return words[kind]()
