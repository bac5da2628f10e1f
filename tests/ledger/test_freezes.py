"""Stop: freezes, the file `freeze`, and sellers who deliver nothing; all of it inside the hold's transaction."""

from __future__ import annotations

import pytest

from x402_agent.errors import LedgerError, PolicyDenied
from x402_agent.ledger import freezes
from x402_agent.model import Limit, Stop, Under

ROOM = (Limit("all", "day", 10**12),)
STOP = Stop(3, "stop_after in policy.toml:9")
OTHER = "0x" + "cd" * 20


def buy(desk, ledger, path="/new", *, host="api.example.com", under=None, pay_to=None, reserve=False, stop=STOP):
    ask = desk.ask(path, host=host, **({"under": under} if under else {}))
    offer = desk.offer(pay_to=pay_to) if pay_to else desk.offer()
    hold = ledger.hold(ask, offer, desk.terms(), ROOM, reserve=reserve, stop=stop).run()
    made = ledger.commit(hold).run()
    assert made is not None
    return made


def refused(desk, ledger, **options) -> PolicyDenied:
    """What both ways say: a plan in memory and a reserved row."""
    with pytest.raises(PolicyDenied) as planned:
        buy(desk, ledger, **options)
    with pytest.raises(PolicyDenied) as caught:
        buy(desk, ledger, reserve=True, **options)
    assert str(planned.value) == str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "name", "stopped", "free"),
    [
        ("all", "", {}, None),
        ("host", "API.example.com", {}, {"host": "b.example", "pay_to": OTHER}),
        ("payee", OTHER.upper().replace("X", "x"), {"pay_to": OTHER, "host": "b.example"}, {}),
        ("agent", "scout", {"under": Under(agent="boss,scout")}, {"under": Under(agent="boss")}),
    ],
)
def test_what_is_frozen_in_one_process_is_paid_in_none(desk, ledger, kind, name, stopped, free):
    buy(desk, ledger, "/before")
    plan = ledger.hold(desk.ask("/planned", host=stopped.get("host", "api.example.com"), **({"under": stopped["under"]} if "under" in stopped else {})),
                       desk.offer(pay_to=stopped.get("pay_to", desk.offer().pay_to)), desk.terms(), ROOM).run()  # fmt: skip
    other = desk.open()
    other.freeze(kind, name, "why\x1b[31m so")
    with pytest.raises(PolicyDenied):
        ledger.commit(plan).run()
    for each in (ledger, other, desk.open()):
        why = refused(desk, each, **stopped)
        assert "frozen since 2026" in why.what and "(why [31m so)" in why.what
        assert why.hint == f"x402-agent unfreeze{other.freezes()[0].option}"
        if free is not None:
            buy(desk, each, f"/free/{id(each)}", **free)
    assert ledger.unfreeze(kind, name) and not ledger.unfreeze(kind, name)
    buy(desk, other, "/after", **stopped)
    assert ledger.verify() == []


def test_a_reserved_payment_is_not_committed_once_frozen_and_an_open_proof_is_shown_again(desk, ledger):
    out = buy(desk, ledger, "/out")
    ledger.close(out, "UNKNOWN").run()
    waiting = ledger.hold(desk.ask("/asked"), desk.offer(), desk.terms(), ROOM, reserve=True).run()
    desk.open().freeze()
    with pytest.raises(PolicyDenied):
        ledger.commit(waiting).run()
    ledger.close(waiting, "RELEASED").run()
    again = ledger.find(desk.ask("/out")).run()
    assert ledger.commit(again).run().terms == out.terms
    assert [p.state for p in ledger.payments()] == ["RELEASED", "UNKNOWN"]


@pytest.mark.parametrize("where", ["ledger", "config"])
def test_a_file_called_freeze_stops_everything_until_it_is_gone(desk, tmp_path, where):
    ledger = desk.open(notes=tmp_path / "config" / "ledgers")
    buy(desk, ledger, "/before")
    file = ledger.stop_files()[where == "config"]
    assert file.parent == (desk.folder if where == "ledger" else tmp_path / "config")
    file.parent.mkdir(exist_ok=True)
    file.symlink_to("/nowhere")  # a name is enough
    assert str(file) in refused(desk, ledger).what
    file.unlink()
    buy(desk, ledger)


