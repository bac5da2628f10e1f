"""Options of one request, what a key and `again` mean, streaming, cancellation, parallel payments, SDK retries."""

from __future__ import annotations

import threading
import time
from functools import partial

import anyio
import httpx2
import pytest

from x402_agent import Budget, BudgetExceeded, PaymentError, PaymentInDoubt, Policy, PolicyDenied, SettingsError


def option(**values):
    return {"extensions": {"payment": values}}


def test_max_of_one_request_only_tightens(drive, seller, till):
    payer = till.payer(policy=Policy(networks=("testnet",)).with_budget(Budget("1/day", per_call="0.02")))
    url = seller.sells("/paid")
    with pytest.raises(BudgetExceeded, match="max of this request"):
        drive(payer, "GET", url, **option(max="0.0099"))
    assert till.signer.count == 0
    assert drive(payer, "GET", url, **option(max="0.01")).status_code == 200
    dear = seller.sells("/dear", amount=30_000)
    with pytest.raises(BudgetExceeded):
        drive(payer, "GET", dear, **option(max="100"))
    assert till.signer.count == 1


@pytest.mark.parametrize("values", [{"maximum": "1"}, {"max": 0.1}, {"max": "much"}, {"KEY": "a", "key": "b"}])
def test_a_wrong_option_is_a_settings_error_before_anything_is_sent(drive, seller, payer, values):
    with pytest.raises(SettingsError):
        drive(payer, "GET", seller.sells("/paid"), **option(**values))
    assert seller.hits == []


def test_without_a_key_each_call_is_a_purchase_of_its_own(drive, seller, till, payer):
    drive(payer, "GET", seller.sells("/paid"), times=2)
    assert len(seller.nonces) == 2


def test_a_key_buys_once_and_shows_the_same_proof_again(drive, seller, till, payer):
    reply = drive(payer, "GET", seller.sells("/paid"), times=3, **option(key="report-7"))
    assert reply.text == "paid content"
    assert (len(seller.proofs), len(set(seller.proofs)), len(till.rows(payer))) == (3, 1, 1)
    drive(payer, "GET", seller.url("/paid"), **option(key="report-8"))
    assert len(seller.nonces) == 2


def test_a_key_is_bound_to_its_first_request(drive, seller, till, payer):
    drive(payer, "GET", seller.sells("/paid"), **option(key="report-7"))
    with pytest.raises(PolicyDenied):
        drive(payer, "GET", seller.sells("/other"), **option(key="report-7"))
    assert len(seller.proofs) == 1


def test_again_true_buys_anew_with_the_same_key(drive, seller, till, payer):
    url = seller.sells("/paid")
    drive(payer, "GET", url, **option(key="k"))
    drive(payer, "GET", url, **option(key="k", again=True))
    assert len(seller.nonces) == 2


@pytest.mark.parametrize("later", ["402", "500", "404"])
def test_a_used_key_is_spent_whatever_the_seller_says_of_the_old_proof(call, seller, till, payer, later):
    url = seller.sells("/paid")
    call(payer, "GET", url, **option(key="k"))
    asked = seller.ask("/paid")
    answers = {"402": asked, "500": seller.answer(500), "404": seller.answer(404)}
    seller.serves("/paid", lambda hit: answers[later] if hit.proof else asked)
    for attached in (False, True):
        reply = call(payer, "GET", url, attached=attached, **option(key="k"))
        assert (reply.status_code, reply.extensions["payment"].outcome) == (int(later), "spent")
    assert len(seller.nonces) == 1 and till.rows(payer) == [("CLAIMED", "spent")]
    assert payer.ledger.verify() == []


def test_after_again_a_used_key_shows_the_newest_proof(drive, seller, till, payer):
    url = seller.sells("/paid")
    for again in (None, True, None):
        drive(payer, "GET", url, **option(key="k", again=again))
    first, second, third = seller.proofs
    assert first != second == third


@pytest.mark.parametrize("changed", [{"content": b"b"}, {"method": "PUT"}, {"path": "/else"}])
@pytest.mark.parametrize("attached", [False, True])
def test_X8_one_key_one_request_at_every_door(call, seller, till, payer, attached, changed):
    seller.sells("/paid")
    seller.sells("/else")
    call(payer, "POST", seller.url("/paid"), content=b"a", **option(key="k"))
    wanted = {"method": "POST", "path": "/paid", "content": b"a", **changed}
    method, url = wanted.pop("method"), seller.url(wanted.pop("path"))
    if attached:
        reply = call(payer, method, url, attached=True, **wanted, **option(key="k"))
        why = reply.extensions["payment"].reason
        assert reply.status_code == 402
    else:
        with pytest.raises(PolicyDenied) as caught:
            call(payer, method, url, **wanted, **option(key="k"))
        why = caught.value
    assert "X8" in why.rule and why.payment_id and till.signer.count == 1 and len(seller.proofs) == 1


