"""The eight tools as the SDK calls them: each hands its arguments to the verb of the same name and tells what came of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from mcp.server.mcpserver import Context, ElicitationResult, Resolve
from mcp_types import CallToolResult, TextContent, ToolAnnotations

from x402_agent.tools import Bought, Holdings, Quoted, Services, Settled, Spending, Tools, Why, Yes

from . import asking
from .progress import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from x402_agent.approvals import Approver

    from .server import Server

__all__ = ["VERBS", "Verb", "hints", "words"]


class Verb(NamedTuple):
    """One tool: what is called, and what a host is told: its answer, whether it only reads, whether repeating it changes nothing, whether it leaves this machine."""

    call: Callable[..., Any]
    answers: type[Any]
    reads: bool
    same_again: bool
    leaves: bool


def hints(name: str) -> ToolAnnotations:
    """Hints for the host: what changes nothing but money destroys nothing else, yet money that is spent does not come back. Of
    what only reads the protocol has no more to ask than whether it leaves this machine."""
    verb = VERBS[name]
    if verb.reads:
        return ToolAnnotations(read_only_hint=True, open_world_hint=verb.leaves)
    return ToolAnnotations(read_only_hint=False, destructive_hint=name in ("buy", "fetch"), idempotent_hint=verb.same_again or None, open_world_hint=verb.leaves)


def words(name: str) -> str:
    """What a model is told of a tool: the docstring of its verb."""
    return " ".join((getattr(Tools, name).__doc__ or "").split())


def _tools(ctx: Context[Any, Any]) -> Tools:
    """The tools of whoever calls."""
    return cast("Server", ctx.mcp_server).clients.of(ctx)


async def search(ctx: Context[Any, Any], words: str, max_price: str = "", live: bool = False) -> CallToolResult:
    """Tools.search."""
    return _answer(await _tools(ctx).search(words, max_price or None, live))


async def quote(ctx: Context[Any, Any], url: str, method: str = "GET", body: str = "") -> CallToolResult:
    """Tools.quote."""
    return _answer(await _tools(ctx).quote(url, method, body or None))


async def spending(ctx: Context[Any, Any], period: str = "today") -> CallToolResult:
    """Tools.spending."""
    return _answer(await _tools(ctx).spending(period))


async def why(ctx: Context[Any, Any], payment_id: str) -> CallToolResult:
    """Tools.why."""
    return _answer(await _tools(ctx).why(payment_id))


async def balance(ctx: Context[Any, Any]) -> CallToolResult:
    """Tools.balance."""
    return _answer(await _tools(ctx).balance())


async def resume(ctx: Context[Any, Any]) -> CallToolResult:
    """Tools.resume."""
    return _answer(await told(ctx, _tools(ctx).resume))


async def _before_buying(ctx: Context[Any, Any], offer_id: str) -> Any:
    """The question about an offer that policy wants a person for; None where there is none, or nobody here to ask."""
    offered = _tools(ctx).offered(offer_id)
    return asking.question(offered, offer_id) if offered is not None and offered.asks and asking.can_ask(ctx) else None


async def buy(ctx: Context[Any, Any], offer_id: str, said: Annotated[ElicitationResult[asking.Yes], Resolve(_before_buying)]) -> CallToolResult:
    """Tools.buy, with the answer of a person, if one was asked."""
    tools = _tools(ctx)
    with asking.by(ctx, _said(ctx, offer_id, said)):
        return _answer(await told(ctx, lambda: tools.buy(offer_id)))


async def _fetched(ctx: Context[Any, Any], url: str, max_price: str, method: str, body: str, again: bool) -> Any:
    """Tools.fetch; where only a person's word was missing, what was asked becomes an offer, and this a question about it."""
    tools, waiting = _tools(ctx), cast("Server", ctx.mcp_server).waiting
    name = (tools.client, url, max_price, method, body, again)
    offer_id = waiting.get(name)
    offered = tools.offered(offer_id)
    if offered is None:
        nobody = asking.Nobody()
        with asking.by(ctx, nobody):
            found = await told(ctx, lambda: tools.fetch(url, max_price or None, method, body or None, again))
        if not nobody.asked or found.problem is None:
            return found
        quoted = await tools.quote(url, method, body or None)
        offer_id = quoted.offer_id
        offered = tools.offered(offer_id)
        if offered is None or not offered.asks or offered.offer.money != nobody.asked[-1].offer.money:
            return found
        waiting.put(name, offer_id)
    return asking.question(offered, offer_id)


async def fetch(
    ctx: Context[Any, Any], said: Annotated[ElicitationResult[Any], Resolve(_fetched)],
    url: str, max_price: str = "", method: str = "GET", body: str = "", again: bool = False,
) -> CallToolResult:  # fmt: skip
    """What Tools.fetch gave; or what it gives with the answer of a person, who was asked about what it found."""
    found = getattr(said, "data", None)
    if isinstance(found, Bought):
        return _answer(found)
    tools = _tools(ctx)
    offer_id = cast("Server", ctx.mcp_server).waiting.pop((tools.client, url, max_price, method, body, again))
    with asking.by(ctx, _said(ctx, offer_id, said)):
        return _answer(await told(ctx, lambda: tools.fetch(url, max_price or None, method, body or None, again)))


def _said(ctx: Context[Any, Any], offer_id: str, said: Any) -> Approver:
    """What a person said, as an Approver: yes to this offer alone, or no."""
    offered = _tools(ctx).offered(offer_id) if asking.seen(said) else None
    return asking.Nobody() if offered is None else Yes(offered)


def _answer(found: Any) -> CallToolResult:
    """A verb's answer: the same as JSON for programs and as text, without what is null; an error where something went wrong."""
    facts = _full(asdict(found))
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=facts, is_error=found.problem is not None)


def _full(facts: Any) -> Any:
    if isinstance(facts, dict):
        return {name: _full(value) for name, value in facts.items() if value is not None}
    return [_full(each) for each in facts] if isinstance(facts, (list, tuple)) else facts


VERBS = {
    "search": Verb(search, Services, reads=True, same_again=True, leaves=False),
    "quote": Verb(quote, Quoted, reads=True, same_again=True, leaves=True),
    "buy": Verb(buy, Bought, reads=False, same_again=True, leaves=True),
    "fetch": Verb(fetch, Bought, reads=False, same_again=False, leaves=True),
    "spending": Verb(spending, Spending, reads=True, same_again=True, leaves=False),
    "why": Verb(why, Why, reads=True, same_again=True, leaves=False),
    "balance": Verb(balance, Holdings, reads=True, same_again=True, leaves=True),
    "resume": Verb(resume, Settled, reads=False, same_again=True, leaves=True),
}
