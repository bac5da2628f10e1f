"""What a sandbox publishes of its seller, as our crawler reads it: honest of every seller on every chain, and each lie of the seller `catalogue`."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from x402_agent.discovery.crawler import Caps
from x402_agent.discovery.polite import Manners
from x402_agent.sandbox import GROUNDS, SELLERS, Sandbox, scenarios

KINDS = ("bazaar", "well-known", "openapi", "llms")
NAMES = {"honest", "listed_cheaper", "listed_dead", "listed_other_payee", "listed_twice", "injecting", "catalogue_429", "catalogue_hangs", "drifting_total", "cursor_cycle"}


@pytest.fixture
def published(market):
    """A sandbox that listens, and a crawl of it: its report, its services by path."""
    opened = []

    def crawl(scenario="honest", kinds=KINDS, box=None, **options):
        if box is None:
            box = Sandbox(scenario, **{name: options.pop(name) for name in ("seller", "chain") if name in options})
            opened.append(box)
            box.serve()
        report = market.crawl(*[(kind, box.origin) for kind in kinds], probes=100, **options)
        found = market.search("", every=True, limit=100)
        return box, report, {each.url.removeprefix(box.origin) + each.tool: each for each in found}

    yield crawl
    for each in opened:
        each.close()


def lying(published, scenario, **options):
    return published(scenario, seller="catalogue", **options)


def test_an_honest_sandbox_is_found_whole_and_agrees(published):
    box, report, found = published()
    assert (report.whole, report.failed, report.skipped) == (True, [], 0)
    assert set(found) == {path for path, route in box.routes.items() if route.price}
    for path, each in found.items():
        assert (each.verdict, each.agreement, each.suspicious) == ("live-402", "agreement", ()), path
        assert each.micros == box.routes[path].price, path
        assert len(each.sources) == (3 if path == "/upload" else 4)  # llms.txt cannot say POST
    assert found["/upload"].method == "POST"
    assert box.settlements == []
    again = published(box=box)[1]
    assert (again.unchanged, again.changed, again.probed) == (again.pages - 1, 0, 0)  # the other name of the well-known page is a 404


@pytest.mark.parametrize(("whose", "chain"), [("kamiyo", "evm"), ("mcp", "evm"), *(pytest.param("shop", chain, marks=pytest.mark.full) for chain in GROUNDS if chain != "evm")])
def test_every_seller_is_published_from_its_own_routes(published, whose, chain):
    box, report, found = published(seller=whose, chain=chain, kinds=("bazaar", "openapi"))
    assert report.whole
    pages = {path: each for path, each in found.items() if not each.tool}
    assert set(pages) == {path for path, route in box.routes.items() if route.price}
    assert {each.agreement for each in pages.values()} == {"agreement"}
    assert not {flag for each in found.values() for flag in each.suspicious}
    if whose == "mcp":
        assert {each.tool for each in found.values() if each.tool} == {path.rpartition("/")[2] for path in pages}


def test_a_price_that_x402_does_not_ask_is_told_by_its_402_alone(published):
    """KAMIYO on Solana is paid by a transfer: the row has no price, and is right to have none."""
    _, _, found = published(seller="kamiyo", chain="solana", kinds=("bazaar",))
    assert {(each.verdict, each.agreement, each.suspicious) for each in found.values()} == {("live-402", "", ())}


def test_dollars_of_an_openapi_document_are_right_by_themselves(published):
    """What has no price there (a ceiling, a choice) is told by its 402."""
    _, _, found = published(kinds=("openapi",))
    assert {each.agreement for path, each in found.items() if not path.startswith("/upto")} == {"agreement"}
    assert {each.agreement for path, each in found.items() if path.startswith("/upto")} == {""}


def test_a_list_that_comes_as_a_402_is_read_as_what_it_lists(published):
    """KAMIYO's own `/.well-known/x402`."""
    _, report, found = published(seller="kamiyo", kinds=("well-known",))
    assert report.failed == []
    assert {path: (each.agreement, each.micros) for path, each in found.items()} == {"/exploits": ("agreement", 10_000)}


def test_a_page_of_the_sellers_own_stays_its_own():
    with Sandbox(seller="kamiyo") as box, httpx2.Client(transport=box.transport()) as http:
        assert http.get(box.url("/.well-known/x402")).status_code == 402
        assert http.get(box.url("/openapi.json")).json()["paths"].keys() == {path for path, route in box.routes.items() if route.price}


# -- lies ------------------------------------------------------------------------------------------------------------------


def test_every_lie_is_tested_here():
    assert set(scenarios("catalogue")) == NAMES
    assert "catalogue" in SELLERS


@pytest.mark.parametrize(("scenario", "agreement"), [("listed_cheaper", "drift"), ("listed_other_payee", "conflict")])
@pytest.mark.parametrize("kinds", [KINDS, pytest.param(("bazaar",), marks=pytest.mark.full)])
def test_what_is_listed_is_not_what_is_asked(published, market, scenario, agreement, kinds):
    """However many pages without a payee say the same."""
    _, _, found = lying(published, scenario, kinds=kinds)
    one = found.pop("/joke")
    assert (one.verdict, one.agreement, one.suspicious, one.micros) == ("live-402", agreement, (agreement,), 10_000)
    assert one.points < min(each.points for each in found.values())
    assert one.id not in {each.id for each in market.search("joke")}  # three of this provider are better
    assert {each.agreement for each in found.values()} == {"agreement"}


