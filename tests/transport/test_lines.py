"""One connection for all questions of a conversation: no answer is another question's, nothing arrives twice that may not, nothing outlives it."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import ssl
import threading
import time
from contextlib import suppress

import anyio
import pytest

import tls
from loopback import request_of
from x402_agent import Guard, Payer
from x402_agent.assets import network
from x402_agent.chains.evm import reads
from x402_agent.chains.evm.rpc import Node
from x402_agent.errors import NodeError
from x402_agent.steps import Call, Fetch, Sleep
from x402_agent.transport import lines
from x402_agent.transport.fetch import drive, drive_async, fetch, fetch_async
from x402_agent.transport.lines import Lines


def ok(body, head=b""):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n" % (len(body), head) + body


LIE, TRUTH = ok(b"lie"), ok(b"truth")


class Peer:
    """A server by script: for each connection the answers to its questions, bytes or a function of the connection; the last script stands for more."""

    def __init__(self, *scripts, context=None):
        self.scripts, self.context = list(scripts), context
        self.seen, self.ended, self.taken = [], [], 0  # (connection, method and path); connections that are over
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                one, _ = self.sock.accept()
                script = self.scripts[min(self.taken, len(self.scripts) - 1)]
                self.taken += 1
                threading.Thread(target=self._talk, args=(one, self.taken, script), daemon=True).start()

    def _talk(self, one, number, script):
        with one, suppress(OSError):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = Veil(one, self.context) if self.context else one
            for answer in (*script, None):
                question = self._question(line)
                if not question:
                    break
                self.seen.append((number, question))
                if answer is None:
                    break
                answer(line) if callable(answer) else line.sendall(answer)
        self.ended.append(number)

    @staticmethod
    def _question(line):
        return b" ".join(request_of(line).split(b" ", 2)[:2]).decode()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Veil:
    """TLS whose records leave together: what is sent at once arrives at once, in as many records as pieces."""

    def __init__(self, sock, context):
        self.sock, self.into, self.out = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_side=True)
        self._until(self.tls.do_handshake)

    def _until(self, work):
        while True:
            try:
                found = work()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    raise OSError("over") from None
                self.into.write(data)
            except ssl.SSLError:
                raise OSError("over") from None
            else:
                self._flush()
                return found

    def _flush(self):
        if self.out.pending:
            self.sock.sendall(self.out.read())

    def recv(self, size):
        return self._until(lambda: self.tls.read(size))

    def sendall(self, *pieces):
        for each in pieces:
            self.tls.write(each)
        self._flush()


@pytest.fixture
def serve(closed, tmp_path, monkeypatch):
    def start(*scripts, secure=False):
        context = None
        if secure:
            context, trusting = tls.pair(tmp_path)
            monkeypatch.setattr("x402_agent.transport.lines.authorities", lambda: trusting)
        return closed(Peer(*scripts, context=context))

    return start


@pytest.fixture
def run(world):
    """Drive the steps of one conversation."""
    return drive if world == "sync" else lambda steps: anyio.run(drive_async, steps, backend=world)


def asked(*steps):
    made = []
    for step in steps:
        made.append((yield step))
    return [each.content if each.status else None for each in made if each is not None]


def idle(seconds=0.1):
    return Sleep(seconds)


def two(*pieces):
    """Pieces that leave apart: in records of their own, or one after the other."""
    return lambda line: line.sendall(*pieces) if isinstance(line, Veil) else line.sendall(b"".join(pieces))


def late(answer, then):
    def say(line):
        line.sendall(answer)
        time.sleep(0.03)
        line.sendall(then)

    return say


LONG = ok(b"x" * 65_000)
LONG = ok(b"x" * (65_000 + 65_536 - len(LONG)))
ODD = {
    "an answer behind it": ok(b"one") + LIE,
    "a word behind it": ok(b"one") + b"HTTP/1.1 100 Continue\r\n\r\n",
    "a line behind it": ok(b"one") + b"\r\n",
    "an answer behind its pieces": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n" + LIE,
    "an answer behind words": b"HTTP/1.1 103 Early\r\n\r\n" + ok(b"one") + LIE,
    "an answer some time after": late(ok(b"one"), LIE),
    "an answer behind a whole buffer": LONG + LIE,
    "an answer in a record of its own": two(ok(b"one"), LIE),
    "an old version": b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\none",
    "a close that is none": ok(b"one", b"connection: close\r\n"),
    "a connection that names more": ok(b"one", b"connection: keep-alive, x-more\r\n"),
    "an upgrade": ok(b"one", b"upgrade: h2c\r\n"),
    "two lengths": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\none\r\n0\r\n\r\n",
    "a gateway that gave up": b"HTTP/1.1 504 Late\r\ncontent-length: 3\r\n\r\none",
    "nothing, with a body": b"HTTP/1.1 204 None\r\ncontent-length: 3\r\n\r\none",
    "half of it": lambda line: line.sendall(ok(b"one" * 9)[:-4]),
    "more than is read": ok(b"y" * 99_999),
}


AHEAD = {("an answer behind a whole buffer", 1), ("an answer in a record of its own", 4)}  # asyncio, plain and TLS: always, nothing else has them in hand
WAYS = [(secure, world) for secure in (False, True) for world in ("sync", "asyncio", "trio")]
CASES = [pytest.param(name, *way, id="-".join([*name.split(), "tls" if way[0] else "plain", way[1]]), marks=[] if n % 6 == m or (name, m) in AHEAD else pytest.mark.full)
         for n, name in enumerate(ODD) for m, way in enumerate(WAYS)]  # fmt: skip


@pytest.mark.parametrize(("name", "secure", "world"), CASES)
def test_behind_an_odd_answer_the_next_question_goes_on_another_connection(name, secure, world, run, serve):
    peer = serve([ODD[name], LIE], [TRUTH, TRUTH], secure=secure)
    first = Fetch("GET", f"{peer.url}/1", limit=70_000, timeout=0.5 if name == "half of it" else 5)
    found = run(asked(first, idle(), Fetch("POST", f"{peer.url}/2", b"{}", twice=True), Fetch("GET", f"{peer.url}/3")))
    assert found[1:] == [b"truth", b"truth"]
    assert peer.seen == [(1, "GET /1"), (2, "POST /2"), (2, "GET /3")]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_plain_answers_come_on_one_connection(secure, run, serve):
    pieces = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ntruth\r\n0\r\n\r\n"
    peer = serve([TRUTH, pieces, b"HTTP/1.1 404 No\r\ncontent-length: 5\r\n\r\ntruth", b"HTTP/1.1 103 Early\r\n\r\n" + TRUTH, two(pieces[:-7], pieces[-7:]), TRUTH], secure=secure)
    assert run(asked(*[Fetch("POST", f"{peer.url}/{n}", b"{}", retries=2) for n in range(6)])) == [b"truth"] * 6
    assert [number for number, _ in peer.seen] == [1] * 6
    over(peer)  # it ends with the conversation


def test_a_late_answer_to_one_question_of_json_rpc_is_none_to_the_next(run, serve):
    """What comes after the next question has left, no connection can know: the number in it does."""
    chain, numbers = b'{"jsonrpc":"2.0","id":%s,"result":"0x14a34"}', []

    class Talks(Peer):
        @staticmethod
        def _question(line):
            read = b""
            while b'"id":' not in read and (data := line.recv(65536)):
                read += data
            found = re.search(rb'"id":(\d+)', read)
            numbers.append(found[1] if found else b"")
            return "POST /" if found else ""

    def again(line):
        line.sendall(ok(chain % numbers[0]))  # the answer to the first one again, before the balance is said
        time.sleep(0.01)
        line.sendall(ok(b'{"jsonrpc":"2.0","id":%s,"result":"0x7"}' % numbers[-1]))

    peer = Talks([lambda line: line.sendall(ok(chain % numbers[-1])), again, again])
    node = Node(network("base-sepolia"), f"http://127.0.0.1:{peer.port}")
    try:
        with pytest.raises(NodeError, match="another question"):
            run(reads.native(node, "0x" + "41" * 20))
    finally:
        peer.close()
    assert peer.taken == 1 and len(set(numbers) - {b""}) == 2


def drop(line):
    """Read, and answered with an end."""
    raise OSError


def test_what_may_not_arrive_twice_goes_on_a_new_connection_once(run, serve):
    peer = serve([TRUTH, TRUTH], [drop], [TRUTH])
    assert run(asked(Fetch("GET", f"{peer.url}/1"), Fetch("POST", f"{peer.url}/buy", b"{}"), Fetch("GET", f"{peer.url}/3"))) == [b"truth", None, b"truth"]
    assert peer.seen == [(1, "GET /1"), (2, "POST /buy"), (3, "GET /3")]


@pytest.mark.parametrize("step", [{"twice": True}, {"retries": 1}], ids=["signed", "a question"])
def test_what_may_arrive_twice_is_sent_again_where_the_connection_had_ended(step, run, serve):
    peer = serve([TRUTH, drop], [TRUTH])
    assert run(asked(Fetch("GET", f"{peer.url}/1"), Fetch("POST", f"{peer.url}/2", b"{}", **step))) == [b"truth", b"truth"]
    assert peer.seen == [(1, "GET /1"), (1, "POST /2"), (2, "POST /2")]


def test_on_a_new_connection_nothing_is_sent_again_whoever_else_was_asked(run, serve):
    peer, other = serve([TRUTH], [drop]), serve([drop])
    gone = lambda line: (line.sendall(TRUTH), line.shutdown(socket.SHUT_RDWR))  # noqa: E731
    ends = serve([gone], [drop])
    first, second = Fetch("GET", f"{peer.url}/1"), Fetch("POST", f"{other.url}/2", b"{}", twice=True)
    assert run(asked(first, second, Fetch("GET", f"{ends.url}/1"), idle(), Fetch("POST", f"{ends.url}/2", b"{}", twice=True))) == [b"truth", None, b"truth", None]
    assert other.seen == [(1, "POST /2")] and ends.seen == [(1, "GET /1"), (2, "POST /2")]


def test_a_drip_on_a_connection_that_served_lasts_no_longer(run, serve):
    def drip(line):
        for _ in range(80):
            line.sendall(b"HTTP/1.1 103 Early\r\n\r\n")
            time.sleep(0.05)

    peer = serve([TRUTH, drip], [TRUTH])
    start = time.monotonic()
    assert run(asked(Fetch("GET", f"{peer.url}/1"), Fetch("GET", f"{peer.url}/2", timeout=0.3), Fetch("GET", f"{peer.url}/3"))) == [b"truth", None, b"truth"]
    assert time.monotonic() - start < 3 and peer.seen[-1] == (2, "GET /3")


# -- the guard ----------------------------------------------------------------------------------------------------------


class Odd:
    """A way to look names up that cannot be hashed."""

    __hash__ = None

    def __call__(self, host, port):
        return ["127.0.0.1"]


def test_a_guarded_question_and_another_share_no_connection(world, serve):
    peer, other = serve([TRUTH] * 9), serve([TRUTH] * 9)
    guards = [Guard(loopback=True), Guard(loopback=True), Guard(loopback=True, resolve=Odd())]
    ours, theirs = Fetch("GET", f"{peer.url}/ours"), Fetch("GET", f"{peer.url}/theirs", theirs=True)

    class Asks:
        def __init__(self, guard):
            self.guard = guard

    steps = [(ours, None), (theirs, guards[0]), (ours, guards[0]), (theirs, guards[0]), (theirs, guards[1]), (theirs, guards[2]),
             (theirs, Guard()), (theirs, None), (theirs._replace(url=f"{other.url}/2"), guards[0]), (theirs, guards[0])]  # fmt: skip
    lines = Lines()

    async def main():
        found = [(await fetch_async(step, lines, Asks(guard))).content for step, guard in steps]
        await lines.aclose()
        return found

    if world == "sync":
        found = [fetch(step, lines, Asks(guard)).content for step, guard in steps]
        lines.close()
    else:
        found = anyio.run(main, backend=world)
    assert found == [b"truth"] * 6 + [b""] + [b"truth"] * 3
    assert [number for number, _ in peer.seen] == [1, 2, 1, 2, 3, 4, 1, 2] and len(other.seen) == 1


# -- nothing outlives it ------------------------------------------------------------------------------------------------


def open_files():
    """How many there are; those of an earlier test may still be closed meanwhile."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def over(*peers, files=1 << 20):
    """Every connection has ended, and no more files are open than before."""
    end = time.monotonic() + 5
    while any(len(each.ended) < each.taken for each in peers) or open_files() > files:
        assert time.monotonic() < end, "a connection outlives its conversation"
        time.sleep(0.01)


