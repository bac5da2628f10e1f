"""How bytes travel: one driver each for sync and async callers (`drivers`), requests and responses taken apart (`wire`),
one deadline and suspect connections (`streams`), the client that never pays (`fetch`), loops that wait (`waiting`).

Nothing is imported here: who only asks a node needs no client that pays.
"""

from __future__ import annotations

__all__: list[str] = []
