"""What hostile catalogues and sellers try beyond tests/discovery/test_dirty.py: each costs itself alone, and is named in the report."""

from __future__ import annotations

import json
import re
import sqlite3
import time

import pytest

from loopback import Seller
from market import BASE, HASTY, Market, row
from x402_agent import SettingsError
from x402_agent.cli.writing import write
from x402_agent.discovery import Catalogue, Store
from x402_agent.discovery.address import Refused, place
from x402_agent.discovery.crawler import Caps
from x402_agent.discovery.polite import Manners, robots
from x402_agent.discovery.report import Report
from x402_agent.discovery.sources import resolved
from x402_agent.guard import Guard

RESOURCES = "/x402/discovery/resources"
PATIENT = Manners(rate=10_000, at_once=8, tries=1)


@pytest.fixture
def bad(tmp_path):
    seller = Seller()
    made = Market(seller, tmp_path)
    yield made
    seller.stop.set()
    seller.close()


def both(market, bad, **options):
    """Crawl the honest one and the bad one. -> the report; the honest one's rows must be there."""
    market.rows = [row(f"https://a{n}.example/w") for n in range(5)]
    report = market.crawl(("bazaar", bad.seller.url("/x402")), ("bazaar", market.seller.url("/x402")), **options)
    assert {each["resource"] for each in market.rows} <= {each.url for each in market.search("weather", every=True, limit=100)}
    return report


def named(bad, report, words):
    return [each for each in report.failed if str(bad.seller.port) in each and words in each]


def raw(status, body=b"", *headers, length=None):
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def dripping(bad):
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"
    while not bad.seller.stop.wait(0.05):
        yield b" "


def continuing(bad):
    while not bad.seller.stop.wait(0.01):
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


