"""Where a URL that a model or a stranger chose may lead: the address that was judged is the one that is connected to.

`addresses` knows which addresses are the public internet, `names` how a URL may be spelt, `backend` resolves and connects, `guard` puts
them under a client. It knows neither payer nor wallet nor chains: what only reads the web is guarded by it, too.
"""

from __future__ import annotations

from .guard import Guard

__all__ = ["Guard"]