def test_what_was_delivered_is_not_bought_again_within_the_window(drive, seller, till):
    now = [time.time()]
    payer = till.payer(policy=Policy(networks=("testnet",), rebuy_after=600), clock=lambda: now[0])
    url = seller.sells("/paid")
    first = drive(payer, "GET", url).extensions["payment"].payment_id
    now[0] += 599
    for again in (None, True):  # a call cannot widen what a person has set
        with pytest.raises(PolicyDenied, match="was bought and delivered 599 seconds ago") as caught:
            drive(payer, "GET", url, **option(again=again))
    assert caught.value.payment_id == first and "rebuy_after in" in caught.value.rule and len(seller.proofs) == 1
    reply = drive(payer, "GET", url, **option(again=False))  # the same proof is no purchase
    assert reply.status_code == 200 and len(seller.nonces) == 1
    drive(payer, "GET", url, **option(key="another"))
    assert len(seller.nonces) == 2
    now[0] += 2
    drive(payer, "GET", url)
    assert len(seller.nonces) == 3


def test_what_was_not_delivered_is_shown_again_within_the_window(drive, seller, till):
    payer = till.payer(policy=Policy(networks=("testnet",), rebuy_after=600))
    url = seller.sells("/paid", seller.answer(500))
    drive(payer, "GET", url)
    seller.sells("/paid")
    assert drive(payer, "GET", url).status_code == 200 and len(seller.nonces) == 1


def test_again_false_never_buys_twice_even_without_a_key(drive, seller, till, payer):
    drive(payer, "GET", seller.sells("/paid"), times=2, **option(again=False))
    assert (len(seller.proofs), len(seller.nonces)) == (2, 1)


def test_again_true_never_replaces_a_proof_that_may_still_settle(drive, seller, till, payer):
    url = seller.sells("/500", seller.answer(500))
    drive(payer, "GET", url)
    drive(payer, "GET", url, **option(again=True))
    assert len(seller.nonces) == 1


def test_another_body_is_another_purchase(drive, seller, till, payer):
    url = seller.sells("/500", seller.answer(500))
    for body in (b"a", b"b", b"a"):
        drive(payer, "POST", url, content=body)
    assert (len(seller.proofs), len(seller.nonces)) == (3, 2)


def test_a_paid_stream_is_not_buffered(library, world, seller, till, payer):
    read = threading.Event()

    def slowly(hit):
        yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        for _ in range(4):
            yield b"5\r\nchunk\r\n"
            if not read.wait(20):
                return
        yield b"0\r\n\r\n"

    url = seller.sells("/stream", slowly)
    if world == "sync":
        with payer.client(library=library) as client, client.stream("GET", url) as reply:
            assert next(reply.iter_raw()) == b"chunk"
            assert not read.is_set() and reply.extensions["payment"].outcome == "spent"
            read.set()
        return

    async def go():
        async with payer.async_client(library=library) as client, client.stream("GET", url) as reply:
            came = 0
            async for piece in reply.aiter_raw():
                came += piece.count(b"chunk")
                assert read.is_set() or came == 1  # the rest is not sent before the first was read
                read.set()
            assert came == 4

    anyio.run(go, backend=world)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("where", ["no answer", "half a body"])
def test_a_cancellation_stays_one_and_leaves_the_payment_open(library, backend, where, seller, till, payer):
    steps = []
    payer.trace = lambda ask, step, value: steps.append(type(step).__name__)

    def far_enough():
        return seller.proofs if where == "no answer" else "Close" in steps

    def half(hit):
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
        seller.stop.wait(60)

    url = seller.sells("/slow", seller.hang if where == "no answer" else half)

    async def go():
        async with payer.async_client(library=library, timeout=30) as client, anyio.create_task_group() as group:
            group.start_soon(client.get, url)
            while not far_enough():  # noqa: ASYNC110 - another thread's
                await anyio.sleep(0.02)
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    anyio.run(go, backend=backend)
    assert till.rows(payer) == [("UNKNOWN", "in_doubt") if where == "no answer" else ("PAID_UNDELIVERED", "spent")]
    seller.sells("/slow")
    anyio.run(partial(_get, payer, library, url), backend=backend)
    assert len(seller.proofs) == 2 and len(seller.nonces) == 1
    assert till.rows(payer) == [("CLAIMED", "spent")]


