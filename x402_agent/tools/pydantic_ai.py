"""The verbs for Pydantic AI: `Agent(model, tools=pydantic_ai(Tools(payer)))`. Extra: `pydantic-ai`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .verbs import Verb, verbs

if TYPE_CHECKING:
    from pydantic_ai import Tool

    from .tools import Tools

__all__ = ["pydantic_ai"]


def pydantic_ai(tools: Tools) -> list[Tool[Any]]:
    """Each verb as a Tool."""
    return [_tool(each) for each in verbs(tools)]


def _tool(verb: Verb) -> Tool[Any]:
    from pydantic_ai import Tool

    async def call(**arguments: Any) -> str:
        return await verb.call(arguments)

    return Tool.from_schema(call, verb.name, verb.says, verb.schema)
