"""Requests and responses of either HTTP library, taken apart and copied; the library itself comes in as `lib`."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import NotReplayable, SettingsError
from ..model import NOBODY, Ask, Cap, Offer, Repeat, Under
from ..policy.budget import expected, micros
from ..scopes import plain_path
from ..steps import MAX_BODY, Goods, Reply
from .watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DRAIN", "OPTIONS", "PAID", "add_cookies", "ask", "copy", "full", "plain_headers", "readable", "small", "stored", "stream_types"]

PAID = "x402_agent.paid"
START = "x402_agent.start"
OPTIONS = frozenset({"expect_calls", "max", "listed", "key", "of", "offer", "task", "tool", "again", "body_factory"})
_MAX = "max of this request", 'extensions={"payment": {"max": "{amount}"}}'
DRAIN = 0.25  # seconds that the rest of a 402 may take before a new connection is quicker
MAX_KEPT = 1 << 20  # bytes of a body that is kept until it is delivered


def ask(request: Any, lib: Any) -> Ask:
    """What the conversation knows of a request. Raises SettingsError for a payment option that does not exist."""
    url = request.url
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    shown = f"[{host}]" if ":" in host else host
    port = "" if url.port is None else f":{url.port}"
    origin = f"{url.scheme}://{shown}{port}"
    options: Mapping[str, Any] = request.extensions.get("payment") or {}
    if options and not OPTIONS.issuperset(options):
        unknown = ", ".join(sorted(set(options) - OPTIONS))
        raise SettingsError(f"no payment option is called {unknown}", rule='extensions={"payment": …}',
                            hint=", ".join(sorted(OPTIONS)))  # fmt: skip
    again = options.get("again")
    if again is not None and not isinstance(again, bool):  # "false" is true
        raise SettingsError("again is True, False or None", rule='extensions={"payment": {"again": …}}', hint='"again": True, or leave it out')
    target = url.raw_path.decode("ascii")
    _remember(request, lib)
    made = Ask(
        request.method,
        origin + target,
        origin,
        host,
        plain_path(target.partition("?")[0]),
        digest_body=lambda: _digest(request, lib),
        has_body=request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers,
        caller_key=_key(options.get("key")),
        listed=micros(options["listed"], 'extensions={"payment": {"listed": …}}') if "listed" in options else None,
        offer=_offer(options["offer"]) if "offer" in options else None,
        caps=(Cap(micros(options["max"], 'extensions={"payment": {"max": …}}'), *_MAX),) if "max" in options else (),
        under=_under(options) if "task" in options or "tool" in options else NOBODY,
        again=again,
        repeat=lambda: _repeat(request, lib),
    )
    made.paid = request.extensions.get(PAID, "")
    made.of = _key(options.get("of"))
    if "expect_calls" in options:
        made.expect = expected(options["expect_calls"], 'extensions={"payment": {"expect_calls": …}}')
    return made


def _key(given: object) -> str:
    """The caller's own key, "" for none; raises SettingsError for what is none: a call that has no key may buy again."""
    if given is None:
        return ""
    key = "" if isinstance(given, bool) else str(given)
    if not key:
        raise SettingsError("a key is some letters or a number", rule='extensions={"payment": {"key": …}}', hint="leave it out for none")
    return key


def _offer(given: object) -> Offer:
    """The only offer that may be paid; raises SettingsError for what is none: a lock that holds nothing is no lock."""
    if not isinstance(given, Offer):
        raise SettingsError("an offer is one of a quote's or a plan's", rule='extensions={"payment": {"offer": …}}', hint="payer.quote(url).chosen")
    return given


def _under(options: Mapping[str, Any]) -> Under:
    task, tool = (str(options.get(name) or "") for name in ("task", "tool"))
    if not (task + tool).isprintable() or len(task) > 200 or len(tool) > 64:
        raise SettingsError("the name of a task or tool is some letters", rule='extensions={"payment": {"task": …, "tool": …}}', hint="task up to 200 letters, tool up to 64")
    return Under(task=task, tool=tool)


