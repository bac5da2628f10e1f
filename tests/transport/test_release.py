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
