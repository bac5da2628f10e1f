"""What it costs that a node is far away: purchases by a transfer of our own, whose node lies behind a wire that takes its time.

Twice in one run: each question on a connection of its own, and all questions of a purchase on one. A new connection waits three times
`--away` (TCP, and TLS 1.3 with its answer), a question once.
"""

from __future__ import annotations

import argparse
import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from unittest.mock import patch

from x402_agent import Payer
from x402_agent.transport import lines

__all__ = ["measure"]

SELLERS = {"evm": ("kamiyo", "/exploits"), "solana": ("kamiyo", "/exploits"), "stacks": ("x402pay", "/articles/paying-by-transfer"), "tron": ("monitor", "/joke")}


class Wire:
    """A way to a port of this machine on which everything takes `away` seconds to the other end and back."""

    def __init__(self, port: int, away: float) -> None:
        self.port, self.away, self.connections, self.questions = port, away, 0, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self._carry, args=(one,), daemon=True).start()

    def _carry(self, one: socket.socket) -> None:
        time.sleep(2 * self.away)
        with one, socket.create_connection(("127.0.0.1", self.port)) as other, suppress(OSError):
            back = threading.Thread(target=_pump, args=(other, one), daemon=True)
            back.start()
            while said := one.recv(1 << 16):
                if re.match(rb"(GET|POST) ", said):
                    self.questions += 1
                    time.sleep(self.away)
                other.sendall(said)
            other.shutdown(socket.SHUT_WR)
            back.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while said := one.recv(1 << 16):
            other.sendall(said)


@contextmanager
def _far(payer: Payer, away: float) -> Iterator[Wire]:
    """The same payer, whose node lies behind a wire."""
    ((where, node),) = payer.settings.nodes.items()
    port = re.search(r":(\d+)", node.split("//")[1])
    assert port is not None
    wire = Wire(int(port[1]), away)
    payer.settings = replace(payer.settings, nodes={where: node.replace(f":{port[1]}", f":{wire.socket.getsockname()[1]}")})
    with closing(wire.socket):
        yield wire


def _never(step: object) -> bool:
    del step
    return False


def measure(chain: str, away: float, purchases: int, *, apart: bool) -> tuple[float, int, int]:
    """Median seconds of a purchase, its connections and its questions; `apart` gives each question a connection of its own."""
    seller, path = SELLERS[chain]
    took, connections, questions = [], 0, 0
    with patch.object(lines, "_harmless", _never if apart else lines._harmless):
        for _ in range(purchases):  # each by a payer of its own: what was bought serves a second time
            with Payer.sandbox(chain=chain, seller=seller, serve=True) as payer, _far(payer, away) as wire, payer.client(timeout=120) as http:
                start = time.perf_counter()
                reply = http.get(payer.sandbox.url(path))
                took.append(time.perf_counter() - start)
                assert reply.status_code == 200, reply.text
                connections, questions = wire.connections, wire.questions
    return statistics.median(took), connections, questions


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--away", type=float, default=0.03, help="seconds to the node and back (default: %(default)s)")
    asked.add_argument("--purchases", type=int, default=5, help="of each kind (default: %(default)s)")
    asked.add_argument("--chain", choices=SELLERS, action="append", help="again for each; without, evm and stacks: solana waits 13 s for its seller, tron a minute")
    given = asked.parse_args()
    print("| paid by a transfer of ours | questions | connections, one each | shared | seconds, one each | shared |\n|---|---|---|---|---|---|")
    for chain in given.chain or ("evm", "stacks"):
        before, many, count = measure(chain, given.away, given.purchases, apart=True)
        now, few, _ = measure(chain, given.away, given.purchases, apart=False)
        print(f"| {SELLERS[chain][0]}, {chain} | {count} | {many} | {few} | {before:.2f} | {now:.2f} |", flush=True)


if __name__ == "__main__":
    main()