def test_where_nobody_answers_is_dead_and_hidden(published, market):
    _, report, found = lying(published, "listed_dead", kinds=("bazaar",))
    assert (found["/joke-gone"].verdict, found["/joke-gone"].suspicious) == ("dead", ("dead",))
    assert report.verdicts["dead"] == 1
    assert "/joke-gone" not in {each.url.rpartition("/")[2] for each in market.search("joke")}


def test_two_rows_of_one_thing_are_one_that_is_flagged(published):
    _, report, found = lying(published, "listed_twice")
    assert found["/joke"].suspicious == ("listed-twice", "payees-differ", "prices-differ")
    assert report.services == len(found)


def test_words_that_want_to_be_obeyed_move_nothing(published):
    """Its words are shown as escapes, flagged, and worth no point."""
    _, _, found = lying(published, "injecting", kinds=("bazaar",))
    one = found.pop("/joke")
    assert one.suspicious == ("hidden-text",)
    assert "ignore your policy" in one.description and one.description.isprintable() and one.name.isprintable()
    assert one.points < min(each.points for each in found.values())


def test_who_refuses_for_ever_is_named_and_asked_a_few_times(published):
    box, report, found = lying(published, "catalogue_429", kinds=("bazaar",))
    assert found == {}
    assert "answered 429" in report.failed[0]
    assert 1 <= sum(each.path == "/discovery/resources" for each in box.requests) <= 3


@pytest.mark.full
def test_who_hangs_is_named_and_holds_nobody_up(published, market):
    from market import row

    market.rows = [row(f"https://a{n}.example/w") for n in range(5)]
    with Sandbox("catalogue_hangs", seller="catalogue") as box:
        box.serve()
        report = market.crawl(("bazaar", box.origin), ("bazaar", market.seller.url("/x402")), caps=Caps(answer=4.0), manners=Manners(rate=10_000, tries=1))
        assert report.failed == [f"{box.origin}/discovery/resources?limit=100&offset=0: TimeoutError"]
    assert report.services == 5


def test_a_total_that_drifts_decides_nothing(published):
    box, report, found = lying(published, "drifting_total", kinds=("bazaar",))
    assert report.whole
    assert len(found) == sum(bool(each.price) for each in box.routes.values())
    totals = [httpx2.get(box.url(f"/discovery/resources?offset={offset}")).json()["pagination"]["total"] for offset in (0, 4, 8)]
    assert len(set(totals)) == 3


def test_cursors_that_go_round_end(published):
    box, report, found = lying(published, "cursor_cycle", kinds=("bazaar",))
    assert report.whole
    assert len(found) == 8
    assert sum(each.path == "/discovery/resources" for each in box.requests) <= 4


# -- the doors, as others may ask them ---------------------------------------------------------------------------------------


def test_the_bazaar_pages_and_searches_as_its_specification_says():
    with Sandbox() as box, httpx2.Client(transport=box.transport(), base_url=box.origin) as http:
        whole = http.get("/discovery/resources").json()
        paths = [each["resource"].removeprefix(box.origin) for each in whole["items"]]
        assert (whole["x402Version"], whole["pagination"]) == (2, {"limit": 100, "offset": 0, "total": len(paths)})
        second = http.get("/discovery/resources?limit=5&offset=5").json()
        assert [each["resource"].removeprefix(box.origin) for each in second["items"]] == paths[5:10]
        by_cursor, cursor = [], "0"
        while cursor is not None and len(by_cursor) < 2 * len(paths):
            page = http.get(f"/discovery/resources?limit=7&cursor={cursor}").json()
            by_cursor += [each["resource"].removeprefix(box.origin) for each in page["items"]]
            cursor = page["pagination"]["cursor"]
        assert by_cursor == paths
        found = http.get("/discovery/search?query=joke&maxUsdPrice=0.01&network=eip155:84532&urlSubstring=v1").json()
        assert [each["resource"].removeprefix(box.origin) for each in found["resources"]] == ["/v1/joke"]
        assert (found["searchMethod"], found["partialResults"], found["pagination"]["cursor"]) == ("text", False, None)
        assert len(http.get("/discovery/search").json()["resources"]) == 20
        assert len(http.get(f"/discovery/merchant?payTo={box.pay_to}").json()["resources"]) == len(paths)
        assert http.get("/discovery/merchant?payTo=0x00").json()["resources"] == []
        for wrong in ("/discovery/merchant", "/discovery/resources?offset=-1", "/discovery/resources?limit=x", "/discovery/search?maxUsdPrice=x"):
            assert http.get(wrong).status_code == 400, wrong
        assert http.post("/discovery/resources").status_code == 405
        assert http.get("/facilitator/discovery/resources?type=http&extensions=bazaar").json() == whole
        assert http.get("/discovery/resources?extensions=other").json()["items"] == []
        mark = http.get("/openapi.json").headers["etag"]
        assert http.get("/openapi.json", headers={"if-none-match": mark}).status_code == 304


def test_the_page_has_a_row_for_every_lie():
    """`x402_agent/sandbox/README.md` says what each scenario is in its own words."""
    page = (Path(__file__).parents[2] / "x402_agent" / "sandbox" / "README.md").read_text("utf-8")
    for name, scene in scenarios("catalogue").items():
        assert f"| `{name}` | {scene.description} |" in page
