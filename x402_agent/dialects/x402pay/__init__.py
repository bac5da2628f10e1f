"""x402Pay: content sold on Stacks by a transaction of ours whose id is shown afterwards.

    dialect    the door: read, owned, present, receipt
    shapes     a 402 body, by its four spellings, becomes offers, or lines that say why not
    items      prices as its pages write them: 402s and discovery items
    desk       what settings say of one origin: its API, a key, a name; questions to that API
    till       after a transfer of ours: verified for a token, or by the gateway, or shown itself
    account    signing in there, and what its history says we paid
    hooks      its webhooks, judged for those who receive them
"""

from .dialect import X402Pay
from .hooks import Delivery, Hooks

__all__ = ["Delivery", "Hooks", "X402Pay"]
