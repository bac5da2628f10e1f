"""The pretend seller: asks, checks, settles and delivers, and misbehaves as its scenario says. No sockets, no waiting.

Authorization flow: verify, handler, settle; for `upto` the handler says what it cost (`Settlement-Overrides`). Upfront: settle, handler, charged either way. Escrow: a real channel
contract is not here yet, so the deposit settles to the seller, and when the handler fails the seller's own key
transfers it back; money really moves both ways.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .challenge import HEADERS, IDENTIFIER, RECEIPTS, extensions, matching, payment_required, requirements
from .messages import Answer, decode64, encode64, json_answer
from .refusals import Refused, refusal
from .routes import OVERRIDES, Route
from .seller import Seller, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ground import Ground, Settled
    from .messages import Request
    from .scenario import Scenario

__all__ = ["Paywall"]


@dataclass(slots=True)
class _Remembered:
    """A proof that this shop settled: the receipt to give again, and how often it was shown."""

    settled: Settled
    shown: int = 0


@dataclass(frozen=True, slots=True)
class _Bid:
    """A request with a proof, and the requirement that it answers."""

    route: Route
    request: Request
    version: int
    factor: int
    digest: str
    payload: Mapping[str, Any]
    requirement: Mapping[str, Any]


class Paywall(Seller):
    """The priced routes of the shop that stands on a ground. It keeps nothing."""

    name = "shop"
    sells = "jokes and reports by plain x402, version 1 and 2"
    scenario: Scenario
    routes: dict[str, Route] = {}  # noqa: RUF012 - each shop has its own, below

    def __init__(self, ground: Ground, scenario: Scenario, database: str = "") -> None:
        super().__init__(ground, scenario, database)
        self.routes = {"/": Route("/", 0, self._index, "this list"), **ground.routes}
        self._facilitator = ground.facilitator
        self._lock = threading.Lock()
        self._asked: dict[str, int] = {}
        self._remembered: dict[tuple[str, str], _Remembered] = {}
        self._identified: dict[tuple[str, str], tuple[str, Answer]] = {}

    def handle(self, request: Request) -> Answer:
        """What happens to a request. Decides and settles at once; the door does the waiting."""
        route = self.routes.get(request.path)
        if route is None:
            return json_answer(404, {"error": "no such path", "paths": list(self.routes)})
        proof = next(((v, request.headers[HEADERS[v]]) for v in route.versions if HEADERS[v] in request.headers), None)
        digest = hashlib.sha256(proof[1].encode()).hexdigest() if proof else ""
        with self._lock:
            if route.methods and request.method not in route.methods:
                answer = json_answer(405, {"error": "method not allowed"}, ("allow", ", ".join(route.methods)))
            elif not route.price:
                answer = route.handler(request)
            else:
                answer = self._priced(route, request, proof, digest)
            status = 0 if answer.ending == "drop" else answer.status
            self.visits.append(Visit(request.method, request.path, proof is not None, digest, status))
        return answer

    def _priced(self, route: Route, request: Request, proof: tuple[int, str] | None, digest: str) -> Answer:
        visit = self._asked[route.path] = self._asked.get(route.path, -1) + 1
        factor = 1 if route.plain else self.scenario.prices[visit % len(self.scenario.prices)]
        if proof is None:
            return self._ask(route, request, factor, "payment required")
        version, header = proof
        try:
            payload = decode64(header)
            if not isinstance(payload, dict):
                raise ValueError("not an object")
        except ValueError:
            return self._ask(route, request, factor, "invalid_payload")
        try:
            offered = requirements(route, request, version, self._ground, factor)
            requirement = matching(payload, version, offered, extensions(route))
            bid = _Bid(route, request, version, factor, digest, payload, requirement)
            return self._identify(bid)
        except Refused as refused:
            if (answer := self._ground.refused(route, refused)) is not None:
                return answer
            receipt = refusal(refused, self._ground.networks[version])
            return self._ask(route, request, factor, refused.code).plus((RECEIPTS[version], encode64(receipt)))

    def _ask(self, route: Route, request: Request, factor: int, error: str) -> Answer:
        return payment_required(route, request, self._ground, factor, error)

    def _identify(self, bid: _Bid) -> Answer:
        """The payment-identifier extension: the same id with the same payload is answered from memory."""
        if not bid.route.identifier:
            return self._misbehave(bid)
        sent = bid.payload.get("extensions")
        extension = sent.get(IDENTIFIER) if isinstance(sent, dict) else None
        identifier = extension["info"].get("id") if isinstance(extension, dict) else None
        if identifier is None:
            if bid.route.identifier == "required":
                return json_answer(400, {"error": "payment-identifier is required"})
            return self._misbehave(bid)
        if not isinstance(identifier, str) or not 16 <= len(identifier) <= 128:
            return json_answer(400, {"error": "payment-identifier: 16 to 128 letters, digits, - and _"})
        known = self._identified.get((bid.route.path, identifier))
        if known is not None:
            if known[0] != bid.digest:
                return json_answer(409, {"error": "this payment-identifier came with another payload"})
            return known[1]
        answer = self._misbehave(bid)
        if answer.status < 400 and answer.ending == "whole":
            self._identified[bid.route.path, identifier] = (bid.digest, answer)
        return answer

    def _index(self, _request: Request) -> Answer:
        fields = ("path", "wire", "flow", "ways", "description")
        rows = [
            {name: getattr(each, name) for name in fields} | {"price": str(each.price)} for each in self.routes.values()
        ]
        return json_answer(200, {"sandbox": True, "network": self._ground.networks[2], "routes": rows})

    # -- the scenario -------------------------------------------------------------------------------------------------

    def _misbehave(self, bid: _Bid) -> Answer:
        scene = self.scenario
        if bid.route.plain or (scene.answer == "content" and not scene.seconds and not scene.remembers):
            return self._sell(bid)
        if not scene.settles:
            self._facilitator.verify(bid.version, bid.payload, bid.requirement)
            return self._scene(bid, None)
        known = self._remembered.get((bid.route.path, bid.digest)) if scene.remembers else None
        if known is None:
            known = _Remembered(self._settle(bid, bid.route.handler(bid.request)))
            self._remembered[bid.route.path, bid.digest] = known
        known.shown += 1
        if scene.times and known.shown > scene.times:
            return self._deliver(bid, known.settled.response())
        return self._scene(bid, known.settled)

    def _scene(self, bid: _Bid, settled: Settled | None) -> Answer:
        """The answer that the scenario gives instead of an honest one."""
        scene = self.scenario
        if scene.answer == "content":
            receipt = settled.response() if settled else self._claimed()
            return replace(self._deliver(bid, receipt), delay=scene.seconds)
        if scene.answer in ("hang", "drop"):
            return Answer(503, delay=scene.seconds, ending="drop")
        if scene.answer == "error":
            answer = json_answer(scene.status, {"error": "something broke after the payment"})
        elif scene.answer == "redirect":
            answer = json_answer(302, {}, ("location", self._elsewhere(bid.request)))
        else:
            answer = self._ask(bid.route, bid.request, bid.factor, "payment required")
        if scene.receipt and settled is not None:
            answer = answer.plus((RECEIPTS[bid.version], encode64(settled.response())))
        return replace(answer, delay=scene.seconds)

    def _claimed(self) -> dict[str, Any]:
        """A receipt for nothing."""
        return {"success": True, "transaction": "", "network": self._ground.networks[2]}

    def _elsewhere(self, request: Request) -> str:
        """Where the scenario redirects to: a path, or the same server under another name."""
        if not self.scenario.other_host:
            return self.scenario.to
        parts = urlsplit(request.origin)
        host = parts.hostname or ""
        other = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(host, f"elsewhere.{host}")
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{other}{port}{self.scenario.to}"

    # -- the honest flows ---------------------------------------------------------------------------------------------

    def _sell(self, bid: _Bid) -> Answer:
        if bid.route.flow == "authorization":
            return self._authorization(bid)
        settled = self._settle(bid)
        answer = bid.route.handler(bid.request)
        receipt = settled.response()
        if bid.route.flow == "escrow" and answer.status >= 400:
            receipt = self._cancel(settled)
        return self._receipt(bid, answer, receipt)

    def _authorization(self, bid: _Bid) -> Answer:
        """A handler that fails costs nothing."""
        self._facilitator.verify(bid.version, bid.payload, bid.requirement)
        answer = bid.route.handler(bid.request)
        if answer.status >= 400:
            return answer
        return self._receipt(bid, answer, self._settle(bid, answer).response())

    def _settle(self, bid: _Bid, answer: Answer | None = None) -> Settled:
        """Take the price, or what the handler's answer says that an `upto` request cost."""
        requirement = dict(bid.requirement)
        said = next((value for name, value in answer.headers if name == OVERRIDES), None) if answer else None
        if said is not None and requirement["scheme"] == "upto":
            requirement["amount"] = str(json.loads(said)["amount"])
        return self._facilitator.settle(bid.version, bid.payload, requirement)

    def _cancel(self, settled: Settled) -> dict[str, Any]:
        """Pay the deposit back, and say so in the receipt."""
        deposit = settled.response()
        extra = {
            "depositTransaction": deposit["transaction"],
            "depositAmount": str(settled.amount),
            "refundTransaction": self._ground.refund(settled.payer, settled.amount),
        }
        return {**deposit, "success": False, "errorReason": "handler_failed", "transaction": "", "extra": extra}

    def _deliver(self, bid: _Bid, receipt: Mapping[str, Any]) -> Answer:
        return self._receipt(bid, bid.route.handler(bid.request), receipt)

    def _receipt(self, bid: _Bid, answer: Answer, receipt: Mapping[str, Any]) -> Answer:
        """The answer with the receipt; a paid answer is private to whoever paid, what it cost is the seller's affair."""
        answer = replace(answer, headers=tuple(line for line in answer.headers if line[0] != OVERRIDES))
        if bid.route.signed and receipt["success"]:
            receipt = {**receipt, "extensions": self._ground.signed_receipt(bid.route, bid.request.url, receipt)}
        return answer.plus(("cache-control", "private"), (RECEIPTS[bid.version], encode64(receipt)))
