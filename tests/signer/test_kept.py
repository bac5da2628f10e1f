"""What an agent bought lies with the signer: it outlives the agent, serves all its processes, and no other agent's."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from dataclasses import replace

import anyio
import pytest
from typer.testing import CliRunner

from loopback import Seller, Till
from meter import Counter, Meter
from x402_agent import Budget, LedgerError, PaymentInDoubt, Policy, Wallet
from x402_agent.cli.app import app
from x402_agent.errors import SettingsError
from x402_agent.model import Ask
from x402_agent.signer import AgentPayer, Service
from x402_agent.signer import shelf as shelf_room
from x402_agent.steps import Busy

KEY = "0x" + "5a" * 32
BODY = b'{"prompt": "needle-in-a-body"}'
PRIVATE = {"authorization": "Bearer needle-auth", "cookie": "sid=needle-cookie"}


class Shop:
    """A seller, a signer, and as many agents as asked for: each name has a socket of its own to the same ledger."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.till = Till(folder)
        self.seller = Seller()
        self.payer = self.till.payer(policy=Policy(networks=("testnet",)))
        self.payer.wallet = Wallet.from_key(KEY)
        self.services = {}

    def agent(self, name="research", **options):
        if name not in self.services:
            import os

            path = self.folder / f"{name}.sock"
            service = self.services[name] = Service(self.payer, path, {os.getuid(): name})
            thread = threading.Thread(target=service.serve)
            thread.start()
            self.stack.callback(thread.join, 20)
            self.stack.callback(service.stop)
        made = AgentPayer(replace(self.till.settings, signer=self.services[name].path, answer_timeout=0.3), **options)
        made.dialects = (Meter(),)
        self.stack.callback(made.close)
        return made

    def states(self):
        self.payer.ledger.flush()
        return [one.state for one in self.payer.ledger.payments()]


@pytest.fixture
def shop(tmp_path_factory):
    import shutil
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="x402-"))
    with ExitStack() as stack:
        made = Shop(folder, stack)
        yield made
    made.payer.close()
    made.seller.close()
    shutil.rmtree(folder)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def call(request):
    """One request by this payer in a world; -> its answer."""

    def sync(payer, method, url, **options):
        with payer.client() as http:
            return http.request(method, url, **options)

    def loop(payer, method, url, **options):
        async def go():
            async with payer.async_client() as http:
                return await http.request(method, url, **options)

        return anyio.run(go, backend=request.param)

    return sync if request.param == "sync" else loop


def get(payer, url, method="GET", **options):
    with payer.client() as http:
        return http.request(method, url, **options)


class Flaky:
    """Takes the proof and says nothing, until it is mended."""

    def __init__(self, seller):
        self.seller, self.mended, self.seen = seller, False, []

    def __call__(self, hit):
        if not hit.proof:
            return self.seller.ask(hit.path)
        self.seen.append(hit)
        return self.seller.ok(b"the goods for " + hit.body, content_type="text/x-goods") if self.mended else hit.reset()


def metered(shop, **options):
    made = Counter(shop.seller, **options)
    shop.seller.serves("/m", made)
    return made, shop.seller.url("/m")


# -- credentials --------------------------------------------------------------------------------------------------------


def test_one_payment_opens_the_door_for_every_process_of_the_agent(shop, call):
    meter, url = metered(shop)
    first, second = shop.agent(), shop.agent()
    assert call(first, "GET", url).content == b"paid content"
    assert call(first, "GET", url).content == b"metered"
    assert call(second, "GET", url).content == b"metered"  # it asked, and was told that it had bought already
    assert [call(second, "GET", url).content for _ in range(2)] == [b"metered", b"paid content"]
    assert len(shop.seller.nonces) == 2 and meter.over == 0
    assert all(one.agent == "research" for one in shop.payer.ledger.tokens())


