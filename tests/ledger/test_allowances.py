"""What a spender may still take: never more than the chain showed, less what was paid through it since."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from x402_agent.errors import NoAcceptableOffer
from x402_agent.ledger import SqliteLedger

PAYER = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
TOKEN = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
WHERE = ("eip155:84532", TOKEN, PAYER, PERMIT2)


NUMBERS = itertools.count()


def pay(desk, ledger, amount, **options):
    return desk.pay(ledger, desk.ask(f"/{next(NUMBERS)}"), desk.offer(amount, method="permit2", **options))


def test_without_a_record_there_is_none(desk, ledger):
    assert ledger.allowance(*WHERE) == 0
    pay(desk, ledger, 10)
    assert ledger.allowance(*WHERE) == 0 and ledger.allowances() == []


def test_payments_through_the_spender_take_from_it(desk, ledger):
    ledger.allow(*WHERE, 1000, "0xab").run()
    assert ledger.allowance(*WHERE) == 1000
    pay(desk, ledger, 300)
    assert ledger.allowance(*WHERE) == 700
    desk.pay(ledger, desk.ask("/eip3009"), desk.offer(100))
    assert ledger.allowance(*WHERE) == 700
    with pytest.raises(NoAcceptableOffer, match=r"0\.0007 USDC are left"):
        pay(desk, ledger, 701)
    pay(desk, ledger, 700)
    assert ledger.allowance(*WHERE) == 0
    assert ledger.allowances() == [(WHERE[0], TOKEN.lower(), PAYER.lower(), PERMIT2.lower(), 0)]


@pytest.mark.parametrize("reserve", [False, True])
def test_D3_many_at_once_get_no_more_than_is_allowed(desk, ledger, reserve):
    ledger.allow(*WHERE, 1000).run()
    other = desk.open()
    plans = [(each, each.hold(desk.ask(f"/{n}"), desk.offer(300, method="permit2"), desk.terms(), ()).run())
             for n in range(6) for each in (ledger, other) if not reserve]  # fmt: skip
    done = []

    def run(n):
        with suppress(NoAcceptableOffer):
            if reserve:
                each = (ledger, other)[n % 2]
                offer = desk.offer(300, method="permit2")
                plan = each.hold(desk.ask(f"/{n}"), offer, desk.terms(), (), reserve=True).run()
            else:
                each, plan = plans[n]
            done.append(each.commit(plan).run())

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert ledger.allowance(*WHERE) == other.allowance(*WHERE) == 100


def test_addresses_match_in_any_case_and_the_token_by_id_too(desk, ledger):
    ledger.allow(WHERE[0], TOKEN.lower(), PAYER.lower(), PERMIT2.lower(), 1000).run()
    pay(desk, ledger, 1)
    for token in (TOKEN, TOKEN.lower(), f"eip155:84532/erc20:{TOKEN}"):
        assert ledger.allowance(WHERE[0], token, PAYER, PERMIT2) == 999
    assert ledger.allowance("eip155:8453", TOKEN, PAYER, PERMIT2) == 0
    assert ledger.allowance(WHERE[0], TOKEN, PERMIT2, PERMIT2) == 0


def test_what_can_never_settle_gives_its_part_back(desk, ledger):
    ledger.allow(*WHERE, 1000).run()
    hold = pay(desk, ledger, 300)
    ledger.close(hold, "UNKNOWN").run()
    assert ledger.allowance(*WHERE) == 700
    ledger.close(hold, "DEAD").run()
    assert ledger.allowance(*WHERE) == 1000


def test_a_ceiling_trued_up_gives_back_the_rest(desk, ledger):
    ledger.allow(*WHERE, 1000).run()
    offer = desk.offer(300, method="permit2")
    object.__setattr__(offer, "scheme", "upto")
    hold = desk.pay(ledger, desk.ask(), offer)
    ledger.close(hold, "CLAIMED").run()
    ledger.flush()
    assert ledger.allowance(*WHERE) == 700
    ledger.true_up(hold.payment_id, 120)
    assert ledger.allowance(*WHERE) == 880


def test_a_new_record_counts_from_there_but_for_what_is_in_doubt(desk, ledger):
    ledger.allow(*WHERE, 1000).run()
    settled = pay(desk, ledger, 100)
    ledger.close(settled, "CLAIMED").run()
    ledger.flush()
    ledger.allow(*WHERE, 900).run()
    assert ledger.allowance(*WHERE) == 900
    doubt = pay(desk, ledger, 50)
    ledger.close(doubt, "UNKNOWN").run()
    ledger.allow(*WHERE, 500).run()
    assert ledger.allowance(*WHERE) == 450  # it may still settle, and take from the new one
    ledger.close(doubt, "CONFIRMED").run()
    assert ledger.allowance(*WHERE) == 450
    ledger.allow(*WHERE, 0).run()
    assert ledger.allowance(*WHERE) == 0


def test_what_was_paid_while_the_chain_was_read_counts(desk, ledger):
    mark = ledger.mark(*WHERE[:3])
    ledger.close(pay(desk, ledger, 100), "CLAIMED").run()
    ledger.flush()
    ledger.allow(*WHERE, 1000, mark=mark).run()  # the chain said so before the payment
    assert ledger.allowance(*WHERE) == 900


def test_it_is_remembered_and_another_process_is_seen(desk, ledger):
    ledger.allow(*WHERE, 1000).run()
    assert ledger.allowance(*WHERE) == 1000
    ledger._job = None  # memory answers, or this breaks
    assert ledger.allowance(*WHERE) == 1000
    del ledger._job
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from x402_agent.errors import NoAcceptableOffer
from x402_agent.ledger import SqliteLedger
ledger = SqliteLedger(Path({str(desk.path)!r}), clock=lambda: {desk.clock.now})
ledger.allow(*{WHERE!r}, 77).run()
ledger.shut()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    assert ledger.allowance(*WHERE) == 77


def test_it_survives_and_is_worked_out_anew(desk):
    first = desk.open()
    first.allow(*WHERE, 1000).run()
    pay(desk, first, 10)
    desk.crash(first)
    assert desk.open().allowance(*WHERE) == 990


@pytest.mark.parametrize("seed", range(15))
def test_memory_and_file_say_the_same_whatever_happens(seed, desk, ledger):
    chance, holds = random.Random(seed), []
    for _ in range(12):
        what, amount = chance.choice(["pay", "pay", "dead", "claim", "allow", "plain", "reserve"]), chance.getrandbits(40) + 1
        if what == "pay":
            with suppress(NoAcceptableOffer):
                holds.append(pay(desk, ledger, amount))
        elif what == "plain":
            desk.pay(ledger, desk.ask(f"/plain/{amount}"), desk.offer(amount))
        elif what == "reserve":
            offer = desk.offer(amount, method="permit2")
            with suppress(NoAcceptableOffer):
                hold = ledger.hold(desk.ask(f"/r/{amount}"), offer, desk.terms(), (), reserve=True).run()
                if amount % 2:
                    ledger.close(hold, "RELEASED").run()
        elif what == "allow":
            ledger.allow(*WHERE, amount << 3).run()
        elif holds:
            ledger.close(holds.pop(), "DEAD" if what == "dead" else "CLAIMED").run()
            ledger.flush()
        in_memory = ledger.allowance(*WHERE)
        other = SqliteLedger(desk.path, clock=desk.clock, journal="normal")
        assert in_memory == other.allowance(*WHERE)
        other.shut()
        assert ledger.allowance(*WHERE) == in_memory


@pytest.mark.parametrize("amount", [-1])
def test_a_negative_one_is_refused(amount, ledger):
    with pytest.raises(ValueError, match="not negative"):
        ledger.allow(*WHERE, amount)
