"""Until somebody has it: a POST is repeated by `resume`, and what it brings waits for the next identical request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import nursery
from loopback import Till
from x402_agent import PaymentInDoubt, Wallet
from x402_agent.errors import SettingsError

BODY = b'{"prompt": "needle-in-a-body"}'
PRIVATE = {"authorization": "Bearer needle-auth", "cookie": "sid=needle-cookie", "x-api-key": "needle-key"}
PLAIN = {"content-type": "application/json", "x-model": "large", "idempotency-key": "i-1"}
KEY = "0x" + "5a" * 32


@pytest.fixture
def buyer(till):
    made = till.payer()
    made.wallet = Wallet.from_key(KEY)
    return made


class Flaky:
    """Takes the proof and says nothing, until it is mended; then the same proof is answered, once for each time it is shown."""

    def __init__(self, seller, **headers):
        self.seller, self.mended, self.seen, self.headers = seller, False, [], headers

    def __call__(self, hit):
        if not hit.proof:
            return self.seller.ask(hit.path)
        self.seen.append(hit)
        if not self.mended:
            return hit.reset()
        return self.seller.ok(b"the goods for " + hit.body, content_type="text/x-goods", set_cookie="sid=1", **self.headers)


def lost(drive, buyer, url, method="POST", **options):
    with pytest.raises(PaymentInDoubt):
        drive(buyer, method, url, **options)


def requests(payer):
    return payer.ledger._job(lambda store: store.db.execute("SELECT payment_id FROM x402_requests").fetchall(), write=False).run()


def test_a_post_is_repeated_without_its_caller_and_its_goods_go_to_the_next_identical_one(drive, seller, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY, headers=PRIVATE | PLAIN)
    assert len(requests(buyer)) == 1
    flaky.mended = True
    (one,) = buyer.resume()
    assert one.after == "CLAIMED" and "goods wait for the same request" in one.note and one.todo == ""
    again = flaky.seen[-1]
    assert again.method == "POST" and again.body == BODY and len(seller.nonces) == 1
    assert {name: again.headers.get(name) for name in PLAIN} == PLAIN
    assert not set(PRIVATE) & set(again.headers), "no credential and no cookie is kept"
    assert requests(buyer) == []
    hits = len(seller.hits)
    reply = drive(buyer, "POST", url, content=BODY, headers=PRIVATE)
    assert reply.content == b"the goods for " + BODY and reply.headers["content-type"] == "text/x-goods"
    assert "set-cookie" not in reply.headers and len(seller.hits) == hits, "nothing went out"
    receipt = reply.extensions["payment"]
    assert receipt.outcome == "spent" and receipt.payment_id == one.payment_id and receipt.money
    assert drive(buyer, "POST", url, content=BODY).content == b"the goods for " + BODY
    assert len(seller.nonces) == 2, "the one after that is a new purchase"
    assert buyer.ledger.verify() == []
    assert [each.data.get("note") for each in buyer.ledger.events(one.payment_id)][-1] == "its goods were handed over"


def test_headers_come_back_byte_for_byte_and_break_nothing(drive, seller, buyer):
    flaky = Flaky(seller, x_note="caf\xe9 \xff")
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY, headers={"x-name": b"caf\xe9"})
    flaky.mended = True
    buyer.resume()
    assert flaky.seen[-1].headers["x-name"] == "caf\xe9"
    reply = drive(buyer, "POST", url, content=BODY)
    assert dict(reply.headers.raw)[b"x-note"] == b"caf\xe9 \xff" and reply.content == b"the goods for " + BODY


def test_other_requests_do_not_get_them(drive, seller, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY)
    flaky.mended = True
    buyer.resume()
    for method, where, body, options in (
        ("POST", url, b"another body", {}), ("PUT", url, BODY, {}), ("POST", url + "?x=1", BODY, {}),
        ("POST", url, BODY, {"key": "k"}), ("POST", url, BODY, {"again": True}),
    ):  # fmt: skip
        before = len(seller.nonces)
        drive(buyer, method, where, content=body, extensions={"payment": options})
        assert len(seller.nonces) == before + 1, (method, where, body, options)
    before = len(seller.nonces)
    drive(buyer, "POST", url, content=BODY)
    assert len(seller.nonces) == before


def test_what_another_process_fetched_is_found_before_it_is_bought_again(drive, seller, till, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY)
    other = till.payer()
    other.wallet = Wallet.from_key(KEY)
    buyer.ledger.flush()
    flaky.mended = True
    assert [one.after for one in other.resume()] == ["CLAIMED"]
    hits = len(seller.hits)
    assert drive(buyer, "POST", url, content=BODY).content == b"the goods for " + BODY
    assert len(seller.nonces) == 1 and len(seller.hits) == hits, "nothing was sent"
    drive(buyer, "POST", url, content=b"another one")
    assert not buyer.credentials.keeps("http://another.example"), "memory is exact again: no request looks for nothing"
    assert drive(other, "POST", url, content=BODY).status_code == 200 and len(seller.nonces) == 3


def test_a_prepaying_client_looks_before_its_proof_leaves(drive, seller, till, buyer):
    from x402_agent import Policy

    flaky = Flaky(seller)
    flaky.mended = True
    url = seller.serves("/get", flaky)
    eager = till.payer(policy=Policy(networks=("testnet",), prepay=(seller.origin,)))
    eager.wallet = Wallet.from_key(KEY)
    drive(eager, "GET", url, times=2)
    assert [bool(hit.proof) for hit in seller.hits] == [False, True, True], "it prepays"
    flaky.mended = False
    lost(drive, eager, url, "GET")
    eager.ledger.flush()
    flaky.mended = True
    assert [one.after for one in buyer.resume()] == ["CLAIMED"]
    before = len(seller.nonces)
    assert drive(eager, "GET", url).content == b"the goods for " and len(seller.nonces) == before


def test_a_get_keeps_its_headers_once_its_answer_is_lost(drive, seller, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/get", flaky)
    drive(buyer, "GET", seller.sells("/fine"))
    lost(drive, buyer, url, "GET", headers={"accept": "text/x-goods", **PRIVATE})
    flaky.mended = True
    buyer.resume()
    assert flaky.seen[-1].headers["accept"] == "text/x-goods" and not set(PRIVATE) & set(flaky.seen[-1].headers)
    assert requests(buyer) == []
    reply = drive(buyer, "GET", url, extensions={"payment": {"again": False}})
    assert reply.content == b"the goods for " and len(seller.nonces) == 2


def test_nothing_is_kept_of_what_was_delivered_refused_or_never_left(drive, seller, buyer):
    drive(buyer, "POST", seller.sells("/fine"), content=BODY)
    buyer.ledger.flush()
    assert requests(buyer) == []
    drive(buyer, "POST", seller.serves("/free", seller.answer(200)), content=BODY)
    assert requests(buyer) == []
    drive(buyer, "POST", seller.sells("/refused", lambda hit: seller.ask(hit.path)), content=BODY)
    assert len(requests(buyer)) == 1, "a refused proof may still be cashed"


def test_a_body_that_breaks_keeps_the_request(drive, seller, buyer):
    flaky = Flaky(seller)

    def route(hit):
        if not hit.proof or flaky.mended:
            return flaky(hit)
        return iter([seller.ok(b"x" * 10)[:-5].replace(b"content-length: 10", b"content-length: 100")])

    url = seller.serves("/buy", route)
    lost(drive, buyer, url, content=BODY)
    assert Till.rows(buyer) == [("PAID_UNDELIVERED", "spent")] and len(requests(buyer)) == 1
    flaky.mended = True
    (one,) = buyer.resume()
    assert (one.before, one.after) == ("PAID_UNDELIVERED", "CLAIMED") and requests(buyer) == []
    assert drive(buyer, "POST", url, content=BODY).content == b"the goods for " + BODY


def test_a_body_beyond_a_mebibyte_waits_for_its_caller(drive, seller, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=b"x" * ((1 << 20) + 1))
    assert requests(buyer) == []
    flaky.mended = True
    (one,) = buyer.resume()
    assert "was not kept: it is larger than 1 MiB" in one.note and "X402_AGENT_NODES=base-sepolia=" in one.todo
    assert drive(buyer, "POST", url, content=b"x" * ((1 << 20) + 1)).status_code == 200 and len(seller.nonces) == 1


def test_another_wallet_neither_repeats_nor_reads(drive, seller, till, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY)
    stranger = till.payer()
    stranger.wallet = Wallet.from_key("0x" + "77" * 32)
    flaky.mended = True
    assert "another wallet's key" in stranger.resume()[0].note
    buyer.resume()
    assert drive(stranger, "POST", url, content=BODY).status_code == 200
    assert len(seller.nonces) == 2, "goods that it cannot open are not its own"


def test_goods_go_to_a_file_that_is_new(drive, seller, buyer, tmp_path):
    flaky = Flaky(seller)
    for name in ("direct", "later"):
        url = seller.serves(f"/{name}", flaky)
        flaky.mended = False
        lost(drive, buyer, url, content=BODY)
        flaky.mended = True
        target = tmp_path / name
        if name == "later":
            assert "goods wait" in buyer.resume()[0].note
        else:
            target.write_text("mine")
            with pytest.raises(SettingsError, match="never overwritten"):
                buyer.resume(buyer.ledger.payments()[0].payment_id, output=target)
            target.unlink()
        (one,) = buyer.resume(buyer.ledger.payments()[0].payment_id, output=target)
        assert one.after == "CLAIMED" and target.read_bytes() == b"the goods for " + BODY and str(target) in one.note
        assert not list(tmp_path.glob("*.part"))
    assert buyer.resume() == []
    before = len(seller.nonces)
    drive(buyer, "POST", seller.url("/later"), content=BODY)
    assert len(seller.nonces) == before + 1, "handed over once"


def test_goods_that_are_too_large_stay_with_the_seller_until_a_file_is_named(drive, seller, buyer, tmp_path, monkeypatch):
    from x402_agent.recovery import again

    monkeypatch.setattr(again, "MOST", 20)
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY)
    flaky.mended = True
    (one,) = buyer.resume()
    assert one.after == "PAID_UNDELIVERED" and "--output" in one.note and "x402-agent claim" in one.todo
    (one,) = buyer.resume(one.payment_id, output=tmp_path / "goods")
    assert one.after == "CLAIMED" and len(seller.nonces) == 1


def test_goods_that_cannot_be_written_leave_it_undelivered(drive, seller, buyer, tmp_path, monkeypatch):
    from x402_agent.errors import LedgerError

    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY)
    flaky.mended = True
    with monkeypatch.context() as patch:
        patch.setattr(buyer.ledger, "keep_goods", lambda hold, goods: (_ for _ in ()).throw(LedgerError("the disk is full")))
        (one,) = buyer.resume()
    assert one.after == "PAID_UNDELIVERED" and one.note == "the disk is full"
    assert [one.after for one in buyer.resume()] == ["CLAIMED"]


def test_nothing_of_it_lies_in_clear_on_the_disk(drive, seller, buyer, tmp_path):
    flaky = Flaky(seller, x_secret="needle-in-the-goods")
    url = seller.serves("/buy", flaky)
    lost(drive, buyer, url, content=BODY, headers=PRIVATE)
    files = lambda: b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())  # noqa: E731
    assert len(requests(buyer)) == 1 and b"needle" not in files()
    flaky.mended = True
    buyer.resume()
    assert b"needle" not in files() and b"the goods" not in files()
    assert b"needle" in drive(buyer, "POST", url, content=BODY).content


CHILD = """
import os, signal, sys
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
verb, point, url, home = sys.argv[1:5]
settings = Settings.load({"X402_AGENT_HOME": home})
ledger = SqliteLedger(settings.ledger_path)
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def at(name):
    real = getattr(ledger, name)
    def wrapped(*args, **options):
        if point == "before-" + name: die()
        job = real(*args, **options)
        if point == "after-" + name:
            job.run(); ledger.flush(); die()
        return job
    setattr(ledger, name, wrapped)
