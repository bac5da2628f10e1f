"""A boundary that holds: key, policy and ledger behind a Unix socket, under another user than the agent's."""

from __future__ import annotations

from .agent import AgentPayer, from_settings
from .desk import Desk
from .link import Link
from .peers import peer, refuse_open, refuse_unsafe
from .service import Service

__all__ = ["AgentPayer", "Desk", "Link", "Service", "from_settings", "peer", "refuse_open", "refuse_unsafe"]
