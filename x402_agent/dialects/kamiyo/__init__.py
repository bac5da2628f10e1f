"""KAMIYO: a 402 that offers its facilitator beside calls bought on chain, a token for those, and its verification service.

    dialect    the door: read, present, receipt
    shapes     a 402 body becomes offers, or lines that say why not
    pages      before that: what the seller's own pages say of calls on chain
    native     after a transfer of ours: verified by the seller, exchanged for a token, or shown by its id
    escrow     another system of the same makers, known only to be left alone
    service    its verification service, asked by developers; no answer of it pays anything
"""

from .dialect import Kamiyo
from .escrow import Escrow

__all__ = ["Escrow", "Kamiyo"]
