"""A yes counts for one payment, once and soon; everything else is a no that costs nothing."""

from __future__ import annotations

import threading
import time

import anyio
import anyio.lowlevel
import pytest

from loopback import reads
from x402_agent import BudgetExceeded, Policy, PolicyDenied, SettingsError
from x402_agent.approvals import Request, approver
from x402_agent.policy import Approval

once = pytest.mark.parametrize("world", ["sync", *(pytest.param(each, marks=pytest.mark.full) for each in ("asyncio", "trio"))], indirect=True)


def test_a_hook_of_two_arguments_sees_the_very_offer_that_is_signed(shop, get, notes):
    seen = []
    payer = shop(lambda offer, ask: seen.append((offer, ask)) or True)
    receipt = get(payer).extensions["payment"]
    assert receipt.outcome == "spent" and [offer for offer, _ in seen] == [receipt.offer] and seen[0][1].path == "/joke"
    assert notes(payer, receipt.payment_id)[1] == "approved by the program's own hook"
    moves = [(event.from_state, event.state) for event in payer.ledger.events(receipt.payment_id)]
    assert moves == [("", "RESERVED"), ("RESERVED", "RESERVED"), ("RESERVED", "INFLIGHT"), ("INFLIGHT", "CLAIMED")]
    assert payer.ledger.verify() == []


def test_a_hook_of_one_argument_sees_all_of_the_request(shop, get):
    seen = []

    async def hook(request):
        await anyio.lowlevel.checkpoint()
        seen.append(request)
        return True

    payer = shop(hook)
    receipt = get(payer, "/joke?token=s3cret").extensions["payment"]
    (request,) = seen
    assert isinstance(request, Request) and request.payment_id == receipt.payment_id and request.offer == receipt.offer
    facts = request.facts
    assert facts["money"] == "0.0100 USDC (base-sepolia)" and facts["amount"] == "10000"
    assert facts["pay_to"] == receipt.offer.pay_to and facts["offer"] == receipt.offer.digest
    assert facts["what"] == f"GET {payer.sandbox.origin}/joke" and "s3cret" not in str(facts)
    assert facts["reasons"][0]["rule"].startswith("approve_above in ") and "0.0100 USDC" in facts["reasons"][0]["what"]
    assert facts["left"] == ["4.9900 USD left today for all hosts   [day in the sandbox default]"]
    assert facts["expires"] - facts["created"] == 120 and len(facts["nonce"]) == 64


@pytest.mark.parametrize("answer", [False, None, 1, "yes", ZeroDivisionError("down"), TimeoutError()])
def test_everything_but_true_is_a_no_and_the_budget_is_back(shop, get, answer, rows, spent):
    held = []

    def hook(request):
        held.append(rows(payer)[0])
        if isinstance(answer, Exception):
            raise answer
        return answer

    payer = shop(hook)
    with pytest.raises(PolicyDenied) as denied:
        get(payer)
    assert held[0].state == "RESERVED"
    (row,) = rows(payer)
    assert row.state == "RELEASED" and row.payment_id == denied.value.payment_id
    assert denied.value.rule.startswith("approve_above in ")
    assert "asks 0.0100 USDC" in row.note, "why says who said no"
    assert spent(payer) == 0 and payer.sandbox.settlements == []


def test_below_the_threshold_nobody_is_asked(shop, get, rows):
    payer = shop(lambda *_: pytest.fail("asked"), above=10_000)
    assert get(payer).extensions["payment"].outcome == "spent"
    assert rows(payer)[0].state == "CLAIMED"


def test_nobody_to_ask_says_what_to_type(shop, get, rows):
    payer = shop(None)
    with pytest.raises(PolicyDenied, match="nobody can be asked") as denied:
        get(payer)
    assert "[approval]" in denied.value.hint and rows(payer)[0].state == "RELEASED"


def test_a_late_yes_is_a_no(shop, get, rows):
    now = [time.time()]

    def hook(_request):
        now[0] += 121
        return True

    payer = shop(hook, clock=lambda: now[0])
    with pytest.raises(PolicyDenied, match="too late"):
        get(payer)
    assert rows(payer)[0].state == "RELEASED" and payer.sandbox.settlements == []


