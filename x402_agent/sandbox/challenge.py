"""What a 402 says, in each dialect, and whether what came back is one of the things that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .messages import Answer, encode64, json_answer
from .refusals import AMOUNTS, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ground import Ground
    from .messages import Request
    from .routes import Route

__all__ = ["HEADERS", "RECEIPTS", "extensions", "matching", "payment_required", "requirements"]

HEADERS = {2: "payment-signature", 1: "x-payment"}
RECEIPTS = {2: "PAYMENT-RESPONSE", 1: "X-PAYMENT-RESPONSE"}
LIFETIME = 60
IDENTIFIER = "payment-identifier"
_EXACT = ("scheme", "network", "asset", "payTo", "maxTimeoutSeconds")
_SCHEMA = {
    "type": "object",
    "properties": {
        "required": {"type": "boolean"},
        "id": {"type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[a-zA-Z0-9_-]+$"},
    },
    "required": ["required"],
}


def requirements(route: Route, request: Request, version: int, ground: Ground, factor: int) -> list[dict[str, Any]]:
    """`accepts` of a route; prices are multiplied by `factor`."""
    made = []
    for scheme, network, asset, price, extra in ground.offers(route, version):
        entry: dict[str, Any] = {
            "scheme": scheme,
            "network": network,
            AMOUNTS[version]: str(price * factor),
            "asset": asset,
            "payTo": ground.pay_to,
            "maxTimeoutSeconds": LIFETIME,
            "extra": extra | ({"paymentFlow": route.flow} if route.flow != "authorization" else {}),
        }
        if version == 1:
            about = {"resource": request.url, "description": route.description, "mimeType": "application/json"}
            entry |= {**about, "outputSchema": None}
        made.append(entry)
    return made


def extensions(route: Route) -> dict[str, Any]:
    """What the route advertises: the payment identifier, or nothing."""
    if not route.identifier:
        return {}
    return {IDENTIFIER: {"info": {"required": route.identifier == "required"}, "schema": _SCHEMA}}


def payment_required(route: Route, request: Request, ground: Ground, factor: int, error: str) -> Answer:
    """The 402 of a route, in the header, in the body, or in both."""

    def document(version: int) -> dict[str, Any]:
        accepts = requirements(route, request, version, ground, factor)
        signed = ground.signed_offers(route, request.url, accepts) if route.signed else {}
        if version == 1:
            return {"x402Version": 1, "error": error, "accepts": accepts} | ({"extensions": signed} if signed else {})
        resource = {"url": request.url, "description": route.description, "mimeType": "application/json"}
        found: dict[str, Any] = {"x402Version": 2, "error": error, "resource": resource, "accepts": accepts}
        advertised = extensions(route) | ground.advertised(route) | signed
        return found | ({"extensions": advertised} if advertised else {})

    body: dict[str, Any] = {}
    lines: list[tuple[str, str]] = [("cache-control", "no-store")]
    if route.wire in ("v1", "both"):
        body = document(1)
    elif route.wire == "v2-body":
        body = document(2)
    if route.wire in ("v2", "both"):
        lines.append(("PAYMENT-REQUIRED", encode64(document(2))))
    return json_answer(402, body, *lines)


def matching(
    payload: Mapping[str, Any], version: int, offered: list[dict[str, Any]], advertised: Mapping[str, Any]
) -> dict[str, Any]:
    """The requirement that a payload answers; raises Refused when it answers none of those advertised.

    Version 2: `accepted` equals it word for word and holds its `extra`; extensions, when any are sent, hold what was
    advertised. Version 1 names scheme and network only.
    """
    if payload.get("x402Version") != version:
        raise Refused("invalid_x402_version")
    if version == 1:
        for entry in offered:
            if (payload.get("scheme"), payload.get("network")) == (entry["scheme"], entry["network"]):
                return entry
        raise Refused("invalid_payment_requirements", "no offer has this scheme and network")
    accepted = payload.get("accepted")
    if not isinstance(accepted, dict):
        raise Refused("invalid_payload", "accepted is not an object")
    fitting = [each for each in offered if _accepts(each, accepted)]
    if not fitting:
        raise Refused("invalid_payment_requirements", "accepted is none of the offers")
    found = max(fitting, key=lambda each: len(each["extra"]))  # two ways to pay differ in what `extra` adds
    _check_echo(payload.get("extensions"), advertised)
    return found


def _accepts(entry: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    extra = accepted.get("extra")
    same = all(accepted.get(field) == entry[field] for field in (*_EXACT, "amount"))
    return same and isinstance(extra, dict) and entry["extra"].items() <= extra.items()


def _check_echo(sent: object, advertised: Mapping[str, Any]) -> None:
    if not sent:
        return
    for key, extension in advertised.items():
        echoed = sent.get(key) if isinstance(sent, dict) else None
        info = echoed.get("info") if isinstance(echoed, dict) else None
        if not isinstance(info, dict) or any(info.get(k) != v for k, v in extension["info"].items()):
            raise Refused("extension_echo_mismatch", f"extension {key}")
