"""What creators do by the API: content, keys, webhooks, analytics. Whoever calls holds the seller's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ..messages import Answer, json_answer
from .analytics import Analytics
from .asking import path_of
from .content import content_id
from .desk import Refusal
from .hooks import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import Request
    from .app import X402Pay
    from .content import Piece
    from .desk import Caller, Desk
    from .quirks import Quirks

__all__ = ["Studio", "body_of", "page"]

MOST = 1_000  # pieces of one creator
_TEXTS = {"title": 200, "preview": 1_000, "body": 100_000, "contentType": 20}
_STATES = ("draft", "published", "archived")


class Studio:
    """`who` says who makes a request, and raises Refusal where he may not do so."""

    def __init__(self, seller: X402Pay, desk: Desk, who: Callable[[Request, str], Caller]) -> None:
        self._seller, self._desk, self._who = seller, desk, who
        self._analytics = Analytics(seller.store.books, seller.store.now)

    def routes(self) -> dict[str, Callable[..., Answer]]:
        """Its routes by method and pattern."""
        named, hook = r"/content/([^/]+)", r"/webhooks/([0-9a-f-]{36})"
        return {
            r"GET /content": self._items, rf"GET {named}": self._item, r"POST /content": self._create, rf"PUT {named}": self._change,
            rf"DELETE {named}": self._archive, r"GET /analytics/revenue": self._revenue, r"GET /analytics/top-content": self._top,
            r"GET /api-keys": self._keys, r"POST /api-keys": self._key, r"DELETE /api-keys/([0-9a-f-]{36})": self._revoke,
            r"GET /webhooks": self._hooks, r"POST /webhooks": self._hook, rf"DELETE {hook}": self._unhook,
            rf"GET {hook}/deliveries": self._deliveries, rf"POST {hook}/enable": self._enable, r"POST /admin/rotate-secret": self._rotate,
        }  # fmt: skip

    # -- content --------------------------------------------------------------------------------------------------------

    def _items(self, request: Request, _quirks: Quirks) -> Answer:
        pieces, total = self._seller.catalogue.all(*page(request, 20))
        return json_answer(200, {"items": [self._told(each, request) for each in pieces], "total": total})

    def _item(self, request: Request, _quirks: Quirks, name: str) -> Answer:
        piece = self._seller.catalogue.find(name)
        if piece is None or (self._seller.catalogue.sold(name) is None and not self._is_his(piece, request)):
            raise Refusal(404, "CONTENT_NOT_FOUND", "There is no such content")
        more = {"status": piece.status, "preview": piece.about.get("preview", "")}
        return json_answer(200, self._told(piece, request) | more)

    def _told(self, piece: Piece, request: Request) -> dict[str, Any]:
        contract = self._seller.contract_of(piece)
        return piece.item() | {"contractAddress": contract, "url": request.origin + path_of(piece.id)}

    def _is_his(self, piece: Piece, request: Request) -> bool:
        try:
            caller = self._who(request, "read")
        except Refusal:
            return False
        return piece.owner == caller.user or "admin" in caller.scopes

    def _create(self, request: Request, _quirks: Quirks) -> Answer:
        caller, body = self._who(request, "write"), body_of(request)
        name = body.get("contentId")
        if not isinstance(name, str) or not content_id(name):
            raise Refusal(400, "INVALID_CONTENT_ID", "contentId is 1 to 50 letters, digits, - and _")
        if self._seller.catalogue.find(name):
            raise Refusal(409, "CONTENT_EXISTS", "There is content with this contentId")
        if self._seller.catalogue.count(caller.user) >= MOST:
            raise Refusal(400, "TOO_MANY", f"{MOST} pieces are allowed")
        return self._put(request, caller, name, caller.user, body, 201)

    def _change(self, request: Request, _quirks: Quirks, name: str) -> Answer:
        caller, piece = self._his(request, name)
        before = {"pricing": piece.item()["pricing"], "status": piece.status, **piece.about}
        return self._put(request, caller, name, piece.owner, before | body_of(request), 200)

    def _put(self, request: Request, caller: Caller, name: str, owner: str, body: dict[str, Any], status: int) -> Answer:
        about: dict[str, Any] = {each: body.get(each, "") for each in _TEXTS if each in body}
        if any(not isinstance(value, str) or len(value) > _TEXTS[each] for each, value in about.items()):
            raise Refusal(400, "BAD_REQUEST", f"texts with so many characters at most: {', '.join(f'{each} {most}' for each, most in _TEXTS.items())}")
        state = body.get("status", "published")
        if state not in _STATES or not about.get("title") or about.get("contentType") == "api":
            raise Refusal(400, "BAD_REQUEST", f"a title, a status out of {', '.join(_STATES)}, and a contentType that is not api")
        try:
            self._seller.catalogue.put(name, owner, body.get("pricing", {}), {**about, "ages": True}, state)
        except ValueError as why:
            raise Refusal(400, "INVALID_PRICING", str(why)) from None
        self._desk.noted(caller.address, "content." + ("created" if status == 201 else "changed"), name)
        if status == 201:
            self._seller.hooks.tell(owner, EVENTS[1], {"contentId": name, "title": about["title"], "status": state})
        piece = self._seller.catalogue.find(name)
        return json_answer(status, self._told(piece, request) | {"status": state} if piece else {})

    def _archive(self, request: Request, _quirks: Quirks, name: str) -> Answer:
        caller, _ = self._his(request, name)
        self._seller.catalogue.archive(name)
        self._desk.noted(caller.address, "content.archived", name)
        return json_answer(200, {"contentId": name, "status": "archived"})

    def _his(self, request: Request, name: str) -> tuple[Caller, Piece]:
        caller, piece = self._who(request, "write"), self._seller.catalogue.find(name)
        if piece is None:
            raise Refusal(404, "CONTENT_NOT_FOUND", "There is no such content")
        if piece.owner != caller.user and "admin" not in caller.scopes:
            raise Refusal(403, "NOT_YOURS", "This content is somebody else's")
        if piece.contract or piece.about.get("contentType") == "api":
            raise Refusal(403, "BUILT_IN", "This content is the sandbox's own")
        return caller, piece

    # -- analytics ------------------------------------------------------------------------------------------------------

    def _owner(self, request: Request) -> str:
        caller = self._who(request, "read")
        return "" if "admin" in caller.scopes else caller.user

    def _revenue(self, request: Request, _quirks: Quirks) -> Answer:
        return json_answer(200, self._analytics.revenue(self._owner(request), parse_qs(request.query)))

    def _top(self, request: Request, _quirks: Quirks) -> Answer:
        return json_answer(200, self._analytics.top(self._owner(request), page(request, 10)[0]))

    # -- keys -----------------------------------------------------------------------------------------------------------

    def _keys(self, request: Request, _quirks: Quirks) -> Answer:
        return json_answer(200, {"keys": self._desk.keys(self._who(request, "write").user)})

    def _key(self, request: Request, _quirks: Quirks) -> Answer:
        caller, scopes = self._who(request, "write"), body_of(request).get("scopes", ["read"])
        if not isinstance(scopes, list) or not all(isinstance(each, str) and caller.may(each) for each in scopes):
            raise Refusal(403, "SCOPE_MISSING", "A key may do what its maker may: read, write")
        key, identity = self._desk.key(caller.address, tuple(dict.fromkeys(scopes)))
        self._desk.noted(caller.address, "key.created", identity)
        return json_answer(201, {"id": identity, "key": key, "scopes": scopes}, ("cache-control", "no-store"))

    def _revoke(self, request: Request, _quirks: Quirks, identity: str) -> Answer:
        caller = self._who(request, "write")
        return _done(self._desk.revoke(caller.user, identity))

    def _rotate(self, request: Request, _quirks: Quirks) -> Answer:
        caller = self._who(request, "admin")
        self._seller.tokens.rotate()
        self._desk.noted(caller.address, "secret.rotated", "")
        return json_answer(200, {"rotated": True})

    # -- webhooks -------------------------------------------------------------------------------------------------------

    def _hooks(self, request: Request, _quirks: Quirks) -> Answer:
        return json_answer(200, {"webhooks": self._seller.hooks.listed(self._who(request, "read").user)})

    def _hook(self, request: Request, _quirks: Quirks) -> Answer:
        caller = self._who(request, "write")
        return json_answer(201, self._seller.hooks.subscribe(caller.user, body_of(request)), ("cache-control", "no-store"))

    def _unhook(self, request: Request, _quirks: Quirks, identity: str) -> Answer:
        return _done(self._seller.hooks.removed(self._who(request, "write").user, identity))

    def _enable(self, request: Request, _quirks: Quirks, identity: str) -> Answer:
        return _done(self._seller.hooks.enabled(self._who(request, "write").user, identity))

    def _deliveries(self, request: Request, _quirks: Quirks, identity: str) -> Answer:
        return json_answer(200, {"deliveries": self._seller.hooks.deliveries(self._who(request, "read").user, identity)})


def page(request: Request, limit: int) -> tuple[int, int]:
    """`limit` (1 to 100) and `offset` of a query; raises Refusal."""
    query = parse_qs(request.query)
    try:
        found = int(query.get("limit", [str(limit)])[0][:9]), int(query.get("offset", ["0"])[0][:9])
    except ValueError:
        found = 0, 0
    if not 1 <= found[0] <= 100 or found[1] < 0:
        raise Refusal(400, "BAD_REQUEST", "limit is 1 to 100, offset 0 or more")
    return found


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; raises Refusal."""
    try:
        found = request.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "BAD_REQUEST", "The body is not a JSON object")
    return found


def _done(found: bool) -> Answer:
    if not found:
        raise Refusal(404, "NOT_FOUND", "There is no such thing of yours")
    return json_answer(200, {"done": True})
