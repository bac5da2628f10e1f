"""An invoice is bought like anything else that answers 402: in threads and loops, behind a signer, from the command line."""

from __future__ import annotations

import json
import re
import threading

import anyio
import pytest
from typer.testing import CliRunner

from kamiyo.test_elsewhere import agent_of
from x402_agent import PaymentInDoubt, PolicyDenied
from x402_agent.cli import invoice as invoice_room
from x402_agent.cli.app import app
from x402_agent.dialects.tron_invoice import status
from x402_agent.dialects.tron_invoice.status import Pace
from x402_agent.transport import drivers
from x402_agent.transport.streams import DEADLINE


def bare(told):
    return {name: value for name, value in told.items() if name != "error"}


@pytest.mark.proves("tron", "invoice", "pays")
def test_a_get_pays_the_invoice_once_and_the_next_one_shows_it_again(payer, shop):
    before = shop.earned
    with payer.client(timeout=60) as http:
        reply = http.get(shop.url())
        assert reply.text == "goods" and reply.extensions["payment"].outcome == "spent"
        assert http.get(shop.url()).text == "goods"
    assert shop.earned - before == 100_017 and len(shop.invoices) == 1
    (row,) = payer.ledger.payments()
    assert (row.state, row.amount, row.transaction) == ("CLAIMED", 100_017, shop.shown[0][1]) and row.gas > 0
    assert shop.shown[0] == shop.shown[1] and len(shop.used) == 1


def test_an_invoice_without_a_402_is_paid_once(payer, shop):
    told = bare(shop.new(amount="3.141591"))
    before = shop.earned
    paid = payer.invoice(**told)
    assert (paid.status, paid.payment_id, {paid.transaction}) == ("completed", told["payment_id"], shop.used)
    assert payer.invoice(**told).transaction == paid.transaction
    assert shop.earned - before == 3_141_591 and len(payer.ledger.payments()) == 1


def test_what_was_paid_and_is_over_is_told_as_it_was(payer, shop):
    told = bare(shop.new())
    paid = payer.invoice(**told)
    shop.seller.serves(f"/payment_status/{told['payment_id']}", shop.seller.answer(404))  # a day later
    again = payer.invoice(**told)
    assert (again.transaction, again.status, again.receipt.outcome, again.receipt.again) == (paid.transaction, "", "spent", True) and again.receipt.money == paid.receipt.money
    assert len(payer.ledger.payments()) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_on_event_loops(backend, payer, shop):
    told = bare(shop.new())

    async def go():
        async with payer.async_client(timeout=60) as http:
            assert (await http.get(shop.url())).text == "goods"
        return await payer.invoice_async(**told)

    before = shop.earned
    shop.amount = "0.100018"
    assert anyio.run(go, backend=backend).status == "completed"
    assert shop.earned - before == 200_035


def test_an_agent_of_a_signer_pays_invoices_and_is_told_what_became_of_them(payer, shop):
    told, before = bare(shop.new(amount="0.2")), shop.earned
    with agent_of(payer) as agent:
        with agent.client(timeout=60) as http:
            assert [http.get(shop.url()).text for _ in range(2)] == ["goods", "goods"]
        paid = agent.invoice(**told)
        assert paid.status == "completed" and agent.invoice(**told).transaction == paid.transaction
        shop.spoil = lambda _: told
        shop.seller.serves("/other", shop.door)
        with agent.client(timeout=60) as http, pytest.raises(Exception, match="completed"):
            http.get(shop.seller.url("/other"))
    assert shop.earned - before == 300_017 and len(payer.ledger.payments()) == 2


def test_an_agents_stuck_invoice_is_resumed(payer, shop, monkeypatch):
    monkeypatch.setattr(status, "PATIENCE", 0.1)
    told, before = bare(shop.new()), shop.earned
    shop.blind = True
    with agent_of(payer) as agent:
        with pytest.raises(PaymentInDoubt, match="its monitor says 'pending'") as caught:
            agent.invoice(**told)
        shop.blind = False
        (found,) = agent.resume(caught.value.payment_id)
        assert "receipt found" in found.note and agent.invoice(**told).status == "completed"
    assert shop.earned - before == 100_017


SPELT = {  # what others may write: in the 402, in the status page; ... is left out
    "an ISO time and more fields": ({"expires_at": "2099-01-01T02:00:00+02:00", "created_at": 1.5, "qr": {"deep": [1, None]}}, {}),
    "nothing that may be missing": ({"expires_at": "2099-01-01T00:00:00Z", "currency": ..., "network": ..., "order_id": ..., "error": ...}, {}),
    "null for what may be missing": ({"currency": None, "network": None, "order_id": None}, {}),
    "whole seconds, a network by its number": ({"expires_at": 4_070_908_800, "network": "tron:0xcd8690dc"}, {}),
    "a page without id and order": ({}, {"id": ..., "order_id": ...}),
    "amounts as text": ({}, {"expected_amount_usdt": "1.00017e-1", "received_amount_usdt": "0.10001700"}),
    "times as text, and more fields": ({}, {"created_at": "2026-01-01 00:00:00", "completed_at": "2026-01-01T00:00:00", "extra": [{}]}),
}


def spelt(told, change):
    return {name: value for name, value in {**told, **change}.items() if value is not ...}


