"""What was bought opens the door again: below its path, as often as it was bought for, and never twice by two callers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest

import nursery
from loopback import Till
from meter import Counter, Meter
from x402_agent import Budget, BudgetExceeded, Payer, Policy, Wallet
from x402_agent.ledger import plain_path
from x402_agent.model import Credential
from x402_agent.secret import Secret
from x402_agent.vault.credentials import canonical, covers

KEY = "0x" + "5a" * 32


@pytest.fixture
def buyer(till: Till) -> Payer:
    made = till.payer(dialects=[Meter()])
    made.wallet = Wallet.from_key(KEY)
    return made


def counter(seller, *paths, **options):
    made = Counter(seller, **options)
    for path in paths or ("/m",):
        seller.serves(path, made)
    return made


def test_one_payment_opens_the_door_as_often_as_it_was_bought_for(call, seller, buyer):
    meter = counter(seller)
    url = seller.url("/m")
    for bodies in ([b"paid content", b"metered", b"metered", b"metered"], [b"paid content", b"metered"]):
        assert [call(buyer, "GET", url).content for _ in bodies] == bodies
    assert len(seller.nonces) == 2 and meter.over == 0
    (one,) = [each for each in buyer.ledger.tokens() if each.uses_left]
    assert one.uses_left == 2 and one.account == buyer.wallet.address("eip155")
    assert buyer.ledger.verify() == []


def test_without_a_count_it_is_shown_from_memory_and_nothing_is_written(call, seller, buyer):
    meter = counter(seller, uses=10**6, tells=False)
    seller.routes["/m"] = lambda hit: seller.ok(x_token="forever") if hit.proof else meter(hit)
    meter.left["forever"] = 10**6
    url = seller.url("/m")
    call(buyer, "GET", url)
    buyer.ledger.flush()
    before = buyer.ledger._store.generation()
    assert [call(buyer, "GET", url).content for _ in range(4)] == [b"metered"] * 4
    assert len(seller.proofs) == 1 and buyer.ledger._store.generation() == before


def test_K3_a_refused_one_is_forgotten_and_what_is_bought_then_is_a_purchase_under_budget(call, seller, till):
    policy = Policy(networks=("testnet",)).with_budget(Budget("0.02/day"))
    buyer = till.payer(dialects=[Meter()], policy=policy)
    meter = counter(seller, uses=100)
    url = seller.url("/m")
    for _ in range(2):
        assert call(buyer, "GET", url).status_code == 200
        meter.left.clear()  # the seller forgets what it sold
    with pytest.raises(BudgetExceeded):
        call(buyer, "GET", url)
    assert len(seller.nonces) == 2 and buyer.ledger.tokens() == []
    assert call(buyer, "GET", seller.serves("/free", seller.answer(200, b"x"))).content == b"x"


def test_K2_the_sellers_count_lowers_ours_and_never_raises_it(drive, seller, buyer):
    meter = counter(seller, uses=5)
    url = seller.url("/m")
    drive(buyer, "GET", url)
    (token,) = meter.left
    meter.left[token] = 1
    drive(buyer, "GET", url)
    assert len(seller.proofs) == 1
    drive(buyer, "GET", url)
    assert len(seller.proofs) == 2, "nothing was left, so the next call bought a new one and did not ask the old one's seller"
    assert meter.over == 0
    meter.left = dict.fromkeys(meter.left, 10 ** 6)
    for _ in range(6):
        drive(buyer, "GET", url)
    assert len(seller.nonces) == 3, "a seller who says that more is left does not make more of it"


def test_a_use_is_given_back_when_no_connection_was_made_and_else_it_is_used(drive, seller, buyer):
    meter = counter(seller, uses=3, tells=False)
    url = seller.url("/m")
    drive(buyer, "GET", url)
    left = lambda: [each.uses_left for each in buyer.ledger.tokens()]  # noqa: E731
    seller.routes["/m"] = lambda hit: hit.reset()
    with pytest.raises(httpx.HTTPError):
        drive(buyer, "GET", url)
    assert left() == [2], "it may have arrived (c2)"
    seller.routes["/m"] = meter
    token = buyer.ledger.tokens()[0]
    seller.close()
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            drive(buyer, "GET", url)
    assert left() == [2], "an outage burns nothing (c2)"
    assert buyer.ledger.token(token.name).in_use == 0


def test_it_is_bound_to_its_origin_and_path(drive, seller, other, buyer):
    shown: list[tuple[str, str]] = []
    meter = counter(seller, "/a", uses=100, path="/a")
    plain = lambda hit: shown.append((hit.path, hit.headers.get("x-token", ""))) or seller.answer(200, b"free")  # noqa: E731
    for path in ("/ab", "/A", "/b", "/a/b", "/a/..;/b", "/a%2fb", "/a/%2e%2e/b", "/a/b%5cc", "/"):
        seller.serves(path, plain)
        other.serves(path, plain)
    assert drive(buyer, "GET", seller.url("/a")).content == b"paid content"
    (token,) = meter.left
    for path in list(seller.routes):
        if path != "/a":
            drive(buyer, "GET", seller.url(path))
            drive(buyer, "GET", other.url(path))
    assert [path for path, value in shown if value] == ["/a/b"]
    assert drive(buyer, "GET", seller.url("/a?q=1")).content == b"metered"
    assert not any(hit.headers.get("x-token") for hit in other.hits), token


@pytest.mark.parametrize("answer", [{"x_origin": "http://elsewhere.test"}, {"x_path": "/a/../b"}, {"x_token": "caf\xe9"}, {"x_token": "a" * 9000}])
def test_K6_what_is_not_sound_is_not_kept_and_breaks_no_later_request(drive, seller, buyer, answer):
    url = seller.sells("/m", lambda hit: seller.ok(**{"x_token": "t", **answer}))
    for _ in range(2):
        assert drive(buyer, "GET", url).extensions["payment"].outcome == "spent"
    assert buyer.ledger.tokens() == [] and Till.rows(buyer) == [("CLAIMED", "spent")] * 2


def test_a_redirect_takes_it_nowhere_else(drive, seller, other, buyer):
    meter = counter(seller, "/a", uses=100)
    drive(buyer, "GET", seller.url("/a"))
    seller.serves("/away", seller.answer(307, location=other.url("/there")))
    other.serves("/there", other.answer(200, b"there"))
    assert drive(buyer, "GET", seller.url("/away")).content == b"there"
    assert [hit.headers.get("x-token") for hit in other.hits] == [None]
    assert any(hit.path == "/away" and hit.headers.get("x-token") for hit in seller.hits) and meter.over == 0


def test_an_expired_one_is_not_shown(drive, seller, till):
    clock = [1_800_000_000.0]
    buyer = till.payer(dialects=[Meter()], clock=lambda: clock[0])
    url = seller.sells("/m", lambda hit: seller.ok(x_token="t", x_expires=str(int(clock[0]) + 60)))
    drive(buyer, "GET", url)
    clock[0] += 59
    drive(buyer, "GET", seller.serves("/other", seller.answer(200)))
    clock[0] += 1
    drive(buyer, "GET", seller.url("/other"))
    assert [hit.headers.get("x-token") for hit in seller.hits if hit.path == "/other"] == ["t", None]


def test_another_payer_on_the_same_ledger_finds_it_before_it_pays(drive, seller, till, buyer):
    counter(seller, uses=100)
    url = seller.url("/m")
    second = till.payer(dialects=[Meter()])
    second.wallet = Wallet.from_key(KEY)
    assert drive(second, "GET", seller.serves("/free", seller.answer(200))).status_code == 200
    assert drive(buyer, "GET", url).content == b"paid content"
    assert drive(second, "GET", url).content == b"metered"
    assert len(seller.proofs) == 1
    name = second.ledger.tokens()[0].name
    assert second.ledger.forget_token(name)
    assert drive(buyer, "GET", url).content == b"paid content", "revoked for every process at once"


def test_another_wallet_cannot_open_it_and_nobody_can_for_another_path(drive, seller, till, buyer):
    counter(seller, uses=100)
    url = seller.url("/m")
    drive(buyer, "GET", url)
    stranger = till.payer(dialects=[Meter()])
    stranger.wallet = Wallet.from_key("0x" + "77" * 32)
    assert drive(stranger, "GET", url).content == b"paid content" and len(seller.nonces) == 2
    (mine, _) = buyer.ledger.tokens()
    vault = buyer.vault
    assert vault.open("credentials", mine.account, mine.sealed, mine.name, mine.origin, mine.path) is not None
    assert vault.open("credentials", mine.account, mine.sealed, mine.name, mine.origin, "/other") is None
    assert vault.open("credentials", mine.account, mine.sealed[:-1] + b"x", mine.name, mine.origin, mine.path) is None


def test_a_locked_wallet_reads_none_and_pays_nothing(drive, seller, till, tmp_path):
    from x402_agent import WalletError
    from x402_agent.wallet import Entry, WalletFile

    tmp_path.chmod(0o700)
    path = tmp_path / "wallet.json"
    WalletFile.create(path, [Entry("key", Secret(bytes.fromhex(KEY[2:])))], Secret("correct horse"), n=4096)
    counter(seller, uses=100)
    url = seller.url("/m")
    locked, opened = till.payer(dialects=[Meter()]), till.payer(dialects=[Meter()])
    locked.wallet, opened.wallet = Wallet.from_env({}, path), Wallet.from_file(path, "correct horse")
    assert drive(opened, "GET", url).content == b"paid content"
    with pytest.raises(WalletError, match="locked"):
        drive(locked, "GET", url)
    assert len(seller.proofs) == 1
    locked.wallet = Wallet.from_file(path, "correct horse")
    del locked.vault
    assert drive(locked, "GET", url).content == b"metered"


def test_threads_share_one_count(seller, buyer):
    meter = counter(seller, uses=30, tells=False)
    url = seller.url("/m")
    with buyer.client() as http:
        http.get(url)
        bodies = []
        threads = [threading.Thread(target=lambda: bodies.append(http.get(url).content)) for _ in range(40)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert meter.over == 0 and len(bodies) == 40
    assert len(meter.shown) == bodies.count(b"metered") and bodies.count(b"metered") >= 30
    assert sum(meter.left.values()) == sum(each.uses_left for each in buyer.ledger.tokens())


def test_K4_what_cannot_be_written_down_leaves_its_payment_open_and_the_same_payment_gets_it(drive, seller, buyer, monkeypatch):
    from x402_agent.errors import LedgerError

    counter(seller, uses=5)
    url = seller.url("/m")
    with monkeypatch.context() as patch:
        patch.setattr(buyer.ledger, "keep", lambda token: (_ for _ in ()).throw(LedgerError("no room")))
        assert drive(buyer, "GET", url).content == b"paid content"
    assert Till.rows(buyer) == [("PAID_UNDELIVERED", "spent")]
    assert drive(buyer, "GET", url).content == b"paid content"
    assert drive(buyer, "GET", url).content == b"metered"
    assert len(seller.nonces) == 1 and Till.rows(buyer) == [("CLAIMED", "spent")]


def test_c1_a_token_known_before_the_paid_leg_is_written_down_before_it_is_sent(drive, seller, till):
    buyer = till.payer(dialects=[Meter(early="early-token")])
    kept: list[int] = []

    def route(hit):
        if hit.headers.get("x-token"):
            kept.append(len(buyer.ledger.tokens()))
            return seller.ok(x_left="2") if hit.proof else seller.answer(200, b"metered", x_left="1")
        return seller.ask("/m")

    url = seller.serves("/m", route)
    drive(buyer, "GET", url)
    assert kept == [1] and len(buyer.ledger.tokens()) == 1
    assert drive(buyer, "GET", url).content == b"metered" and len(seller.proofs) == 1
    buyer.ledger.flush()
    assert [each.uses_left for each in buyer.ledger.tokens()] == [1]


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[4])
from pathlib import Path
from meter import Meter
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.payer.kit import Kit
from x402_agent.ledger import SqliteLedger
point, url, home = sys.argv[1:4]
perform = Kit.perform
def die(): os.kill(os.getpid(), signal.SIGKILL)
def before(self, step, milliseconds):
    if point == "before-" + type(step).__name__.lower(): die()
    return perform(self, step, milliseconds)
Kit.perform = before
def after(ask, step, value):
    if point == "after-" + type(step).__name__.lower(): die()
settings = Settings.load({"X402_AGENT_HOME": home})
payer = Payer(wallet=Wallet.from_key("0x" + "5a" * 32), policy=Policy(networks=("testnet",)), settings=settings,
              ledger=SqliteLedger(settings.ledger_path), dialects=[Meter()], trace=after)
print(payer.client().get(url).content.decode())
payer.close()
"""