for name in ("commit", "close", "keep_goods", "collected"): at(name)
payer = Payer(wallet=Wallet.from_key("0x" + "5a" * 32), policy=Policy(networks=("testnet",)), settings=settings, ledger=ledger)
if verb == "buy":
    print(payer.client().post(url, content=b"body").content.decode())
else:
    print([one.after for one in payer.resume()])
payer.close()
"""


@pytest.mark.parametrize("point", ["after-commit", "before-close", "before-keep_goods", "after-keep_goods", "after-close"])
def test_killed_anywhere_one_payment_brings_its_goods_once(point, seller, tmp_path):
    url = seller.sells("/buy", lambda hit: seller.ok(b"goods"))

    def child(verb, at):
        return nursery.run(CHILD, verb, at, url, tmp_path)

    first = "after-commit" if point != "before-close" else point
    assert child("buy", first).returncode == -9
    if point not in ("after-commit", "before-close"):
        assert child("resume", point).returncode == -9
    done = child("resume", "never")
    assert done.returncode == 0, done.stderr
    done = child("buy", "never")
    assert done.stdout.strip() == "goods" and len(seller.nonces) == 1, done.stderr
    assert child("buy", "never").stdout.strip() == "goods" and len(seller.nonces) == 2


def test_seen_through_a_client_that_is_attached_and_a_seller_that_is_gone(seller, buyer):
    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    with buyer.attach(httpx.Client()) as http, pytest.raises(PaymentInDoubt):
        http.post(url, content=BODY)
    flaky.mended = True
    buyer.resume()
    seller.close()
    with buyer.attach(httpx.Client()) as http:
        assert http.post(url, content=BODY).content == b"the goods for " + BODY


def test_the_command_says_what_can_be_done_and_writes_the_goods(seller, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from x402_agent.cli.app import app

    monkeypatch.setenv("X402_AGENT_EVM_KEY", KEY)
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")

    def run(*words):
        return CliRunner().invoke(app, list(words))

    flaky = Flaky(seller)
    url = seller.serves("/buy", flaky)
    assert run("get", url, "-d", BODY.decode()).exit_code == 5
    done = run("resume")
    assert done.exit_code == 5 and "did not answer" in done.output and "X402_AGENT_NODES=base-sepolia=" in done.output
    assert run("resume", "--output", str(tmp_path / "x")).exit_code == 2
    flaky.mended = True
    (row,) = json.loads(run("resume", "--json").output)
    assert row["after"] == "CLAIMED" and row["todo"] == ""
    done = run("resume", row["payment_id"], "-o", str(tmp_path / "goods"))
    assert done.exit_code == 0 and (tmp_path / "goods").read_bytes() == b"the goods for " + BODY
    assert len(seller.nonces) == 1 and Path(tmp_path / "goods").exists() and replace
