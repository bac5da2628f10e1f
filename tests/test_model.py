"""The nouns: what an Ask and an Offer say of themselves."""

import pytest

from x402_agent.assets import asset_by_id
from x402_agent.model import Ask, Offer, Under, scopes_of
from x402_agent.scopes import plain_path

USDC = asset_by_id("eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e")


def test_a_payment_counts_in_every_scope_it_belongs_to():
    under = Under("a1", "g1", "research/prices", ("r1", "r2"), "search", "weather")
    ask = Ask("GET", "https://x.example:8443/v1/day?q=1", "https://x.example:8443", "x.example", "/v1/day", under=under)
    offer = Offer("x402", "exact", USDC, 1, "0x" + "Ab" * 20, 60)
    assert scopes_of(ask, offer) == (
        "all", "host:x.example", "origin:https://x.example:8443", f"asset:{USDC.id}", "asset:USDC",
        f"payee:{USDC.network.id}/0x{'ab' * 20}", f"payee:0x{'ab' * 20}", "group:g1", "agent:a1", "tool:search", "category:weather",
        "task:research", "task:research/prices", "run:r1", "run:r2",
        "path:https://x.example:8443/v1", "path:https://x.example:8443/v1/day",
    )  # fmt: skip


def test_an_ask_on_nobodys_behalf_counts_by_seller_alone():
    ask = Ask("GET", "https://x.example/", "https://x.example", "x.example", "/")
    kinds = {scope.partition(":")[0] for scope in scopes_of(ask, Offer("x402", "exact", USDC, 1, "0x" + "ab" * 20, 60))}
    assert kinds == {"all", "host", "origin", "asset", "payee"}


def test_names_inside_each_other_each_count():
    under = Under(agent="boss,scout", tool="research,search")
    found = scopes_of(Ask("GET", "https://x.example/", "https://x.example", "x.example", "/", under=under),
                      Offer("x402", "exact", USDC, 1, "0x" + "ab" * 20, 60))  # fmt: skip
    assert {"agent:boss", "agent:scout", "tool:research", "tool:search"} <= set(found)


@pytest.mark.parametrize(
    ("path", "plain"),
    [("/a/../v1//%41", "/v1/A"), ("/v1/..", "/"), ("/../../v1", "/v1"), ("/./v1/", "/v1/"), ("/v1/%2e%2E/x", "/x"), ("/%2541", "/%2541"), ("/a%2fb", "/a%2Fb"),
     ("/v1", "/v1"), ("", ""), ("/", "/"), ("//", "/"), ("/...", "/..."), ("/a/.b", "/a/.b"), ("/%zz", "/%zz"), ("/%C3%A9", "/%C3%A9")],
)  # fmt: skip
def test_a_path_has_one_spelling(path, plain):
    assert plain_path(path) == plain == plain_path(plain)
