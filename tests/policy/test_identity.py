"""Who an origin is (O8): whole names in punycode, and no name that passes for another one."""

from __future__ import annotations

import httpx
import pytest

from x402_agent.errors import PolicyDenied
from x402_agent.model import Challenge
from x402_agent.policy import Bounds, Policy, choose
from x402_agent.policy.identity import look_alike
from x402_agent.transport.wire import ask

from .test_budgets import offer


def met(url, policy=None):
    return choose(policy or Policy(), ask(httpx.Request("GET", url), httpx), Challenge("x402", (offer(),)), lambda _: "")


TWINS = ["https://аpi.example.com/", "https://example.аррӏе.com/", "https://gооgle.com/", "https://раураӏ.com/", "https://арі.com/", "https://νικ.com/", "https://xn--80ak6aa92e.com/"]


@pytest.mark.parametrize("url", TWINS)
def test_O8_look_alikes_are_refused_unless_a_person_knows_them(url):
    host = ask(httpx.Request("GET", url), httpx).host
    error = met(url).error
    assert isinstance(error, PolicyDenied) and "O8" in error.rule and host in error.hint
    assert error.what.isascii(), "what looks like another name is not shown as one"
    assert met(url, Policy(allow=(host,))).offer is not None


HONEST = ["https://api.example.com/", "https://bücher.example/", "https://пример.рф/", "https://例え.jp/", "https://ελλάδα.gr/", "https://метро.com/", "https://한국.kr/",
          "https://1.1.1.1/", "https://[2606:4700::1111]/", "https://xn.example/", "https://a--b.example/", "https://сок.рф/"]  # fmt: skip


@pytest.mark.parametrize("url", HONEST)
def test_O8_honest_names_of_any_script_are_paid(url):
    assert met(url).offer is not None


@pytest.mark.parametrize("host", ["xn--", "xn--a", "xn--zzzzzzzzz", "xn--ls8h.example", "xn--a.xn--b", "xn--\x00", "xn--" + "a" * 5000])
def test_O8_names_that_cannot_be_read_are_odd_and_never_break(host):
    assert isinstance(look_alike(host), str)
    assert look_alike(host) or host == "xn--"


SAME = ["https://API.Example.COM/", "https://api.example.com./", "https://api.example.com:443/", "https://user@api.example.com/", "https://evil.test@api.example.com/",
        "https://api.example.com/?@evil.test", "https://api.example.com/#@evil.test", "https://api.example.com/x@evil.test"]  # fmt: skip
OTHER = ["https://api.example.com.evil.test/", "https://api.example.com@evil.test/", "https://api.example.com:8443/", "https://evil.test/api.example.com",
         "https://api.example.com%2eevil.test/", "https://apiexample.com/", "https://example.com/"]  # fmt: skip


@pytest.mark.parametrize("url", SAME)
def test_O8_one_origin_however_it_is_written(url):
    tight = Policy(budgets={"origin:https://api.example.com": Bounds(per_call=1)})
    assert met(url, tight).offer is None
    assert met(url, Policy(allow=("https://api.example.com",))).offer is not None


@pytest.mark.parametrize("url", OTHER)
def test_O8_another_origin_however_it_looks(url):
    assert met(url, Policy(budgets={"origin:https://api.example.com": Bounds(per_call=1)})).offer is not None
    assert isinstance(met(url, Policy(allow=("https://api.example.com",))).error, PolicyDenied)


@pytest.mark.parametrize("url", ["http://api.example.com/", "http://0x7f000001.example/", "http://2130706433.example/", "http://127.0.0.1.evil.test/", "http://localhost.evil.test/"])
def test_O3_nothing_is_paid_over_plain_http_elsewhere(url):
    error = met(url, Policy(loopback=True)).error
    assert isinstance(error, PolicyDenied) and "O3" in error.rule
