"""Nothing phones home: every host that a process names or connects to is recorded by Python's audit events (PEP 578)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from x402_agent import Settings
from x402_agent.sandbox import Sandbox

RECORD = """
import atexit, json, os, sys
seen = []
NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
PEERS = ("socket.connect", "socket.sendto", "socket.sendmsg")
def note(event, args):
    if event in NAMES:
        seen.append(str(args[0][0] if event == "socket.getnameinfo" else args[0]))
    elif event in PEERS and isinstance(args[1], tuple):
        seen.append("%s:%s" % args[1][:2])
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        seen.append("process %r" % (args[0],))
sys.addaudithook(note)
atexit.register(lambda: open(os.environ["SEEN"], "w").write(json.dumps(seen)))
"""
LINKER = "process '/sbin/ldconfig'"  # trio, which httpx imports where it is installed, asks ctypes for libpthread
CLI = """
from x402_agent.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""


@pytest.fixture
def contacted(tmp_path):
    """Run this Python code with these arguments; returns the hosts that it contacted."""

    def run(code, *words, expect=0, **env):
        seen = tmp_path / "seen.json"
        done = subprocess.run([sys.executable, "-c", RECORD + code, *words], capture_output=True, text=True, timeout=90,
                              env={**os.environ, "SEEN": str(seen), **env})  # fmt: skip
        assert done.returncode == expect, done.stderr
        return set(json.loads(seen.read_text())) - {LINKER}

    return run


def test_the_recorder_sees_names_addresses_and_processes(contacted):
    code = (
        "import socket, subprocess\n"
        "try: socket.create_connection(('localhost', 9), timeout=1)\n"
        "except OSError: pass\n"
        "subprocess.run([sys.executable, '-c', ''])"
    )
    seen = contacted(code)
    assert "localhost" in seen and any(one.endswith(":9") for one in seen) and any(one.startswith("process") for one in seen)


def test_importing_and_making_a_payer_contacts_nobody(contacted):
    assert contacted("import x402_agent; x402_agent.Payer(wallet=x402_agent.Wallet()).client().close()") == set()


def test_try_talks_to_its_own_sandbox_alone_and_the_other_verbs_to_nobody(contacted):
    hosts = {one.rpartition(":")[0] or one for one in contacted(CLI, json.dumps([["try"]]))}
    assert hosts and hosts <= {"127.0.0.1"}
    others = [["log"], ["log", "--by", "host"], ["budget"], ["resume"], ["sandbox", "scenarios"], ["log", "--path"]]
    assert contacted(CLI, json.dumps(others)) == set()
    assert contacted(CLI, json.dumps([["doctor"]])) <= {"127.0.0.1"}


PAY = """
import x402_agent
payer = x402_agent.Payer(wallet=x402_agent.Wallet.from_key(os.environ["KEY"]), policy=x402_agent.Policy(networks=("testnet",)))
with payer, payer.client() as http:
    print(http.get(os.environ["URL"]).status_code)
    payer.resume()
"""


def test_a_payment_contacts_the_seller_alone_and_resume_the_node_that_was_named(contacted):
    with Sandbox() as box:
        box.serve()
        seller, node = (url.split("//")[1].split("/")[0] for url in (box.url("/joke"), box.rpc_url))
        key = box.payer_key.hex()
        seen = contacted(PAY, URL=box.url("/joke"), KEY=key)
        assert {one for one in seen if ":" in one} == {seller} and seen - {seller} <= {"127.0.0.1"}
        seen = contacted(PAY, URL=box.url("/joke"), KEY=key, X402_AGENT_NODES=f"base-sepolia={box.rpc_url}")
        assert {one for one in seen if ":" in one} <= {seller, node}
    assert not Settings.load().sandbox_ledger.exists()