@pytest.mark.parametrize("point", ["before-keep", "after-keep", "after-close"])
def test_c1_killed_around_the_write_the_token_is_never_bought_twice(point, seller, tmp_path):
    meter = counter(seller, uses=5)
    words = seller.url("/m"), tmp_path, Path(__file__).parent.parent
    done = nursery.run(CHILD, point, *words)
    assert done.returncode == -9, done.stderr
    assert len(seller.nonces) == 1
    bodies = [nursery.run(CHILD, "never", *words, check=True).stdout.strip() for _ in range(2)]
    assert bodies == (["paid content", "metered"] if point == "before-keep" else ["metered", "metered"])
    assert len(seller.nonces) == 1 and len(meter.left) == 1


@pytest.mark.parametrize("point", ["after-use", "before-return"])
def test_c2_killed_while_it_is_used_the_use_counts(point, seller, tmp_path):
    meter = counter(seller, uses=1, tells=False)
    words = seller.url("/m"), tmp_path, Path(__file__).parent.parent
    nursery.run(CHILD, "never", *words, check=True)
    assert nursery.run(CHILD, point, *words).returncode == -9
    done = nursery.run(CHILD, "never", *words, check=True)
    assert done.stdout.strip() == "paid content" and meter.over == 0 and len(seller.nonces) == 2


