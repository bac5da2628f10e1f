"""What strangers send is nested as deep as they like; a library may have raised the recursion limit, and a thread's stack is small."""

from __future__ import annotations

import base64
import textwrap

import pytest

from nursery import run
from x402_agent.sandbox.messages import Request, decode64, encode64

CODE = textwrap.dedent("""
    import base64, sys, threading
    from x402_agent.sandbox import Sandbox
    from x402_agent.sandbox.messages import Request
    sys.setrecursionlimit(100_000)
    threading.stack_size(256 * 1024)
    chain, seller, *paths = sys.argv[1:]
    bad = []

    def work():
        for opening in (b"[", b'{"a":', b'{"jsonrpc":"2.0","id":1,"method":"x","params":[', b'{"amount":', b'{"arguments":['):
            body = opening * 60_000
            header = base64.b64encode(opening * 9_000).decode()
            headers = {name: header for name in ("x-payment", "payment-signature", "authorization", "x-payment-token")}
            for path in ("/facilitator/verify", "/facilitator/settle", "/sandbox/fund", "/sandbox/scenario", box.ground.node_path, *paths):
                answer = box.app.handle(Request("POST", box.origin, path, headers, body))
                if not 400 <= answer.status < 500:
                    bad.append((path, answer.status))

    with Sandbox(chain=chain, seller=seller) as box:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    print("survived", bad)
    """)
KAMIYO = ("/exploits", "/x402/verify-payment", "/x402/cleanup", "/api/v1/x402/verify", "/api/v1/x402/admin/create-tenant")
READ = "/v2/contracts/call-read/SP000000000000000000002Q6VF78/pox/f"
DOORS = {
    "evm shop": ("/joke",), "evm kamiyo": KAMIYO, "evm mcp": ("/mcp",), "solana shop": ("/joke",), "tron shop": ("/joke", "/facilitator/fee/quote", "/wallet/broadcasttransaction"),
    "stacks shop": ("/joke", "/facilitator/api/v1/settle", "/facilitator/api/v1/verify", "/relay", "/relay/settle", "/sandbox/stacks", "/v2/fees/transaction", READ),
}  # fmt: skip


@pytest.mark.parametrize("who", [each if each in ("evm kamiyo", "stacks shop") else pytest.param(each, marks=pytest.mark.full) for each in DOORS])
def test_nothing_that_is_sent_exhausts_the_stack(who):
    done = run(CODE, *who.split(), *DOORS[who], timeout=300)
    assert done.stdout == "survived []\n", (done.returncode, done.stdout, done.stderr[-2000:])


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "[1", "NaN", "1e999", '"\\ud800"', "\ufeff{}", "", "{} {}", "9" * 81])
def test_what_two_readers_would_read_in_two_ways_is_no_json(text):
    for read in (Request("POST", "", "/", body=text.encode()).json, lambda: decode64(base64.b64encode(text.encode()).decode())):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            read()


@pytest.mark.parametrize("value", [{}, [], [1, {"a": [None, True, 0.5, "é"]}], "text", 7])
def test_any_value_is_read(value):
    assert decode64(encode64(value)) == value
