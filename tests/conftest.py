"""No sockets but loopback, no settings of the person who runs the tests, no files outside tmp_path."""

from __future__ import annotations

import gc
import os
import socket
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, settings

import trust
from loopback import Seller
from pgserver import postgres
from x402_agent.chains import doors

# A machine that is busy, or builds hypothesis's tables for the first time, is slow and not wrong.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
trust.read_once()
doors.PAUSE = 0.02  # a pretend chain has made its block by then
INTERNET = (socket.AF_INET, socket.AF_INET6)
_connect, _connect_ex, _sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
_getaddrinfo = socket.getaddrinfo


def is_local(host):
    name = (host.decode() if isinstance(host, bytes) else host or "").rstrip(".")
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check(family, address):
    if family in INTERNET and not is_local(address[0]):
        raise AssertionError(f"a test tried to reach {address[0]}")


def guarded_connect(self, address):
    check(self.family, address)
    return _connect(self, address)


def guarded_connect_ex(self, address):
    check(self.family, address)
    return _connect_ex(self, address)


def guarded_sendto(self, data, *rest):
    check(self.family, rest[-1])
    return _sendto(self, data, *rest)


def guarded_getaddrinfo(host, *args, **options):
    if not is_local(host):
        raise AssertionError(f"a test tried to resolve {host}")
    return _getaddrinfo(host, *args, **options)


def pytest_collection_finish():
    """Eleven thousand tests are a heap that no collection of garbage needs to walk through again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def seller():
    """A hostile seller on a socket of its own."""
    made = Seller()
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgresql():
    """One PostgreSQL for all who ask."""
    with postgres() as url:
        yield url


@pytest.fixture(autouse=True)
def clean_world(monkeypatch, tmp_path):
    """Every test runs in an empty home, cut off from everything but this machine."""
    for name in list(os.environ):
        if name.startswith("X402_AGENT") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket.socket, "sendto", guarded_sendto)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
