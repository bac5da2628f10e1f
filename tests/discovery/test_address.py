"""One spelling for what is one place, and a reason for what is none."""

from __future__ import annotations

import pytest

from x402_agent.discovery.address import Refused, identity, place

SAME = (
    "https://api.example.com/a/b", "HTTPS://API.example.com/a/b", "https://api.example.com:443/a/b", "https://api.example.com/a/b/",
    "https://api.example.com./a/b", "https://api.example.com/a/./c/../b", "https://api.example.com/a/b?x=1", "https://api.example.com/%61/b",
    "https://user:pw@api.example.com/a/b", "https://api.example.com/a/b#frag", "https://api.example.com/a%2Fb/../../a/b",
)  # fmt: skip


@pytest.mark.parametrize("url", SAME[:10])
def test_the_same_place_in_other_words(url):
    assert identity(url)[0] == identity(SAME[0])[0]


@pytest.mark.parametrize("other", ["http://api.example.com/a/b", "https://api.example.com:8443/a/b", "https://api.example.com/A/b", "https://example.com/a/b"])
def test_another_place(other):
    assert identity(other)[0].id != identity(SAME[0])[0].id


def test_method_and_tool_are_part_of_it():
    made = {identity(SAME[0], method, tool)[0].id for method in ("GET", "POST") for tool in ("", "a", "b")}
    assert len(made) == 6
    assert identity(SAME[0], "post")[0].method == "POST"


def test_templates_are_one_whatever_their_names():
    made = {identity(f"https://a.example/users/{each}/x")[0] for each in (":id", "{id}", ":var1", "[slug]", "{user-name}")}
    assert len(made) == 1
    one = made.pop()
    assert one.path == "/users/{}/x"
    assert one.template
    assert place("https://a.example/users/:id/x").url == "https://a.example/users/:id/x"
    assert not identity("https://a.example/v1/items:batch")[0].template


def test_credentials_are_gone_and_said():
    found = place("https://user:secret@a.example/x")
    assert found.credentials
    assert "secret" not in repr(found)


@pytest.mark.parametrize("url", [
    "", "file:///etc/passwd", "ftp://a.example/", "javascript:alert(1)", "//a.example/x", "https://", "https:///x", "https://a b.example/", "https://a.example/\n",
    "https://a.example:99999/", "https://a.example:0/", "https://[::1", "https://exämple.com/", "https://a..example/", "https://-a.example/", "https://a.example/" + "x" * 2048,
    "https://a.example/x/{id}/../../admin", "https://a.example/{a}/%2e%2e/b", "https://a.example/{a}%2fb", "https://a.example//{a}", "https://a.example/\u202e",
])  # fmt: skip
def test_no_place_at_all(url):
    with pytest.raises(Refused):
        identity(url)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "GET /x", "", "ＧＥＴ"])
def test_methods_that_buy_nothing(method):
    with pytest.raises(Refused):
        identity("https://a.example/", method)