def test_what_cannot_be_frozen_is_an_error(ledger):
    for kind, name in (("host", ""), ("all", "x"), ("moon", "x"), ("host", "https://api.example.com"), ("host", "api.example.com/v1"),
                       ("host", "user@api.example.com"), ("host", "api.example.com:443"), ("host", "bücher.example"), ("host", "a b"),
                       ("payee", "base/0x11"), ("payee", "0x11 ")):  # fmt: skip
        for what in (ledger.freeze, ledger.unfreeze):
            with pytest.raises(LedgerError):
                what(kind, name)
    for kind, name in (("host", "API.example.com"), ("host", "::1"), ("host", "127.0.0.1"), ("payee", "SP1.pool"), ("agent", "team/a")):
        assert ledger.freeze(kind, name).name == (name.lower() if kind == "host" else name)


# -- sellers who deliver nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["UNKNOWN", "PAID_UNDELIVERED", "QUARANTINE"])
def test_three_in_a_row_without_goods_stop_the_origin_and_the_payee(desk, ledger, end):
    for number in range(3):
        ledger.close(buy(desk, ledger, f"/{number}"), end).run()
    why = refused(desk, ledger)
    assert "the last 3 payments to https://api.example.com are in doubt or were not delivered" in why.what
    assert why.rule == STOP.rule
    assert "unfreeze --host api.example.com" in why.hint
    assert "--payee" in refused(desk, desk.open(), host="b.example").hint  # whoever asks for the same recipient
    buy(desk, ledger, host="b.example", pay_to=OTHER)
    buy(desk, ledger, "/never", stop=Stop())
    ledger.unfreeze("host", "api.example.com")
    with pytest.raises(PolicyDenied, match="the last 3 payments to 0x2096"):
        buy(desk, ledger)
    ledger.unfreeze("payee", desk.offer().pay_to)
    for number in range(3):
        ledger.close(buy(desk, ledger, f"/again/{number}"), end).run()
    refused(desk, ledger)


def test_a_delivery_between_them_resets_and_goods_that_come_late_free(desk, ledger):
    for number, end in enumerate(["UNKNOWN", "UNKNOWN", "CLAIMED", "UNKNOWN", "PAID_UNDELIVERED"]):
        ledger.close(buy(desk, ledger, f"/{number}"), end, status=200).run()
    last = buy(desk, ledger, "/last")
    ledger.close(last, "UNKNOWN").run()
    refused(desk, ledger)
    shown = ledger.commit(ledger.find(desk.ask("/last")).run()).run()
    ledger.close(shown, "CLAIMED", status=200).run()
    buy(desk, ledger)


def test_what_is_under_way_is_no_failure_and_what_a_dead_process_left_is(desk, ledger, monkeypatch):
    monkeypatch.setattr(freezes, "TRUST", 0.0)
    other = desk.open()
    for number in range(5):
        buy(desk, other, f"/{number}")
    buy(desk, ledger)
    desk.crash(other)
    ledger.recover()
    refused(desk, ledger, path="/more")


def test_dead_payments_stop_nobody(desk, ledger):
    for number in range(4):
        hold = buy(desk, ledger, f"/{number}")
        ledger.close(hold, "UNKNOWN").run()
        ledger.close(hold, "DEAD").run()
    buy(desk, ledger)


# -- the same purchase ----------------------------------------------------------------------------------------------------


def test_how_often_the_same_purchase_was_made(desk, ledger):
    ask = desk.ask("/poll")
    for number in range(4):
        desk.clock.now += 60
        ledger.close(buy(desk, ledger, "/poll"), "CLAIMED", status=200).run()
        assert (ledger.repeats(ask, 600), desk.open().repeats(ask, 90)) == (number + 1, min(number + 1, 2))
    assert ledger.repeats(desk.ask("/other"), 600) == 0
