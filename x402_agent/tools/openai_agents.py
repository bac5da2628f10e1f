"""The verbs for the OpenAI Agents SDK: `Agent(tools=openai_agents(Tools(payer)))`. Extra: `openai-agents`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .verbs import Verb, verbs

if TYPE_CHECKING:
    from agents import FunctionTool

    from .tools import Tools

__all__ = ["openai_agents"]


def openai_agents(tools: Tools) -> list[FunctionTool]:
    """Each verb as a FunctionTool."""
    return [_tool(each) for each in verbs(tools)]


def _tool(verb: Verb) -> FunctionTool:
    from agents import FunctionTool

    async def invoke(_context: Any, arguments: str) -> str:
        return await verb.call(arguments)

    # Not strict: that mode asks a model for every argument, and one that must name a max_price makes one up.
    return FunctionTool(verb.name, verb.says, verb.schema, invoke, strict_json_schema=False)