async def _get(payer, library, url):
    async with payer.async_client(library=library) as client:
        assert (await client.get(url)).text == "paid content"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_twenty_parallel_payments_stay_within_a_budget_of_five(library, backend, seller, till):
    payer = till.payer(policy=Policy(networks=("testnet",)).with_budget(Budget("0.05/day")))
    url = seller.sells("/paid")
    came = []

    async def go():
        async with payer.async_client(library=library) as client:

            async def one():
                try:
                    came.append((await client.get(url)).status_code)
                except BudgetExceeded:
                    came.append("over")

            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(one)

    anyio.run(go, backend=backend)
    assert (came.count(200), came.count("over"), len(seller.nonces)) == (5, 15, 5)


def test_twenty_threads_stay_within_a_budget_of_five(library, seller, till):
    from concurrent.futures import ThreadPoolExecutor

    payer = till.payer(policy=Policy(networks=("testnet",)).with_budget(Budget("0.05/day")))
    url = seller.sells("/paid")

    def one(_):
        try:
            return client.get(url).status_code
        except BudgetExceeded:
            return "over"

    with payer.client(library=library) as client, ThreadPoolExecutor(20) as pool:
        came = list(pool.map(one, range(20)))
    assert (came.count(200), came.count("over"), len(seller.nonces)) == (5, 15, 5)


@pytest.mark.parametrize(("sdk", "how"), [
    ("openai", "hangs"), ("anthropic", "500"), *(pytest.param(*each, marks=pytest.mark.full) for each in (("openai", "500"), ("anthropic", "hangs")))])  # fmt: skip
def test_sdk_retries_never_pay_twice(sdk, how, seller, till):
    """Default retries, attached in place: the seller takes the proof, then hangs or breaks; one proof for ever."""
    import anthropic
    import openai

    payer, brief = till.payer(deadline=5), httpx2.Timeout(30, read=1.0)
    then = seller.hang if how == "hangs" else seller.answer(500, b"{}")
    http = httpx2.Client(trust_env=False)
    messages = [{"role": "user", "content": "hi"}]
    if sdk == "openai":
        seller.sells("/v1/chat/completions", then)
        client = openai.OpenAI(api_key="k", base_url=seller.url("/v1"), http_client=http, timeout=brief)
        ask = partial(client.chat.completions.create, model="m", messages=messages)
    else:
        seller.sells("/v1/messages", then)
        client = anthropic.Anthropic(api_key="k", base_url=seller.origin, http_client=http, timeout=brief)
        ask = partial(client.messages.create, model="m", max_tokens=1, messages=messages)
    payer.attach(http)
    start = time.monotonic()
    with client, pytest.raises((PaymentError, openai.OpenAIError, anthropic.AnthropicError)) as error:
        ask()
    cause, seen = error.value, []
    while cause is not None:
        seen.append(type(cause))
        cause = cause.__cause__
    assert how == "500" or PaymentInDoubt in seen
    assert time.monotonic() - start < 60
    assert (len(set(seller.proofs)), till.rows(payer)) == (1, [("UNKNOWN", "in_doubt")])


def test_two_attaches_are_one(library, seller, till, payer):
    client = payer.client(library=library)
    transport = client._transport
    with payer.attach(client):
        assert client._transport is transport
        client.get(seller.sells("/paid"))
    assert len(seller.proofs) == 1


def test_attach_to_something_else_is_a_settings_error(payer):
    with pytest.raises(SettingsError, match="no client"):
        payer.attach(object())


def test_hooks_and_logs_never_see_a_proof(library, seller, till, payer, caplog):
    seen = []
    with caplog.at_level("DEBUG"), payer.client(library=library, event_hooks={"request": [seen.append]}) as client:
        reply = client.get(seller.sells("/paid"))
    assert all("payment-signature" not in each.headers for each in [*seen, reply.request])
    signature = seller.authorization(seller.proofs[0])["nonce"]
    ours = "".join(r.getMessage() for r in caplog.records if r.name.startswith("x402_agent"))
    assert ours and seller.proofs[0] not in ours and signature not in ours
