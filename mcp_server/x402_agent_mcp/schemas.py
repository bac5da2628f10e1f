"""What `tools/list` says of arguments and answers: the SDK's and pydantic's schemas without what a model need not read.

A null is left out of every answer, so no schema speaks of it; what went wrong is an error, and no answer has it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["answers", "takes"]

_NEEDLESS = ("title", "description", "default", "required")


def takes(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of arguments: these and no others."""
    return {**_bare(schema), "required": schema["required"], "additionalProperties": False} if "required" in schema else {**_bare(schema), "additionalProperties": False}


def answers(kind: type[Any]) -> dict[str, Any]:
    """The schema of an answer that nothing went wrong with."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(kind).json_schema()
    schema["properties"].pop("problem", None)
    named = {name: _bare(each) for name, each in schema.pop("$defs", {}).items()}
    bare, uses = _bare(schema), Counter[str]()
    _count(bare, named, uses)
    once = {name: each for name, each in named.items() if uses[name] == 1}
    made: dict[str, Any] = _inside(bare, once)
    often = {name: _inside(each, once) for name, each in named.items() if uses[name] > 1}
    return {**made, "$defs": often} if often else made


def _name(part: Any) -> str:
    """Which definition a part speaks of, "" where it speaks of none."""
    return str(part["$ref"]).removeprefix("#/$defs/") if isinstance(part, dict) and isinstance(part.get("$ref"), str) else ""


def _count(part: Any, named: dict[str, Any], uses: Counter[str]) -> None:
    """How often each definition is spoken of."""
    if name := _name(part):
        uses[name] += 1
        if uses[name] == 1:
            _count(named[name], named, uses)
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _count(value, named, uses)


def _inside(part: Any, once: dict[str, Any]) -> Any:
    """A definition that is spoken of once stands where it is spoken of: fewer words."""
    if (name := _name(part)) in once:
        return _inside(once[name], once)
    if isinstance(part, dict):
        return {key: _inside(value, once) for key, value in part.items()}
    return [_inside(each, once) for each in part] if isinstance(part, list) else part


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if either := [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]:
        return _bare(either[0])
    bare = {name: _bare(value) for name, value in schema.items() if name not in _NEEDLESS and name != "properties"}
    if "properties" in schema:
        bare["properties"] = {name: _bare(value) for name, value in schema["properties"].items()}
    return bare
