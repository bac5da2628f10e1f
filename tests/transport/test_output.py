"""`get --output`: a file that is there whole or not at all, and a payment that is delivered only once it is."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat

import httpx
import pytest
from typer.testing import CliRunner

from x402_agent import PaymentInDoubt, SettingsError, Wallet
from x402_agent.cli.app import app
from x402_agent.recovery import delivered, outfile

GOODS = b"the goods" * 1000
KEY = "0x" + "5a" * 32


@pytest.fixture
def buyer(till):
    made = till.payer()
    made.wallet = Wallet.from_key(KEY)
    return made


@pytest.fixture(params=["no name", "a part"] if outfile._NAMELESS else ["a part"])
def kind(request, monkeypatch):
    """Each way to write that this system has: a file without a name, and one beside the other."""
    if request.param == "a part":
        monkeypatch.setattr(outfile, "_NAMELESS", 0)
    return request.param


def fetch(payer, url, target, other=None, **options):
    told = bytearray()
    reply, size = delivered(payer, "GET", url, target, overwrite=options.pop("overwrite", False), other=other or told.extend, **options)
    return reply, size, bytes(told)


def alone(target):
    assert [each.name for each in target.parent.iterdir()] == [target.name]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "goods"


def test_goods_go_to_a_new_private_file_and_then_the_payment_is_delivered(kind, seller, till, buyer, target):
    url = seller.sells("/paid", lambda hit: seller.ok(GOODS))
    reply, size, told = fetch(buyer, url, target)
    assert (reply.status_code, size, told, target.read_bytes()) == (200, len(GOODS), b"", GOODS)
    alone(target)
    assert till.rows(buyer) == [("CLAIMED", "spent")]
    assert buyer.ledger.request(buyer.ledger.payments()[0].payment_id) is None, "nothing is kept any more"
    notes = [each.data.get("note") for each in buyer.ledger.events(buyer.ledger.payments()[0].payment_id)]
    assert notes[-1] == f"its goods are in {target}"


def test_what_exists_is_never_bought_over(kind, seller, buyer, target):
    url = seller.sells("/paid", lambda hit: seller.ok(GOODS))
    target.write_bytes(b"mine")
    (target.parent / "link").symlink_to(target.parent / "nowhere")
    for path in (target, target.parent / "link", target.parent, target.parent / "no" / "folder"):
        with pytest.raises(SettingsError):
            fetch(buyer, url, path)
    with pytest.raises(SettingsError):
        fetch(buyer, url, target.parent, overwrite=True)
    assert seller.hits == [] and target.read_bytes() == b"mine"
    (target.parent / "link").unlink()
    fetch(buyer, url, target, overwrite=True)
    assert target.read_bytes() == GOODS
    alone(target)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_is_no_goods_makes_no_file(seller, buyer, target, status):
    url = seller.serves("/free", seller.answer(status, b"no goods"))
    reply, size, told = fetch(buyer, url, target)
    assert (reply.status_code, size, told) == (status, 0, b"no goods") and list(target.parent.iterdir()) == []


def test_a_body_that_breaks_leaves_no_file_and_the_same_proof_brings_it(kind, seller, till, buyer, target):
    def half(hit):
        if len(seller.proofs) == 1:
            yield seller.ok(GOODS)[:-100]
        else:
            yield seller.ok(GOODS)

    url = seller.sells("/paid", half)
    with pytest.raises(PaymentInDoubt):
        fetch(buyer, url, target)
    assert till.rows(buyer) == [("PAID_UNDELIVERED", "spent")] and list(target.parent.iterdir()) == []
    fetch(buyer, url, target)
    assert target.read_bytes() == GOODS and len(seller.nonces) == 1
    assert till.rows(buyer) == [("CLAIMED", "spent")]


def test_a_full_disk_leaves_the_payment_open(kind, seller, till, buyer, target, monkeypatch):
    url = seller.sells("/paid", lambda hit: seller.ok(GOODS))
    with monkeypatch.context() as broken:
        def full(self):
            raise OSError(errno.ENOSPC, "No space left on device")

        broken.setattr(outfile.OutFile, "keep", full)
        with pytest.raises(PaymentInDoubt, match="No space left") as why:
            fetch(buyer, url, target)
    assert "resume" in why.value.hint and list(target.parent.iterdir()) == []
    assert till.rows(buyer) == [("PAID_UNDELIVERED", "spent")]
    (one,) = buyer.resume()
    assert one.after == "CLAIMED" and one.note.endswith(f"its goods are in {target}")
    assert target.read_bytes() == GOODS and len(seller.nonces) == 1


def test_somebody_else_took_the_name_meanwhile(kind, seller, till, buyer, target):
    def rival(hit):
        target.write_bytes(b"mine")
        return seller.ok(GOODS)

    url = seller.sells("/paid", rival)
    with pytest.raises(PaymentInDoubt, match="exists already"):
        fetch(buyer, url, target)
    assert target.read_bytes() == b"mine"
    alone_before = os.listdir(target.parent)
    (one,) = buyer.resume()
    assert "wait for the same request" in one.note and os.listdir(target.parent) == alone_before == ["goods"]
    fetch(buyer, url, target.parent / "other")
    assert (target.parent / "other").read_bytes() == GOODS and len(seller.nonces) == 1
    assert till.rows(buyer) == [("CLAIMED", "spent")]


def test_goods_that_wait_are_written_without_a_request_and_leave_only_once_they_are_durable(seller, till, buyer, target, monkeypatch):
    def lost(hit):
        return seller.ok(GOODS) if len(seller.proofs) > 3 else hit.reset()

    url = seller.sells("/paid", lost)
    with pytest.raises(PaymentInDoubt), buyer.client() as http:
        http.get(url)
    buyer.resume()
    hits = len(seller.hits)
    with monkeypatch.context() as broken:
        broken.setattr(outfile.OutFile, "keep", lambda self: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
        with pytest.raises(PaymentInDoubt):
            fetch(buyer, url, target)
    fetch(buyer, url, target)
    assert target.read_bytes() == GOODS and len(seller.hits) == hits
    assert till.rows(buyer) == [("CLAIMED", "spent")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_killed_on_the_way_leaves_nothing_and_resume_writes_the_file(seller, till, target):
    hear, say = os.pipe()

    def slow(hit):
        made = seller.ok(GOODS)
        yield made[:-100]
        if len(seller.proofs) == 1:
            os.write(say, b".")
            seller.stop.wait(30)
        yield made[-100:]

    url = seller.sells("/paid", slow)
    child = os.fork()
    if child == 0:
        payer = till.payer(answer_timeout=30)
        payer.wallet = Wallet.from_key(KEY)
        fetch(payer, url, target, timeout=30)
        os._exit(1)
    os.read(hear, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not target.exists()
    if outfile._NAMELESS:
        assert list(target.parent.iterdir()) == []
    mine = till.payer()
    mine.wallet = Wallet.from_key(KEY)
    (one,) = mine.resume()
    assert (one.before, one.after) == ("INFLIGHT", "CLAIMED") and target.read_bytes() == GOODS
    assert len(seller.nonces) == 1 and stat.S_IMODE(target.stat().st_mode) == 0o600
    os.close(hear), os.close(say)


def test_the_command_says_where_the_goods_are(seller, target, monkeypatch):
    url = seller.serves("/free", seller.answer(200, GOODS, content_type="text/plain"))
    done = CliRunner().invoke(app, ["get", url, "-o", str(target), "--json"])
    told = json.loads(done.output)
    assert (done.exit_code, told["output"], told["bytes"], told["status"]) == (0, str(target), len(GOODS), 200)
    assert "body" not in told and target.read_bytes() == GOODS
    again = CliRunner().invoke(app, ["get", url, "-o", str(target)])
    assert again.exit_code == 2 and "--overwrite" in again.stderr and again.stdout == ""
    monkeypatch.chdir(target.parent)
    done = CliRunner().invoke(app, ["get", url, "-o", "goods", "--overwrite"])
    assert done.exit_code == 0 and f"{len(GOODS)} bytes in goods" in done.stderr and done.stdout == ""
    missing = CliRunner().invoke(app, ["get", seller.url("/nothing"), "-o", "other", "--json"])
    assert missing.exit_code == 1 and json.loads(missing.output)["status"] == 404 and not (target.parent / "other").exists()


def test_the_name_of_the_file_is_kept_sealed(seller, till, buyer, target):
    url = seller.sells("/paid", lambda hit: hit.reset())
    with pytest.raises(PaymentInDoubt):
        fetch(buyer, url, target.with_name("needle-file"))
    buyer.ledger.flush()
    assert b"needle-file" not in b"".join(each.read_bytes() for each in buyer.ledger.path.parent.glob("ledger*") if each.is_file())
    kept = buyer.ledger.request(buyer.ledger.payments()[0].payment_id)
    (hold,) = buyer.ledger.open_payments()
    assert buyer.keeping.repeat(hold, kept).output == str(target.with_name("needle-file"))


def test_an_unpaid_body_that_breaks_is_the_librarys_own_error(seller, buyer, target):
    url = seller.serves("/free", lambda hit: iter([seller.answer(200, GOODS)[:-5]]))
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(buyer, url, target)
    assert list(target.parent.iterdir()) == []
