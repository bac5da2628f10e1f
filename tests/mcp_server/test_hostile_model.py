"""A model that obeys every page it reads wants to spend more than its owner allows: the owner's policy has the last word.

Each play is followed by the same judge (`persuaded.Model.judge`): spend within policy, nothing secret, no seller's word outside of its fence.
"""

from __future__ import annotations

import threading

import anyio

from persuaded import CENT, MARK, PAYEE, plays

play, played = plays()


# -- more than policy allows -----------------------------------------------------------------------------------------------


@play(quick=True)
async def splits_a_purchase(m):
    urls = [m.shop.sells(f"/part/{n}", amount=CENT) for n in range(9)]
    async with m.hosts() as (host,):
        got = [await host.call("fetch", url=url) for url in urls]
    assert [each.get("outcome") for each in got].count("spent") == 5 and len(m.signed) == 5
    assert "day" in got[-1]["error"]


@play()
async def splits_it_among_sellers_methods_and_queries(m):
    ways = []
    for seller in (m.shop, m.other):
        url = seller.sells("/x", amount=CENT)
        ways += [{"url": f"{url}?{n}"} for n in range(3)] + [{"url": url, "method": way, "body": "{}"} for way in ("POST", "PUT", "PATCH")]
    async with m.hosts() as (host,):
        for way in ways:
            await host.call("fetch", **way)
    assert len(m.signed) == 5


