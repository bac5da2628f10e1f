"""The command line of `x402-agent-mcp`: which transport, which wallet, and nothing secret among the arguments."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from . import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from x402_agent import Payer

    from .clients import Clients

__all__ = ["main"]

SANDBOX = "X402_AGENT_MCP_SANDBOX"
PORT = 8402
HELP = """\
Tools with which a model can buy from paid URLs, and cannot be robbed: the policy beside your wallet decides, no tool changes it.

  x402-agent-mcp                       over stdin and stdout, as hosts start it
  x402-agent-mcp --sandbox             the same on test money; `x402-agent sandbox up` first, in another terminal
  x402-agent-mcp --http                over HTTP, on this machine alone, with a token
  x402-agent-mcp proxy URL             another server's tools, paid for; `x402-agent-mcp proxy --help`
  x402-agent mcp install claude        writes this command into a host's configuration
"""
MORE = f"""\
The wallet comes from where every x402-agent command takes it (x402-agent wallet new), the limits from policy.toml
(x402-agent budget set 1.00/day --per-call 0.05). A client has a budget of its own where
policy.toml names it: [budgets."agent:claude-ai"].

HTTP: the token is in X402_AGENT_MCP_TOKEN or in a file that nobody else can read; without either, one is made. Clients send
`Authorization: Bearer …` to http://127.0.0.1:{PORT}/mcp. For other machines, put TLS in front, and say under which name it is
reached: --host 0.0.0.0 --name mcp.example.com

Exit status: 0 the host has hung up, 2 a setting is wrong. Logs go to stderr.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the host hangs up. -> the exit status."""
    from x402_agent import PaymentError

    words = sys.argv[1:] if argv is None else list(argv)
    if find_spec("mcp") is None:
        sys.stderr.write("x402-agent-mcp: the extra `mcp` is not installed\n  try          pip install 'x402-agent-sdk[mcp,evm]'\n")
        return 2
    given = _parser().parse_args([] if words[:1] == ["proxy"] else words)
    logs.to_stderr()
    try:
        if words[:1] == ["proxy"]:
            from . import proxy_command

            return proxy_command.main(words[1:], _own, _sandboxed)
        return _http(given) if given.http else _stdio(given)
    except PaymentError as why:
        sys.stderr.write(f"x402-agent-mcp: {why}\n")
        return 2
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("x402-agent-mcp", description=HELP, epilog=MORE, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--sandbox", action="store_true", help=f"test money and sellers on this machine; or {SANDBOX}=1")
    parser.add_argument("--http", action="store_true", help="streamable HTTP in the place of stdin and stdout")
    parser.add_argument("--port", type=int, default=PORT, help=f"with --http: the port; {PORT}, 0 for a free one")
    parser.add_argument("--host", default="127.0.0.1", help="with --http: the address to listen on; 127.0.0.1")
    parser.add_argument("--name", action="append", default=[], metavar="HOST[:PORT]", help="with --http: a Host that clients may use, again for more")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="with --http: the file that holds the token")
    return parser


def _clients(given: argparse.Namespace) -> Clients:
    from .clients import Clients

    box = given.sandbox or os.environ.get(SANDBOX, "") not in ("", "0")
    return Clients(_sandboxed if box else _own, loopback=box)


def _own() -> Payer:
    from x402_agent import Payer

    from .progress import trace

    return Payer.from_env(trace=trace)


def _sandboxed() -> Payer:
    from x402_agent import Settings
    from x402_agent.payer import sandbox_payer

    from .progress import trace

    return sandbox_payer(Settings.load(), trace=trace)


def _stdio(given: argparse.Namespace) -> int:
    import anyio

    from .server import made

    with closing(_clients(given)) as clients:
        anyio.run(made(clients).run_stdio_async)
    return 0


def _http(given: argparse.Namespace) -> int:
    import uvicorn
    from mcp.server.auth.settings import AuthSettings

    from x402_agent import Settings, SettingsError

    from . import web
    from .server import made

    if not web.is_loopback(given.host) and not given.name:
        raise SettingsError(f"{given.host} can be reached from other machines", rule="--host",
                            hint="--name HOST for the name that clients use, or leave --host away")  # fmt: skip
    token, path = web.token_of(given.token_file, Settings.load().data_dir / "mcp-token", os.environ)
    auth = AuthSettings(issuer_url="http://127.0.0.1", resource_server_url=None)  # type: ignore[arg-type]
    with web.listening(given.host, given.port) as sock, closing(_clients(given)) as clients:
        port = sock.getsockname()[1]
        server = made(clients, auth=auth, verifier=web.Bearer(token))
        host = f"[{given.host}]" if ":" in given.host else given.host
        sys.stderr.write(f"x402-agent-mcp: http://{host}:{port}/mcp, token in {path or web.TOKEN}\n")
        config = uvicorn.Config(web.app(server, given.host, port, given.name), log_config=None, access_log=False,
                                server_header=False, proxy_headers=False)  # fmt: skip
        uvicorn.Server(config).run([sock])
    return 0
