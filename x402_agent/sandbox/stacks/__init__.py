"""A pretend Stacks testnet: signed transactions, contracts, Hiro's HTTP API, facilitators, a sponsor.

`state` who owns what · `contracts` and `values` what they run · `signed`, `pool` and `conditions` which transactions may ·
`chain` what becomes of them · `api` and `views` how it is asked.
"""

from __future__ import annotations

from .chain import NETWORK, Chain

__all__ = ["NETWORK", "Chain"]
