"""A person's yes by way of the host (MCP elicitation), in every protocol era: asked before money moves, about one offer, good
for that offer once.

The SDK asks between two runs of a resolver, or in the middle of a call, as the protocol's era wants it. A resolver is a
function that gives a question or an answer. Nothing that a seller wrote is in a question.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import AcceptedElicitation, Elicit
from pydantic import BaseModel, Field

from x402_agent.secret import plain

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mcp.server.mcpserver import Context

    from x402_agent.approvals import Approver, Request
    from x402_agent.steps import Steps
    from x402_agent.tools import Offered

__all__ = ["Nobody", "Waiting", "Yes", "by", "can_ask", "question", "seen"]

MANY = 256


class Yes(BaseModel):
    """What a person answers."""

    approve: bool = Field(description="Pay this, once")


@dataclass(slots=True)
class Nobody:
    """An Approver that says no and remembers what it was asked: the person has not been asked yet, or has said no."""

    asked: list[Request] = field(default_factory=list)
    name: str = "the user of the host"

    def ask(self, request: Request) -> Steps[bool]:
        """No."""
        yield from ()
        self.asked.append(request)
        return False


class Waiting:
    """Offers that a person is being asked about, by the call that asks. In memory, the oldest forgotten first."""

    def __init__(self) -> None:
        self._ids: dict[Any, str] = {}

    def put(self, name: Any, offer_id: str) -> None:
        """Remember what this call asks about."""
        while len(self._ids) >= MANY:
            del self._ids[next(iter(self._ids))]
        self._ids[name] = offer_id

    def get(self, name: Any) -> str:
        """The offer, "" where nothing was asked."""
        return self._ids.get(name, "")

    def pop(self, name: Any) -> str:
        """The same, once."""
        return self._ids.pop(name, "")


def can_ask(ctx: Context[Any, Any]) -> bool:
    """Whether the host says that it shows forms to a person."""
    declared = ctx.client_capabilities.elicitation if ctx.client_capabilities is not None else None
    return declared is not None and (declared.form is not None or declared.url is None)


def by(ctx: Context[Any, Any], person: Approver) -> AbstractContextManager[None]:
    """Inside, policy's question goes to this person where the host has one to ask; else to the channels that policy names."""
    from x402_agent.approvals import asking

    return asking(person) if can_ask(ctx) else nullcontext()


def question(offered: Offered, offer_id: str) -> Elicit[Yes]:
    """What the person is asked: the terms that will be signed, and why. No two offers have the same question, so no answer is to another's."""
    offer, wanted = offered.offer, offered.wanted
    most = "at most " if offer.scheme == "upto" else ""
    lines = [f"Pay {most}{offer.money} to {plain(offer.pay_to)}", f"for {wanted.method} {plain(wanted.url.partition('?')[0], 300)}?"]
    return Elicit("\n".join([*lines, *(f"Policy wants your word: {plain(each, 300)}" for each in offered.asks), f"Once, for offer …{offer_id[-8:]}."]), Yes)


def seen(answer: Any) -> bool:
    """Whether an outcome is a person's yes."""
    return isinstance(answer, AcceptedElicitation) and isinstance(answer.data, Yes) and answer.data.approve is True