@pytest.mark.full
def test_two_hundred_conversations_leave_nothing_open(world, serve):
    peer, other = serve([TRUTH] * 9, secure=True), serve([TRUTH] * 9)
    steps = [Fetch("GET", f"{peer.url}/1"), Fetch("GET", f"{other.url}/1"), Fetch("GET", f"{peer.url}/2")]

    async def many(count):
        for _ in range(count):
            assert len(await drive_async(asked(*steps))) == 3

    def some(count):
        if world == "sync":
            for _ in range(count):
                assert len(drive(asked(*steps))) == 3
        else:
            anyio.run(many, count, backend=world)

    some(1)
    over(peer, other)
    before = open_files()
    some(200)
    over(peer, other, files=before)
    assert peer.taken == other.taken == 201


def test_what_fails_in_between_ends_its_connections(run, serve):
    peer = serve([TRUTH])

    def stop():
        raise KeyboardInterrupt

    before = open_files()
    with pytest.raises(KeyboardInterrupt):
        run(asked(Fetch("GET", f"{peer.url}/1"), Call(stop)))
    over(peer, files=before)


def silent(line):
    line.recv(1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("answer", [silent, lambda line: (line.sendall(ok(b"x" * 99)[:-9]), line.recv(1))], ids=["no answer", "half a body"])
def test_a_scope_that_is_cancelled_ends_them(answer, backend, serve):
    peer, other = serve([TRUTH, answer], secure=True), serve([TRUTH])

    async def main():
        with anyio.move_on_after(0.3) as scope:
            await drive_async(asked(Fetch("GET", f"{other.url}/1"), Fetch("GET", f"{peer.url}/1"), Fetch("GET", f"{peer.url}/2")))
        assert scope.cancelled_caught

    before = open_files()
    anyio.run(main, backend=backend)
    over(peer, other, files=before)


def test_a_handshake_that_never_ends_leaves_nothing_open(run, serve):
    peer = serve([TRUTH])
    before = open_files()
    assert run(asked(Fetch("GET", f"https://127.0.0.1:{peer.port}/", timeout=0.3), Sleep(0))) == [None]
    over(peer, files=before)
    assert peer.seen == []


@pytest.mark.full
def test_asyncios_own_cancel_at_any_turn_leaves_nothing_open(serve):
    first, second, third = serve([TRUTH] * 9), serve([TRUTH] * 9), serve([TRUTH] * 9, secure=True)
    steps = [Fetch("GET", f"{each.url}/{n}") for n in range(2) for each in (first, second, third)]

    async def main(turns):
        task = asyncio.ensure_future(drive_async(asked(*steps)))
        await asyncio.sleep(0.0005 * (turns % 30))
        for _ in range(turns % 7):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            return await task

    before, done = open_files(), []
    for turns in range(210):
        done.append(asyncio.run(main(turns)))
        over(first, second, third, files=before)
    assert None in done and [b"truth"] * 6 in done


def test_asyncios_own_cancel_while_they_are_closed_closes_the_others(serve):
    peers = [serve([TRUTH]) for _ in range(3)]

    async def main():
        lines = Lines()
        for each in peers:
            assert (await fetch_async(Fetch("GET", f"{each.url}/1"), lines)).status == 200
        task = asyncio.ensure_future(lines.aclose())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    before = open_files()
    asyncio.run(main())
    over(*peers, files=before)


@pytest.mark.parametrize("timed", [False, True], ids=["cancelled", "timed out"])
def test_who_gives_up_while_connections_close_has_not_lost_what_was_paid(timed, monkeypatch):
    """The answer was judged and is on its way: a cancellation waits until it is where a body that breaks is noticed."""
    closing, ended = threading.Event(), lines._within

    async def slowly(found):
        closing.set()
        await asyncio.sleep(0.3)
        await ended(found)

    async def get(payer, url, late):
        async with payer.async_client(timeout=30) as http, asyncio.timeout(None) as limit:
            if late:
                asyncio.get_running_loop().run_in_executor(None, closing.wait, 10).add_done_callback(lambda _: limit.reschedule(0))
            return (await http.get(url)).status_code

    async def cancelled(payer, url):
        task = asyncio.ensure_future(get(payer, url, timed))
        if not timed:
            await asyncio.to_thread(closing.wait, 10)
            task.cancel()
        await task

    with Payer.sandbox(chain="stacks", seller="x402pay", serve=True) as payer:
        url = payer.sandbox.url("/articles/paying-by-transfer")
        monkeypatch.setattr(lines, "_within", slowly)
        with pytest.raises(TimeoutError if timed else asyncio.CancelledError):
            asyncio.run(cancelled(payer, url))
        monkeypatch.setattr(lines, "_within", ended)
        assert closing.is_set() and asyncio.run(get(payer, url, False)) == 200
        assert len(payer.ledger.payments()) == 1
