"""The MCP tool server's command. The server itself is not part of this release, and the command says so."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Say what is missing and what to use instead; exit status 2."""
    sys.stderr.write("x402-agent-mcp: this release has no MCP server yet; pay from a terminal with `x402-agent get URL`\n")
    return 2
