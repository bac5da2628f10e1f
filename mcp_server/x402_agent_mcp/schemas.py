"""What `tools/list` says of arguments and answers: the SDK's and pydantic's schemas without what a model need not read.

A null is left out of every answer, so no schema speaks of it; what went wrong is an error, and no answer has it.
"""

from __future__ import annotations

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
    named = schema.pop("$defs", {})
    made: dict[str, Any] = _bare(schema)
    needed: dict[str, Any] = {}
    _reach(made, named, needed)
    return {**made, "$defs": needed} if needed else made


def _reach(part: Any, named: dict[str, Any], found: dict[str, Any]) -> None:
    """The definitions that are still spoken of."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        name = value.removeprefix("#/$defs/") if isinstance(value, str) else ""
        if name in named and name not in found and value != name:
            found[name] = _bare(named[name])
            _reach(found[name], named, found)
        _reach(value, named, found)


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
