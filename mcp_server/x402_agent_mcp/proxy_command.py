"""`x402-agent-mcp proxy`: whose tools, and by which wallet they are paid."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from x402_agent import Payer


__all__ = ["main"]

HELP = """\
A paying door to another MCP server: a host starts this command, sees that server's tools, and what they cost is paid within your policy.

  x402-agent-mcp proxy https://seller.example/mcp
  x402-agent-mcp proxy weather -- uvx weather-mcp          a command of your own; `weather` is your name for it
  x402-agent-mcp proxy --sandbox http://127.0.0.1:8000/mcp  test money, while `x402-agent sandbox up --seller mcp` runs
"""
MORE = """\
Limits: host:seller.example, origin:https://seller.example and tool:seller.example/TOOL, or weather.alt and mcp://weather.alt for a command
of yours. Its words reach the host capped, escaped and inside a fence. The same call within ten minutes buys nothing anew, unless the host
says x402_again=true; x402_max_price="0.05" lowers what one call may cost. A URL leads to public addresses only.

X402_AGENT_MCP_PROXY_TOKEN is sent to the server behind as its bearer token. A command gets none of your environment but PATH and the like.

Exit status: 0 the host has hung up, 1 the server behind could not be reached, 2 a setting is wrong.
"""


def main(argv: Sequence[str], own: Callable[[], Payer], sandboxed: Callable[[], Payer]) -> int:
    """Serve until the host hangs up. -> the exit status. Raises PaymentError."""
    import anyio

    from .proxy import Behind, checked, serve

    words, command = _divided(argv)
    given = _parser().parse_args(words)
    which = checked(Behind(given.server, command))
    with (sandboxed if given.sandbox else own)() as payer:
        try:
            anyio.run(lambda: serve(which, payer, loopback=given.sandbox))
        except Exception as why:
            first = _first(why)
            if _own(first):
                raise first from None
            sys.stderr.write(f"x402-agent-mcp: {which.server} could not be reached ({type(first).__name__})\n")
            return 1
    return 0


def _divided(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    words = list(argv)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], tuple(words[at + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("x402-agent-mcp proxy", description=HELP, epilog=MORE, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("server", metavar="URL|NAME", help="the server's URL, or your name for the command behind --")
    parser.add_argument("--sandbox", action="store_true", help="test money and servers on this machine")
    return parser


def _first(why: BaseException) -> BaseException:
    """The error itself, where it is one of a group."""
    while isinstance(why, BaseExceptionGroup):
        why = why.exceptions[0]
    return why


def _own(why: BaseException) -> bool:
    from x402_agent import PaymentError

    return isinstance(why, PaymentError)
