"""Two doors to one world: a loopback server, and transports for every client without a socket."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import time

import anyio
import httpx
import httpx2
import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox import Sandbox, scenarios

libraries = pytest.mark.parametrize("lib", [httpx, httpx2], ids=["httpx", "httpx2"])
loops = pytest.mark.parametrize("loop", ["asyncio", "trio"])


@libraries
def test_a_sync_client_pays_without_a_socket(box, buy, lib):
    with lib.Client(transport=box.transport(), base_url=box.origin) as client:
        _, paid, _ = buy(client, "/joke")
    assert type(paid) is lib.Response
    assert paid.json()["joke"]
    assert len(box.settlements) == 1


@libraries
@loops
def test_an_async_client_pays_without_a_socket(box, buyer, lib, loop):
    async def main():
        async with lib.AsyncClient(transport=box.transport(), base_url=box.origin) as client:
            headers = buyer.header(await client.get("/joke"))
            paid = await client.get("/joke", headers=headers)

            async def body():
                yield b"one"
                yield b"two"

            sized = await client.post("/upload", headers=buyer.header(await client.post("/upload")), content=body())
            async with client.stream("GET", "/stream", headers=buyer.header(await client.get("/stream"))) as answer:
                parts = [part async for part in answer.aiter_raw()]
        return paid, sized.json()["size"], len(parts)

    paid, size, parts = anyio.run(main, backend=loop)
    assert type(paid) is lib.Response
    assert (paid.status_code, size, parts) == (200, 6, 8)


@libraries
def test_hangs_and_lost_answers_raise_the_librarys_own_errors(box, buyer, lib):
    with lib.Client(transport=box.transport(), base_url=box.origin) as client:
        headers = buyer.header(client.get("/joke"))
        box.scenario = "settles_then_hangs"
        start = time.monotonic()
        with pytest.raises(lib.ReadTimeout) as hung:
            client.get("/joke", headers=headers, timeout=lib.Timeout(5, read=0.1))
        assert 0.1 <= time.monotonic() - start < 5
        assert hung.value.request.url.path == "/joke"
        box.scenario = "answer_lost"
        headers = buyer.header(client.get("/report"))
        with pytest.raises(lib.RemoteProtocolError):
            client.get("/report", headers=headers)


@libraries
@loops
def test_async_hangs_end_at_the_read_timeout_or_when_cancelled(box, buyer, lib, loop):
    box.scenario = "settles_then_hangs"

    async def main():
        async with lib.AsyncClient(transport=box.transport(), base_url=box.origin) as client:
            headers = buyer.header(await client.get("/joke"))
            with pytest.raises(lib.ReadTimeout):
                await client.get("/joke", headers=headers, timeout=0.05)
            with anyio.move_on_after(0.05) as scope:
                await client.get("/joke", headers=headers, timeout=None)
            return scope.cancelled_caught

    assert anyio.run(main, backend=loop)
    assert len(box.settlements) == 1


def test_the_sync_wait_can_be_replaced_so_that_tests_need_not_wait(buyer_of):
    waits: list[float] = []
    box = Sandbox("slow_settlement", sleep=waits.append)
    with httpx2.Client(transport=box.transport(), base_url=box.origin, timeout=60) as client:
        assert client.get("/joke", headers=buyer_of(box).header(client.get("/joke"))).status_code == 200
    assert waits == [20]


def test_parts_of_a_stream_come_one_by_one(box, buyer):
    waits: list[float] = []
    box = Sandbox(sleep=waits.append)
    buyer.box = box
    buyer.__post_init__()
    with httpx2.Client(transport=box.transport(), base_url=box.origin) as client:
        with client.stream("GET", "/stream", headers=buyer.header(client.get("/stream"))) as answer:
            parts = answer.iter_raw()
            next(parts)
            assert waits == []
            next(parts)
            assert len(waits) == 1


def test_the_server_is_ready_when_it_returns_and_gone_when_stopped():
    with Sandbox() as box:
        assert not box.serving
        assert box.url("/joke").endswith(".sandbox.localhost/joke")
        origin = box.serve()
        assert box.serve() == origin == box.origin  # once is enough
        assert box.serving
        assert box.rpc_url == f"{origin}/rpc"
        assert box.facilitator_url == f"{origin}/facilitator"
        assert httpx2.get(box.url("/free"), trust_env=False).status_code == 200
    assert not box.serving
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{origin}/free", trust_env=False)
    box.serve()  # the same world again, at another port
    assert httpx2.get(box.url("/sandbox/state"), trust_env=False).json()["requests"]
    box.stop()
    box.stop()


def test_stopping_does_not_wait_for_those_who_hang(buyer_of):
    box = Sandbox("settles_then_hangs")
    box.serve()
    errors: list[BaseException] = []
    headers = buyer_of(box).header(httpx2.get(box.url("/joke"), trust_env=False))

    def hang():
        try:
            httpx2.get(box.url("/joke"), headers=headers, timeout=30, trust_env=False)
        except httpx2.HTTPError as error:
            errors.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    while not box.settlements:
        time.sleep(0.005)
    start = time.monotonic()
    box.stop()
    thread.join(20)
    assert time.monotonic() - start < 15  # the other side would wait for thirty
    assert [type(each) for each in errors] == [httpx2.RemoteProtocolError]


def test_a_taken_port_and_a_public_host_are_typed_errors():
    with Sandbox() as one, Sandbox() as two:
        port = int(one.serve().rpartition(":")[2])
        with pytest.raises(SettingsError, match="cannot listen"):
            two.serve(port=port)
        for host in ("::", "192.0.2.1", "example.com", "127.0.0.1.example.com"):
            with pytest.raises(SettingsError, match="loopback only"):
                two.serve(host)
        assert not two.serving


def test_two_sandboxes_are_two_worlds():
    one, two = Sandbox(), Sandbox()
    assert one.payer_key != two.payer_key
    assert len({one.pay_to, two.pay_to, one.payer_address, two.payer_address, one.facilitator_address}) == 5
    one.fund(two.payer_address, 5)
    assert two.balance(two.payer_address) == 100_000_000
    assert one.balance(two.payer_address) == 5


def test_keys_are_in_no_repr_and_a_sandbox_is_not_copied(box):
    world = (box, box.app, box.ground.chain, box.ground.token, box.facilitator, box.seller, box.scenario, box.ground.seller, box.ground.operator)
    shown = " ".join(map(repr, world))
    assert box.payer_key.hex() not in shown
    assert repr(box.payer_key) not in shown
    assert f"EvmKey({box.pay_to})" in shown
    for duplicate in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(box)


def test_it_is_light_to_import():
    code = (
        "import sys, x402_agent.sandbox as s; s.scenarios();"
        "print([m for m in ('pyrevm','eth','uvicorn','starlette','httpx','httpx2','coincurve','anyio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_amounts_that_make_no_sense_are_refused(box):
    for amount in (0, -1, 10**16):
        with pytest.raises(ValueError, match="amount"):
            box.fund(box.pay_to, amount)
    with pytest.raises(ValueError, match="address"):
        box.balance("pay_to")
    with pytest.raises(ValueError, match="forward"):
        box.warp(-1)


def test_a_server_that_cannot_drop_connections_says_so(box, buyer):
    from x402_agent.sandbox.app import Dropped

    box.scenario = scenarios()["answer_lost"]

    async def main():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(box.app), base_url=box.origin) as client:
            headers = buyer.header(await client.get("/joke"))
            with pytest.raises(Dropped):
                await client.get("/joke", headers=headers)
            return await client.get("/joke", headers=headers)

    assert anyio.run(main).status_code == 200