def readable(request: Any) -> None:
    """Ask for no coding in which a 402 could not be read (S8): HTTP libraries add them when their packages are there."""
    asked = request.headers.get("accept-encoding", "")
    if "br" in asked or "zstd" in asked:
        kept = [each.strip() for each in asked.split(",") if each.partition(";")[0].strip() not in ("br", "zstd")]
        request.headers["accept-encoding"] = ", ".join(kept) or "identity"


def _file(request: Any, lib: Any) -> Any:
    """The seekable file behind an upload, if there is one; httpx alone would send it empty the second time."""
    if isinstance(request.stream, lib.ByteStream):
        return None
    file: Any = getattr(request.stream, "_stream", None)
    return file if hasattr(file, "seek") and hasattr(file, "read") and file.seekable() else None


def _remember(request: Any, lib: Any) -> None:
    """Where an uploaded file stood before the first send."""
    if START not in request.extensions and (file := _file(request, lib)) is not None:
        request.extensions[START] = file.tell()


def _body(request: Any, lib: Any) -> Any:
    """A fresh stream of the same body; raises NotReplayable when it can be read only once."""
    options = request.extensions.get("payment") or {}
    if factory := options.get("body_factory"):
        made = factory()
        return lib.ByteStream(made) if isinstance(made, bytes) else stream_types(lib).made(_pieces(made))
    stream = request.stream
    if isinstance(stream, lib.ByteStream):
        return stream
    if (file := _file(request, lib)) is not None:
        file.seek(request.extensions[START])
        return lib.Request("POST", "http://x", content=file).stream
    if hasattr(type(stream), "__iter__") and hasattr(type(stream), "__aiter__"):  # multipart: rewinds by itself
        return stream
    raise NotReplayable(
        "this request's body can be read only once, and a payment needs it twice",
        rule="an upload is bytes, a file, or comes from a body_factory",
        hint='extensions={"payment": {"body_factory": lambda: open(path, "rb")}}',
    )


def _pieces(made: Any) -> Any:
    """What a body_factory gave, in pieces of bytes: an open file or any iterable."""
    if not hasattr(made, "read"):
        yield from made
        return
    while piece := made.read(MAX_BODY):
        yield piece


def _digest(request: Any, lib: Any) -> bytes:
    digest = hashlib.sha256()
    try:
        for chunk in _body(request, lib):
            digest.update(chunk)
    except (lib.StreamError, OSError, TypeError) as cause:
        raise NotReplayable("this request's body could not be read a second time",
                            rule="an upload is bytes, a file, or comes from a body_factory") from cause  # fmt: skip
    return digest.digest()


