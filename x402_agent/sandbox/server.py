"""The loopback door: uvicorn in a thread, ready when `start` returns, gone when `stop` does."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .app import ABORT

if TYPE_CHECKING:
    from .app import App

__all__ = ["LoopbackServer"]

READY = 10.0  # seconds
GRACE = 1000  # milliseconds for answers that are being written


class LoopbackServer:
    """Serves an app on `host`; port 0 takes a free one. Raises SettingsError for a host that is not loopback."""

    def __init__(self, app: App, host: str, port: int) -> None:
        if not _loopback(host):
            raise SettingsError(f"the sandbox listens on loopback only, not on {host}", rule="test money stays on this machine", hint='host="127.0.0.1"')
        self._app = app
        self._host = host
        self._port = port
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Bind, then serve in a thread; raises SettingsError when the port is taken or uvicorn is missing."""
        try:
            made = _server(self._app)
        except ImportError as cause:
            hint = "uv add 'x402-agent-sdk[sandbox]'"
            raise SettingsError("uvicorn is not installed", rule="extra `sandbox`", hint=hint) from cause
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, proto=socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY on this proto only
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((self._host, self._port))
        except OSError as cause:
            bound.close()
            raise SettingsError(f"cannot listen on {self._host}:{self._port}: {cause}", rule="port", hint="another port; 0 picks a free one") from cause
        bound.listen(256)
        self._port = bound.getsockname()[1]
        self._server = made
        self._thread = threading.Thread(target=self._run, args=(bound,), name="x402-sandbox", daemon=True)
        self._thread.start()
        if not made.ready.wait(READY):
            self.stop()
            rule = f"ready within {READY:.0f} s"
            raise SettingsError("the sandbox server did not start", rule=rule) from self._failure

    def _run(self, bound: socket.socket) -> None:
        try:
            self._server.run(sockets=[bound])
        except BaseException as failure:
            self._failure = failure
        finally:
            bound.close()

    def stop(self) -> None:
        """End every connection and the thread."""
        if self._thread is not None:
            self._server.end()
            self._thread.join(READY)
            self._thread = None


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _server(app: App) -> Any:
    """A uvicorn server that can drop connections, says when it is ready, and leaves logging as it is."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            inner = self.app

            async def outer(scope: Any, receive: Any, send: Any) -> None:
                extensions = {**(scope.get("extensions") or {}), ABORT: lambda: self.transport.close()}
                await inner({**scope, "extensions": extensions}, receive, send)

            self.app = outer

    class Server(uvicorn.Server):
        """Waits for an event, not for ticks: a sandbox stops in a millisecond or two."""

        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.ready = threading.Event()
            self._loop: asyncio.AbstractEventLoop | None = None
            self._end = asyncio.Event()

        def end(self) -> None:
            self.should_exit = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end.set)

        async def main_loop(self) -> None:
            self._loop = asyncio.get_running_loop()
            self.ready.set()
            while not self.should_exit:
                await self.on_tick(0)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._end.wait(), 1.0)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for listener in self.servers:
                listener.close()
            for turn in range(GRACE):
                for connection in list(self.server_state.connections):
                    connection.transport.close()  # wakes whoever hangs: their client is gone
                if turn > 1 and not self.server_state.tasks and not self.server_state.connections:
                    break  # not on the first turns: one that was just accepted becomes a connection only then
                await asyncio.sleep(0.001)

    config = uvicorn.Config(
        app, http=Protocol, ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False,  # no proxy stands before it: an address is the connection's, whatever a caller writes
    )  # fmt: skip
    return Server(config)
