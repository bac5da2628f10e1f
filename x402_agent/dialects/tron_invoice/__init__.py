"""Invoices that are settled by a transfer of USDT on TRON, which a monitor has to notice.

    invoice    what a shop's 402, or a caller, says of one: read strictly, amounts as decimal text
    dialect    the door: read, agrees, present, receipt
    status     its status page, asked before the money moves and until the monitor has noticed it
    service    the monitor itself, for developers who sell: create a payment, its status, its callback
"""

from .dialect import TronInvoice

__all__ = ["TronInvoice"]
