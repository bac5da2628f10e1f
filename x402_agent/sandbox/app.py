"""One app, two doors: `handle` decides what happens to a request, the ASGI call below carries it out over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .catalogue.doors import Catalogue
from .messages import MAX_BODY, Answer, Request, json_answer
from .seller import scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .world import Sandbox

__all__ = ["ABORT", "App", "Dropped"]

ABORT = "x402_agent.abort"  # a scope extension of our own server


class App:
    """The seller, the catalogue, the facilitator, the node and the controls of one sandbox, as an ASGI application."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._catalogue = Catalogue(sandbox.seller, sandbox.ground)

    def handle(self, request: Request) -> Answer:
        """Decide, settle and log; waits for nothing."""
        controls: dict[str, Callable[[Request], object]] = {
            "GET /facilitator/supported": lambda _: self._sandbox.facilitator.supported(),
            "POST /facilitator/verify": lambda r: self._sandbox.facilitator.verify_json(r.json()),
            "POST /facilitator/settle": lambda r: self._sandbox.facilitator.settle_json(r.json()),
            "GET /sandbox/state": lambda _: self._state(),
            "POST /sandbox/fund": lambda r: self._fund(r.json()),
            "POST /sandbox/warp": lambda r: self._warp(r.json()),
            "POST /sandbox/mine": lambda r: self._mine(r.json()),
            "POST /sandbox/scenario": lambda r: self._scenario(r.json()),
        }
        control = controls.get(f"{request.method} {request.path}")
        try:
            if control is not None:
                return json_answer(200, control(request))
            answer = self._sandbox.ground.answer(request) or self._catalogue.answer(request)
        except (ValueError, LookupError, TypeError, ArithmeticError, SettingsError) as cause:
            return json_answer(400, {"error": str(cause)[:300]})
        return self._sandbox.seller.handle(request) if answer is None else answer

    def _fund(self, body: Any) -> object:
        address, amount = body["address"], int(body["amount"])
        return {"transaction": self._sandbox.fund(address, amount), "balance": str(self._sandbox.balance(address))}

    def _warp(self, body: Any) -> object:
        self._sandbox.warp(int(body["seconds"]))
        return {"now": self._sandbox.ground.now()}

    def _mine(self, body: Any) -> object:
        self._sandbox.mine(int(body["blocks"]))
        return {"now": self._sandbox.ground.now()}

    def _scenario(self, body: Any) -> object:
        found = scenario(body["name"], self._sandbox.seller.name)
        self._sandbox.seller.scenario = found.with_(**body.get("parameters", {}))
        return {"scenario": self._sandbox.scenario.name}

    def _state(self) -> object:
        box = self._sandbox
        settlements = [asdict(each) | {"amount": str(each.amount)} for each in box.settlements]
        people = {"payer": box.payer_address, "pay_to": box.pay_to, "facilitator": box.facilitator_address}
        return {
            "sandbox": True,
            "network": box.network,
            "seller": box.seller.name,
            "scenario": box.scenario.name,
            "addresses": people,
            "balances": {address: str(box.balance(address)) for address in people.values()},
            "settlements": settlements,
            "requests": [asdict(each) for each in box.requests],
        }

    # -- ASGI ---------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        """ASGI 3: HTTP and lifespan."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        body = await _body(receive)
        answer = _unreadable(scope, body) or self.handle(_request(scope, body or b""))
        if answer.delay and await _gone(receive, answer.delay):
            return
        if answer.ending == "drop":
            await _drop(scope, receive)
            return
        lines = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.wire_headers(scope["method"])]
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        chunks = (b"",) if scope["method"] == "HEAD" else answer.chunks or (b"",)
        for index, chunk in enumerate(chunks):
            if index and answer.pause and await _gone(receive, answer.pause):
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": index + 1 < len(chunks)})


def _unreadable(scope: Any, body: bytes | None) -> Answer | None:
    """An answer to what is no request: a body too large, or one with two lengths, of which somebody in between may take the other."""
    names = {name.lower() for name, _ in scope["headers"]}
    if {b"content-length", b"transfer-encoding"} <= names:
        return json_answer(400, {"error": "two lengths"}, ("connection", "close"))
    return json_answer(413, {"error": "too large"}, ("connection", "close")) if body is None else None


def _request(scope: Any, body: bytes) -> Request:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        lines = value.decode("latin-1")
        headers[name] = f"{headers[name]}, {lines}" if name in headers else lines  # RFC 9110 5.2: two proofs are none
    origin = f"{scope.get('scheme', 'http')}://{headers.get('host', 'sandbox.localhost')}"
    return Request(scope["method"], origin, scope["path"], headers, body, scope.get("query_string", b"").decode("latin-1"), (scope.get("client") or ("",))[0])


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(chunks)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _gone(receive: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    """Wait; True as soon as the other side has hung up."""
    import anyio

    with anyio.move_on_after(seconds):
        while True:
            if (await receive())["type"] == "http.disconnect":
                return True
    return False


class Dropped(Exception):
    """Raised on servers that cannot drop a connection: they answer 500 instead."""


async def _drop(scope: Any, receive: Callable[[], Awaitable[Any]]) -> None:
    """End the connection without an answer."""
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is None:
        raise Dropped("this server cannot drop a connection")
    abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
