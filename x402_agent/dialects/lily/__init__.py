"""Lily: calls paid with SOL or USDC on Solana, one by one by the transaction's id, or ahead by a session.

    dialect    the door: read, agrees, present, fresh, left
    header     X-402-Payment as its servers cut it
    shapes     a 402 body, by its spellings: a price, and nobody who is paid
    desk       what settings say of one origin: its tables, a key, a service; questions to those tables
    pages      the service's own row: the 402's price becomes offers, or lines that say why not
    till       after a transfer of ours: its id shown itself, or a session opened with it
"""

from .dialect import Lily

__all__ = ["Lily"]
