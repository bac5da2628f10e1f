"""Where a sandbox publishes what its seller sells. A page that the seller has itself stays the seller's."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..messages import Answer, json_answer
from ..seller import Visit
from .bazaar import DOORS, Listing
from .lies import HONEST, Lies
from .pages import PAGES
from .shelf import rows

if TYPE_CHECKING:
    from ..ground import Ground
    from ..messages import Request
    from ..seller import Seller

__all__ = ["Catalogue"]


class Catalogue:
    """The pages of one seller, made anew for each request: its scenario may have changed. The facilitator has its Bazaar, too."""

    def __init__(self, seller: Seller, ground: Ground) -> None:
        self._seller, self._ground = seller, ground
        self._since = datetime.fromtimestamp(ground.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def answer(self, request: Request) -> Answer | None:
        """A page, or None for a path that is none. Raises ValueError for a question that cannot be read."""
        path = request.path.removeprefix("/facilitator") if request.path.startswith("/facilitator/discovery/") else request.path
        if (path not in DOORS and path not in PAGES) or request.path in self._seller.pages:
            return None
        answer = self._answer(request, path) if request.method in ("GET", "HEAD") else json_answer(405, {"error": "method not allowed"}, ("allow", "GET, HEAD"))
        self._seller.visits.append(Visit(request.method, request.path, proof=False, digest="", status=0 if answer.ending == "drop" else answer.status))
        return answer

    def _answer(self, request: Request, path: str) -> Answer:
        scene = self._seller.scenario
        lies = scene if isinstance(scene, Lies) else HONEST
        if lies.refuses:
            return json_answer(429, {"error": "too many requests"})
        if lies.hangs:
            return Answer(503, delay=lies.hangs, ending="drop")
        found = rows(self._seller, self._ground, request.origin)
        answer = DOORS[path](Listing(found, request, lies, self._since)) if path in DOORS else PAGES[path](found, request.origin)
        mark = f'"{hashlib.sha256(b"".join(answer.chunks)).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == mark:
            return Answer(304, (("etag", mark),))
        return replace(answer, headers=(*answer.headers, ("etag", mark)))
