"""The verbs for CrewAI: `Agent(tools=crewai(Tools(payer)), …)`. Extra: `crewai`, in an environment without `mcp` 2 and `openai` 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .verbs import Verb, verbs

if TYPE_CHECKING:
    from crewai.tools import BaseTool

    from .tools import Tools

__all__ = ["crewai"]


def crewai(tools: Tools) -> list[BaseTool]:
    """Each verb as a BaseTool. CrewAI's own cache of answers is off: it knows nothing of time, budgets or `again`."""
    return [_tool(each) for each in verbs(tools)]


def _tool(verb: Verb) -> BaseTool:
    from crewai.tools import BaseTool

    class Door(BaseTool):  # type: ignore[misc]  # CrewAI is not installed where types are checked
        def _run(self, **arguments: Any) -> str:
            return verb.now(arguments)

        async def _arun(self, **arguments: Any) -> str:
            return await verb.call(arguments)

    return Door(name=verb.name, description=verb.says, args_schema=verb.takes, cache_function=_never)


def _never(_arguments: Any = None, _answer: Any = None) -> bool:
    return False