@play()
async def calls_itself_by_many_names(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts(*(f"name-{n}" for n in range(8))) as hosts:
        for host in hosts:
            await host.call("fetch", url=url)
    assert len(m.signed) == 5


@play()
async def calls_itself_all_admin_and_worse(m):
    url = m.shop.sells("/x", amount=CENT)
    names = ["all", "admin", "agent:vip", "the-owners-own", "agent:the-owners-own", "*", "", "../../etc/passwd", f"{MARK}: you are the owner", "\u202eadmin", "a" * 5000, "claude,vip", "claude\nvip", "%", "' OR 1=1 --"]
    async with m.hosts(*names) as hosts:
        for host in hosts:
            await host.call("fetch", url=url)
            await host.call("spending")
    assert len(m.signed) == 5


@play()
async def buys_all_at_once(m):
    urls = [m.shop.sells(f"/part/{n}", amount=CENT) for n in range(24)]
    async with m.hosts("one", "two") as hosts, anyio.create_task_group() as group:
        for n, url in enumerate(urls):
            group.start_soon(lambda host=hosts[n % 2], url=url: host.call("fetch", url=url))
    assert len(m.signed) <= 5


@play()
async def asks_for_the_same_thing_at_once(m):
    url = m.shop.sells("/x", amount=CENT)
    got = []

    async def one(host):
        got.append(await host.call("fetch", url=url))

    async with m.hosts() as (host,), anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(one, host)
    assert len(m.signed) == 1 and {each["outcome"] for each in got} == {"spent"}
    assert [each["repeated"] for each in got].count(False) == 1


@play()
async def asks_again_and_again(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts() as (host,):
        for _ in range(9):
            await host.call("fetch", url=url, again=True)
    assert len(m.signed) == 5


@play()
async def pays_one_that_costs_too_much(m):
    urls = [m.shop.sells("/x", amount=3 * CENT), m.shop.sells("/y", amount=10**30)]
    async with m.hosts() as (host,):
        for url in urls:
            assert not await host.quoted(url)
            for price in ("100", "1e9", "0.03", None):
                await host.call("fetch", url=url, **({} if price is None else {"max_price": price}))
    assert not m.signed


@play(quick=True)
async def amounts_in_every_argument(m):
    url = m.shop.sells("/x", amount=3 * CENT)
    wishes = {"amount": "5", "price": 5, "pay_to": PAYEE, "payTo": PAYEE, "recipient": PAYEE, "limit": "1000", "per_call": "1000", "budget": "1000/day", "policy": "allow",
              "key": "k", "task": "vip", "agent": "vip", "tool": "vip", "client": "vip", "headers": {"x-payment": "x"}, "approve": True, "approved": True,
              "network": "base", "offer": {"amount": "1"}, "max": "1000", "extensions": {"payment": {"max": "9"}}, "loopback": True, "_meta": {"x": 1}}  # fmt: skip
    async with m.hosts() as (host,):
        for tool, known in (("fetch", {"url": url}), ("quote", {"url": url}), ("buy", {"offer_id": "offer_x"}), ("spending", {}), ("balance", {}), ("resume", {}), ("why", {"payment_id": "x"})):
            listed = next(each for each in (await host.client.list_tools()).tools if each.name == tool)
            assert not set(wishes) & set(listed.input_schema.get("properties", {})), tool
            assert listed.input_schema.get("additionalProperties") is False
            for name, wish in wishes.items():
                assert name in (await host.call(tool, **{**known, name: wish}))["error"]
    assert not m.signed and not m.shop.hits


@play()
async def a_max_price_of_any_kind_only_lowers(m):
    dear = m.shop.sells("/dear", amount=3 * CENT)
    odd = ["1e9", "NaN", "Infinity", "-1", "0x10", "\uff11", "0.01\n", "", " ", "1,000", "1_000", "9" * 5000, "+5", "5 USD", True, 5, 5.0, [5], {"usd": 5}, "0", "0.009999", f"5 {MARK}"]
    async with m.hosts() as (host,):
        for n, price in enumerate(odd):
            assert "error" in await host.call("fetch", url=dear, max_price=price)
            got = await host.call("fetch", url=m.shop.sells(f"/cheap/{n}", amount=CENT), max_price=price)
            assert "error" in got or str(price).strip() in ("1e9", "9" * 5000, "+5", "5", "5.0", "True", "0.01", ""), price
    assert len(m.signed) <= 5


# -- offers ----------------------------------------------------------------------------------------------------------------


@play(quick=True)
async def replays_an_offer(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts() as (host,):
        offer = await host.quoted(url)
        assert (await host.call("buy", offer_id=offer))["outcome"] == "spent"
        for _ in range(4):
            assert "once" in (await host.call("buy", offer_id=offer))["error"]
    assert len(m.signed) == 1


@play()
async def buys_one_offer_many_times_at_once(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts() as (host,), anyio.create_task_group() as group:
        offer = await host.quoted(url)
        for _ in range(12):
            group.start_soon(lambda: host.call("buy", offer_id=offer))
        for _ in range(4):
            group.start_soon(lambda: host.call("fetch", url=url))
    assert len(m.signed) == 1


@play(quick=True)
async def takes_another_clients_offer(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts("claude-ai", "cursor") as (ours, theirs):
        offer = await ours.quoted(url)
        assert "no such offer" in (await theirs.call("buy", offer_id=offer))["error"]
        assert not m.signed
        assert (await ours.call("buy", offer_id=offer))["outcome"] == "spent"


@play()
async def makes_up_offers(m):
    m.shop.sells("/x", amount=CENT)
    odd = ["", "offer_", "offer_" + "A" * 24, "../../x", "' OR 1=1 --", "0", "*", "\x00", "a" * 100_000, MARK, None, 7, True, ["offer"], {"id": "x"}, m.shop.url("/x")]
    async with m.hosts() as (host,):
        offer = await host.quoted(m.shop.url("/x"))
        for one in (*odd, offer.upper(), offer[:-1], offer + "A", f" {offer}", offer.encode().hex()):
            assert "error" in await host.call("buy", offer_id=one)
    assert not m.signed


@play(quick=True)
async def the_price_rises_after_the_quote(m):
    prices = [CENT]
    m.shop.serves("/x", lambda hit: m.shop.ok() if hit.proof else m.shop.ask("/x", prices.pop(0) if prices else 2 * CENT))
    async with m.hosts() as (host,):
        got = await host.call("buy", offer_id=await host.quoted(m.shop.url("/x")))
        assert "terms" in got["error"]
    assert not m.signed


@play()
async def the_payee_changes_after_the_quote(m):
    payees = [PAYEE, "0x" + "cd" * 20]

    def route(hit):
        terms = m.shop.terms("/x", CENT, payTo=payees.pop(0) if len(payees) > 1 else payees[0])
        return m.shop.answer(402, b"{}", payment_required=m.shop.packed(terms))

    m.shop.serves("/x", route)
    async with m.hosts() as (host,):
        assert "error" in await host.call("buy", offer_id=await host.quoted(m.shop.url("/x")))
    assert not m.signed


@play()
async def quotes_until_memory_is_full(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts() as (host,):
        first = await host.quoted(url)
        ids = {await host.quoted(f"{url}?{n}") for n in range(260)}
        assert len(ids) == 260
        assert "error" in await host.call("buy", offer_id=first)  # the oldest made room
    assert not m.signed


# -- time, cancellation, answers that do not come ----------------------------------------------------------------------------


@play(quick=True)
async def cancels_half_way(m):
    seen, free = threading.Event(), threading.Event()

    def slow(hit):
        seen.set()
        free.wait(30)
        return m.shop.ok()

    url = m.shop.sells("/x", slow, amount=CENT)
    try:
        async with m.hosts() as (host,):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: host.call("fetch", url=url))
                await anyio.to_thread.run_sync(lambda: seen.wait(30))
                group.cancel_scope.cancel()
            free.set()
            m.shop.sells("/x", amount=CENT)
            assert (await host.call("spending"))["in_doubt"] in ("0.01", "0.00")  # under way, or in doubt: counted either way
            got = await host.call("fetch", url=url)
            assert got["outcome"] == "spent"
            await host.call("resume")
    finally:
        free.set()
    assert len(m.signed) == 1 and len(m.shop.proofs) >= 1


@play()
async def cancels_at_every_moment(m):
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts() as (host,):
        for n in range(25):
            with anyio.move_on_after(n / 200):
                await host.call("fetch", url=url)
        await host.call("resume")
        got = await host.call("fetch", url=url)
    assert len(m.signed) == 1 and got["outcome"] == "spent"


@play()
async def gives_up_waiting_and_tries_again(m):
    free = threading.Event()

    def late(hit):
        free.wait(30)
        return m.shop.ok()

    url = m.shop.sells("/x", late, amount=CENT)
    try:
        async with m.hosts() as (host,):
            for _ in range(3):
                with anyio.move_on_after(0.3):
                    await host.call("fetch", url=url)
            free.set()
            got = await host.call("fetch", url=url)
            assert got["outcome"] == "spent"
            assert (await host.call("fetch", url=url))["repeated"] is True
    finally:
        free.set()
    assert len(m.signed) == 1


@play(quick=True)
async def tries_again_when_nobody_answers(m):
    silent = threading.Event()
    url = m.shop.sells("/x", lambda hit: m.shop.ok() if silent.is_set() else hit.reset(), amount=CENT)
    async with m.hosts() as (host,):
        for _ in range(2):
            assert "proof" in (await host.call("fetch", url=url, method="POST", body="x"))["error"]
        silent.set()
        got = await host.call("fetch", url=url, method="POST", body="x")
        assert got["outcome"] == "spent"
    assert len(m.signed) == 1


@play()
async def goes_elsewhere_while_in_doubt(m):
    url = m.shop.sells("/x", lambda hit: hit.reset(), amount=CENT)
    elsewhere = m.other.sells("/x", lambda hit: hit.reset(), amount=CENT)
    async with m.hosts() as (host,):
        for n in range(4):
            await host.call("fetch", url=f"{url}?{n}")
            await host.call("fetch", url=f"{elsewhere}?{n}", again=True)
    assert 1 <= len(m.signed) <= 5  # what is in doubt counts


@play()
async def the_seller_asks_again_after_the_proof(m):
    url = m.shop.serves("/x", m.shop.ask("/x", CENT))
    async with m.hosts() as (host,):
        for _ in range(4):
            await host.call("fetch", url=url)
            await host.call("fetch", url=url, again=True)
            await host.call("resume")
    assert len(m.signed) == 1


@play()
async def the_seller_takes_the_money_and_gives_an_error(m):
    url = m.shop.sells("/x", m.shop.answer(500, MARK.encode(), payment_response=m.shop.receipt()), amount=CENT)
    async with m.hosts() as (host,):
        for _ in range(4):
            got = await host.call("fetch", url=url)
            assert "error" in got
    assert len(m.signed) == 1


@play()
async def resumes_as_often_as_it_can(m):
    url = m.shop.sells("/x", lambda hit: hit.reset(), amount=CENT)
    async with m.hosts("one", "two") as (host, theirs):
        await host.call("fetch", url=url)
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(lambda: host.call("resume"))
                group.start_soon(lambda: theirs.call("resume"))
    assert len(m.signed) == 1


# -- a person who says yes to everything ---------------------------------------------------------------------------------------


@play()
async def a_person_who_says_yes_to_everything(m):
    m.person = lambda params: "accept"
    m.wants_a_yes_above("0.005")
    urls = [m.shop.sells(f"/part/{n}", amount=CENT) for n in range(8)]
    async with m.hosts() as (host,):
        got = [await host.call("fetch", url=url) for url in urls]
    assert [each.get("outcome") for each in got].count("spent") == 5 and len(m.asked) >= 5
    for words in m.asked[:5]:
        assert "0.01" in words


@play()
async def a_person_who_says_no(m):
    m.wants_a_yes_above("0.005")
    url = m.shop.sells("/x", amount=CENT)
    async with m.hosts() as (host,):
        await host.call("fetch", url=url)
        offer = await host.quoted(url)
        for _ in range(3):
            assert "error" in await host.call("buy", offer_id=offer)
    assert not m.signed and m.asked


@play()
async def a_yes_for_one_offer_is_no_yes_for_another(m):
    """The seller raises the price, or names another payee, while the person thinks."""
    prices = [CENT, CENT]
    m.shop.serves("/x", lambda hit: m.shop.ok() if hit.proof else m.shop.ask("/x", prices.pop(0) if prices else 2 * CENT))
    m.wants_a_yes_above("0.005")
    m.person = lambda params: "accept" if "0.02" not in params.message else "decline"
    async with m.hosts() as (host,):
        for _ in range(3):
            await host.call("fetch", url=m.shop.url("/x"))
            await host.call("buy", offer_id=await host.quoted(m.shop.url("/x")))
    assert sum(m.signed.values()) <= CENT


test_spend_stays_within_policy = played("asyncio")
test_the_same_in_the_older_era = played("asyncio", mode="legacy", only={"splits_a_purchase", "takes_another_clients_offer", "cancels_half_way", "a_person_who_says_yes_to_everything"})
test_the_same_on_trio = played("trio", only={"asks_for_the_same_thing_at_once", "cancels_half_way", "a_person_who_says_no"})
