"""Clients under the guard, in six worlds: what they connect to is what was judged, on every hop and every connection."""

from __future__ import annotations

import ast
import threading
import time
from contextlib import aclosing, closing
from itertools import product
from pathlib import Path

import anyio
import httpcore
import httpcore2
import httpx
import httpx2
import pytest

import tls
from loopback import LONG, Seller, Till, reads
from x402_agent import AddressRefused, Guard, Payer, PaymentInDoubt, Policy, SettingsError, dialects
from x402_agent.steps import Fetch
from x402_agent.transport.drivers import Pays
from x402_agent.transport.fetch import fetch, fetch_async
from x402_agent.transport.lines import Lines

LIBS = {"httpx": httpx, "httpx2": httpx2}
WORLDS = ("sync", "asyncio", "trio")
PUBLIC = "93.184.216.34"


QUICK = {("httpx", "sync"), ("httpx2", "asyncio"), ("httpx2", "trio")}  # the others in the long tests


@pytest.fixture(
    params=[pytest.param(each, marks=[] if each in QUICK else [pytest.mark.full]) for each in product(LIBS, WORLDS)], ids="-".join
)
def world(request):
    return request.param


@pytest.fixture
def till(tmp_path):
    made = Till(tmp_path)
    yield made
    for payer in made.made:
        payer.close()


class Dials:
    """The lowest backend: it writes down whom it should connect to, and connects to the pretend seller instead."""

    def __init__(self, inner, seller, dead=()):
        self.inner, self.seller, self.dead, self.dialled = inner, seller, dead, []

    def _target(self, host):
        self.dialled.append(host)
        if host in self.dead:
            core = httpcore2 if type(self.inner).__module__.startswith("httpcore2") else httpcore
            raise core.ConnectError("dead")
        return "127.0.0.1", self.seller.port

    def sleep(self, seconds):
        return self.inner.sleep(seconds)


class SyncDials(Dials):
    def connect_tcp(self, host, port, **options):
        return self.inner.connect_tcp(*self._target(host), **options)


class AsyncDials(Dials):
    async def connect_tcp(self, host, port, **options):
        return await self.inner.connect_tcp(*self._target(host), **options)


def names(**answers):
    """A resolver that gives each name its answers in turn, the last one for ever."""
    asked = []

    def resolve(host, port):
        asked.append(host)
        left = answers[host.replace(".", "_").replace("-", "_")]
        return [left[0]] if len(left) == 1 else [left.pop(0)]

    resolve.asked = asked
    return resolve


def made(world, seller, guard, **options):
    """A guarded client whose connections all end at the seller; and the list of what was dialled."""
    library, how = world
    options = {"timeout": LONG, "trust_env": False, **options}
    client = getattr(LIBS[library], "Client" if how == "sync" else "AsyncClient")(**options)
    pool = client._transport._pool
    dials = (SyncDials if how == "sync" else AsyncDials)(pool._network_backend, seller)
    pool._network_backend = dials
    return guard.over(client), dials


def run(world, client, *calls):
    """The answers, or the exceptions, of some GETs on one client."""
    if world[1] == "sync":
        found = []
        with client:
            for url in calls:
                try:
                    found.append(client.get(url))
                except Exception as why:
                    found.append(why)
        return found

    async def work():
        found = []
        async with client:
            for url in calls:
                try:
                    found.append(await client.get(url))
                except Exception as why:
                    found.append(why)
        return found

    return anyio.run(work, backend=world[1])


def test_the_address_that_was_judged_is_the_one_connected_to(world, seller):
    seller.serves("/x", seller.answer(200, b"yes"))
    resolve = names(shop_example=[PUBLIC, "127.0.0.1"])  # rebinding: the second answer would be this machine
    client, dials = made(world, seller, Guard(resolve=resolve))
    first, second = run(world, client, "http://shop.example/x", "http://shop.example/x")
    assert first.text == second.text == "yes"
    assert dials.dialled == [PUBLIC] and resolve.asked == ["shop.example"]  # the connection is kept, and the name not asked again
    assert seller.hits[0].headers["host"] == "shop.example"


