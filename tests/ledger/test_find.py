"""Same purchase or another one (decisions.md 4), keys (X8), again, pins."""

import pytest

from x402_agent.errors import LedgerError, PolicyDenied, SigningFailed
from x402_agent.model import Under
from x402_agent.steps import Busy

DAY = 86400


def test_nothing_open_is_none(desk, ledger):
    assert ledger.find(desk.ask()).run() is None


def test_in_progress_elsewhere_is_another_purchase_without_a_key_and_busy_with_one(desk, ledger):
    other = desk.open()
    desk.pay(other, desk.ask())
    made = desk.pay(other, desk.ask(caller_key="k"))
    for each in (ledger, other):
        assert each.find(desk.ask()).run() is None
        assert each.find(desk.ask(caller_key="k")).run() == Busy(made.payment_id)
    first = desk.pay(ledger)
    assert first.state == "INFLIGHT"
    plan = ledger.hold(desk.ask(caller_key="k"), desk.offer(), desk.terms(), ()).run()
    assert ledger.commit(plan).run() is None


@pytest.mark.parametrize("key", ["", "k"])
def test_a_dead_owners_payment_is_presented_again(desk, key):
    first = desk.open()
    hold = desk.pay(first, desk.ask(caller_key=key), digest="d1")
    desk.crash(first)
    second = desk.open()
    found = second.find(desk.ask(caller_key=key)).run()
    assert found.payment_id == hold.payment_id
    assert (found.resumed, found.terms, found.offer, found.identifier) == (
        True, hold.terms, hold.offer, hold.identifier,
    )  # fmt: skip
    plan = second.hold(desk.ask(caller_key=key), desk.offer(), desk.terms(), ()).run()
    assert second.commit(plan).run() is None
    again = second.commit(found, "d1").run()
    assert again.payment_id == hold.payment_id
    assert desk.counted(second) == 10_000


def test_death_of_another_process_is_seen_by_one_that_was_open_all_along(desk, ledger):
    assert ledger.find(desk.ask()).run() is None
    other = desk.open()
    hold = desk.pay(other)
    assert ledger.find(desk.ask()).run() is None
    desk.crash(other)
    assert ledger.find(desk.ask()).run().payment_id == hold.payment_id
    plan = ledger.hold(desk.ask(), desk.offer(), desk.terms(), ()).run()
    assert ledger.commit(plan).run() is None


@pytest.mark.parametrize(
    ("state", "refused"), [("UNKNOWN", False), ("UNKNOWN", True), ("PAID_UNDELIVERED", False), ("CONFIRMED", False)]
)
def test_unanswered_refused_and_undelivered_come_back_with_the_same_proof(desk, ledger, state, refused):
    hold = desk.pay(ledger)
    ledger.close(hold, state, refused=refused).run()
    found = ledger.find(desk.ask()).run()
    assert (found.payment_id, found.refused, found.state) == (hold.payment_id, refused, state)


def test_a_delivered_purchase_is_bought_anew(desk, ledger):
    for state in ("CLAIMED", "CONFIRMED"):
        hold = desk.pay(ledger)
        ledger.close(hold, "CLAIMED", status=200).run()
        ledger.close(hold, state).run()
        assert ledger.find(desk.ask()).run() is None
    assert len(ledger.payments()) == 2


def test_the_same_key_never_buys_twice(desk, ledger):
    hold = desk.pay(ledger, desk.ask(caller_key="k"))
    ledger.close(hold, "CLAIMED", status=200).run()
    assert ledger.find(desk.ask(caller_key="k")).run().payment_id == hold.payment_id
    assert ledger.find(desk.ask(caller_key="k", again=True)).run() is None
    assert ledger.find(desk.ask(caller_key="other")).run() is None


