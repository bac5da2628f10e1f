"""No sockets but loopback, no settings of the person who runs the tests, no files outside tmp_path."""

from __future__ import annotations

import os
import socket

import pytest

LOCAL = ("127.", "::1", "localhost")
_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def _guarded_connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOCAL):
        raise AssertionError(f"a test tried to reach {address[0]}")
    return _connect(self, address)


def _guarded_getaddrinfo(host, *args, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name and not name.startswith(LOCAL) and not name.endswith("localhost"):
        raise AssertionError(f"a test tried to resolve {name}")
    return _getaddrinfo(host, *args, **options)


@pytest.fixture(autouse=True)
def clean_world(monkeypatch, tmp_path):
    """Every test runs in an empty home, cut off from everything but this machine."""
    for name in list(os.environ):
        if name.startswith("X402_AGENT") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket.socket, "connect", _guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", _guarded_getaddrinfo)