def test_a_name_that_moves_between_connections_is_judged_again(world, seller):
    seller.serves("/x", lambda hit: seller.answer(200, b"yes", connection="close"))
    client, dials = made(world, seller, Guard(resolve=names(shop_example=[PUBLIC, "169.254.169.254"])))
    first, second = run(world, client, "http://shop.example/x", "http://shop.example/x")
    assert first.text == "yes" and isinstance(second, AddressRefused)
    assert dials.dialled == [PUBLIC] and len(seller.hits) == 1


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "http://inside.example/", "http://2130706433/", "http://u:p@shop.example/", "file:///etc/passwd",
                                    "https://shop.example:22/", "http://[::ffff:7f00:1]/"])  # fmt: skip
def test_a_redirect_is_judged_like_any_other_url(world, seller, target):
    seller.serves("/x", seller.answer(302, b"", location=target))
    resolve = names(shop_example=[PUBLIC], inside_example=["10.0.0.1"])
    client, dials = made(world, seller, Guard(resolve=resolve), follow_redirects=True)
    (got,) = run(world, client, "http://shop.example/x")
    assert isinstance(got, (AddressRefused, LIBS[world[0]].UnsupportedProtocol)), got
    assert dials.dialled == [PUBLIC] and len(seller.hits) == 1


def test_names_share_no_connection(world, seller):
    seller.serves("/x", seller.answer(200, b"yes"))
    client, dials = made(world, seller, Guard(resolve=names(a_example=[PUBLIC], b_example=["127.0.0.1"])))
    first, second = run(world, client, "http://a.example/x", "http://b.example/x")
    assert first.text == "yes" and isinstance(second, AddressRefused) and dials.dialled == [PUBLIC]


def test_a_dead_address_gives_way_to_the_next_one_that_was_judged(world, seller):
    seller.serves("/x", seller.answer(200, b"yes"))
    client, dials = made(world, seller, Guard(resolve=lambda host, port: ["2606:4700::1", PUBLIC]))
    dials.dead = ("2606:4700::1",)
    (got,) = run(world, client, "http://shop.example/x")
    assert got.text == "yes" and dials.dialled == ["2606:4700::1", PUBLIC]


def test_a_name_that_is_not_there_is_the_librarys_own_error(world, seller):
    def resolve(host, port):
        raise OSError("no such name")

    client, dials = made(world, seller, Guard(resolve=resolve))
    (got,) = run(world, client, "http://shop.example/x")
    assert isinstance(got, LIBS[world[0]].ConnectError) and not dials.dialled


def test_a_resolver_that_never_answers_takes_no_longer_than_a_connection_may(world, seller):
    free = threading.Event()
    client, dials = made(world, seller, Guard(resolve=lambda host, port: free.wait(LONG) and []), timeout=(0.2, LONG, LONG, LONG))
    start = time.monotonic()
    try:
        (got,) = run(world, client, "http://shop.example/x")
    finally:
        free.set()
    assert isinstance(got, LIBS[world[0]].ConnectTimeout) and not dials.dialled
    assert time.monotonic() - start < LONG / 2


def test_certificate_and_sni_are_the_names_own(world, tmp_path):
    server, trusting = tls.pair(tmp_path)
    asked = []
    server.sni_callback = lambda sock, name, context: asked.append(name)
    seller = Seller(server)
    try:
        seller.serves("/x", seller.answer(200, b"yes"))
        guard = Guard(resolve=names(localhost=[PUBLIC], shop_example=[PUBLIC]))
        client, dials = made(world, seller, guard, verify=trusting)
        good, bad = run(world, client, "https://localhost/x", "https://shop.example/x")
    finally:
        seller.close()
    assert good.text == "yes" and asked == ["localhost", "shop.example"]
    assert isinstance(bad, LIBS[world[0]].ConnectError)  # its certificate is for another name
    assert dials.dialled == [PUBLIC, PUBLIC] and len(seller.hits) == 1


