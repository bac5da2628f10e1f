"""A pretend Solana devnet: the real SVM in this process (solders' LiteSVM), its JSON-RPC node, a facilitator for `exact`.

`chain` runs transactions and keeps their history, `token` builds them, `node` and `views` speak JSON-RPC, `facilitator` judges
proofs, `ground` puts it all under the shop.
"""

from __future__ import annotations

__all__: list[str] = []