def test_the_commands_about_credentials_are_the_agents_too(shop, monkeypatch):
    _, url = metered(shop, uses=10)
    honest, thief = shop.agent("research"), shop.agent("thief")
    get(honest, url)
    get(thief, url)
    (mine,), (theirs,) = honest.ledger.tokens(), thief.ledger.tokens()
    monkeypatch.setenv("X402_AGENT_SIGNER", str(shop.services["research"].path))

    def run(*words):
        return CliRunner().invoke(app, ["credentials", *words])

    (row,) = json.loads(run("list", "--json").output)
    assert row["id"] == mine.name and row["state"] == "live" and row["uses_left"] == 10
    assert mine.name[:8] in run("list").output and "10 more times" in run("show", mine.name).output
    for verb in ("show", "renew", "revoke"):
        assert run(verb, theirs.name).exit_code == 1
    assert "pays anew" in run("renew", mine.name, "--give-up").output and "no credential opens a door" in run("list").output
    assert [one.name for one in thief.ledger.tokens()] == [theirs.name]
    get(honest, url)
    (fresh,) = honest.ledger.tokens()
    assert "forgotten" in run("revoke", fresh.name).output and honest.ledger.tokens() == []


def test_another_agent_buys_its_own(shop):
    _, url = metered(shop, uses=10)
    honest, thief = shop.agent("research"), shop.agent("thief")
    assert get(honest, url).content == b"paid content"
    assert get(thief, url).content == b"paid content"
    assert len(shop.seller.nonces) == 2
    (mine,), (theirs,) = honest.ledger.tokens(), thief.ledger.tokens()
    assert mine.name != theirs.name and not mine.sealed
    with pytest.raises(LedgerError):
        thief.ledger.token(mine.name)
    assert not thief.ledger.forget_token(mine.name) and honest.ledger.tokens()
    own = shop.payer
    own.dialects = (Meter(),)
    assert get(own, url).content == b"paid content"  # nor does the operator show an agent's


def test_two_agents_with_the_same_token_do_not_share_its_count(shop):
    seller = shop.seller
    seller.serves("/m", lambda hit: seller.ok(x_token="shared", x_uses="5") if hit.proof else
                  seller.answer(200, b"metered") if hit.headers.get("x-token") else seller.ask(hit.path))  # fmt: skip
    url = seller.url("/m")
    honest, thief = shop.agent("research"), shop.agent("thief")
    get(honest, url)
    get(thief, url)
    get(thief, url)
    assert [one.uses_left for one in (*honest.ledger.tokens(), *thief.ledger.tokens())] == [5, 4]


def test_a_refused_one_is_forgotten_and_a_sellers_count_holds(shop):
    meter, url = metered(shop, uses=5)
    agent = shop.agent()
    get(agent, url)
    (token,) = meter.left
    meter.left[token] = 2
    assert get(agent, url).content == b"metered"
    assert [one.uses_left for one in agent.ledger.tokens()] == [1]
    meter.left.clear()
    assert get(agent, url).content == b"paid content"
    assert len(shop.seller.nonces) == 2 and [one.uses_left for one in agent.ledger.tokens()] == [5]


def serial(agent):
    agent.dialects = (Meter(serial=True),)
    return agent


def test_what_serves_one_call_at_a_time_does_so_for_all_processes_of_an_agent(shop):
    meter, url = metered(shop, uses=20)
    agents = [serial(shop.agent()) for _ in range(2)]
    for agent in agents:
        get(agent, url)
    meter.slow = 0.01
    threads = [threading.Thread(target=get, args=(agent, url)) for agent in agents * 3]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert list(meter.left.values()) == [13] and len(shop.seller.nonces) == 1
    assert [one.uses_left for one in agents[0].ledger.tokens()] == [13]


def test_a_turn_ends_with_the_agent_that_had_it(shop):
    meter, url = metered(shop, uses=20)
    first, second = serial(shop.agent()), serial(shop.agent())
    get(first, url)
    get(second, url)
    ask = Ask("GET", url, url.removesuffix("/m"), "127.0.0.1", "/m")
    held = first.credentials.look(ask).run()
    assert held.lease and held.serial
    assert isinstance(second.credentials.look(ask).run(), Busy)
    assert second.credentials.look(ask, held.payment_id).run().uses_left == held.uses_left, "to look at, nobody waits"
    (turn,) = first.credentials._turns.values()
    turn.close()  # as the end of its process does
    assert get(second, url).content == b"metered"
    assert [one.uses_left for one in second.ledger.tokens()] == [17] and list(meter.left.values()) == [18]


