"""An invoice is paid once, whoever asks, and beside none of the same amount at the same wallet."""

from __future__ import annotations

import pytest

from x402_agent import PolicyDenied
from x402_agent.model import Under

ONCE = "was paid for before"


def invoice(desk, name="1", amount=10_000, **options):
    return desk.offer(amount, flow="invoice", method="transfer", wire=("invoice", f"https://m.example {name}", name), **options)


def ask(desk, number=1, **under):
    """Each is another request: what is bought twice is the invoice, not the page."""
    made = desk.ask(f"/report/{number}")
    made.under = Under(**under)
    return made


def set_aside(desk, ledger, number=1, name="1", amount=10_000, **under):
    return ledger.hold(ask(desk, number, **under), invoice(desk, name, amount), desk.terms(), (), reserve=True).run()


def test_what_is_set_aside_stands_while_its_process_lives_and_not_beyond(desk):
    first, second = desk.open(), desk.open()
    set_aside(desk, first)
    with pytest.raises(PolicyDenied, match=ONCE):
        set_aside(desk, second, 2)
    desk.crash(first)  # before a byte left
    assert set_aside(desk, second, 3) is not None


def test_what_may_have_left_stands_whoever_has_ended(desk):
    first, second = desk.open(), desk.open()
    desk.pay(first, ask(desk), invoice(desk))
    desk.crash(first)
    with pytest.raises(PolicyDenied, match=ONCE):
        set_aside(desk, second, 2)


@pytest.mark.parametrize(("name", "amount", "words"), [("1", 20_000, ONCE), ("2", 10_000, "another invoice of exactly"), ("2", 10_001, "")])
def test_another_of_the_same_amount_waits_and_any_other_does_not(desk, ledger, name, amount, words):
    desk.pay(ledger, ask(desk), invoice(desk))
    if not words:
        assert set_aside(desk, ledger, 2, name, amount) is not None
        return
    with pytest.raises(PolicyDenied, match=words):
        set_aside(desk, ledger, 2, name, amount)


@pytest.mark.parametrize(("agent", "told"), [("research", True), ("research,claude", True), ("thief", False), ("", False)])
def test_which_payment_it_was_is_told_to_its_own_agent_alone(desk, ledger, agent, told):
    paid = desk.pay(ledger, ask(desk, agent="research"), invoice(desk))
    with pytest.raises(PolicyDenied, match=ONCE) as caught:
        set_aside(desk, ledger, 2, agent=agent)
    assert (caught.value.payment_id == paid.payment_id) == told and (paid.payment_id[:8] in caught.value.hint) == told


@pytest.mark.parametrize("wire", [("invoice", "", "1"), ("invoice", "https://m.example 1")])
def test_one_without_a_name_is_not_paid(desk, ledger, wire):
    with pytest.raises(PolicyDenied, match="this one has none"):
        ledger.hold(ask(desk), desk.offer(flow="invoice", method="transfer", wire=wire), desk.terms(), (), reserve=True).run()
