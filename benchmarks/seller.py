"""A seller in another process that answers fixed bytes on loopback: /free, and /paid, which asks until a proof comes."""

from __future__ import annotations

import asyncio
import base64
import json

__all__: list[str] = []

OFFER = {
    "scheme": "exact", "network": "eip155:84532", "amount": "1000", "payTo": "0x" + "ab" * 20, "maxTimeoutSeconds": 60,
    "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "extra": {"name": "USDC", "version": "2"},
}  # fmt: skip


def _b64(value: object) -> bytes:
    return base64.b64encode(json.dumps(value).encode())


def _answer(status: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


FREE = _answer(b"200 OK", b'{"weather":"sunny, 21 C"}  ')
ASKS = _answer(b"402 Payment Required", b"{}", b"payment-required: " + _b64(
    {"x402Version": 2, "resource": {"url": "http://127.0.0.1/paid"}, "accepts": [OFFER]}))  # fmt: skip
PAID = _answer(b"200 OK", b'{"weather":"sunny, 21 C"}  ', b"payment-response: " + _b64(
    {"success": True, "transaction": "0x" + "cd" * 32, "network": "eip155:84532"}))  # fmt: skip


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            free = head.startswith(b"get /free")
            writer.write(FREE if free else PAID if b"payment-signature:" in head else ASKS)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    """Print the port, then serve for ever."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