def test_loopback_by_the_switch_alone(world, seller):
    url = seller.serves("/x", seller.answer(200, b"yes"))
    library, how = world
    for guard, expected in ((Guard(), AddressRefused), (Guard(loopback=True), LIBS[library].Response)):
        client = (guard.client if how == "sync" else guard.async_client)(library=library, timeout=LONG)
        (got,) = run(world, client, url)
        assert isinstance(got, expected)
    assert len(seller.hits) == 1


# -- payments -----------------------------------------------------------------------------------------------------------


def paying(world, payer, guard, *, first):
    """A client that pays, over a guarded one (`first`) or guarded afterwards."""
    library, how = world
    if first:
        return payer.attach((guard.client if how == "sync" else guard.async_client)(library=library, timeout=LONG))
    return guard.over((payer.client if how == "sync" else payer.async_client)(library=library, timeout=LONG))


@pytest.mark.parametrize("first", [True, False], ids=["attached", "guarded"])
def test_a_payment_passes_the_guard_on_both_legs(world, seller, till, first):
    payer = till.payer()
    client = paying(world, payer, Guard(loopback=True), first=first)
    assert isinstance(client._transport, Pays) and not isinstance(client._transport.inner, Pays)
    (got,) = run(world, client, seller.sells("/x"))
    assert got.text == "paid content" and len(seller.proofs) == 1
    assert till.rows(payer) == [("CLAIMED", "spent")]


def test_a_payer_may_have_the_guard_for_all_that_it_does(world, seller, till):
    payer = till.payer(guard=Guard())
    library, how = world
    client = (payer.client if how == "sync" else payer.async_client)(library=library, timeout=LONG)
    (got,) = run(world, client, seller.sells("/x"))
    assert isinstance(got, AddressRefused) and not seller.hits and till.signer.count == 0
    quote = payer.quote(seller.url("/x"))
    assert isinstance(quote.reason, AddressRefused) and not seller.hits
    payer.guard = Guard(loopback=True)
    assert payer.quote(seller.url("/x")).chosen is not None


def test_a_name_that_moves_between_the_402_and_the_proof_gets_no_proof(world, till, tmp_path):
    server, trusting = tls.pair(tmp_path)
    seller = Seller(server)
    try:
        asked = seller.answer(402, b"{}", connection="close", payment_required=seller.packed({**seller.terms(), "resource": {"url": "https://localhost/x"}}))
        seller.serves("/x", asked)
        payer = till.payer(policy=Policy(networks=("testnet",)))
        client, dials = made(world, seller, Guard(resolve=names(localhost=[PUBLIC, "127.0.0.1"])), verify=trusting)
        client = payer.led(payer._wrap(client, raises=True), payer.talk)
        (got,) = run(world, client, "https://localhost/x")
    finally:
        seller.close()
    assert isinstance(got, PaymentInDoubt) and isinstance(got.__cause__, AddressRefused)
    assert not seller.proofs and dials.dialled == [PUBLIC]
    assert till.rows(payer) == [("UNKNOWN", "in_doubt")]  # counted: whoever signed cannot prove that nothing left


@pytest.mark.parametrize("first", [True, False], ids=["attached", "guarded"])
def test_a_drip_ends_at_the_one_deadline_under_the_guard(seller, till, first):
    url = seller.serves("/x", lambda hit: seller.drip(b"HTTP/1.1 200 X\r\n", piece=b"a: b\r\n"))
    payer, guard = till.payer(deadline=0.5), Guard(loopback=True)
    with payer.attach(guard.client(timeout=reads(0.5))) if first else guard.over(payer.client(timeout=reads(0.5))) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(url)
        backend = client._transport.inner._pool._network_backend
        assert type(backend).__module__.endswith("streams") and type(backend._inner).__module__.endswith("guard.backend")