def test_thirty_threads_never_show_one_use_twice(shop):
    meter, url = metered(shop, uses=8)
    agent = shop.agent()
    get(agent, url)
    with agent.client() as http:
        threads = [threading.Thread(target=http.get, args=(url,)) for _ in range(30)]
        [one.start() for one in threads]
        [one.join() for one in threads]
    assert meter.over == 0 and len(meter.shown) >= 8


def test_without_a_service_a_free_page_is_still_read(shop):
    _, url = metered(shop)
    agent = shop.agent()
    get(agent, url)
    shop.seller.serves("/free", shop.seller.answer(200, b"free"))
    shop.services["research"].stop()
    assert get(agent, shop.seller.url("/free")).content == b"free"


# -- requests and goods -------------------------------------------------------------------------------------------------


def lost(agent, url, method="POST", **options):
    with pytest.raises(PaymentInDoubt):
        get(agent, url, method, **options)


def test_a_post_is_repeated_by_another_process_and_its_goods_wait_for_the_next(shop, call):
    flaky = Flaky(shop.seller)
    url = shop.seller.serves("/buy", flaky)
    lost(shop.agent(), url, content=BODY, headers={**PRIVATE, "x-model": "large"})
    flaky.mended = True
    (one,) = shop.agent().resume()
    assert one.after == "CLAIMED" and "goods wait for the same request" in one.note
    again = flaky.seen[-1]
    assert again.body == BODY and again.headers["x-model"] == "large" and len(shop.seller.nonces) == 1
    assert not set(PRIVATE) & set(again.headers)
    third = shop.agent()
    reply = call(third, "POST", url, content=BODY)
    assert reply.content == b"the goods for " + BODY and reply.headers["content-type"] == "text/x-goods"
    assert len(shop.seller.nonces) == 1 and reply.extensions["payment"].payment_id == one.payment_id
    assert call(third, "POST", url, content=BODY).status_code == 200 and len(shop.seller.nonces) == 2


def test_what_is_kept_is_sealed_and_another_agent_gets_none_of_it(shop):
    flaky = Flaky(shop.seller)
    url = shop.seller.serves("/buy", flaky)
    honest, thief = shop.agent(), shop.agent("thief")
    lost(honest, url, content=BODY)
    shop.payer.ledger.flush()
    files = b"".join(each.read_bytes() for each in shop.folder.glob("**/*") if each.is_file())
    assert b"needle-in-a-body" not in files
    (payment,) = honest.desk.open_payments()
    payment_id = payment.text("payment_id")
    for ask in (thief.desk.request, thief.desk.goods):
        with pytest.raises(LedgerError, match="yours"):
            ask(payment_id)
    flaky.mended = True
    honest.resume()
    with pytest.raises(LedgerError, match="yours"):
        thief.desk.goods(payment_id)
    assert get(thief, url, "POST", content=BODY).status_code == 200 and len(shop.seller.nonces) == 2  # it pays for its own
    assert get(honest, url, "POST", content=BODY).status_code == 200 and len(shop.seller.nonces) == 2


