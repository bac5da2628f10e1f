"""A tool call as one hop of a request: conversation, drivers, dialect and ledger serve paid MCP tools as they serve HTTP.

What a server answers becomes what HTTP would have said of it: a challenge (a result with `isError`, or a JSON-RPC error 402) is a 402 with its
PAYMENT-REQUIRED header, any other error is a 500, a receipt is PAYMENT-RESPONSE. The proof goes the other way, into `_meta`. (x402 over MCP, versions 1 and 2.)

Who is paid is said by whoever opened the session, never by the server: an https URL, or a name of the person's own for
a server without one, which is then `mcp://NAME.alt` (RFC 9476: no such name is ever looked up). The Ask is `CALL origin/path/TOOL`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..errors import ChallengeInvalid, PolicyDenied, SettingsError
from ..model import CALL, Under
from ..secret import plain
from ..steps import MAX_BODY
from .drivers import PaymentTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..model import Ask, Receipt
    from .talk import Rooms

__all__ = ["PaidSession", "address"]

PAYMENT, RESPONSE = "x402/payment", "x402/payment-response"
PAGES = 32  # of a list of tools that are read to find one
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?").fullmatch
_LONGEST = 100  # characters of a scope's name, as policy may say it
_CALL = "x402_agent.call"
_lib: Any = PaymentTransport.lib


class PaidSession:
    """An MCP client (`mcp.Client`, `ClientSession`) whose `call_tool` pays; everything else is the session's own.

    A result has `payment`, the Receipt where a proof was shown, else None. A tool whose definition is no longer what `list_tools` showed first
    is not paid until `accept` (row M8).
    """

    def __init__(self, session: Any, rooms: Rooms, server: str = "", *, talk: Callable[[Ask], Any] | None = None) -> None:
        self.session = session
        self.origin, self._path = address(session, server)
        self._rooms, self._talk = rooms, talk or rooms.talk
        self._seen: dict[str, str] = {}
        self._pays = PaymentTransport(_Calls(self), self)
        self.deadline, self.answer_timeout, self.trace = rooms.deadline, rooms.answer_timeout, rooms.trace

    def __getattr__(self, name: str) -> Any:
        if name == "session":  # a copy that was never made
            raise AttributeError(name)
        return getattr(self.session, name)

    async def __aenter__(self) -> PaidSession:
        await self.session.__aenter__()
        return self

    async def __aexit__(self, *why: object) -> Any:
        return await self.session.__aexit__(*why)

    async def call_tool(
        self, name: str, arguments: dict[str, Any] | None = None, read_timeout_seconds: float | None = None,
        progress_callback: Any = None, *, meta: Mapping[str, Any] | None = None, payment: Mapping[str, Any] | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """As the session's own, and paid for if it must be and may be; `payment` are the options of a request (`{"max": "0.05"}`).

        `read_timeout_seconds` may make the deadline over all legs longer; nothing that the seller says does (row T9). Raises PaymentError, TimeoutError, and what the session raises.
        """
        if not name.strip(".") or not name.isprintable():
            raise SettingsError(f"{plain(name, 80)!r} names no tool", rule="printable letters, not dots alone", hint="session.list_tools() names them")
        call = _Call(self.session, name, arguments, progress_callback, dict(meta or {}), options)
        request = _lib.Request(
            CALL, f"{self.origin}{self._path}/{quote(name, safe='')}", content=_canonical(arguments or {}).encode(),
            extensions={_CALL: call, "payment": dict(payment or {}), "timeout": {"read": read_timeout_seconds}},
        )  # fmt: skip
        try:
            response = await self._pays.handle_async_request(request)
        except _lib.TimeoutException as late:
            raise TimeoutError(f"{self.origin} did not answer to the call of {plain(name, 80)!r} in time") from late
        result = _made(call.answer)
        result._payment = response.extensions.get("payment")
        return result

    async def list_tools(self, *args: Any, **options: Any) -> Any:
        """As the session's own; what it shows first is what may be paid for."""
        page = await self.session.list_tools(*args, **options)
        for tool in page.tools:
            self._seen.setdefault(tool.name, _definition(tool))
        return page

    def accept(self, name: str) -> None:
        """The tool may be paid as it is defined when it is listed next."""
        self._seen.pop(name, None)

    def talk(self, ask: Ask) -> Any:
        """The rooms for one call: counted for `tool:HOST/TOOL` too, and kept by nobody, since only a session repeats it."""
        ask.repeat = lambda: None
        ask.under = Under(task=ask.under.task, tool=",".join(filter(None, (ask.under.tool, _scope(ask)))))
        return self._talk(ask)

    async def unchanged(self, name: str) -> None:
        """Raise PolicyDenied where the tool is not what it was when it was first listed: a price was asked, nothing is held."""
        if name in self._seen and await self._listed(name) != self._seen[name]:
            raise PolicyDenied(
                f"{urlsplit(self.origin).netloc} describes the tool {plain(name, 80)!r} otherwise than when it was listed",
                rule="a tool is paid as it was first listed (M8)", hint=f"look at it again, then session.accept({plain(name, 80)!r})",
            )  # fmt: skip

    async def _listed(self, name: str) -> str:
        """The digest of a tool's definition now, "" where it is gone; asked of the server itself, not of a cache that it may fill."""
        from mcp_types import PaginatedRequestParams

        session, cursor = getattr(self.session, "session", self.session), None
        for _ in range(PAGES):
            page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            found = next((tool for tool in page.tools if tool.name == name), None)
            if found is not None or not (cursor := page.next_cursor):
                return "" if found is None else _definition(found)
        return ""


