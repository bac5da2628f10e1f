"""`stop_after` and `repeat`: read from policy.toml with their lines, and met by real payments in the sandbox."""

from __future__ import annotations

import dataclasses

import anyio
import pytest

from x402_agent import Payer, PaymentInDoubt, PolicyDenied, SettingsError
from x402_agent.policy import load
from x402_agent.policy.bounds import Often


def test_both_are_read_with_their_lines(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('stop_after = 5\nrepeat = "3 in 2 hours"\n')
    policy = load(path)
    assert (policy.stop.after, policy.stop.rule) == (5, f"stop_after in {path}:1")
    assert policy.repeat == (3, 7200)
    assert (load(tmp_path / "none.toml").stop.after, load(tmp_path / "none.toml").repeat) == (3, None)


@pytest.mark.parametrize("text", ["stop_after = -1", "stop_after = '3'", "repeat = 5", 'repeat = "5 in 10"', 'repeat = "0 in 1 minute"'])
def test_what_is_no_rule_names_its_line(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text("\n" + text + "\n")
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert f"{path}:2" in caught.value.rule


def paying(scenario="honest", **rules):
    payer = Payer.sandbox(scenario)
    payer.policy = dataclasses.replace(payer.policy, **rules)
    return payer


def test_a_seller_who_takes_money_and_answers_nothing_is_not_paid_a_fourth_time():
    with paying("settles_then_500") as payer, payer.client() as http:
        for number in range(3):
            assert http.get(payer.sandbox.url(f"/report?{number}")).status_code == 500
        for _ in range(2):
            with pytest.raises(PolicyDenied, match="the last 3 payments to") as caught:
                http.get(payer.sandbox.url("/report?3"))
        assert caught.value.rule == "stop_after in the sandbox default" and "unfreeze --host" in caught.value.hint
        assert http.get(payer.sandbox.url("/report?0")).status_code == 500  # its proof is out, and shown again
        assert len(payer.ledger.payments()) == 3
        payer.sandbox.scenario = "honest"
        payer.ledger.unfreeze("host", payer.sandbox.origin.partition("://")[2])
        payer.ledger.unfreeze("payee", payer.sandbox.pay_to)
        assert http.get(payer.sandbox.url("/report?3")).status_code == 200


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_for_event_loops(backend):
    async def main():
        with paying("answer_lost", stop_after=2) as payer:
            async with payer.async_client() as http:
                for number in range(2):
                    with pytest.raises(PaymentInDoubt):
                        await http.post(payer.sandbox.url(f"/report?{number}"))
                with pytest.raises(PolicyDenied, match="the last 2 payments to"):
                    await http.post(payer.sandbox.url("/report?2"))

    anyio.run(main, backend=backend)


def test_the_same_purchase_too_often_asks_a_person():
    with paying(repeat=Often(3, 600)) as payer, payer.client() as http:
        url, asked = payer.sandbox.url("/report"), []
        for _ in range(3):
            assert http.get(url).status_code == 200
        with pytest.raises(PolicyDenied, match="was bought 3 times in 600 seconds") as caught:
            http.get(url)
        assert caught.value.rule.startswith("repeat in ")
        assert http.get(payer.sandbox.url("/report?other")).status_code == 200
        payer.approve = lambda offer, ask: asked.append(ask.path) or True
        assert http.get(url).status_code == 200 and asked == ["/report"]