def test_goods_go_to_a_file_and_never_over_one(shop, tmp_path):
    flaky = Flaky(shop.seller)
    url = shop.seller.serves("/buy", flaky)
    agent = shop.agent()
    lost(agent, url, content=BODY)
    flaky.mended = True
    (open_one,) = agent.desk.open_payments()
    there = tmp_path / "there"
    there.write_text("x")
    with pytest.raises(SettingsError, match="never overwritten"):
        agent.resume(open_one.text("payment_id"), output=there)
    made = tmp_path / "goods"
    (one,) = agent.resume(open_one.text("payment_id")[:8], output=made)
    assert made.read_bytes() == b"the goods for " + BODY and one.after == "CLAIMED"
    lost_again = shop.seller.serves("/other", (second := Flaky(shop.seller)))
    lost(agent, lost_again, content=b"2")
    second.mended = True
    (two,) = agent.resume()
    assert "goods wait" in two.note
    (handed,) = agent.resume(two.payment_id, output=tmp_path / "late")
    assert (tmp_path / "late").read_bytes() == b"the goods for 2" and handed.payment_id == two.payment_id
    assert get(agent, lost_again, "POST", content=b"2").status_code == 200 and len(shop.seller.nonces) == 3


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_body_up_to_a_mebibyte_is_kept(shop, size):
    flaky = Flaky(shop.seller)
    url = shop.seller.serves("/buy", flaky)
    agent = shop.agent()
    lost(agent, url, content=b"x" * size)
    flaky.mended = True
    (one,) = agent.resume()
    assert one.after == ("CLAIMED" if size == 1 << 20 else "UNKNOWN"), one
    if size > 1 << 20:
        assert "waits until you repeat" in one.note
        assert get(agent, url, "POST", content=b"x" * size).status_code == 200 and len(shop.seller.nonces) == 1


def test_goods_of_eight_mebibytes_travel_and_more_do_not(shop):
    flaky = Flaky(shop.seller)
    url = shop.seller.serves("/buy", flaky)
    agent = shop.agent()
    lost(agent, url, content=b"1")
    big = b"g" * (8 << 20)
    shop.seller.serves("/buy", lambda hit: shop.seller.ok(big))
    (one,) = agent.resume()
    assert "goods wait" in one.note, one
    assert get(shop.agent(), url, "POST", content=b"1").content == big


def test_no_agent_fills_the_disk(shop, monkeypatch):
    monkeypatch.setattr(shelf_room, "MOST_KEPT", 200_000)
    flaky = Flaky(shop.seller)
    agent = shop.agent()
    for number in range(2):
        url = shop.seller.serves(f"/{number}", flaky)
        lost(agent, url, content=b"x" * 150_000)
    assert 150_000 < shop.payer.ledger.kept_bytes("research") < 200_000
    monkeypatch.setattr(shelf_room, "MOST_TOKENS", 1)
    meter, url = metered(shop)
    get(agent, url)
    meter.left.clear()
    shop.seller.serves("/n", meter)


def test_a_lost_get_with_a_body_of_headers_is_repeated_too(shop):
    flaky = Flaky(shop.seller)
    url = shop.seller.serves("/buy", flaky)
    lost(shop.agent(), url, "GET", headers={"x-model": "large", **PRIVATE})
    flaky.mended = True
    assert [one.after for one in shop.agent().resume()] == ["CLAIMED"]
    assert flaky.seen[-1].headers["x-model"] == "large" and not set(PRIVATE) & set(flaky.seen[-1].headers)


# -- prepay -------------------------------------------------------------------------------------------------------------


def test_the_second_purchase_takes_one_round_trip_where_the_signers_policy_lets_it(shop, call):
    seller = shop.seller
    shop.payer.policy = replace(shop.payer.policy, prepay=(seller.origin,))
    agent, url = shop.agent(), seller.sells("/paid")
    assert [call(agent, "GET", url).extensions["payment"].outcome for _ in range(3)] == ["spent"] * 3
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, True, True] and len(seller.nonces) == 3


def test_who_is_taken_off_the_list_is_asked_first(shop):
    seller = shop.seller
    shop.payer.policy = replace(shop.payer.policy, prepay=(seller.origin,))
    agent, url = shop.agent(), seller.sells("/paid")
    get(agent, url)
    shop.payer.policy = replace(shop.payer.policy, prepay=())
    assert get(agent, url).extensions["payment"].outcome == "spent"
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, False, True]


def test_a_budget_that_is_empty_sends_no_proof_first(shop):
    seller = shop.seller
    shop.payer.policy = replace(shop.payer.policy, prepay=(seller.origin,)).with_budget(Budget("0.01/day"))
    agent, url = shop.agent(), seller.sells("/paid")
    get(agent, url)
    from x402_agent import BudgetExceeded

    with pytest.raises(BudgetExceeded):
        get(agent, url)
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, False] and shop.states() == ["CLAIMED"]