def test_again_false_never_buys_twice_and_again_true_does(desk, ledger):
    hold = desk.pay(ledger)
    ledger.close(hold, "CLAIMED", status=200).run()
    assert ledger.find(desk.ask(again=False)).run().payment_id == hold.payment_id
    plan = ledger.hold(desk.ask(again=False), desk.offer(), desk.terms(), ()).run()
    assert ledger.commit(plan).run() is None
    ledger.close(hold, "PAID_UNDELIVERED").run()
    assert ledger.find(desk.ask()).run() is not None
    assert ledger.find(desk.ask(again=True)).run() is None
    desk.pay(ledger, desk.ask(again=True))


@pytest.mark.parametrize("again", [None, True, False])
def test_what_may_still_settle_is_never_paid_a_second_time(desk, ledger, again):
    hold = desk.pay(ledger)
    ledger.close(hold, "UNKNOWN").run()
    assert ledger.find(desk.ask(again=again)).run().payment_id == hold.payment_id


def test_identity_ends_a_day_after_expiry_and_not_before(desk, ledger):
    hold = desk.pay(ledger, lifetime=60)
    ledger.close(hold, "UNKNOWN").run()
    desk.clock.now += 60 + DAY - 1
    assert ledger.find(desk.ask()).run().payment_id == hold.payment_id
    desk.clock.now += 1
    assert ledger.find(desk.ask()).run() is None
    assert ledger.find(desk.ask(again=False)).run() is not None
    desk.pay(ledger)
    assert desk.counted(ledger) == 20_000


def test_a_key_for_another_request_is_refused_and_names_the_first_payment(desk, ledger):
    hold = desk.pay(ledger, desk.ask(caller_key="k"))
    for other in (
        desk.ask("/else", caller_key="k"),
        desk.ask(caller_key="k", method="POST"),
        desk.ask(caller_key="k", digest_body=lambda: b"body", has_body=True),
    ):
        with pytest.raises(PolicyDenied) as caught:
            ledger.find(other).run()
        assert caught.value.payment_id == hold.payment_id
        plan = ledger.hold(other, desk.offer(), desk.terms(), ()).run()
        with pytest.raises(PolicyDenied):
            ledger.commit(plan).run()


def test_a_key_whose_payment_never_left_may_be_used_again(desk, ledger):
    hold = ledger.hold(desk.ask(caller_key="k"), desk.offer(), desk.terms(), (), reserve=True).run()
    ledger.close(hold, "RELEASED").run()
    assert ledger.find(desk.ask("/else", caller_key="k")).run() is None


def test_a_cancelled_commit_leaves_a_row_that_the_next_call_presents(desk, ledger):
    plan = ledger.hold(desk.ask(), desk.offer(), desk.terms(), ()).run()
    ledger.commit(plan).run()
    ledger.close(plan, "RELEASED").run()
    assert ledger.find(desk.ask()).run().payment_id == plan.payment_id
    assert desk.counted(ledger) == 10_000


def test_other_bytes_than_the_stored_proof_are_never_sent(desk, ledger):
    hold = desk.pay(ledger, digest="aa")
    ledger.close(hold, "UNKNOWN").run()
    found = ledger.find(desk.ask()).run()
    with pytest.raises(SigningFailed) as caught:
        ledger.commit(found, "bb").run()
    assert caught.value.payment_id == hold.payment_id
    assert ledger.commit(found, "aa").run().state == "UNKNOWN"


def test_a_resumed_payment_that_died_meanwhile_is_not_presented(desk, ledger):
    hold = desk.pay(ledger)
    ledger.close(hold, "UNKNOWN").run()
    found = ledger.find(desk.ask()).run()
    ledger.close(found, "DEAD", note="unused on chain past its expiry").run()
    assert ledger.commit(found).run() is None
    assert ledger.find(desk.ask()).run() is None


def test_two_reservations_of_one_key_end_in_one_payment(desk, ledger):
    holds = [
        ledger.hold(desk.ask(caller_key="k"), desk.offer(), desk.terms(), (), reserve=True).run() for _ in range(2)
    ]
    assert ledger.commit(holds[0]).run() is None  # the other one is still at work: this one gives way
    assert ledger.commit(holds[1]).run() is not None
    assert desk.counted(ledger) == 10_000


