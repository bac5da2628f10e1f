"""Each kind of catalogue, as its own pages show it, and with dirt."""

from __future__ import annotations

import json

import pytest

from x402_agent import assets
from x402_agent.discovery import Fetch, Found, Skip
from x402_agent.discovery.sources import builtin, known, resolved
from x402_agent.errors import ChallengeInvalid, SettingsError

USDC = assets.asset(assets.network("base"), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")
PAYEE = "0x" + "a1" * 20
HOME = "https://cat.example"
V2 = {"scheme": "exact", "network": "eip155:8453", "amount": "10000", "payTo": PAYEE, "asset": USDC.address, "maxTimeoutSeconds": 60}
V1 = {"scheme": "exact", "network": "base", "maxAmountRequired": "10000", "resource": f"{HOME}/v1", "description": "old", "mimeType": "", "payTo": PAYEE,
      "maxTimeoutSeconds": 60, "asset": USDC.address, "outputSchema": {"input": {"type": "http", "method": "POST"}}, "extra": {"name": "USD Coin"}}  # fmt: skip
ROW = {  # the shape of CDP's openapi.yaml, as the wire page gives it
    "resource": "https://api.example.com/weather/forecast", "type": "http", "x402Version": 2, "lastUpdated": "2024-01-15T10:30:00Z", "description": "Weather",
    "accepts": [V2], "extensions": {"bazaar": {"info": {"input": {"type": "http", "method": "GET"}}, "schema": {}}},
    "quality": {"l30DaysTotalCalls": 42, "l30DaysUniquePayers": 15, "lastCalledAt": "2024-01-15T10:30:00Z"}, "serviceName": "Weather API", "tags": ["weather"],
    "iconUrl": f"{HOME}/icon.png", "curated": True, "bundleSlugs": ["x"], "skillUrl": f"{HOME}/SKILL.md",
}  # fmt: skip


def read(name, document, url=f"{HOME}/x402/discovery/resources?limit=100&offset=0", state=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return builtin()[name].read(Fetch(url, state or {}), Found(url, 200, {}, body))


def one(name, document, url=HOME):
    page = read(name, document, url)
    assert len(page.listings) == 1, page
    return page.listings[0]


def bazaar(**changes):
    return one("bazaar", {"x402Version": 2, "items": [{**ROW, **changes}], "pagination": {"limit": 100, "offset": 0, "total": 1}})


# -- bazaar -----------------------------------------------------------------------------------------------------------


def test_bazaar_v2():
    made = bazaar()
    assert tuple(made.identity) == ("https://api.example.com", "GET", "/weather/forecast", "")
    assert (made.name, made.description, made.tags, made.payers, made.calls, made.updated) == ("Weather API", "Weather", ("weather",), 15, 42, 1705314600)
    (price,) = made.prices
    assert (price.asset, price.amount, price.micros, price.pay_to, price.payable) == (USDC.id, 10000, 10000, PAYEE, True)
    assert made.flags == ()


def test_bazaar_v1_says_its_method_in_the_entry():
    made = bazaar(x402Version=1, accepts=[V1], extensions=None, resource=f"{HOME}/v1", description=None)
    assert (made.identity.method, made.prices[0].network, made.prices[0].amount, made.description) == ("POST", "eip155:8453", 10000, "old")


def test_only_three_fields_are_needed():
    made = one("bazaar", {"x402Version": 2, "items": [{"resource": f"{HOME}/x", "type": "http", "x402Version": 2}]})
    assert made.prices == ()
    assert made.flags == ("method-unknown", "price-unknown")


def test_a_tool_of_an_mcp_server_is_a_thing_of_its_own():
    info = {"input": {"type": "mcp", "toolName": "search", "inputSchema": {}, "transport": "streamable-http"}}
    made = bazaar(type="mcp", resource=f"{HOME}/mcp", extensions={"bazaar": {"info": info}})
    assert tuple(made.identity) == (HOME, "POST", "/mcp", "search")


def test_a_template_takes_the_place_of_the_path():
    made = bazaar(extensions={"bazaar": {"routeTemplate": "/users/:var1/x", "info": {"input": {"type": "http", "method": "GET"}}}})
    assert made.identity.path == "/users/{}/x"


@pytest.mark.parametrize(("price", "flag"), [
    ({"amount": "0.01"}, "price-in-decimals"), ({"amount": 0.01}, "price-in-decimals"), ({"amount": "-5"}, "price-unreadable"), ({"amount": None}, "price-unreadable"),
    ({"amount": "0"}, "free-price"), ({"amount": "１０"}, "price-unreadable"), ({"amount": "9" * 90}, "price-unreadable"), ({"amount": True}, "price-unreadable"),
    ({"asset": "0x" + "b" * 40}, "token-unknown"), ({"network": "eip155:999999"}, "network-unknown"), ({"network": None}, "network-unknown"),
    ({"extra": {"decimals": 18}}, "decimals-ignored"), ({"maxAmountRequired": "5"}, "two-prices-in-one"),
])  # fmt: skip
def test_a_price_is_of_our_tables_or_unknown(price, flag):
    made = bazaar(accepts=[{**V2, **price}])
    assert flag in made.flags
    if flag not in ("decimals-ignored", "two-prices-in-one"):
        assert (made.prices[0].amount, made.prices[0].micros) == (None, None)


def test_decimals_of_a_row_change_nothing():
    assert bazaar(accepts=[{**V2, "extra": {"decimals": 18}}]).prices[0].micros == 10000


def test_hidden_text_is_shown_and_flagged():
    made = bazaar(description="good\u202e\x1b[31m" + "x" * 9000, serviceName="a\nb", tags=["\u200b", 5, "ok"] * 20)
    assert "hidden-text" in made.flags
    assert made.description.isprintable()
    assert len(made.description) < 700
    assert made.name == "a b"
    assert len(made.tags) <= 12


@pytest.mark.parametrize("row", [{"resource": "file:///etc"}, {"resource": None}, {"resource": f"{HOME}/x", "extensions": {"bazaar": {"routeTemplate": "/a/:b/../c"}}}, 5, "x", None])
def test_a_row_about_nothing_is_counted(row):
    page = read("bazaar", {"items": [{**ROW, **row} if isinstance(row, dict) else row, ROW]})
    assert len(page.listings) == 1
    assert all(isinstance(each, Skip) for each in page.skipped)
    assert len(page.skipped) == (row is not None and row != 5)  # what is no bracket and no text is no row at all


def test_pages_follow_until_one_is_empty_whatever_the_total_says():
    page = read("bazaar", {"items": [ROW, 5, "x"], "pagination": {"limit": 100, "offset": 0, "total": 2}}, state={"kind": "resources", "offset": 0})
    (following,) = page.following
    assert following == Fetch(f"{HOME}/x402/discovery/resources?offset=2&limit=100", {"kind": "resources", "offset": 2})
    assert page.total == 2
    last = read("bazaar", {"items": [], "pagination": {"limit": 100, "offset": 2, "total": 999}}, following.url, following.state)
    assert last.following == ()


def test_a_cursor_is_followed_as_it_stands():
    for door in ("resources", "search"):  # a facilitator's search may have one, CDP's has none
        page = read("bazaar", {"resources": [ROW], "pagination": {"limit": 10, "cursor": "a&b=c"}}, f"{HOME}/discovery/{door}?limit=10")
        assert [each.url for each in page.following] == [f"{HOME}/discovery/{door}?cursor=a%26b%3Dc&limit=10"]
    for pagination in (None, {"limit": 10, "cursor": None}):
        assert read("bazaar", {"resources": [ROW], "pagination": pagination}, f"{HOME}/discovery/search?query=x").following == ()


def test_a_list_begins_where_its_url_says():
    page = read("bazaar", {"items": [ROW], "pagination": {"limit": 1, "offset": 7, "total": 9}}, f"{HOME}/discovery/resources?limit=1&offset=7", {"kind": "resources"})
    assert [each.url for each in page.following] == [f"{HOME}/discovery/resources?offset=8&limit=1"]


def test_a_full_search_is_widened_once_by_sellers_and_hosts():
    found = [{**ROW, "resource": f"https://h{n % 3}.example/{n}", "accepts": [{**V2, "payTo": f"0x{n % 2:040x}"}]} for n in range(20)]
    page = read("bazaar", {"resources": found}, f"{HOME}/v2/x402/discovery/search?query=weather&limit=20")
    kinds = [(each.state["kind"], each.url.partition("?")[2]) for each in page.following]
    assert [kind for kind, _ in kinds] == ["merchant"] * 2 + ["search"] * 3
    assert "urlSubstring=h0.example&limit=20" in [query for _, query in kinds]
    assert len(read("bazaar", {"resources": [{**ROW, "resource": "file:///x"}, *found[1:]]}, f"{HOME}/discovery/search?query=weather").following) == 5  # a full page, whatever is on it
    again = read("bazaar", {"resources": found}, page.following[-1].url, page.following[-1].state)
    assert again.following == ()


def test_a_facilitator_a_door_of_it_or_a_search():
    source = builtin()["bazaar"]
    assert [each.url for each in source.first("https://f.example/platform/v2/x402/")] == ["https://f.example/platform/v2/x402/discovery/resources?limit=100&offset=0"]
    assert [each.url for each in source.first("https://f.example/discovery/search?query=a")] == ["https://f.example/discovery/search?query=a&limit=20"]
    assert [each.url for each in source.first("https://f.example/discovery")] == ["https://f.example/discovery/resources?limit=100&offset=0"]


@pytest.mark.parametrize("template", ["/a/../b", "/a/%2e%2e/b", "/a/%252e%252e/b", "/x/https%3A%2F%2Fevil.example", "a"])
def test_a_template_that_climbs_is_none(template):
    page = read("bazaar", {"items": [{**ROW, "extensions": {"bazaar": {"routeTemplate": template}}}]})
    assert (page.listings, len(page.skipped)) == ((), 1)


# -- /.well-known/x402 ---------------------------------------------------------------------------------------------------

WELL = f"{HOME}/.well-known/x402"


def test_well_known_in_five_shapes():
    assert [each.identity.path for each in read("well-known", {"version": 1, "resources": [f"{HOME}/a", "/b"], "ownershipProofs": []}, WELL).listings] == ["/a", "/b"]
    assert one("well-known", {"x402Version": 2, "accepts": [{**V2, "resource": f"{HOME}/x"}]}, WELL).prices[0].amount == 10000
    assert one("well-known", {"products": [{"url": f"{HOME}/x", "price": "0.02", "network": "base", "asset": USDC.address}]}, WELL).prices[0].micros == 20000
    routed = one("well-known", {"routes": [{"path": "POST /v1/x", "accepts": [V2]}]}, WELL)
    assert (routed.identity.method, routed.identity.path, routed.prices[0].amount) == ("POST", "/v1/x", 10000)
    satring = {"protocol": "x402", "version": 2, "facilitator": "https://f.example", "network": "base", "asset": USDC.address, "payTo": PAYEE,
               "endpoints": {"search": "/s", "GET /q": {"price": "0.02"}}, "pricing": {"search": "$0.01"}}  # fmt: skip
    found = {each.identity.path: each.prices[0] for each in read("well-known", satring, WELL).listings}
    assert {path: (price.micros, price.pay_to, price.amount) for path, price in found.items()} == {"/s": (10000, PAYEE, None), "/q": (20000, PAYEE, None)}


def test_two_ways_to_pay_for_one_thing_are_one_row():
    other = {**V2, "network": "eip155:84532", "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x" + "cd" * 20}
    there = {"resource": f"{HOME}/x"}
    made = one("well-known", {"x402Version": 2, "accepts": [{**V2, **there}, {**other, **there}]}, WELL)
    assert [price.network for price in made.prices] == ["eip155:8453", "eip155:84532"]
    assert one("well-known", {"x402Version": 2, "resource": {"url": f"{HOME}/y"}, "accepts": [V2, other]}, WELL).url == f"{HOME}/y"
    assert one("well-known", {"x402Version": 1, "accepts": [V1]}, WELL).identity.method == "POST"
    page = read("well-known", {"accepts": [V2, 5, {"path": "/p", "price": "0.02"}]}, WELL)
    assert ([each.identity.path for each in page.listings], len(page.skipped)) == (["/p"], 2)


def test_what_a_site_says_of_another_is_hearsay():
    assert "listed-by-another" in one("well-known", {"resources": ["https://bank.example/x"]}, WELL).flags
    assert "listed-by-another" not in one("well-known", {"resources": [f"{HOME}/x"]}, WELL).flags


@pytest.mark.parametrize("price", [5, 10000])
def test_a_whole_number_is_no_price_in_anybodys_unit(price):
    made = one("well-known", {"products": [{"path": "/p", "price": price}]}, WELL)
    assert made.prices == ()
    assert "price-unit-unknown" in made.flags


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"a":1}', b"<html>", b"{" * 99])
def test_well_known_of_no_shape(document):
    with pytest.raises(ChallengeInvalid):
        read("well-known", document, WELL)


def test_both_names_of_the_document_are_tried():
    assert [each.url for each in builtin()["well-known"].first("https://a.example/some/page")] == ["https://a.example/.well-known/x402", "https://a.example/.well-known/x402.json"]


# -- OpenAPI ---------------------------------------------------------------------------------------------------------------


def openapi(paid, **more):
    document = {"openapi": "3.1.0", "info": {"title": "T"}, "paths": {"/a/{id}": {"get": {"x-payment-info": paid, "summary": "S"}, "post": {}}}, **more}
    return one("openapi", document, f"{HOME}/openapi.json")


@pytest.mark.parametrize(("paid", "expected"), [
    ({"intent": "charge", "method": "x402", "network": "base", "amount": "500", "currency": USDC.address}, [("x402", 500, 500)]),
    ({"intent": "charge", "method": "tempo", "amount": "500", "currency": "0x20c0"}, [("mpp", None, None)]),
    ({"intent": "charge", "method": "tempo", "amount": None, "currency": "0x20c0"}, [("mpp", None, None)]),
    ({"offers": [{"intent": "charge", "amount": "1", "currency": "x"}, {"intent": "session", "amount": "2", "currency": "x"}]}, [("mpp", None, None)] * 2),
    ({"offers": [{"amount": "1"}], "amount": "2"}, []),
    ({"price": {"mode": "fixed", "currency": "USD", "amount": "0.02"}, "protocols": [{"x402": {}}]}, [("x402", None, 20000)]),
    ({"price": {"mode": "dynamic", "currency": "USD", "min": "0.01", "max": "1"}, "protocols": ["x402", "mpp"]}, [("x402", None, 10000), ("mpp", None, 10000)]),
    ({"price": {"mode": "fixed", "currency": "EUR", "amount": "0.02"}}, [("x402", None, None)]),
    ({"pricingMode": "fixed", "price": 0.05, "protocols": ["x402"]}, [("x402", None, 50000)]),
    ({"pricingMode": "range", "minPrice": "0.01", "maxPrice": "2", "protocols": ["mpp"]}, [("mpp", None, 10000)]),
    ({"price": {"mode": "fixed", "currency": "USD", "amount": "1e3"}}, [("x402", None, None)]),
])  # fmt: skip
def test_openapi_in_four_dialects(paid, expected):
    made = openapi(paid)
    assert [(price.rail, price.amount, price.micros) for price in made.prices] == list(dict.fromkeys(expected)) or len(made.prices) == len(expected)
    assert made.identity.path == "/a/{}"


def test_a_server_of_the_document_is_where_it_is():
    paid = {"price": {"mode": "fixed", "amount": "1"}}
    assert openapi(paid, servers=[{"url": "https://{host}/"}, {"url": "/v2"}]).identity.path == "/v2/a/{}"
    assert "listed-by-another" in openapi(paid, servers=[{"url": "https://bank.example"}]).flags


# -- the others ---------------------------------------------------------------------------------------------------------------


def test_mpp_registry():
    endpoint = {"method": "POST", "path": "/v1/x", "description": "d", "payment": {"intent": "charge", "method": "tempo", "currency": "0x20", "decimals": 6, "amount": "1000"}}
    service = {"id": "x", "name": "N", "url": "https://x.example", "serviceUrl": "https://mpp.x.example", "categories": ["AI"], "tags": ["t"], "status": "active", "endpoints": [endpoint]}
    made = one("mpp", {"version": 1, "services": [service]})
    assert (made.identity.origin, made.identity.method, made.identity.path, made.category) == ("https://mpp.x.example", "POST", "/v1/x", "ai")
    assert (made.prices[0].rail, made.prices[0].amount, made.prices[0].payable) == ("mpp", None, False)
    assert "decimals-ignored" in made.flags


def test_satring_counts_what_it_hides():
    page = read("satring", {"services": [{"slug": "a", "pricing_sats": 5}, {"slug": "b", "url": "https://b.example/x", "pricing_usd": 0.1, "protocol": "L402", "status": "down"}], "total": 2},
                "https://satring.example/api/v1/services?page=1&page_size=100", {"page": 1})  # fmt: skip
    assert [each.why for each in page.skipped] == ["a row without a URL"]
    assert (page.listings[0].prices[0].rail, page.listings[0].prices[0].micros) == ("l402", 100000)
    assert "said-inactive" in page.listings[0].flags
    assert page.following[0].url == "https://satring.example/api/v1/services?page=2&page_size=100"
    assert [each.url for each in builtin()["satring"].first("https://s.example/api/v1/services")] == ["https://s.example/api/v1/services"]
    for url, following in (("services", ["services?page=2"]), ("services?page=7&q=a", ["services?page=8&q=a"]), ("search?q=a", [])):
        assert [each.url for each in read("satring", {"services": [{"slug": "a"}]}, f"{HOME}/api/v1/{url}").following] == [f"{HOME}/api/v1/{each}" for each in following]
    assert read("satring", {"services": []}, page.following[0].url, page.following[0].state).following == ()


def test_llms_txt_points_at_its_own_site_alone():
    page = read("llms", f"# x\n- paid with x402: {HOME}/pay.\n- pay https://evil.example/x\n- free {HOME}/free\n- x402 catalogue {WELL}\n".encode(), f"{HOME}/llms.txt")
    assert [each.url for each in page.listings] == [f"{HOME}/pay"]
    assert [each.why for each in page.skipped] == ["a link to another site"]
    page = read("llms", b"- [News](/news?x=1): paid\n- [Docs](/docs)\n- [Pay](/openapi.json)\n- [Pay](//evil.example/x)\n", f"{HOME}/llms.txt")
    assert [each.url for each in page.listings] == [f"{HOME}/news?x=1"]
    with pytest.raises(ChallengeInvalid):
        read("llms", b"<html>pay at https://cat.example/x", f"{HOME}/llms.txt")


def test_a_list_of_urls():
    page = read("urls", b"# mine\nhttps://a.example/x  # one\n\nPOST https://b.example/y\nfile:///x\nTRACE https://c.example\nwhat is this\n")
    assert [(each.identity.method, each.url) for each in page.listings] == [("GET", "https://a.example/x"), ("POST", "https://b.example/y")]
    assert len(page.skipped) == 3


def test_x402pay_items_say_their_price_and_not_their_place():
    item = {"contentId": "a-1", "title": "T", "pricing": {"sbtc": "0.0001", "stx": "0.1", "usdcx": "0.25"}, "agentCompatible": True, "contractAddress": "SP1.revenue-split",
            "accessControl": "pay-per-view", "contentType": "article", "tokenGate": None}  # fmt: skip
    assert [each.why for each in read("x402pay", {"items": [item]}).skipped] == ["an item that does not say where it is"]
    made = one("x402pay", {"base": f"{HOME}/content", "items": [item]})
    assert (made.url, [price.micros for price in made.prices]) == (f"{HOME}/content/a-1", [None, None, 250000])
    known = one("x402pay", {"base": f"{HOME}/content", "items": [{**item, "contractAddress": "SP2C2YFP12AJZB4MABJBAJ55XECVS7E4PMMZ89YZR.revenue-split"}]})
    assert [(price.network, price.token, price.amount, price.micros) for price in known.prices] == [
        ("stacks", "sBTC", 10_000, None), ("stacks", "STX", 100_000, None), ("stacks", "USDCx", 250_000, 250_000)]  # fmt: skip


def test_what_a_url_alone_is():
    for site in (HOME, f"{HOME}/"):
        assert resolved(site) == [(kind, site) for kind in ("well-known", "openapi", "bazaar", "llms", "402")]
    assert [resolved(f"{HOME}/{each}")[0][0] for each in ("v2/x402/", "v2/x402/discovery/", "discovery-pay", "discovery/weather")] == ["bazaar", "bazaar", "url", "url"]
    assert [resolved(each)[0][0] for each in (HOME, WELL, f"{HOME}/openapi.json", f"{HOME}/api/services", f"{HOME}/llms.txt", f"{HOME}/discovery/items",
                                           f"{HOME}/v2/x402/discovery/search?query=x", f"{HOME}/platform/v2/x402", "satring=https://s.example", f"{HOME}/v1/weather", f"{HOME}/list.txt")] == [
        "well-known", "well-known", "openapi", "mpp", "llms", "x402pay", "bazaar", "bazaar", "satring", "url", "url"]  # fmt: skip
    with pytest.raises(SettingsError, match="no source is called"):
        resolved("nobody=https://a.example")
    for wrong in ("", "bazaar=", "localhost:8402", "ftp://a.example", "/etc/hosts", "urls=file:///etc/hosts"):
        with pytest.raises(SettingsError, match="no URL of http"):
            resolved(wrong)
    assert set(known()) == set(builtin())


@pytest.mark.parametrize("name", sorted(builtin()))
@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"null", b"[]", b"{}", b'{"items":{}}', b'{"services":[[[]]],"items":[null],"paths":[],"endpoints":5}'])
def test_no_source_is_upset_by_nonsense(name, body):
    try:
        page = read(name, body)
    except ChallengeInvalid:
        return
    assert page.listings == ()
