"""What must not be shown: a value whose repr, str and pickle say nothing, and mappings whose repr shows no value.
A stranger's text is shown `plain`.

Tracebacks are shown with the locals of their frames by pytest, rich and error trackers. So a raw key, mnemonic or
passphrase is bound to no name in a function that can raise: it travels as a Secret, and `.raw` stands inside a call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

__all__ = ["Env", "Secret", "Veiled", "plain", "without_frames"]


class Secret:
    """Bytes or text that no repr shows. Wrapping a Secret again gives an equal one; it is never pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes | bytearray | Secret = b"") -> None:
        if isinstance(value, Secret):
            self._value: bytes = value._value
        else:
            self._value = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    @property
    def raw(self) -> bytes:
        """The bytes themselves: to be used inside a call, bound to no name."""
        return self._value

    @property
    def text(self) -> str:
        """The same as text; undecodable bytes come back as U+FFFD."""
        return self._value.decode("utf-8", "replace")

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled")


class Veiled(Mapping[str, str]):
    """A mapping that shows its names and no value, and is not pickled: the headers that carry a proof."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Mapping[str, str]) -> None:
        self._inner: Mapping[str, str] = inner._inner if isinstance(inner, Veiled) else inner

    def __getitem__(self, name: str) -> str:
        return self._inner[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._inner)})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("what may hold a secret is not pickled")


class Env(Veiled):
    """An environment that may hold keys: reads like the mapping it wraps, its repr says only how long it is."""

    __slots__ = ()

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        """None is the environment of this process."""
        super().__init__(os.environ if env is None else env)

    def forget(self, name: str) -> None:
        """Take a variable out of this process's environment, so that no child inherits it; another mapping is kept."""
        if self._inner is os.environ:
            os.environ.pop(name, None)

    def __repr__(self) -> str:
        return f"Env({len(self._inner)} variables)"


def without_frames(error: BaseException) -> None:
    """Take the frames out of an error and of those behind it: an HTTP library's locals hold the bytes it was sending."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += [each for each in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())) if each]


def plain(text: str, limit: int = 200) -> str:
    """A seller's text made harmless for logs, terminals and models: one line, no control, bidi or lone surrogate
    character (each shown as its escape), at most about `limit` characters (row W12)."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
