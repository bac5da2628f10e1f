"""The same transport for httpx2; imported only when that library is in use."""

from __future__ import annotations

import httpx2

from .drivers import Pays

__all__ = ["PaymentTransport"]


class PaymentTransport(Pays, httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """An httpx2 transport that pays."""

    lib = httpx2