def address(session: Any, server: str) -> tuple[str, str]:
    """Origin and path of the server behind a session. Raises SettingsError where nobody says who it is, or two say otherwise."""
    known = getattr(session, "server", "")
    known = known if isinstance(known, str) else ""
    hint = 'payer.mcp(session, "https://seller.example/mcp"), or payer.mcp(session, "weather") for one without a URL'
    if not (server or known):
        raise SettingsError("nobody says which server is behind this session", rule="a budget is of somebody", hint=hint)
    if _NAME(server) and not known and server != "localhost":
        return f"mcp://{server}.alt", ""
    parts = urlsplit(server or known)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise SettingsError(f"{plain(server or known, 80)!r} names no MCP server", rule="an http(s) URL, or a name: lower-case letters, digits and -", hint=hint)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if server and known and origin != (other := address(session, "")[0]):
        raise SettingsError(f"the session is one with {other}, not with {plain(origin, 80)}", rule="the client's own URL", hint="leave it out")
    return origin, parts.path.rstrip("/")


class _Call:
    """One tool call, as often as it is sent, and what it was answered last."""

    def __init__(self, session: Any, name: str, arguments: dict[str, Any] | None, progress: Any, meta: dict[str, Any], options: dict[str, Any]) -> None:
        self.name, self.answer = name, None
        self._session, self._arguments, self._progress, self._meta, self._options = session, arguments, progress, meta, options
        self._meta.pop(PAYMENT, None)  # what pays is ours alone

    async def send(self, proof: object, timeout: float | None) -> Any:
        """The answer: a result, or the error 402 as the result that says the same. Raises what the session raises."""
        meta = {**self._meta, PAYMENT: proof} if proof is not None else self._meta
        try:
            self.answer = await self._session.call_tool(
                self.name, self._arguments, timeout, self._progress, meta=meta or None, **self._options
            )
        except Exception as error:
            asked = getattr(error, "data", None)
            if getattr(error, "code", None) != 402 or not isinstance(asked, dict):
                raise
            self.answer = _refusal(asked)
        return self.answer


class _Calls:
    """The wire below the drivers: a request goes out as a tool call, its result comes back as an answer."""

    def __init__(self, session: PaidSession) -> None:
        self._session = session

    async def handle_async_request(self, request: Any) -> Any:
        call: _Call = request.extensions[_CALL]
        proof = _proof(request.headers)
        timeout = request.extensions["timeout"]["read"]
        if proof is not None:  # a session's own shorter timeout is no reason to give up on money; the deadline is
            timeout = max(timeout or 0.0, self._session.deadline)
        result = await call.send(proof, timeout)
        headers, asked = {}, _challenge(result)
        if asked is not None:
            headers["payment-required"] = _encode(asked)
            if proof is None:
                await self._session.unchanged(call.name)
        receipt = (getattr(result, "meta", None) or {}).get(RESPONSE)
        if isinstance(receipt, dict) and (text := _text(receipt)):
            headers["payment-response"] = _encode(text)
        status = 402 if asked is not None else 500 if getattr(result, "is_error", False) else 200
        return _lib.Response(status, headers=headers, content=b"", request=request)


def _proof(headers: Any) -> Any:
    """The payment payload that a dialect made for a header, None on a leg without one. Raises ChallengeInvalid for a proof that no call carries."""
    for name in ("payment-signature", "x-payment"):
        if name in headers:
            return json.loads(base64.b64decode(headers[name]))
    return None


def _challenge(result: Any) -> bytes | None:
    """The document that asks for money, None for any other result. Where there is a structured one, it alone decides."""
    if not getattr(result, "is_error", False):
        return None
    found = result.structured_content
    if isinstance(found, dict) and "x402Version" in found:
        return _bounded(_text(found))
    text = getattr(result.content[0], "text", "") if found is None and result.content else ""
    if text.startswith("{") and '"x402Version"' in text[:MAX_BODY]:
        return _bounded(text.encode("utf-8", "surrogatepass"))
    return None


def _text(found: dict[str, Any]) -> bytes:
    """The document as its dialect reads it; nothing where it cannot be written down (numbers of 5,000 digits, a thousand levels)."""
    try:
        return _canonical(found).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, RecursionError):
        return b""


def _bounded(document: bytes) -> bytes:
    if len(document) > MAX_BODY:
        raise ChallengeInvalid(f"the challenge is {len(document)} bytes long", rule="a challenge of at most 64 KiB (S2)")
    return document


def _encode(document: bytes) -> str:
    return base64.b64encode(document).decode("ascii")


def _scope(ask: Ask) -> str:
    """What its payments count for as a tool: the host comes first, so no server's tool counts for another's."""
    name = f"{ask.origin.partition('://')[2]}/{ask.path.rpartition('/')[2]}"
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _definition(tool: Any) -> str:
    shown = tool.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta", "icons"})
    return hashlib.sha256(_canonical(shown).encode()).hexdigest()


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@cache
def _kinds() -> tuple[Any, Any]:
    """The SDK's result with a Receipt beside it, and its text; the SDK is imported once a tool is called."""
    from mcp_types import CallToolResult, TextContent
    from pydantic import PrivateAttr

    class ToolResult(CallToolResult):
        """What a tool answered. `payment` is the Receipt where a proof was shown."""

        _payment: Receipt | None = PrivateAttr(default=None)

        @property
        def payment(self) -> Receipt | None:
            return self._payment

    return ToolResult, TextContent


def _made(result: Any) -> Any:
    kind = _kinds()[0]
    return kind.model_construct(result.model_fields_set, **{name: getattr(result, name) for name in kind.model_fields})


def _refusal(asked: dict[str, Any]) -> Any:
    kind, text = _kinds()
    return kind(content=[text(type="text", text=json.dumps(asked))], structured_content=asked, is_error=True)
