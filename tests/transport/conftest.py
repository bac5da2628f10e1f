"""A hostile seller, payers with a ledger of their own, and one call in six worlds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from loopback import Seller, Till
from x402_agent import Payer

HERE = Path(__file__).parent
LIBS = {"httpx": httpx, "httpx2": httpx2}
WORLDS = ("sync", "asyncio", "trio")


@pytest.hookimpl(tryfirst=True)  # before the deselection by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of its six worlds each case quickly meets two, in turn: both libraries, and two of the three drivers. `full` is all six."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if item.path.parent == HERE and {"library", "world"} <= set(params):
            case = [each for each in item.callspec.id.split("-") if each not in (*LIBS, *WORLDS)]
            turn = zlib.crc32("-".join([item.originalname, *case]).encode())
            if WORLDS.index(params["world"]) != (turn + (params["library"] == "httpx2")) % 3:
                item.add_marker(pytest.mark.full)


@pytest.fixture
def closed() -> Iterator[Callable[[Any], Any]]:
    """`closed(made)`: the same, and its close() at the end of the test."""
    with ExitStack() as stack:
        yield lambda made: stack.enter_context(closing(made))


@pytest.fixture
def other(closed: Callable[[Any], Any]) -> Seller:
    made: Seller = closed(Seller())
    return made


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    made = Till(tmp_path)
    yield made
    for payer in made.made:
        payer.close()


@pytest.fixture
def payer(till: Till) -> Payer:
    return till.payer()


@pytest.fixture(params=LIBS)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _call(library: str, world: str) -> Callable[..., Any]:
    lib = LIBS[library]

    def call(
        payer: Payer, method: str, url: str, *, attached: bool = False, timeout: float = 5.0, times: int = 1, **options: Any
    ) -> Any:
        """One request (or the same one `times` over) on a pool of one connection; -> the last response, read whole."""
        made = {"limits": lib.Limits(max_connections=1), "timeout": timeout, "follow_redirects": True, "trust_env": False}
        if world == "sync":
            client = payer.attach(lib.Client(**made)) if attached else payer.client(library=library, **made)
            with client:
                for _ in range(times):
                    reply = client.request(method, url, **options)
                return reply

        async def go() -> Any:
            client = payer.attach(lib.AsyncClient(**made)) if attached else payer.async_client(library=library, **made)
            async with client:
                for _ in range(times):
                    reply = await client.request(method, url, **options)
                return reply

        return anyio.run(go, backend=world)

    return call


@pytest.fixture
def call(library: str, world: str) -> Callable[..., Any]:
    """One test body, six worlds: {httpx, httpx2} x {sync, asyncio, trio}."""
    return _call(library, world)


@pytest.fixture(params=["sync", "trio", pytest.param("asyncio", marks=pytest.mark.full)])
def drive(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Both drivers, httpx alone: for rows that cost time; the second loop runs with the long tests."""
    return _call("httpx", request.param)