def test_a_slow_yes_is_signed_on_fresh_terms_and_counted_once(shop, get, rows, notes, spent):
    now = [time.time()]

    def hook(_request):
        now[0] += 100
        return True

    payer = shop(hook, clock=lambda: now[0], max_lifetime=60)
    get(payer)
    new, old = rows(payer)
    assert (old.state, new.state) == ("RELEASED", "CLAIMED") and new.nonce != old.nonce
    assert new.valid_before - old.valid_before == 100
    assert notes(payer, new.payment_id)[1].endswith(f"asked about as {old.payment_id}")
    assert notes(payer, old.payment_id)[-1] == f"approved by the program's own hook; held anew as {new.payment_id}"
    assert (old.anew, new.anew) == (new.payment_id, "")
    assert spent(payer) == 10_000 and payer.ledger.verify() == []


def test_an_answer_within_half_its_life_keeps_its_terms(shop, get, rows):
    now = [time.time()]

    def hook(_request):
        now[0] += 29
        return True

    payer = shop(hook, clock=lambda: now[0], max_lifetime=60)
    get(payer)
    (row,) = rows(payer)
    assert row.state == "CLAIMED" and row.valid_before - now[0] >= 30


def test_the_budget_is_set_aside_while_somebody_is_asked(shop):
    payer = shop(None, day=15_000)
    errors = []

    def hook(request):
        if request.ask.path == "/joke":
            with payer.client() as http:
                try:
                    http.get(payer.sandbox.url("/report"))
                except BudgetExceeded as full:
                    errors.append(full)
        return True

    payer.approve = hook
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
    assert len(errors) == 1 and len(payer.sandbox.settlements) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_cancellation_while_asking_gives_the_budget_back(shop, backend, kind, rows):
    asked, over = threading.Event(), threading.Event()

    def blocks(_request):
        asked.set()
        over.wait(20)
        return True

    async def waits(_request):
        asked.set()
        await anyio.sleep(20)
        return True

    payer = shop(blocks if kind == "sync" else waits)

    async def go():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            group.start_soon(http.get, payer.sandbox.url("/joke"))
            await anyio.to_thread.run_sync(asked.wait)
            group.cancel_scope.cancel()

    start = time.monotonic()
    anyio.run(go, backend=backend)
    over.set()
    assert time.monotonic() - start < 18
    (row,) = rows(payer)
    assert row.state == "RELEASED" and payer.sandbox.settlements == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_blocking_hook_does_not_block_the_loop(shop, backend):
    beats, beating = [], []

    def hook(_request):
        before, end = len(beats), time.monotonic() + 30
        while len(beats) < before + 5 and time.monotonic() < end:
            time.sleep(0.01)
        beating.append(len(beats) - before)
        return True

    payer = shop(hook)

    async def beat():
        while True:
            beats.append(1)
            await anyio.sleep(0.01)

    async def go():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            group.start_soon(beat)
            await http.get(payer.sandbox.url("/joke"))
            group.cancel_scope.cancel()

    anyio.run(go, backend=backend)
    assert beating[0] >= 5


@once
def test_a_person_may_take_longer_than_the_deadline_over_the_legs(shop, get):
    payer = shop(lambda _request: time.sleep(3.2) or True, serve=True)
    payer.deadline = 3.0
    assert get(payer, timeout=reads(2.5)).extensions["payment"].outcome == "spent"


def test_two_calls_for_one_thing_ask_each_for_itself(shop):
    asked = []
    payer = shop(lambda request: asked.append(request.digest) or True)

    async def go():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(http.get, payer.sandbox.url("/joke"))

    anyio.run(go)
    assert len(set(asked)) == 2 and len(payer.sandbox.settlements) == 2


def test_an_open_proof_is_shown_again_without_a_second_question(shop, get):
    asked = []
    payer = shop(lambda request: asked.append(request) or True, scenario="settles_then_500")
    first = get(payer).extensions["payment"]
    again = get(payer).extensions["payment"]
    assert first.payment_id == again.payment_id and len(asked) == 1