@pytest.mark.parametrize("name", SPELT)
def test_what_others_spell_otherwise_is_bought_all_the_same(name, payer, shop):
    asked, page = SPELT[name]
    shop.spoil = lambda told: spelt(told, asked)
    shop.status = lambda told, _: spelt({**told, "transaction_hash": (told["transaction_hash"] or "").upper() or None}, page)
    with payer.client(timeout=60) as http:
        assert http.get(shop.url()).text == "goods"
    payer.ledger.flush()
    (row,) = payer.ledger.payments()
    assert (row.state, row.note) == ("CLAIMED", "") and len(shop.used) == 1


def test_an_invoice_is_within_policy(payer, shop):
    told = bare(shop.new())
    with pytest.raises(PolicyDenied, match="the limit for one call"):
        payer.invoice(**told, max="0.05")
    payer.ledger.freeze("all")
    with pytest.raises(PolicyDenied, match="frozen"):
        payer.invoice(**told)


def test_a_quote_is_bought_although_the_next_invoice_has_another_tail(payer, shop):
    offer = payer.quote(shop.url()).chosen
    shop.seller.serves("/other", shop.door)
    shop.amount = "0.104711"
    with payer.client(timeout=60) as http:
        assert http.get(shop.url(), extensions={"payment": {"offer": offer}}).text == "goods"
        shop.amount = "0.110017"
        with pytest.raises(PolicyDenied, match="other terms than were locked"):
            http.get(shop.seller.url("/other"), extensions={"payment": {"offer": offer}})


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(payer, monkeypatch):
    class Kept:
        def __enter__(self):
            return payer

        def __exit__(self, *_):
            payer.ledger.flush()

    monkeypatch.setattr(invoice_room, "own_payer", Kept)
    return lambda *words, text=None: CliRunner().invoke(app, ["invoice", *words], input=text)


def test_the_command_pays_once_and_says_so(cli, shop, tmp_path):
    (path := tmp_path / "invoice.json").write_text(json.dumps(shop.new()))
    assert "says 'pending'" in cli("status", str(path)).stdout
    done = cli("pay", str(path), "--max", "1")
    assert done.exit_code == 0 and "is completed: 0.100017 USDT (tron-nile" in done.stdout and "seen" in done.output, done.output
    again = cli("pay", "-", "--json", text=path.read_text())
    told = json.loads(again.stdout)
    assert (told["status"], told["again"], told["outcome"]) == ("completed", True, "spent") and {told["transaction"]} == shop.used
    assert json.loads(cli("status", str(path), "--json").stdout)["received"] == "0.100017"


def test_the_command_names_the_transaction_of_what_is_not_noticed(cli, shop, monkeypatch):
    monkeypatch.setattr(status, "PATIENCE", 0.1)
    shop.blind = True
    done = cli("pay", "-", text=json.dumps(shop.new()))
    assert done.exit_code == 5 and re.search(r"by [0-9a-f]{64}; its monitor says 'pending'", done.output), done.output


@pytest.mark.parametrize(("text", "code"), [("[", 6), ("{}", 6), ('{"payment_id": 1}', 6), ('{"amount": NaN}', 6), ("[" * 100_000, 6)])
def test_the_command_refuses_what_is_no_invoice(text, code, cli):
    done = cli("pay", "-", text=text)
    assert done.exit_code == code and "Traceback" not in done.output, done.output
    assert cli("status", "/nowhere").exit_code == 2


# -- many who wait ----------------------------------------------------------------------------------------------------


def test_ten_thousand_who_wait_ask_an_origin_in_turn_and_each_gets_one():
    clock = [100.0]
    pace = Pace(lambda: clock[0])
    turns = sorted(pace.turn("https://shop.example", 1.0) for _ in range(10_000))
    assert turns[0] == 1.0 and 999.0 < turns[-1] < 1002.0
    assert all(sum(at <= each < at + 1 for each in turns) <= 21 for at in range(0, 1000, 97))
    assert pace.turn("https://other.example") == 0.0
    pace.rest("https://other.example", 30.0)
    assert pace.turn("https://other.example") == pytest.approx(30.0)
    clock[0] += 10_000.0
    assert pace.turn("https://shop.example", 0.0) == 0.0


def test_many_invoices_wait_at_once_and_each_is_paid_and_completed_once(payer, shop):
    told = [bare(shop.new(amount=f"0.0{number + 10}")) for number in range(6)]
    before, found = shop.earned, []

    def one(invoice):
        found.append(payer.invoice(**invoice).status)

    threads = [threading.Thread(target=one, args=(each,)) for each in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["completed"] * 6 and len(shop.used) == 6
    assert shop.earned - before == sum(10_000 + 1_000 * number for number in range(6))


def test_what_the_chain_took_is_none_of_the_time_to_ask_in(payer, shop, monkeypatch):
    """A minute until it is solid, and as long a deadline: the monitor was asked without any time left."""
    ends = []
    ask = drivers.fetch
    monkeypatch.setattr(drivers, "fetch", lambda step, *rest: (ends.append((step.url, DEADLINE.get())), ask(step, *rest))[1])
    with payer.client(timeout=60) as http:
        assert http.get(shop.url()).text == "goods"
    asked = [end for url, end in ends if "/payment_status/" in url]
    assert len(asked) == len(shop.polls) > 1 and asked[1] > asked[0]


def test_429_is_waited_out_for_everybody_at_that_origin(payer, shop, monkeypatch):
    waits = []
    rest = Pace.rest
    monkeypatch.setattr(Pace, "rest", lambda pace, origin, seconds: (waits.append(seconds), rest(pace, origin, 0.05)))
    busy = shop.seller.answer(429, retry_after="7")
    shop.status = lambda told, number: busy if number == 2 else told
    with payer.client(timeout=60) as http:
        assert http.get(shop.url()).text == "goods"
    assert waits == [7.0] and drivers
