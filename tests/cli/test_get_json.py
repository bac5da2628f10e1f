"""`get --json` against sellers whose content is no text, or has no end: every byte is there, or it says that more was."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from typer.testing import CliRunner

from hostile.arena import Peak
from x402_agent.cli.app import app


def get(*words):
    return CliRunner().invoke(app, ["get", *words])


def test_content_that_is_no_text_comes_whole(seller):
    picture = b"\x89PNG" + bytes(range(256))
    facts = json.loads(get(seller.serves("/picture", seller.answer(200, picture)), "--json").output)
    assert base64.b64decode(facts["base64"]) == picture and facts["truncated"] is False


def test_text_stays_text(seller):
    facts = json.loads(get(seller.serves("/text", seller.answer(200, "héllo".encode())), "--json").output)
    assert (facts["body"], facts["truncated"]) == ("héllo", False) and "base64" not in facts


def test_a_bomb_is_cut_and_says_so(seller):
    bomb = gzip.compress(b"\xff" + b"a" * 200_000_000, 1)
    url = seller.serves("/bomb", seller.answer(200, bomb, content_encoding="gzip"))
    with Peak() as peak:
        facts = json.loads(get(url, "--json").output)
    assert facts["truncated"] is True and len(base64.b64decode(facts["base64"])) == 32 << 20
    assert peak.megabytes < 700


def test_an_answer_without_an_end_is_cut(seller):
    def endless(hit):
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while not seller.stop.is_set():
            yield b"x" * 65536

    assert json.loads(get(seller.serves("/endless", endless), "--json").output)["truncated"] is True


@pytest.mark.parametrize("seconds", ["nan", "-1", "0", "inf"])
def test_a_timeout_that_is_none_is_a_usage_error(seconds, seller):
    assert get(seller.url("/"), "--timeout", seconds).exit_code == 2
    assert seller.hits == []
