"""The MCP server: tools with which a model can buy, and cannot be robbed.

`command` is the command line, `web` its HTTP side; `server` is what a host lists and calls, `verbs` its tools, `resources` what it
reads; `clients` are the sessions, `asking` a person's yes, `progress` how far a purchase has come, `schemas` and `logs` what is said.
`proxy` is a paying door to another server, `proxy_command` its command line, `foreign` what that server's tools look like here.
"""

from __future__ import annotations

from .command import main

__all__ = ["main"]
