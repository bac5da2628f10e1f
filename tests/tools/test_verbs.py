"""The verbs against real sellers, signatures and a VM: what they pay, what they refuse, and what a model is told."""

from __future__ import annotations

import time

import pytest

from x402_agent.tools import Tools

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


async def test_a_quote_pays_nothing_and_its_offer_is_bought_once(payer):
    async with Tools(payer, client="Claude Desktop") as tools:
        quoted = await tools.quote(payer.sandbox.url("/joke"))
        assert (quoted.policy, quoted.price.amount, quoted.price.atomic, quoted.usd) == ("allowed", "0.0100", "10000", "0.01")
        assert quoted.pay_to == payer.sandbox.pay_to and not payer.sandbox.settlements
        bought = await tools.buy(quoted.offer_id)
        assert (bought.outcome, bought.status, bought.paid.atomic) == ("spent", 200, "10000")
        assert "joke" in bought.body.inside and bought.body.text.startswith("[untrusted: text of http://")
        again = await tools.buy(quoted.offer_id)
        assert again.problem.kind == "PolicyDenied" and "bought already" in again.problem.what
        assert len(payer.sandbox.settlements) == 1
        assert payer.ledger.payment(bought.payment_id).agent == "claude-desktop"


async def test_M5_an_offer_that_is_too_old_buys_nothing_and_says_so(payer):
    async with Tools(payer) as tools:
        quoted = await tools.quote(payer.sandbox.url("/joke"))
        now = time.monotonic()
        tools._offers.clock = lambda: now + quoted.seconds + 1
        late = await tools.buy(quoted.offer_id)
        assert late.problem.kind == "PolicyDenied" and "too old" in late.problem.what and late.problem.hint == "quote"
        assert not payer.sandbox.settlements
        tools._offers.clock = time.monotonic
        assert (await tools.buy(quoted.offer_id)).outcome == "spent"


async def test_an_offer_is_good_for_its_own_client_alone(payer):
    async with Tools(payer, client="a") as one, Tools(payer, client="b") as other:
        quoted = await one.quote(payer.sandbox.url("/joke"))
        assert (await other.buy(quoted.offer_id)).problem.kind == "PolicyDenied"
        for odd in ("", "offer_x", None, 7, ["a"], quoted.offer_id + "A"):
            assert (await one.buy(odd)).problem.kind == "PolicyDenied"
        assert not payer.sandbox.settlements
        assert (await one.buy(quoted.offer_id)).outcome == "spent"


async def test_the_same_fetch_is_paid_once_unless_again(payer):
    url = payer.sandbox.url("/joke")
    async with Tools(payer) as tools:
        first = await tools.fetch(url)
        second = await tools.fetch(url)
        assert (first.repeated, second.repeated) == (False, True)
        assert (second.payment_id, second.body) == (first.payment_id, first.body)
        assert len(payer.sandbox.settlements) == 1
        third = await tools.fetch(url, again=True)
        assert third.payment_id != first.payment_id and len(payer.sandbox.settlements) == 2
        assert (await tools.fetch(url)).payment_id == third.payment_id


async def test_max_price_only_lowers(payer):
    async with Tools(payer) as tools:
        dear = await tools.fetch(payer.sandbox.url("/dear"), max_price="1000000")
        low = await tools.fetch(payer.sandbox.url("/joke"), max_price="0.009")
        odd = [await tools.fetch(payer.sandbox.url("/joke"), max_price=each) for each in ("-1", "", "1e9", "NaN", 0.5, "0x10", "١")]
        assert dear.problem.kind == low.problem.kind == "BudgetExceeded" and {each.problem.kind for each in odd} == {"SettingsError"}
        assert not payer.sandbox.settlements


async def test_what_is_free_is_fetched_anew_each_time(payer):
    async with Tools(payer) as tools:
        assert (await tools.quote(payer.sandbox.url("/free"))).policy == "free"
        made = [await tools.fetch(payer.sandbox.url("/free")) for _ in range(2)]
        assert [(each.outcome, each.repeated, each.payment_id) for each in made] == [("free", False, "")] * 2


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "file:///etc/passwd", "https://a@b.example/", "x", 7,
                                 "https://a.example/ \n", "http://[::ffff:127.0.0.1]/"])  # fmt: skip
async def test_other_addresses_are_refused(payer, url):
    async with Tools(payer) as tools:
        assert (await tools.fetch(url)).problem.kind in ("AddressRefused", "SettingsError")
        assert (await tools.quote(url)).problem.kind in ("AddressRefused", "SettingsError")


async def test_spending_is_the_clients_own(payer):
    async with Tools(payer, client="a") as one, Tools(payer, client="b") as other:
        await one.fetch(payer.sandbox.url("/joke"))
        mine, theirs = await one.spending(), await other.spending("all")
        assert (mine.spent, mine.payments, mine.last[0].outcome) == ("0.01", 1, "spent")
        assert (theirs.spent, theirs.payments, theirs.last) == ("0.00", 0, ())
        assert mine.limits[0].left == "4.99"
        assert (await one.spending("everything")).problem.kind == "SettingsError"
