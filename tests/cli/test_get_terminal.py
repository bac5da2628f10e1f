"""What a terminal is shown of a body: nothing that it would obey (W12). A pipe gets every byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loopback import Seller

pty = pytest.importorskip("pty")  # there is none on Windows
BODY = "\x1b]0;owned\x07 \x9b31m text \u202ereversed\r\n\tnext é\rover\x00".encode() + b"\xff\n"
COMMAND = [sys.executable, "-c", "from x402_agent.cli import main; main()", "get"]


@pytest.fixture
def url() -> Iterator[str]:
    seller = Seller()
    yield seller.serves("/free", seller.answer(200, BODY))
    seller.close()


def test_W12_a_terminal_is_shown_no_control_characters_of_a_body(url):
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, url], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL) as child:
        child.wait(60)
        os.close(theirs)
        shown = os.read(ours, 1 << 16).replace(b"\r\n", b"\n").decode()
        os.close(ours)
    assert child.returncode == 0
    assert shown == "\\x1b]0;owned\\x07 \\x9b31m text \\u202ereversed\n\tnext é\\rover\\x00\ufffd\n"


def test_a_pipe_gets_every_byte(url):
    done = subprocess.run([*COMMAND, url], capture_output=True, timeout=180, check=True)
    assert done.stdout == BODY
