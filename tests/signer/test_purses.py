"""Slips through the service: they narrow, end with the process that gave them, and are no other agent's; deadlines hold."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import pytest

import nursery
from raw import Raw, pay, wait_for
from x402_agent import Budget, BudgetExceeded, PolicyDenied, SettingsError
from x402_agent.approvals import answer, waiting
from x402_agent.policy import Approval
from x402_agent.secret import Secret
from x402_agent.signer import AgentPayer, Service
from x402_agent.tasks.slips import Token

CHILD = """
import sys
from x402_agent import Payer, PaymentError
with Payer.from_env() as payer, payer.client() as http:
    for _ in range(3):
        try: print(http.get(sys.argv[1]).status_code)
        except PaymentError as why: print(type(why).__name__)
"""


def state(box):
    return [one.state for one in box.payer.ledger.slips()]


def test_a_child_pays_from_its_slip_alone_and_the_task_around_it_counts(running):
    box = running()
    url = box.payer.sandbox.url("/joke")
    with box.agent() as payer:
        with payer.task("research", budget="0.10") as task:
            token = payer.slip("0.025", minutes=5, hosts=["127.0.0.1"])
            assert isinstance(token, Token) and "slip-" not in f"{token!r}{token}"
            env = {**os.environ, "X402_AGENT_SIGNER": str(box.path), "X402_AGENT_SLIP": str.__str__(token)}
            done = nursery.run(CHILD, url, env=env, check=True, warn="error")
            assert done.stdout.split() == ["200", "200", "BudgetExceeded"], done
            assert task.spent == "0.02"
            with payer.under(str.__str__(token)) as purse, payer.client() as http:
                assert purse.left == "0.005"
                with pytest.raises(BudgetExceeded, match="slip"):
                    http.get(url)
        assert state(box) == ["expired"], "its task is over"
        with pytest.raises(PolicyDenied, match="expired"):
            payer.under(str.__str__(token))
    assert {one.task for one in box.payments()} == {"research"}


def test_a_slip_dies_with_its_payer_and_binds_its_hosts(running):
    box = running()
    with box.agent() as payer:
        token = payer.slip("0.05", hosts=["else.example"])
        with payer.under(str.__str__(token)), payer.client() as http, pytest.raises(PolicyDenied, match="hosts"):
            http.get(box.payer.sandbox.url("/joke"))
        assert state(box) == ["active"]
    wait_for(lambda: state(box) == ["expired"])
    with box.agent() as payer, pytest.raises(PolicyDenied, match="expired"):
        payer.under(str.__str__(token))


def test_a_slip_inside_a_slip_stays_inside_it(running):
    box = running()
    with box.agent() as payer:
        outer = payer.slip("0.015")
        with payer.under(str.__str__(outer)):
            inner = payer.slip("1.00")
        with payer.under(str.__str__(inner)), payer.client() as http:
            assert http.get(box.payer.sandbox.url("/joke")).status_code == 200
            with pytest.raises(BudgetExceeded):
                http.get(box.payer.sandbox.url("/joke"))


def test_another_agents_token_and_number_open_nothing(running, tmp_path):
    box = running()
    short = box.path.parent / "t.sock"
    service = Service(box.payer, short, {os.getuid(): "thief"})
    thread = threading.Thread(target=service.serve)
    thread.start()
    try:
        with box.agent() as payer, AgentPayer(replace(box.payer.settings, signer=short)) as thief:
            token = payer.slip("0.05")
            with pytest.raises(SettingsError, match="no slip"):
                thief.desk.purse(Secret(str.__str__(token)))
            (slip,) = box.payer.ledger.slips()
            with Raw(short) as raw:
                said = raw.call(pay(box, slips=[slip.slip_id]))
                assert said["error"] == "PolicyDenied", said
                raw.call({"op": "end", "run": slip.slip_id})
                assert raw.call({"op": "end", "run": f"x.research.{slip.slip_id}"}) is None
            assert state(box) == ["active"]
    finally:
        service.stop()
        thread.join(20)


LIES = [
    {"limits": [], "hosts": [], "caps": []},
    {"limits": [{"scope": "all", "window": "total", "most": str(10**15), "unit": "micros", "rule": "x", "hint": ""}]},
    {"runs": ["someone"], "task": "other"},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda one: ",".join(one))
def test_what_a_child_says_beside_its_slips_number_widens_nothing(running, lie):
    box = running(budget=Budget("5.00/total"))
    with box.agent() as payer:
        payer.slip("0.015")
        (slip,) = box.payer.ledger.slips()
        with Raw(box.path) as raw:
            said = [raw.call(pay(box, key=key, slips=[slip.slip_id], **lie)) for key in "abc"]
            assert [("proof" in one, one.get("error")) for one in said] == [(True, None), *[(False, "BudgetExceeded")] * 2], said


LENDS = {
    "a budget that is none": {"budget": "lots"}, "a negative one": {"budget": "-1"}, "no time": {"seconds": 0}, "for ever": {"seconds": 1 << 40},
    "a host that is none": {"names": ["http://"]}, "calls as text": {"calls": "x"}, "another's run": {"within": {"runs": ["thief.1"]}},
    "another's scope": {"within": {"limits": [{"scope": "agent:thief", "window": "total", "most": "1", "unit": "micros"}]}},
    "nothing around it": {"within": None}, "another's slip": {"within": {"slips": ["0123"]}},
}  # fmt: skip


@pytest.mark.parametrize("name", LENDS)
def test_a_forged_slip_is_not_written(running, name):
    box = running()
    message = {"op": "lend", "within": {}, "budget": "0.05", "seconds": 60, "names": [], **LENDS[name]}
    with Raw(box.path) as raw:
        said = raw.call(message)
        assert said is None or "error" in said, said
    assert state(box) == []


def test_nobody_gives_slips_without_end(running):
    box = running()
    message = {"op": "lend", "within": {}, "budget": "0.05", "seconds": 60, "names": []}
    with Raw(box.path) as raw:
        said = [raw.call(message) for _ in range(65)]
        assert "token" in said[63] and said[64]["error"] == "PolicyDenied"


def test_a_tasks_deadline_holds_while_a_person_is_asked(running):
    box = running()
    box.payer.policy = replace(box.payer.policy, approve_above=0, approval=Approval(how="file", seconds=30))
    folder = box.payer.settings.approvals

    def person():
        end = time.monotonic() + 60
        while not (found := waiting(folder, time.time())) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(2.7)
        answer(folder, found[0], yes=True)

    thread = threading.Thread(target=person)
    with box.agent() as payer, payer.client() as http, payer.task("quick", deadline=2.5):
        thread.start()
        with pytest.raises(PolicyDenied, match="deadline"):
            http.get(box.payer.sandbox.url("/joke"))
    thread.join()
    wait_for(lambda: [one.state for one in box.payments()] == ["RELEASED"])
