"""The verbs as frameworks take them: a name, what a model is told, a schema of the arguments, and text that comes back.

All of it is read from the verbs themselves: their docstrings and signatures are written once, in `tools.py`.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pydantic import BaseModel

    from .tools import Tools

__all__ = ["VERBS", "Verb", "text", "verbs"]

VERBS = ("search", "quote", "buy", "fetch", "spending", "why", "balance", "resume")


@dataclass(frozen=True)
class Verb:
    """One verb of one client. `takes` is a pydantic model of the arguments: these and no others, of exactly these types."""

    name: str
    says: str
    takes: type[BaseModel]
    _wait: Callable[..., Awaitable[Any]]
    _now: Callable[..., Any]

    @property
    def schema(self) -> dict[str, Any]:
        """The arguments as JSON Schema, without the titles that pydantic makes up."""
        made = self.takes.model_json_schema()
        made.pop("title", None)
        for each in made["properties"].values():
            each.pop("title", None)
        return made

    async def call(self, arguments: Mapping[str, Any] | str) -> str:
        """Do it, with arguments as a mapping or as JSON. -> the answer as JSON; raises nothing but a cancellation."""
        given = self._read(arguments)
        return given if isinstance(given, str) else text(await self._wait(**given))

    def now(self, arguments: Mapping[str, Any] | str) -> str:
        """The same for callers without an event loop."""
        given = self._read(arguments)
        return given if isinstance(given, str) else text(self._now(**given))

    def _read(self, arguments: Mapping[str, Any] | str) -> dict[str, Any] | str:
        from pydantic import ValidationError

        try:
            kind = self.takes
            found = kind.model_validate_json(arguments or "{}") if isinstance(arguments, str) else kind.model_validate(dict(arguments))
        except ValidationError as why:
            told = "; ".join(f"{'.'.join(map(str, each['loc']))[:60]}: {each['msg']}"[:200] for each in why.errors()[:5])
            takes = ", ".join(self.takes.model_fields) or "nothing"
            wrong = {"kind": "Arguments", "what": f"{self.name} was not called: {told}", "hint": f"it takes {takes}", "retry_safe": True}
            return json.dumps({"problem": wrong})
        return {name: getattr(found, name) for name in kind.model_fields}


def verbs(tools: Tools) -> tuple[Verb, ...]:
    """All eight, for this client."""
    return tuple(Verb(name, _says(getattr(tools, name)), _takes(getattr(tools, name)), getattr(tools, name), getattr(tools.sync, name)) for name in VERBS)


def text(answer: Any) -> str:
    """An answer as JSON, without what is not there."""
    return json.dumps(_there(asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else answer))


def _there(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _there(each) for name, each in value.items() if each is not None}
    return [_there(each) for each in value] if isinstance(value, list | tuple) else value


def _says(verb: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(verb) or "").split())


def _takes(verb: Callable[..., Any]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    kinds = get_type_hints(verb)
    fields: dict[str, Any] = {
        name: (kinds[name], ... if each.default is each.empty else each.default) for name, each in inspect.signature(verb).parameters.items()
    }
    return create_model(verb.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)
