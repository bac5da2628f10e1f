"""The connection of a 402 is given back once, however often the proof is shown: afterwards it may carry somebody else's bytes."""

from __future__ import annotations

import anyio
import httpx
import pytest

from x402_agent import Payer, PaymentInDoubt


class Counted(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, stream, counts):
        self.stream, self.counts = stream, counts

    def __iter__(self):
        self.counts.append("read")
        return iter(self.stream)

    def __aiter__(self):
        self.counts.append("read")
        return self.stream.__aiter__()

    def close(self):
        self.stream.close()

    async def aclose(self):
        await self.stream.aclose()


class Breaks(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers as the sandbox does, and breaks whenever a proof is to be sent."""

    def __init__(self, inner, counts):
        self.inner, self.counts = inner, counts

    def answered(self, response):
        response.stream = Counted(response.stream, self.counts)
        return response

    def check(self, request):
        if "payment-signature" in request.headers:
            self.counts.append("proof")
            raise httpx.WriteError("broken pipe")

    def handle_request(self, request):
        self.check(request)
        return self.answered(self.inner.handle_request(request))

    async def handle_async_request(self, request):
        self.check(request)
        return self.answered(await self.inner.handle_async_request(request))


@pytest.mark.parametrize("backend", ["sync", "asyncio", "trio"])
def test_a_402_is_drained_once(backend):
    counts = []
    with Payer.sandbox() as payer:
        url, transport = payer.sandbox.url("/joke"), Breaks(payer.box.transport(), counts)
        if backend == "sync":
            with payer.client(transport=transport) as http, pytest.raises(PaymentInDoubt):
                http.get(url)
        else:

            async def get():
                async with payer.async_client(transport=transport) as http:
                    with pytest.raises(PaymentInDoubt):
                        await http.get(url)

            anyio.run(get, backend=backend)
    assert counts.count("proof") == 3 and counts.count("read") == 1


class Cancelled(Counted):
    """A 402 whose rest is being drained when the task is cancelled, or the user presses ^C."""

    def __iter__(self):
        raise KeyboardInterrupt

    async def __aiter__(self):
        raise KeyboardInterrupt
        yield

    def close(self):
        self.counts.append("closed")

    async def aclose(self):
        self.counts.append("closed")


@pytest.mark.parametrize("backend", ["sync", "asyncio", "trio"])
def test_a_402_is_closed_when_draining_it_is_cancelled(backend):
    counts = []

    class Sells(Breaks):
        def answered(self, response):
            response.stream = Cancelled(response.stream, counts)
            return response

    with Payer.sandbox() as payer:
        url, transport = payer.sandbox.url("/joke"), Sells(payer.box.transport(), counts)
        if backend == "sync":
            with payer.client(transport=transport) as http, pytest.raises(KeyboardInterrupt):
                http.get(url)
        else:

            async def get():
                async with payer.async_client(transport=transport) as http:
                    await http.get(url)

            with pytest.raises(BaseException) as caught:  # noqa: PT011 - trio puts it into a group
                anyio.run(get, backend=backend)
            assert "KeyboardInterrupt" in repr(caught.value)
    assert counts == ["closed"]