def test_a_dialect_says_of_every_address_whether_it_is_the_sellers():
    """What it forgets would be asked without the guard."""
    asked = 0
    for path in (Path(dialects.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fetch":
                asked += 1
                said = {each.arg: ast.literal_eval(each.value) for each in node.keywords if each.arg == "theirs"}
                assert said == {"theirs": path.name not in ("service.py", "desk.py")}, f"{path}:{node.lineno}"  # these ask a base of our own settings
    assert asked >= 4


@pytest.mark.parametrize("how", WORLDS)
def test_what_a_dialect_asks_of_a_sellers_own_address_stands_under_the_same_guard(seller, how):
    step = Fetch("GET", seller.serves("/x402/supported-chains", seller.answer(200, b"{}")), theirs=True)

    def asked(guard, step):
        client = (guard.client if how == "sync" else guard.async_client)()._transport
        lines = Lines()
        if how == "sync":
            with closing(lines):
                return fetch(step, lines, client)

        async def main():
            async with aclosing(lines):
                return await fetch_async(step, lines, client)

        return anyio.run(main, backend=how)

    assert asked(Guard(loopback=True), step).status == 200
    assert asked(Guard(), step).status == 0 and len(seller.hits) == 1
    assert asked(Guard(), step._replace(theirs=False)).status == 200  # an address of our own settings


# -- clients that cannot be guarded ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBS)
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_proxy_or_a_socket_of_this_machine_cannot_be_guarded(library, kind, monkeypatch):
    lib = LIBS[library]
    make = getattr(lib, kind)
    transport = getattr(lib, "HTTPTransport" if kind == "Client" else "AsyncHTTPTransport")
    with pytest.raises(SettingsError, match="no proxy"):
        Guard().over(make(proxy="http://127.0.0.1:3128", trust_env=False))
    with pytest.raises(SettingsError, match="no proxy"):
        Guard().over(make(mounts={"all://": transport(proxy="http://127.0.0.1:3128")}, trust_env=False))
    with pytest.raises(SettingsError, match="no proxy"):
        Guard().over(make(transport=transport(uds="/run/docker.sock"), trust_env=False))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")
    with pytest.raises(SettingsError, match="no proxy"):
        Guard().over(make())
    made = Guard().client(library=library) if kind == "Client" else Guard().async_client(library=library)
    assert not made._mounts  # our own client does not look at the environment


def test_a_transport_of_its_own_kind_is_guarded_only_in_this_process():
    mock = httpx.MockTransport(lambda request: httpx.Response(200))
    with pytest.raises(SettingsError, match="in its own way"):
        Guard().over(httpx.Client(transport=mock))
    client = Guard(loopback=True).over(httpx.Client(transport=mock))
    assert client.get("http://shop.example/").status_code == 200
    with pytest.raises(AddressRefused):
        client.get("http://10.0.0.1/")


def test_a_client_is_guarded_before_its_first_request(seller):
    url = seller.serves("/x", seller.answer(200, b"yes"))
    with httpx.Client(trust_env=False, timeout=LONG) as client:
        client.get(url)
        with pytest.raises(SettingsError, match="before its first request"):
            Guard(loopback=True).over(client)


def test_guarded_twice_is_guarded_by_both(seller):
    url = seller.serves("/x", seller.answer(200, b"yes"))
    loose = Guard(loopback=True)
    with loose.over(loose.over(httpx.Client(trust_env=False, timeout=LONG))) as client:
        assert client.get(url).text == "yes"
    with Guard().over(loose.client()) as client, pytest.raises(AddressRefused):
        client.get(url)


def test_another_library_is_no_library():
    with pytest.raises(SettingsError, match="requests"):
        Guard().client(library="requests")


@pytest.mark.parametrize("loopback", [True, False])
def test_the_sandbox_in_this_process_needs_the_switch(loopback):
    with Payer.sandbox() as payer:
        payer.guard = Guard(loopback=loopback)
        if not loopback:
            with pytest.raises(SettingsError):
                payer.client()
            return
        with payer.client() as client:
            assert client.get(payer.sandbox.url("/report")).extensions["payment"].outcome == "spent"
