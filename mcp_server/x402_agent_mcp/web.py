"""Streamable HTTP: a bearer token that is in no argument list, the Host and Origin that were agreed on, this machine alone
unless somebody says otherwise."""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import stat
from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x402_agent import SettingsError
from x402_agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.auth.provider import AccessToken
    from starlette.applications import Starlette

    from .server import Server

__all__ = ["TOKEN", "Bearer", "app", "is_loopback", "listening", "token_of"]

TOKEN = "X402_AGENT_MCP_TOKEN"
LEAST = 16  # characters of a token that somebody chose
BODY = 1024 * 1024  # bytes of one message; a purchase's body is smaller


class Bearer:
    """The SDK's TokenVerifier for one token of our own: compared by digest, in constant time. Kept as its digest alone. It says
    nothing of who shows it, so what a client calls itself counts."""

    def __init__(self, token: Secret) -> None:
        self._digest = sha256(token.raw).digest()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who shows the token, or None."""
        from mcp.server.auth.provider import AccessToken

        if not hmac.compare_digest(sha256(token.encode("utf-8", "surrogatepass")).digest(), self._digest):
            return None
        return AccessToken(token="", client_id="", scopes=[])


def token_of(path: Path | None, default: Path, environ: Any) -> tuple[Secret, Path | None]:
    """The token, and the file it lies in: X402_AGENT_MCP_TOKEN, which is taken out of the environment, else the file.

    Without a `path` the `default` is made, with a fresh token, readable by its owner alone. Raises SettingsError for a short
    token, and for a file that is missing or that others may read.
    """
    if path is None and environ.get(TOKEN):
        return _long_enough(Secret(environ.pop(TOKEN)), TOKEN), None
    if path is None and not default.exists():
        default.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError), os.fdopen(os.open(default, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    where = path or default
    try:
        with where.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            token = Secret(opened.read(4096).strip())
    except OSError as why:
        raise SettingsError(f"the token file cannot be read: {type(why).__name__}", rule=str(where), hint=f"--token-file FILE, or export {TOKEN}=…") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise SettingsError("the token file can be read by others", rule=str(where), hint=f"chmod 600 {where}")
    return _long_enough(token, str(where)), where


def _long_enough(token: Secret, rule: str) -> Secret:
    if len(token) < LEAST or not all(0x20 < each < 0x7F for each in token.raw):
        raise SettingsError(f"a token has at least {LEAST} characters of ASCII and no space", rule=rule, hint="openssl rand -hex 32")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises SettingsError where that is not possible."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as why:
        raise SettingsError(f"nothing can listen on {host}, port {port}: {getattr(why, 'strerror', None) or type(why).__name__}",
                            rule="--host, --port", hint="another --port; 0 for a free one") from None  # fmt: skip


def app(server: Server, host: str, port: int, names: Sequence[str] = ()) -> Starlette:
    """The ASGI application at /mcp. `names` are what clients call it (Host, and Origin with a scheme) beside the loopback names.

    Browsers send an Origin; a page of another site, also one whose name was bound anew to this address, is refused.
    """
    from mcp.server.transport_security import TransportSecuritySettings

    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")] if is_loopback(host) else []
    hosts += names
    origins = [f"http://{name}" for name in hosts] + [f"https://{name}" for name in names]
    safety = TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins)
    return server.streamable_http_app(host=host, max_request_body_size=BODY, transport_security=safety)
