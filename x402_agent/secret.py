"""What must not be shown: a value whose repr, str and pickle say nothing, and an environment whose repr lists nothing.

Tracebacks are shown with the locals of their frames by pytest, rich and error trackers. So a raw key, mnemonic or
passphrase is bound to no name in a function that can raise: it travels as a Secret, and `.raw` stands inside a call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

__all__ = ["Env", "Secret"]


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


class Env(Mapping[str, str]):
    """An environment that may hold keys: reads like the mapping it wraps, its repr says only how long it is."""

    __slots__ = ("_env",)

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        """None is the environment of this process."""
        self._env: Mapping[str, str] = env._env if isinstance(env, Env) else os.environ if env is None else env

    def forget(self, name: str) -> None:
        """Take a variable out of this process's environment, so that no child inherits it; another mapping is kept."""
        if self._env is os.environ:
            os.environ.pop(name, None)

    def __getitem__(self, name: str) -> str:
        return self._env[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)

    def __repr__(self) -> str:
        return f"Env({len(self._env)} variables)"
