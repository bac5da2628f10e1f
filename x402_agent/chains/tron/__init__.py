"""TRON: its addresses and raw transactions as bytes, and what is signed off chain (TIP-712).

Nothing here asks a node what to sign: bytes and ids are made by ourselves, from the table and our own terms.
"""

__all__: list[str] = []
