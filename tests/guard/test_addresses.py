"""Addresses and spellings, one by one: what is public, what is not, and what no two readers read alike."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from x402_agent import AddressRefused, Guard, PolicyDenied
from x402_agent.guard.addresses import LOOPBACK, address, refusal

PUBLIC = "1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1 223.255.255.255 2606:4700::1111 2a00::1 2001:4860:4860::8888"
ELSEWHERE = {
    "this network": "0.0.0.0 0.1.2.3",
    "loopback": "127.0.0.1 127.255.255.254 ::1",
    "private": "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1",
    "link-local": "169.254.169.254 169.254.170.2 fe80::1 febf::1",
    "CGNAT": "100.64.0.1 100.100.100.200 100.127.255.255",
    "a cloud's own host": "168.63.129.16",
    "kept for protocols": "192.0.0.192 2001:1::1 2001:20::1 2001:1ff::1",
    "documentation": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1",
    "6to4": "192.88.99.1 2002:7f00:1:: 2002:a9fe:a9fe::1",
    "benchmarks": "198.18.0.1 198.19.255.255",
    "multicast": "224.0.0.1 239.255.255.250 ff02::1 ff0e::1",
    "reserved": "240.0.0.1 255.255.255.255 4000::1 5f00::1 8000::1 100::1",
    "unspecified": "::",
    "IPv4-mapped": "::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:a9fe:a9fe",
    "IPv4-compatible": "::127.0.0.1 ::a9fe:a9fe",
    "IPv4-translated": "::ffff:0:127.0.0.1",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::a00:1",
    "Teredo": "2001:0:7f00:1:: 2001::1",
    "ISATAP": "2606:4700::5efe:7f00:1 2606:4700::200:5efe:a9fe:a9fe",
    "unique local": "fc00::1 fd00:ec2::254 fd20:ce::254",
    "site-local": "fec0::1",
    "given back": "3ffe::1",
    "zone id": "fe80::1%eth0 ::1%lo 2606:4700::1%1",
}
LIBS = {"httpx": httpx, "httpx2": httpx2}


@pytest.mark.parametrize("text", PUBLIC.split())
def test_the_public_internet(text):
    assert refusal(address(text)) == ""


@pytest.mark.parametrize("rule", ELSEWHERE)
def test_what_is_elsewhere_says_what_it_is(rule):
    for text in ELSEWHERE[rule].split():
        assert rule in refusal(address(text)), text


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_public_that_python_calls_private(found):
    if not found.is_global or found.is_multicast:
        assert refusal(found)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_public_that_python_calls_private(found):
    if not found.is_global or found.is_multicast or found.ipv4_mapped or found.sixtofour or found.teredo:
        assert refusal(found)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_another_is_never_public(inner):
    number = int(inner)
    spelt = [number, 0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    assert all(refusal(IPv6Address(each)) for each in spelt)


def test_loopback_alone_is_called_loopback():
    for number in range(256):
        first = IPv4Address(number << 24)
        assert refusal(first).startswith(LOOPBACK) == (first in IPv4Network("127.0.0.0/8"))
    assert not refusal(IPv6Address("::2")).startswith(LOOPBACK)
    assert refusal(IPv6Address("::1")).startswith(LOOPBACK)


ODD = {
    "http or https": "ftp://a.example/ file:///etc/passwd ws://a.example/ wss://a.example/ gopher://a.example/ //a.example/x /x data:,x javascript:1",
    "no user or password": "http://u@a.example/ http://u:p@a.example/ https://a.example:443@127.0.0.1/ http://:p@a.example/",
    "ends in a number": "http://127.1/ http://2130706433/ http://0x7f000001/ http://0x7f.1/ http://0X7F.0.0.1/ http://017700000001/ http://127.0.0.1./"
    " http://1.2.3.4.5/ http://a.example.0x1/ http://a.1/ http://0/ http://0x/",
    "letters, digits and hyphens": "http:///x http://a%00b.example/ http://a%2ee.example/ http://a..example/ http://.example/ http://a\\b.example/"
    " http://-a.example/ http://a-.example/ http://[fe80::1%25eth0]x/ http://a*b.example/ http://a.example../ http://xn--a--.example/",
    "80, 443": "http://a.example:22/ http://a.example:25/ http://a.example:0/ http://a.example:1023/ http://a.example:6379/ http://a.example:11211/"
    " http://a.example:6000/ http://a.example:65536/ http://1.1.1.1:22/",
    "zone id": "http://[fe80::1%25eth0]/ http://[fe80::1%eth0]/ http://[2606:4700::1%25lo]/",
    "mapped": "http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/",
    "this network": "http://0.0.0.0/ http://0.0.0.0:8080/",
    "unspecified": "http://[::]/",
    "loopback": "http://127.0.0.1/ http://[::1]/ http://127\u30020\u30020\u30021/",
    "link-local": "http://169.254.169.254/latest/meta-data/",
}


@pytest.mark.parametrize("library", LIBS)
@pytest.mark.parametrize("rule", ODD)
def test_a_url_that_is_spelt_oddly_is_not_asked(rule, library):
    lib = LIBS[library]
    for text in ODD[rule].split(" "):
        try:
            url = lib.URL(text)
        except lib.InvalidURL:  # no URL for the library that would send it
            continue
        with pytest.raises(AddressRefused) as why:
            Guard().check(url)
        assert rule in why.value.rule, text
        assert "was not asked" in why.value.what or "is not asked" in why.value.what
        assert why.value.hint
        assert why.value.what.isascii() and why.value.what.isprintable() and "/etc/passwd" not in str(why.value)


FOREIGN = "http://\uff11\uff12\uff17.0.0.1/ http://0177.0.0.1/ http://\u0663.1.1.1/ http://\u24dbocalhost/ http://[::1]x/ http://[127.0.0.1]/ http://256.1.1.1/"


@pytest.mark.parametrize("library", LIBS)
@pytest.mark.parametrize("text", FOREIGN.split(" "))
def test_foreign_digits_and_octal_are_no_url_at_all(text, library):
    lib = LIBS[library]
    with pytest.raises(lib.InvalidURL):
        lib.URL(text)


@pytest.mark.parametrize("text", ["http://a.example", "https://a.example:8443/x?y#z", "http://A.EXAMPLE.:80/", "https://xn--bcher-kva.example/", "https://b\u00fccher.example/",
                                  "http://1.1.1.1/", "https://[2606:4700::1111]:443/", "http://a_b.example/", "http://x1.2a.example/", "http://1.example/"])  # fmt: skip
def test_what_people_ask_for_is_asked(text):
    for lib in LIBS.values():
        Guard().check(lib.URL(text))


def test_the_switch_adds_this_machine_and_nothing_else():
    guard = Guard(loopback=True)
    for text in ("http://127.0.0.1:4021/", "http://[::1]:8080/"):
        guard.check(httpx.URL(text))
    for text in ("http://10.0.0.1/", "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://127.1/", "http://127.0.0.1:6379/"):
        with pytest.raises(AddressRefused):
            guard.check(httpx.URL(text))


def test_the_error_says_which_address_which_rule_and_what_next():
    with pytest.raises(AddressRefused) as why:
        Guard(resolve=lambda host, port: ["8.8.8.8", "10.1.2.3"]).addresses("shop.example", 443)
    assert why.value.what == "shop.example is 10.1.2.3: it was not asked"
    assert "private (10.0.0.0/8)" in why.value.rule and "public" in why.value.hint
    assert isinstance(why.value, PolicyDenied) and why.value.retry_safe
    with pytest.raises(AddressRefused) as why:
        Guard(resolve=lambda host, port: ["127.0.0.1"]).addresses("localhost", 80)
    assert "--sandbox" in why.value.hint


@pytest.mark.parametrize("answer", [["8.8.8.8", "127.0.0.1"], ["::ffff:8.8.8.8"], ["8.8.8.8", "fe80::1%2"], ["8.8.8.8", "127.1"], ["localhost"], [""], ["8.8.8.8 "]])
def test_one_bad_answer_among_good_ones_is_enough(answer):
    with pytest.raises(AddressRefused):
        Guard(resolve=lambda host, port: answer).addresses("shop.example", 443)
