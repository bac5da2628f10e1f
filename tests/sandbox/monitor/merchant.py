"""A merchant's endpoint on loopback."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append((self.path, dict(self.headers), body))
        self.send_response(self.left.pop(0) if len(self.left) > 1 else self.left[0])
        self.send_header("location", f"{self.elsewhere.url}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Merchant:
    """Answers with `statuses` in turn, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.heard = []

        class Handler(_Handler):
            heard, left, elsewhere = self.heard, list(statuses), self

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def open(self):
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()
