"""EVM chains: `exact` by EIP-3009 or Permit2, `upto` by Permit2.

What is signed is a function of assets.toml, the pinned spenders, the offer's price and payee, and our own terms.
"""

from .chain import Evm

__all__ = ["Evm"]
