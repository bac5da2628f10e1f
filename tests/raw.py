"""A hostile agent's side of the signer's socket: whatever it likes to say."""

from __future__ import annotations

import json
import socket
import struct
import time

__all__ = ["Raw", "offer", "pay", "wait_for"]


class Raw:
    """A socket that says what it likes."""

    def __init__(self, path, *, hello=True):
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(60)
            self.sock.connect(str(path))
            assert not hello or self.call({"op": "hello", "protocol": 1})["protocol"] == 1
        except BaseException:
            self.sock.close()  # left open it would be warned of in whichever test comes next
            raise

    def send(self, data, size=None):
        self.sock.sendall(struct.pack(">I", len(data) if size is None else size) + data)

    def read(self):
        """The next message, None when we were cut off."""
        try:
            head = self.sock.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                return None
            return json.loads(self.sock.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))
        except ConnectionError:
            return None

    def call(self, message):
        self.send(message if isinstance(message, bytes) else json.dumps(message).encode())
        return self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def offer(box, **changes):
    """The cheapest offer of the sandbox's joke, as an agent would send it."""
    sandbox = box.payer.sandbox
    asset = "eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e"
    found = {
        "dialect": "x402", "scheme": "exact", "asset": asset, "amount": "10000", "pay_to": sandbox.pay_to, "lifetime": "60",
        "resource": sandbox.url("/joke"), "description": "", "flow": "authorization", "fee_cap": "0",
        "wire": ["2", "eip155:84532", "{}", "", ""], "method": "", "facilitator": "",
    }  # fmt: skip
    return {**found, **changes}


def pay(box, key="a", url=None, offers=None, **changes):
    url = box.payer.sandbox.url("/joke") if url is None else url
    return {
        "op": "pay", "method": "GET", "url": url, "key": (key * 64)[:64], "has_body": False, "caller_key": "",
        "dialect": "x402", "offers": [offer(box)] if offers is None else offers, **changes,
    }  # fmt: skip


def wait_for(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)
