"""`python -m mcp_server`, from a checkout: the same as `x402-agent-mcp`."""

from __future__ import annotations

import sys

from x402_agent_mcp import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
