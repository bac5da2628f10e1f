"""A request as a model may make it: a URL, a method, a text. It chooses no header, so it carries nobody's credentials."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import SettingsError

__all__ = ["MOST", "Wanted", "client_name", "most", "origin_of", "wanted"]

MOST = 1 << 20  # bytes of a body: as much as is kept until it is delivered
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_USUAL = (("http", 80), ("https", 443))
_URL = re.compile(r"[!-~]{1,8192}").fullmatch
_ODD = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request, checked. `origin` is whom it asks."""

    method: str
    url: str
    origin: str
    body: bytes | None = None

    @property
    def name(self) -> str:
        """sha256 of method, URL and body: the same request has the same name."""
        body = b"" if self.body is None else hashlib.sha256(self.body).digest()
        return hashlib.sha256(b"\n".join((self.method.encode(), self.url.encode(), body))).hexdigest()

    @property
    def headers(self) -> dict[str, str]:
        """Bodies come as they are, so that what is read is what was sent; a body that looks like JSON is called that."""
        made = {"accept-encoding": "identity"}
        if self.body is not None:
            is_json = self.body.lstrip()[:1] in (b"{", b"[")
            made["content-type"] = "application/json" if is_json else "text/plain; charset=utf-8"
        return made


def wanted(url: object, method: object = "GET", body: object = None) -> Wanted:
    """The request that these mean; raises SettingsError for what is none. Where it leads is the guard's to judge."""
    if not isinstance(url, str) or not _URL(url):
        raise SettingsError("a URL is up to 8192 visible ASCII letters", rule="url", hint="https://api.example.com/report")
    try:
        parts = urlsplit(url.partition("#")[0])
        host, port, scheme = parts.hostname or "", parts.port, parts.scheme.lower()
    except ValueError:
        host, port, scheme = "", None, ""
    if not host or scheme not in ("http", "https") or "@" in parts.netloc or "\\" in url:
        raise SettingsError("this is no URL of a web server", rule="url: http or https, a host, no name or password in it",
                            hint="https://api.example.com/report")  # fmt: skip
    verb = method.upper() if isinstance(method, str) and method.isascii() else ""
    if verb not in METHODS:
        raise SettingsError("no request is made by this method", rule="method", hint=", ".join(METHODS))
    shown = f"[{host}]" if ":" in host else host
    origin = f"{scheme}://{shown}{f':{port}' if port and (scheme, port) not in _USUAL else ''}"
    return Wanted(verb, f"{origin}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", origin, _body(body))


def most(max_price: object) -> dict[str, str]:
    """What lowers the price that may be paid; raises SettingsError for what is no amount of dollars as text."""
    from ..policy import micros

    if max_price is None:
        return {}
    try:
        micros(max_price if isinstance(max_price, str) else "", "max_price")
    except SettingsError:
        raise SettingsError("max_price is no amount of dollars, as text", rule="max_price", hint='"0.05"') from None
    return {"max": str(max_price)}


def origin_of(url: object) -> str:
    """Whom a URL asks, "" where it is none."""
    try:
        return wanted(url).origin
    except SettingsError:
        return ""


def _body(body: object) -> bytes | None:
    if body is None:
        return None
    try:
        raw = body.encode() if isinstance(body, str) else None
    except UnicodeEncodeError:
        raw = None
    if raw is None or len(raw) > MOST:
        raise SettingsError("a body is text, at most 1 MiB", rule="body", hint='{"question": "…"}')
    return raw


def client_name(text: object) -> str:
    """A client's name for itself, as it is counted: up to 64 of a-z, 0-9, `.`, `_`, `-`; `agent` where nothing is left of it."""
    return _ODD.sub("-", str(text).lower()[:256]).strip("-.")[:64] or "agent"