def plain_headers(message: Any) -> tuple[tuple[str, str], ...]:
    """Headers of a request or response as text that is each of their bytes, whatever they were meant to be."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers.raw)


def _repeat(request: Any, lib: Any) -> Repeat | None:
    """Headers and body, to make the same request again; None when the body is larger than 1 MiB or cannot be read."""
    held = bytearray()
    try:
        for chunk in _body(request, lib):
            held += chunk
            if len(held) > MAX_KEPT:
                return None
    except (NotReplayable, lib.StreamError, OSError, TypeError):
        return None
    return Repeat(plain_headers(request), bytes(held))


def copy(request: Any, lib: Any, extra: Mapping[str, str], *, least: float, cookies: Any) -> Any:
    """The request with more headers: the caller's own never carries a proof, so no log or redirect can.

    `least` is the shortest read timeout of this leg; `cookies` is the 402 whose cookies go along.
    """
    headers = request.headers.copy()
    headers.update(extra)
    extensions = dict(request.extensions)
    if least:
        timeout = dict(extensions.get("timeout") or {})
        if timeout.get("read", 5.0) is not None:
            timeout["read"] = max(timeout.get("read", 5.0), least)
        extensions["timeout"] = timeout
        if "cache-control" not in headers:
            headers["cache-control"] = "no-store"
    if cookies is not None and "set-cookie" in cookies.headers:
        _carry(request, lib, headers, cookies)
    return type(request)(
        request.method, request.url, headers=headers, stream=_body(request, lib), extensions=extensions
    )


def _carry(request: Any, lib: Any, headers: Any, challenge: Any) -> None:
    """The cookies that the 402 set, as the client's own jar would have sent them."""
    if not hasattr(challenge, "_request") or challenge._request is None:
        challenge.request = request
    jar = lib.Cookies()
    jar.extract_cookies(challenge)
    probe = lib.Request(request.method, request.url)
    try:
        jar.set_cookie_header(probe)
    except UnicodeEncodeError:  # letters that no header of this library carries: paid without its cookies
        return
    fresh = probe.headers.get("cookie")
    if fresh:
        names = {pair.partition("=")[0].strip() for pair in fresh.split(";")}
        old = [p.strip() for p in headers.get("cookie", "").split(";") if p.strip()]
        headers["cookie"] = "; ".join([p for p in old if p.partition("=")[0] not in names] + [fresh])


def add_cookies(challenge: Any, response: Any) -> None:
    """Let the client's jar learn what the 402 set, too."""
    fresh = [(name, value) for name, value in challenge.headers.raw if name.lower() == b"set-cookie"]
    if fresh:
        response.headers = type(response.headers)([*response.headers.raw, *fresh])


def small(response: Any) -> bool:
    """Whether draining the rest of this body is cheaper than a new connection."""
    length = response.headers.get("content-length", "")
    if "transfer-encoding" in response.headers:  # it overrules the length
        return False
    return length.isascii() and length.isdigit() and len(length) < 7 and int(length) <= MAX_BODY


def full(held: bytearray, left: float | None, lib: Any) -> bool:
    """Whether enough of a 402 was read; raises the library's ReadTimeout once the deadline has passed."""
    if left is not None and left <= 0.001:
        raise lib.ReadTimeout("the deadline over all legs has passed")
    return len(held) > MAX_BODY


def stored(goods: Goods, request: Any, lib: Any) -> Reply:
    """An answer out of the ledger, as the HTTP library would have given it."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in goods.headers]
    response = lib.Response(goods.status, headers=headers, content=goods.body, request=request)
    reply = Reply(goods.status, response.headers, response=response)
    reply.receipt = goods.receipt
    return reply


class _Types:
    """Body streams of one HTTP library: it checks the type of what it is given."""

    def __init__(self, lib: Any) -> None:
        class Replay(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc]
            """What was read of a body, put back in front of the rest."""

            def __init__(self, chunks: list[bytes], rest: Any, original: Any) -> None:
                self._chunks, self._rest, self._original = chunks, rest, original

            def __iter__(self) -> Any:
                yield from self._chunks
                yield from self._rest

            async def __aiter__(self) -> Any:
                for chunk in self._chunks:
                    yield chunk
                async for chunk in self._rest:
                    yield chunk

            def close(self) -> None:
                self._original.close()

            async def aclose(self) -> None:
                await self._original.aclose()

        class Made(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc]
            """What a body_factory gave, for a client of either kind."""

            def __init__(self, pieces: Any) -> None:
                self._pieces = pieces

            def __iter__(self) -> Any:
                yield from self._pieces

            async def __aiter__(self) -> Any:
                for piece in self._pieces:
                    yield piece

        self.replay: Callable[..., Any] = Replay
        self.made: Callable[..., Any] = Made
        self.watched: Callable[..., Any] = type("Watched", (Watched, lib.SyncByteStream, lib.AsyncByteStream), {})


@cache
def stream_types(lib: Any) -> _Types:
    """The stream classes of httpx or httpx2, made once."""
    return _Types(lib)
