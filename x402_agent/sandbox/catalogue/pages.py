"""What a seller publishes at its own origin: the list of `/.well-known/x402`, an OpenAPI document with `x-payment-info`, an llms.txt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..messages import Answer, json_answer
from ..refusals import AMOUNTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .shelf import Row

__all__ = ["PAGES"]


def _well_known(rows: Sequence[Row], _origin: str) -> Answer:
    """URLs alone, the method before each that is not GET: what they cost, their 402 says."""
    urls = [each.url if each.method == "GET" else f"{each.method} {each.url}" for each in rows if not each.tool]
    return json_answer(200, {"version": 1, "resources": list(dict.fromkeys(urls)), "instructions": "Ask, read the 402, pay, ask again."})


def _openapi(rows: Sequence[Row], origin: str) -> Answer:
    """Prices in dollars, as `price` of x-payment-info has them; a token that is no dollar is priced at the call."""
    paths: dict[str, dict[str, Any]] = {}
    for each in rows:
        if each.tool:
            continue
        told = {"summary": each.name, "description": each.description, "x-payment-info": _payment(each), "responses": {"200": {"description": "what was bought"}, "402": {"description": "what it costs"}}}
        paths.setdefault(urlsplit(each.url).path, {}).setdefault(each.method.lower(), told)
    info = {"title": "x402-agent sandbox", "version": "1", "description": "Test money; nothing leaves this machine."}
    return json_answer(200, {"openapi": "3.1.0", "info": info, "servers": [{"url": origin}], "paths": paths})


def _payment(row: Row) -> dict[str, Any]:
    price = row.price
    micros = price[1].micros(price[0]) if price else None
    if micros is None:
        return {"price": {"mode": "dynamic", "currency": "USD"}, "protocols": ["x402"]}
    written = f"{micros // 10**6}.{micros % 10**6:06}"
    if any(each["scheme"] == "upto" for each in row.accepts):
        return {"price": {"mode": "dynamic", "currency": "USD", "max": written}, "protocols": ["x402"]}
    return {"price": {"mode": "fixed", "currency": "USD", "amount": written}, "protocols": ["x402"]}


def _llms(rows: Sequence[Row], origin: str) -> Answer:
    lines = ["# x402-agent sandbox", "", "> Pretend sellers on a chain in this process: test money, real signatures.", "", "## For sale"]
    lines += [f"- [{each.name}]({each.url}): {each.description}. {_cost(each)}" for each in rows if each.method == "GET"]
    lines += ["", "## Catalogues", *(f"- {origin}{path}" for path in PAGES if path != "/llms.txt"), f"- {origin}/discovery/resources"]
    return Answer(200, (("content-type", "text/plain; charset=utf-8"),), ("\n".join([*lines, ""]).encode(),))


def _cost(row: Row) -> str:
    """In whole tokens, as people count them."""
    if row.price is None:
        return "What it costs, its 402 says."
    amount = next(int(each[AMOUNTS[row.version]]) for each in row.accepts[:1])
    asset = row.price[1]
    return f"{amount / 10**asset.decimals:f} {asset.symbol} per call, paid by x402."


PAGES: dict[str, Callable[[Sequence[Row], str], Answer]] = {"/.well-known/x402": _well_known, "/openapi.json": _openapi, "/llms.txt": _llms}
