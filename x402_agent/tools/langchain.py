"""The verbs for LangChain and LangGraph: `create_agent(model, tools=langchain(Tools(payer)))`. Extra: `langchain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .verbs import Verb, verbs

if TYPE_CHECKING:
    from langchain_core.tools import StructuredTool

    from .tools import Tools

__all__ = ["langchain"]


def langchain(tools: Tools) -> list[StructuredTool]:
    """Each verb as a StructuredTool, for `invoke` and `ainvoke`."""
    return [_tool(each) for each in verbs(tools)]


def _tool(verb: Verb) -> StructuredTool:
    from langchain_core.tools import StructuredTool

    def now(**arguments: Any) -> str:
        return verb.now(arguments)

    async def call(**arguments: Any) -> str:
        return await verb.call(arguments)

    return StructuredTool.from_function(now, call, name=verb.name, description=verb.says, args_schema=verb.schema, infer_schema=False)
