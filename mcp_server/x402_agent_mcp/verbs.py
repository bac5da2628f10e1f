"""The seven tools as the SDK calls them: each hands its arguments to the verb of the same name and tells what came of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from mcp.server.mcpserver import Context, ElicitationResult, Resolve
from mcp_types import CallToolResult, TextContent, ToolAnnotations

from x402_agent.tools import Bought, Holdings, Quoted, Settled, Spending, Tools, Why

from . import asking
from .progress import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clients import Clients

__all__ = ["VERBS", "Verb", "annotations", "verbs"]


class Verb(NamedTuple):
    """What a host is told of one tool: its answer, whether it only reads, whether repeating it changes nothing, whether it leaves this machine."""

    answers: type[Any]
    reads: bool
    same_again: bool
    leaves: bool


VERBS = {
    "quote": Verb(Quoted, reads=True, same_again=True, leaves=True),
    "buy": Verb(Bought, reads=False, same_again=True, leaves=True),
    "fetch": Verb(Bought, reads=False, same_again=False, leaves=True),
    "spending": Verb(Spending, reads=True, same_again=True, leaves=False),
    "why": Verb(Why, reads=True, same_again=True, leaves=False),
    "balance": Verb(Holdings, reads=True, same_again=True, leaves=True),
    "resume": Verb(Settled, reads=False, same_again=True, leaves=True),
}


def annotations(name: str) -> ToolAnnotations:
    """Hints for the host: what changes nothing but money destroys nothing else, yet money that is spent does not come back."""
    verb = VERBS[name]
    return ToolAnnotations(
        read_only_hint=verb.reads, destructive_hint=name in ("buy", "fetch"), idempotent_hint=verb.same_again, open_world_hint=verb.leaves
    )


def words(name: str) -> str:
    """What a model is told of a tool: the docstring of its verb."""
    return " ".join((getattr(Tools, name).__doc__ or "").split())


def verbs(clients: Clients) -> list[Callable[..., Any]]:
    """The seven, for these clients."""

    async def quote(ctx: Context[Any, Any], url: str, method: str = "GET", body: str = "") -> CallToolResult:
        return _answer(await clients.of(ctx).quote(url, method, body or None))

    async def spending(ctx: Context[Any, Any], period: str = "today") -> CallToolResult:
        return _answer(await clients.of(ctx).spending(period))

    async def why(ctx: Context[Any, Any], payment_id: str) -> CallToolResult:
        return _answer(await clients.of(ctx).why(payment_id))

    async def balance(ctx: Context[Any, Any]) -> CallToolResult:
        return _answer(await clients.of(ctx).balance())

    async def resume(ctx: Context[Any, Any]) -> CallToolResult:
        return _answer(await told(ctx, clients.of(ctx).resume))

    return [quote, _buy(clients), _fetch(clients), spending, why, balance, resume]


def _buy(clients: Clients) -> Callable[..., Any]:
    async def person(ctx: Context[Any, Any], offer_id: str) -> Any:
        """The question about an offer that policy wants a person for; None where there is none to ask."""
        offered = clients.of(ctx).offered(offer_id)
        return asking.question(offered) if offered is not None and offered.asks and asking.can_ask(ctx) else None

    async def buy(
        ctx: Context[Any, Any], offer_id: str, said: Annotated[ElicitationResult[asking.Yes], Resolve(person)]
    ) -> CallToolResult:
        tools = clients.of(ctx)
        with asking.unasked(ctx, asking.Person(tools.offered(offer_id) if asking.seen(said) else None)):
            return _answer(await told(ctx, lambda: tools.buy(offer_id)))

    return buy


def _fetch(clients: Clients) -> Callable[..., Any]:
    """fetch asks a person only where policy said no for want of one: then what was fetched becomes an offer, and is bought as one."""
    waiting = asking.Waiting()

    async def person(ctx: Context[Any, Any], url: str, max_price: str, method: str, body: str, again: bool) -> Any:
        """What came of it; or the question about the offer that it became."""
        tools = clients.of(ctx)
        name = (tools.client, url, max_price, method, body, again)
        offered = tools.offered(waiting.get(name))
        if offered is None:
            nobody = asking.Person()
            with asking.unasked(ctx, nobody):
                found = await told(ctx, lambda: tools.fetch(url, max_price or None, method, body or None, again))
            if not nobody.asked or found.problem is None:
                return found
            quoted = await tools.quote(url, method, body or None)
            offered = tools.offered(quoted.offer_id)
            if offered is None or not offered.asks or not nobody.saw(offered):
                return found
            waiting.put(name, quoted.offer_id)
        return asking.question(offered)

    async def fetch(
        ctx: Context[Any, Any], said: Annotated[ElicitationResult[Any], Resolve(person)],
        url: str, max_price: str = "", method: str = "GET", body: str = "", again: bool = False,
    ) -> CallToolResult:  # fmt: skip
        found = getattr(said, "data", None)
        if isinstance(found, Bought):
            return _answer(found)
        tools = clients.of(ctx)
        offer_id = waiting.pop((tools.client, url, max_price, method, body, again))
        with asking.unasked(ctx, asking.Person(tools.offered(offer_id) if asking.seen(said) else None)):
            return _answer(await told(ctx, lambda: tools.buy(offer_id)))

    return fetch


def _answer(found: Any) -> CallToolResult:
    """A verb's answer: the same as JSON for programs and as text, without what is null; an error where something went wrong."""
    facts = _full(asdict(found))
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=facts, is_error=found.problem is not None)


def _full(facts: Any) -> Any:
    if isinstance(facts, dict):
        return {name: _full(value) for name, value in facts.items() if value is not None}
    return [_full(each) for each in facts] if isinstance(facts, (list, tuple)) else facts