def test_attached_clients_get_the_untouched_402(shop):
    import httpx

    payer = shop(lambda *_: False)
    transport = payer.sandbox.transport()
    with payer.attach(httpx.Client(transport=transport, trust_env=False)) as http:
        reply = http.get(payer.sandbox.url("/joke"))
    assert reply.status_code == 402 and isinstance(reply.extensions["payment"].reason, PolicyDenied)


def test_the_hint_names_what_a_policy_file_says(tmp_path):
    given = object()
    with pytest.raises(SettingsError):
        approver(Approval(), given, tmp_path, {})
    assert approver(Approval(), None, tmp_path, {}) is None
    for rules in ({"how": "phone"}, {"how": "webhook"}, {"url": "https://a.example"}, {"seconds": 0}, {"seconds": 3601}):
        with pytest.raises(SettingsError):
            Policy(approval=Approval(**rules))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancellation_while_the_yes_is_written_down_frees_both_rows(shop, rows, spent, backend):
    now = [time.time()]
    written, cancelled = threading.Event(), threading.Event()

    def hook(_request):
        now[0] += 60
        return True

    payer = shop(hook, clock=lambda: now[0], max_lifetime=60)
    real = payer.ledger.approve

    class Slow:
        def __init__(self, job):
            self.job = job

        def run(self):
            made = self.job.run()
            written.set()
            assert cancelled.wait(30)
            return made

    payer.ledger.approve = lambda *words: Slow(real(*words))

    async def go():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            group.start_soon(http.get, payer.sandbox.url("/joke"))
            await anyio.to_thread.run_sync(written.wait)
            group.cancel_scope.cancel()
            cancelled.set()

    anyio.run(go, backend=backend)
    assert [row.state for row in rows(payer)] == ["RELEASED", "RELEASED"] and spent(payer) == 0
    assert payer.sandbox.settlements == [] and payer.ledger.verify() == []


def test_what_no_longer_fits_when_the_yes_comes_stays_as_it_was(shop, rows, spent):
    """The rows are exchanged whole or not at all."""
    now = [time.time()]
    other = "0x" + "77" * 20

    def hook(request):
        payer.ledger.pin(request.ask.origin, request.offer.network.id, other)
        now[0] += 60
        return True

    payer = shop(hook, clock=lambda: now[0], max_lifetime=60)
    with payer.client() as http, pytest.raises(PolicyDenied, match=other):
        http.get(payer.sandbox.url("/joke"))
    assert [row.state for row in rows(payer)] == ["RELEASED"] and spent(payer) == 0
    assert payer.sandbox.settlements == [] and payer.ledger.verify() == []


def test_a_task_that_ended_while_somebody_was_asked_pays_nothing(shop, rows):
    payer = shop(lambda _request: task.end() or True)
    task = payer.task("research", budget="0.50")
    with task.client() as http, pytest.raises(PolicyDenied, match="research"):
        http.get(payer.sandbox.url("/joke"))
    assert rows(payer)[0].state == "RELEASED" and payer.sandbox.settlements == []


def test_a_new_payee_is_asked_about_and_the_reason_names_the_rule(shop, get):
    seen = []
    payer = shop(lambda request: seen.append(request) or True, above=None, ask_new_payee=True, ask_new_origin=True)
    get(payer)
    get(payer)
    (request,) = seen
    assert [reason.rule.split()[0] for reason in request.reasons] == ["ask_new_origin", "ask_new_payee"]


def test_a_freeze_while_somebody_is_asked_stops_what_was_approved(shop, get, rows, spent):
    payer = shop(lambda _request: payer.ledger.freeze(note="enough") and True)
    with pytest.raises(PolicyDenied, match="enough"):
        get(payer)
    assert rows(payer)[0].state == "RELEASED" and spent(payer) == 0 and payer.sandbox.settlements == []


def test_a_purchase_that_is_repeated_too_often_is_asked_about(shop, get):
    from x402_agent.policy.bounds import Often

    seen = []
    payer = shop(lambda request: seen.append(request) or True, above=None, repeat=Often(2, 600))
    for _ in range(3):
        assert get(payer).status_code == 200
    (request,) = seen
    assert request.reasons[0].rule.startswith("repeat in ") and "was bought 2 times" in request.reasons[0].what
