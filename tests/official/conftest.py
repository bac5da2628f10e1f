"""Scripts of the official package, run by the Python of its own environment."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from x402_agent import Payer, Policy, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def python():
    found = os.environ.get("X402_OFFICIAL_PYTHON", "")
    assert found, "set X402_OFFICIAL_PYTHON to the Python of the official package; make test-all does"
    return found


@pytest.fixture(scope="session")
def official_by():
    """`with official_by(python, script, arguments, stdin)`: the origin where a script of this folder listens."""

    @contextmanager
    def start(python, script, *arguments, stdin=""):
        command = [python, HERE / script, *arguments]
        direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=direct) as process:
            try:
                process.stdin.write(stdin)
                process.stdin.close()
                port = process.stdout.readline().strip()
                assert port, f"the official {script} ended before it listened"
                yield f"http://127.0.0.1:{port}"
            finally:
                process.kill()

    return start


@pytest.fixture(scope="session")
def official(official_by, python):
    """The same by the Python of the official package."""
    return partial(official_by, python)


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        one.serve()
        yield one


@pytest.fixture
def payer(box, tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db", sandbox=True)
    with Payer(wallet=Wallet.from_key(box.payer_key), policy=Policy(networks=("testnet",)), ledger=ledger) as one:
        ledger.allow(*box.ground.allowances[0]).run()
        yield one
