"""Authorities are read once for all clients of a test process: each reading takes 30 ms, and most tests make a few clients."""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import Any

import httpcore2

__all__ = ["read_once"]


def read_once() -> None:
    """From here on httpx and httpx2 share one context per file of authorities; any other context is made as ever."""
    make, default = ssl.create_default_context, httpcore2.default_ssl_context
    of_file = cache(lambda path, _changed: make(cafile=path))
    of_system = cache(default)

    def create_default_context(*args: Any, **options: Any) -> ssl.SSLContext:
        if args or set(options) != {"cafile"}:
            return make(*args, **options)
        return of_file(options["cafile"], os.stat(options["cafile"]).st_mtime_ns)

    def default_ssl_context(**options: Any) -> ssl.SSLContext:
        named = options.get("_trust_env", True) and (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"))
        return default(**options) if named else of_system(**options)

    ssl.create_default_context, httpcore2.default_ssl_context = create_default_context, default_ssl_context