def test_a_reservation_released_by_recovery_is_not_committed(desk, ledger):
    hold = ledger.hold(desk.ask(), desk.offer(), desk.terms(), (), reserve=True).run()
    ledger.close(hold, "RELEASED").run()
    assert ledger.commit(hold).run() is None


def test_one_nonce_one_payment(desk, ledger):
    terms = desk.terms()
    for path in ("/a", "/b"):
        plan = ledger.hold(desk.ask(path), desk.offer(), terms, ()).run()
        if path == "/a":
            ledger.commit(plan).run()
            continue
        with pytest.raises(LedgerError):
            ledger.commit(plan).run()
    assert len(ledger.payments()) == 1
    assert ledger.verify() == []


def test_the_first_recipient_is_pinned(desk, ledger):
    other_payee = "0x" + "22" * 20
    desk.pay(ledger)
    assert [pin[2] for pin in ledger.pins()] == [desk.offer().pay_to]
    for each in (ledger, desk.open()):
        with pytest.raises(PolicyDenied) as caught:
            each.hold(desk.ask(), desk.offer(pay_to=other_payee), desk.terms(), ()).run()
        assert "pinned" in caught.value.rule
    assert len(ledger.payments()) == 1
    desk.pay(ledger, offer=desk.offer(pay_to=other_payee, network="base"))
    assert ledger.unpin("https://api.example.com") == 2
    desk.pay(ledger, offer=desk.offer(pay_to=other_payee))


def test_one_recipient_in_another_spelling_is_the_same(desk, ledger):  # R4
    desk.pay(ledger, offer=desk.offer(pay_to="0x" + "ab" * 20))
    desk.pay(ledger, offer=desk.offer(pay_to="0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"))
    desk.pay(desk.open(), offer=desk.offer(pay_to="0x" + "AB" * 20))
    assert len(ledger.pins()) == 1
    with pytest.raises(PolicyDenied):
        ledger.hold(desk.ask(), desk.offer(pay_to="0x" + "ab" * 19 + "aa"), desk.terms(), ()).run()


def test_a_pin_set_by_another_process_after_the_plan_is_obeyed_at_commit(desk, ledger):
    plan = ledger.hold(desk.ask(), desk.offer(pay_to="0x" + "22" * 20), desk.terms(), ()).run()
    desk.pay(desk.open())
    with pytest.raises(PolicyDenied):
        ledger.commit(plan).run()


def test_the_identifier_is_stable_unlinkable_and_secret(desk, ledger):
    hold = desk.pay(ledger)
    ledger.close(hold, "UNKNOWN").run()
    found = ledger.find(desk.ask()).run()
    assert found.identifier == hold.identifier
    assert hold.identifier.startswith("pay_")
    assert len(hold.identifier) == 36
    assert hold.payment_id not in hold.identifier


def test_userinfo_and_fragment_are_not_stored_and_path_and_query_are(desk, ledger):
    ask = desk.ask("/q?a=1&b=2")
    ask.url = "https://user:hunter2@api.example.com/q?a=1&b=2#frag"
    hold = desk.pay(ledger, ask)
    assert ledger.payment(hold.payment_id).url == "https://api.example.com/q?a=1&b=2"


def test_open_payments_are_holds_whose_ask_is_rebuilt(desk):
    first = desk.open()
    ask = desk.ask("/x", caller_key="secret-key", under=Under(task="t"))
    hold = desk.pay(first, ask)
    desk.pay(first, desk.ask("/y"))
    desk.crash(first)
    found = desk.open().open_payments()
    assert found[0].payment_id == hold.payment_id
    assert (found[0].ask.key, found[0].ask.url, found[0].ask.under.task, found[0].resumed) == (ask.key, ask.url, "t", True)
    live = desk.open()
    desk.pay(live, desk.ask("/z"))
    assert len(live.open_payments()) == 2