def test_the_file_of_an_earlier_release_is_sealed_once_and_removed(drive, seller, till, buyer):
    from x402_agent.ledger import Token

    name = "f" * 64
    buyer.ledger.keep(Token(name, "p", seller.origin, "/", 3)).run()
    path = plain_path(till.settings.ledger_path)
    path.write_text(json.dumps({name: {"x-token": "old-and-plain"}}))
    path.chmod(0o600)
    fresh = till.payer(dialects=[Meter()])
    fresh.wallet = Wallet.from_key(KEY)
    url = seller.serves("/m", lambda hit: seller.answer(200, hit.headers.get("x-token", "").encode()))
    assert drive(fresh, "GET", url).content == b"old-and-plain"
    assert not path.exists()
    (token,) = fresh.ledger.tokens()
    assert token.name != name and token.uses_left == 2 and b"old-and-plain" not in token.sealed


@pytest.mark.parametrize(
    ("path", "asked", "yes"),
    [("/", "/anything/../x", True), ("/a", "/a", True), ("/a/", "/a", True), ("/a", "/a/", True), ("/a", "/a/b", True),
     ("/a", "/ab", False), ("/a", "/A", False), ("/a", "/", False), ("/a%62", "/ab", True), ("/a", "/%61/b", True),
     ("/a", "/a%2Fb", False), ("/a", "/a/%2e%2e/b", False), ("/a", "/a/%252e%252e/b", False), ("/a", "/a/..;x/b", False),
     ("/a", "/a\\..\\b", False), ("/a", "//a", False), ("/a/b", "/a//b", False), ("/a", "/a/%00", False)],
)  # fmt: skip
def test_whole_segments_in_one_spelling(path, asked, yes):
    assert covers(path, asked) is yes


@pytest.mark.parametrize("numbers", [{"uses_left": -1}, {"uses_left": 1 << 60}, {"uses_left": True}, {"expires": float("inf")}, {"expires": float("nan")}, {"expires": -5.0}])
def test_numbers_that_are_none_are_not_kept_and_break_nothing(seller, till, numbers):
    from dataclasses import replace

    class Odd(Meter):
        def receipt(self, reply, offer):
            claim = super().receipt(reply, offer)
            return replace(claim, credential=Credential("", "/", {"x-token": "t"}, **numbers))

    buyer = till.payer(dialects=[Odd()])
    with buyer.client() as http:
        assert http.get(seller.sells("/m")).extensions["payment"].outcome == "spent"
    assert buyer.ledger.tokens() == [] and Till.rows(buyer) == [("CLAIMED", "spent")]


def test_a_path_of_two_readings_is_no_path():
    assert canonical("/a/b") == canonical("/a/%62/") and canonical("/a/./b") is None


def test_a_credential_shows_and_pickles_nothing():
    import pickle

    made = Credential("https://a", "/", {"authorization": "Bearer needle"})
    assert "needle" not in repr(made) and "needle" not in repr(made.headers)
    with pytest.raises(TypeError):
        pickle.dumps(made)