ANSWERS = {
    "truncated": (lambda bad: iter([raw(200, b'{"items":[{"resource":"https://t.example/1"},{"resour', length=5000)]), "RemoteProtocolError"),
    "html": (lambda bad: raw(200, b"<html><body>{}</body></html>", "content-type: application/json"), "no list called"),
    "picture": (lambda bad: raw(200, b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "content-type: image/png"), "no list called"),
    "nothing": (lambda bad: raw(200), "no list called"),
    "drip": (dripping, "TimeoutError"),
    "continue for ever": (continuing, "TimeoutError"),
    "not http": (lambda bad: iter([b"SSH-2.0-OpenSSH_9.6\r\n"]), "RemoteProtocolError"),
    "304 to who asked nothing": (lambda bad: raw(304), "answered 304"),
    "huge headers": (lambda bad: raw(200, b"{}", *[f"x-{n}: {'y' * 1000}" for n in range(300)]), "RemoteProtocolError"),
    "inside": (lambda bad: raw(302, b"", "location: http://[::ffff:169.254.169.254]/"), "public addresses alone"),
    "a file": (lambda bad: raw(302, b"", "location: file:///etc/passwd"), "http"),
    "nowhere": (lambda bad: raw(302, b"", "location: http://[::1"), ""),
    "secret": (lambda bad: raw(307, b"", "location: https://me:secret@a.example/"), ""),
    "bad gzip": (lambda bad: raw(200, b"\x1f\x8b\x08nope", "content-encoding: gzip"), "ValueError"),
    "brotli": (lambda bad: raw(200, b"\x8b\x03\x80{}\x03", "content-encoding: br"), "no list called"),
    "teapot": (lambda bad: raw(418), "answered 418"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_no_catalogue_answers_is_named_and_costs_nobody_else(market, bad, name):
    answer, words = ANSWERS[name]
    bad.seller.routes[RESOURCES] = lambda hit: answer(bad)
    report = both(market, bad, manners=PATIENT, caps=Caps(answer=1.5))
    assert not report.whole
    assert [each for each in report.failed if words in each], report.failed
    assert all(each.isprintable() for each in report.failed)
    assert "secret" not in " ".join(report.failed)


def test_whoever_hangs_others_are_found_meanwhile(market, bad):
    """Their rows are in the catalogue while it hangs, not when its caps have ended it."""
    found = []

    def hanging(hit):
        end = time.monotonic() + 20
        while not found and time.monotonic() < end:
            time.sleep(0.05)
            found.extend(market.search("weather", every=True))
        return bad.seller.answer(500)

    bad.seller.routes[RESOURCES] = hanging
    both(market, bad, manners=PATIENT, caps=Caps(answer=30.0))
    assert len(found) == 5


def test_no_cookie_is_kept(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(4)]
    rows = market.seller.routes[RESOURCES]
    market.seller.routes[RESOURCES] = lambda hit: rows(hit).replace(b"\r\n", b"\r\nset-cookie: who=you; path=/\r\nset-cookie: a=" + b"b" * 3000 + b"\r\n", 1)
    assert market.crawl().services == 4
    assert not [hit for hit in market.seller.hits if "cookie" in hit.headers]


@pytest.mark.parametrize("etag", ['W/"weak"', '"' + "x" * 5_000 + '"', '"\xff\xfe"', "never quoted", '"a", "b"'])
def test_an_etag_is_shown_again_or_forgotten_and_never_breaks_the_next_pass(market, etag):
    body = json.dumps({"items": [row("https://a.example/w")]}).encode()
    market.seller.routes[RESOURCES] = lambda hit: raw(200, body, f"etag: {etag}")
    for _ in range(2):
        assert market.crawl(("bazaar", market.seller.url(RESOURCES))).whole
    shown = market.asked(RESOURCES)[-1].headers.get("if-none-match", "")
    assert shown in ("", etag) and len(shown) < 1000


def test_an_etag_that_changes_each_time_reads_nothing_anew(market):
    body = json.dumps({"items": [row("https://a.example/w")]}).encode()
    market.seller.routes[RESOURCES] = lambda hit: raw(200, body, f'etag: "{len(market.seller.hits)}"')
    market.crawl(("bazaar", market.seller.url(RESOURCES)))
    assert market.crawl(("bazaar", market.seller.url(RESOURCES))).unchanged == 1


def test_Y4_a_cursor_that_is_always_another_is_capped(market):
    market.seller.routes[RESOURCES] = lambda hit: market.json({"items": [row("https://a.example/w")], "pagination": {"cursor": f"c{len(market.seller.hits)}"}})
    report = market.crawl(caps=Caps(pages=20))
    assert report.services == 1
    assert len(market.asked(RESOURCES)) == 20


def test_Y4_a_total_that_drifts_stops_nothing(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(6)]

    def page(hit):
        offset = int(re.search(r"offset=(\d+)", hit.path)[1])
        return market.json({"items": market.rows[offset : offset + 2], "pagination": {"offset": offset, "total": [0, -5, 10**30, "many"][offset // 2 % 4]}})

    market.seller.routes[RESOURCES] = page
    assert market.crawl().services == 6


@pytest.mark.parametrize(("caps", "words"), [({"rows": 10}, "cap of rows"), ({"bytes": 5_000}, "cap of bytes"), ({"pages": 3}, "more than 3 pages")])
def test_Y3_what_has_no_end_ends_at_a_cap_and_goes_on_at_the_next_crawl(market, caps, words):
    market.rows = [row(f"https://a{n}.example/w") for n in range(40)]
    report = market.crawl(caps=Caps(**caps, answer=10.0))
    assert [each for each in report.failed if words in each]
    assert 0 < report.services < 20
    assert market.crawl().services == 40


def test_Y3_what_stands_behind_a_cap_is_not_missing(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(8)]
    market.crawl()
    for _ in range(4):
        market.crawl(caps=Caps(pages=2))
    assert not [each for each in market.search("", every=True) if each.suspicious]


def test_Y13_a_user_in_a_url_is_stripped_refused_and_shown_nowhere(market):
    market.rows = [row("https://me:hidden@a.example/w")]
    market.text("/old/discovery/resources", "", 302, location=market.seller.url(RESOURCES + "?limit=2&offset=0").replace("://", "://me:hidden@"))
    report = market.crawl(("bazaar", market.seller.url("/old/discovery/resources")))
    (found,) = market.search("weather", every=True)
    assert found.url == "https://a.example/w" and "credentials-stripped" in found.suspicious
    assert "hidden" not in repr(report) + json.dumps(report.told) + repr(market.show(found.id))
    assert not [hit for hit in market.seller.hits if "authorization" in hit.headers]
    with pytest.raises(SettingsError) as why:
        resolved("bazaar=https://me:hidden@a.example/x402")
    assert "hidden" not in str(why.value)
    with pytest.raises(SettingsError, match="is no URL"):
        resolved("bazaar=http://[::1")


@pytest.mark.parametrize("url", ["http://[::1", "http://a.example:99999/", "http://\u2102.example/", "//["])
def test_a_link_that_is_none_costs_its_row_and_no_other(market, url):
    market.text("/items", json.dumps({"items": [{"contentId": "abc", "url": url, "title": "t"}, {"contentId": "good", "url": "https://a.example/g", "title": "t"}]}))
    market.text("/api/services", json.dumps({"services": [{"url": url, "endpoints": [{"path": "/v"}]}, {"url": "https://b.example", "endpoints": [{"path": "/v"}, {"path": url}]}]}))
    market.text("/.well-known/x402", json.dumps({"resources": [url, "https://c.example/x"]}))
    kinds = {"x402pay": "/items", "mpp": "/api/services", "well-known": "/.well-known/x402"}
    report = market.crawl(*((kind, market.seller.url(path)) for kind, path in kinds.items()))
    assert {each.url for each in market.search("", every=True)} >= {"https://a.example/g", "https://b.example/v", "https://c.example/x"}
    assert not [each for each in report.failed if "Error" in each]


# -- whose address it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://010.8.8.8/", "http://0x8.8.8.8/", "http://999.1.1.1/", "http://a.example/\u200b",
     "http://\u0430.example/", "http://a.example\\@b.example/", "http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "example/", "http://[fe80::1%25eth0]/", "http://a%2eexample/",
     "http://a.example:0/", "http://a..example/", "gopher://a.example/", "http://\u2488.example/"],
)  # fmt: skip
def test_Y2_a_host_in_a_spelling_of_its_own_is_none(url):
    with pytest.raises(Refused) as why:
        place(url)
    assert str(why.value).isprintable()


def test_Y2_one_address_has_one_spelling():
    assert place("http://[2001:DB8:0:0::1]:80/a/").origin == place("http://[2001:db8::1]/a").origin
    assert place("http://xn--pple-43d.example/").origin == "http://xn--pple-43d.example"


def test_Y2_a_name_that_is_rebound_is_judged_at_each_connection(market):
    """First it is ours, then it is inside: the second connection is refused."""
    answers = iter([["127.0.0.1"], ["127.0.0.1"]] + [["10.0.0.7"]] * 50)
    market.seller.routes["/robots.txt"] = lambda hit: iter([market.seller.answer(404)])  # closed afterwards
    rows = market.seller.routes[RESOURCES]
    market.rows = [row(f"https://a{n}.example/w") for n in range(8)]
    market.seller.routes[RESOURCES] = lambda hit: iter([rows(hit)])
    url = f"http://rebound.example:{market.seller.port}/x402"
    report = market.crawl(("bazaar", url), guard=Guard(loopback=True, resolve=lambda host, port: next(answers)), manners=PATIENT)
    assert report.services == 2
    assert [each for each in report.failed if "public addresses alone" in each]


def test_Y10_a_catalogue_that_names_a_victim_again_and_again_asks_it_at_its_rate(market):
    victim = Seller()
    try:
        market.rows = [row(victim.url(f"/x{n}")) for n in range(100)]
        market.page = 1_000
        began = time.monotonic()
        market.crawl(probes=1_000, manners=Manners(rate=100, at_once=2, jitter=0, tries=1))
        seconds = time.monotonic() - began
    finally:
        victim.close()
    assert len(victim.hits) == 101 and seconds >= 1.0
    assert next(hit.path for hit in victim.hits) == "/robots.txt"


def test_Y12_what_a_row_links_is_never_fetched(market, bad):
    there = bad.seller.url
    market.rows = [row(market.seller.url("/sold"), iconUrl=there("/icon.png"), skillUrl=there("/SKILL.md"), image=there("/i"), links=[there("/l")],
                       extensions={"bazaar": {"info": {"input": {"type": "http", "method": "GET"}}, "schema": {"$ref": there("/schema.json"), "$schema": there("/meta")}}})]  # fmt: skip
    market.seller.routes["/sold"] = lambda hit: market.seller.ask("/sold", 1000)
    assert market.crawl(probes=9).probed == 1
    assert bad.seller.hits == []


# -- what it says -----------------------------------------------------------------------------------------------------------------


def test_Y1_what_is_not_seen_is_shown_as_an_escape_and_flagged(market):
    texts = ["safe\u202egnp", "a\u200bb", "a\u3164b", "\u2800", "x\u00ady", "z" + "\u0301" * 99, "\U000e0041ll", "\x1b[2J", "\x9b31m", "a\u2066b"]
    market.rows = [row(f"https://a{n}.example/w", serviceName=each, description=each, tags=[each, "weather"]) for n, each in enumerate(texts)]
    market.crawl()
    found = market.search("", every=True)
    assert len(found) == len(texts)
    for each in found:
        assert "hidden-text" in each.suspicious, ascii(each.name)
        assert each.name.isprintable() and not set(each.name + each.description) & set("\u3164\u2800\u202e\u200b\x1b") and "\u0301" * 5 not in each.name


def test_Y5_Y6_who_is_named_like_another_or_pays_another_is_known_as_such(market):
    url = "https://api.openai.com/v1/x"
    market.rows = [row(url), row("https://evil.example/v1", serviceName="OpenAI (official)")]
    doubled = {**BASE, "amount": "10000", "payTo": "0x" + "cd" * 20}
    market.text("/.well-known/x402", json.dumps({"resources": [{"url": url, "accepts": [doubled], "name": "OpenAI"}]}))
    market.crawl(("bazaar", market.seller.url("/x402")), ("well-known", market.seller.url("/.well-known/x402")))
    found = {each.url: each for each in market.search("", every=True)}
    assert {"payees-differ", "listed-by-another"} <= set(found[url].suspicious)
    assert found["https://evil.example/v1"].id != found[url].id
    assert found["https://evil.example/v1"].url.startswith("https://evil.example/")


def test_Y8_words_move_nobody_up(market):
    stuffed = "weather best official verified #1 cheapest trusted live-402 agreement " * 50
    market.rows = [row("https://honest.example/w", quality={"l30DaysUniquePayers": 40}), row("https://stuffed.example/w", description=stuffed, serviceName="weather weather weather", tags=["weather"] * 12)]
    market.crawl()
    assert [each.url for each in market.search("weather")] == ["https://honest.example/w", "https://stuffed.example/w"]


def test_Y14_an_export_begins_no_formula_and_no_line(market, tmp_path):
    texts = ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1+1", "%x", "a\r\n=1", '"=1', "x\u2028y"]
    market.rows = [row(f"https://a{n}.example/w", serviceName=each, description=each, tags=[each]) for n, each in enumerate(texts)]
    market.crawl()
    store = Store(str(market.path))
    for form, flat in (("csv", True), ("jsonl", False)):
        with (tmp_path / form).open("w", encoding="utf-8", newline="") as file:
            assert write(file, (each.as_row() if flat else each.as_dict() for each in Catalogue(store).every()), form) == len(texts)
        lines = (tmp_path / form).read_text("utf-8").split("\n")
        assert len(lines) == len(texts) + 1 + flat
    store.close()
    assert not re.search(r'(^|,)"?[=+\-@\t＝%]', (tmp_path / "csv").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("words", ["_", "__ weather", '" OR 1', "NEAR(a b)", "*", "weather AND", "name:x", "\ud800", "x" * 100_000, "-a", "^a", 'a"b', "%", "\\", "'); drop table services; --", "\x00"])
def test_words_are_words_and_no_syntax(market, words):
    market.rows = [row("https://a.example/w")]
    market.crawl()
    assert isinstance(market.search(words), list)
    assert market.search("", network="%") == [] == market.search("", network="_ip155:84532")
    assert len(market.search("", network="eip155:84532")) == 1


def test_a_beginning_that_many_ids_have_is_none(market):
    market.rows = [row(f"https://a{n}.example/w") for n in range(3)]
    market.crawl()
    assert market.show("%") is None and market.show("____") is None and market.show("") is None


def test_reasons_without_end_are_counted_and_not_all_kept():
    report = Report(dict)
    for n in range(50_000):
        report.skip(f"it has {n} bytes")
    assert report.skipped == sum(report.reasons.values()) == 50_000
    assert len(report.reasons) <= 1_001


@pytest.mark.parametrize("delay", ["²", "9" * 5_000, "9" * 400, "-5", "1e9"])
def test_a_delay_that_is_no_number_breaks_no_rules(market, delay):
    rules = robots(f"User-agent: *\nCrawl-delay: {delay}\nRequest-rate: ²/x\nDisallow: /x402/\n".encode())
    assert not rules.can_fetch("x402-agent-discovery", "/x402/a")
    market.text("/robots.txt", f"User-agent: *\nCrawl-delay: {delay}\nDisallow: /x402/\n")
    assert "robots.txt says no" in market.crawl().failed[0] or "left alone" in market.crawl().failed[0]


def test_two_of_a_name_in_a_registry_are_two_things_or_one_that_is_not_believed(market):
    def service(name, url, currency):
        return {"id": "same", "name": name, "url": url, "endpoints": [{"method": "GET", "path": "/v1/x", "payment": {"intent": "charge", "method": "tempo", "amount": "10", "currency": currency}}]}

    services = [service("one", "https://a.example", "USD"), service("two", "https://b.example", "USD"), service("three", "https://a.example", "EUR")]
    market.text("/api/services", json.dumps({"version": 1, "services": services}))
    report = market.crawl(("mpp", market.seller.url("/api/services")))
    found = {each.url: each for each in market.search("", every=True)}
    assert report.services == len(found) == 2
    assert "listed-twice" in found["https://a.example/v1/x"].suspicious and not found["https://b.example/v1/x"].suspicious


def test_a_hasty_crawl_of_nobody_ends(market):
    assert market.crawl(("bazaar", "http://nobody.invalid/x402"), guard=Guard(loopback=True, resolve=lambda host, port: []), manners=HASTY).failed


def test_a_database_that_somebody_holds_is_an_error_in_a_line(market, monkeypatch):
    monkeypatch.setattr("x402_agent.database._WAIT", 0.2)
    market.store().close()
    holder = sqlite3.connect(str(market.path), isolation_level=None, check_same_thread=False)
    market.rows = [row("https://a.example/w")]
    rows = market.seller.routes[RESOURCES]
    market.seller.routes[RESOURCES] = lambda hit: (holder.execute("begin immediate"), rows(hit))[1]
    with pytest.raises(SettingsError, match="locked"):
        market.crawl()
    holder.execute("rollback")
    holder.close()
    market.seller.routes[RESOURCES] = rows
    assert market.crawl().services == 1


def test_Y3_rows_of_one_page_have_an_end(market, monkeypatch):
    monkeypatch.setattr("x402_agent.discovery.sources.rows.MAX_ROWS", 50)
    for body in (b"{}," * 200 + b"{}", b'"",' * 200 + b'""', b",".join(json.dumps(row(f"https://a{n}.example/w")).encode() for n in range(80))):
        market.text("/x402/discovery/resources", b'{"items":[' + body + b"]}")
        report = market.crawl(("bazaar", market.seller.url(RESOURCES)))
        assert report.skipped + report.rows == 51
        assert report.reasons["more than 50 rows on a page"] == 1
    assert report.services == 50


def test_Y3_lines_without_end_are_read_as_far_as_they_count(market):
    market.text("/list.txt", b"a\n" * 100_000)
    report = market.crawl(("urls", market.seller.url("/list.txt")))
    assert report.skipped == 10_001


def test_brackets_without_end_are_left_where_nobody_looks_any_more(market):
    market.text("/x402/discovery/resources", b'{"items":[' + json.dumps(row("https://a.example/w")).encode() + b"," + b"[" * 1_000_000)
    assert market.crawl(("bazaar", market.seller.url(RESOURCES))).services == 1
