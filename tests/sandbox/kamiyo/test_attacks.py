"""A thief at the real door, and faults in the middle of a sale: nobody comes in for nothing, nobody pays for nothing."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox.limits import Memory, Redis

ROOT = "/api/v1/x402"
FAKE = "0x" + "11" * 32


@pytest.fixture
def door(till):
    """A client over a socket."""
    with httpx2.Client(base_url=till.box.serve(), trust_env=False, timeout=60) as http:
        yield http


def raw(till, lines, source="127.0.0.1", body=b""):
    """The status of a request that is written by hand, from an address of this machine."""
    port = int(till.box.origin.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)) as link:
        link.sendall("\r\n".join([*lines, "Host: a", "Connection: close", "", ""]).encode() + body)
        link.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer.count(b"HTTP/1.1 ")


def test_an_address_is_the_connections_whatever_a_caller_writes(till, door):
    token = till.token(till.verify(till.pay())["payment_id"])["payment_token"]
    shown = f"x-payment-token: {token}"
    assert raw(till, ["GET /exploits HTTP/1.1", shown, "X-Forwarded-For: 127.0.0.1"], "127.0.0.9") == (402, 1)
    assert door.get("/exploits", headers={"x-payment-token": token, "x-forwarded-for": "9.9.9.9"}).status_code == 200
    till.new_minute()
    body = {"tx_hash": FAKE, "chain": till.chain}
    assert [door.post("/x402/verify-payment", json=body, headers={"x-forwarded-for": f"9.9.9.{n}"}).status_code for n in range(6)] == [200] * 5 + [429]
    assert door.get("/.well-known/x402", headers={"x-forwarded-proto": "https"}).json()["accepts"][0]["resource"] == till.box.url("/exploits")


def test_a_hundred_calls_at_once_with_ten_left_open_ten_times(till, door):
    tx = till.pay()
    tokens = [till.token(till.verify(tx)["payment_id"])["payment_token"] for _ in range(3)]
    till.box.seller.store.database.rows("update x402_payments set requests_used = 90")
    shown = [{"x-payment-token": token} for token in tokens] + [{"x-payment-tx": tx, "x-payment-chain": till.chain}]
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda n: door.get("/exploits", headers=shown[n % 4]).status_code, range(100)))
    assert (answers.count(200), answers.count(402)) == (10, 90)


def test_fifty_at_once_make_one_payment_of_a_transaction(till, door):
    till.box.scenario = till.box.scenario.with_(quota=1_000)
    tx = till.pay()
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: door.get("/exploits", headers={"x-payment-tx": tx, "x-payment-chain": till.chain}).status_code, range(50)))
    assert answers == [200] * 50
    database = till.box.seller.store.database
    assert database.rows("select count(*) as n, sum(requests_used) as used from x402_payments") == [{"n": 1, "used": 50}]


def test_fifty_times_one_authorization_is_one_answer(till, door, authorization):
    header = authorization(till)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda n: door.get(("/exploits", "/exploits/latest-alert")[n % 2], headers={"x-payment": header}).status_code, range(50)))
    assert (answers.count(200), answers.count(402)) == (1, 49)
    assert till.balance() == 10_000 and len(till.box.settlements) == 1


def test_two_proofs_are_none_and_two_lengths_no_request(till, door):
    token = till.token(till.verify(till.pay())["payment_id"])["payment_token"]
    assert raw(till, ["GET /exploits HTTP/1.1", f"x-payment-token: {token}", "x-payment-token: x"])[0] == 402
    assert raw(till, ["GET /exploits HTTP/1.1", f"x-payment-token: {token}"])[0] == 200
    both = ["POST /x402/verify-payment HTTP/1.1", "Content-Length: 4", "Transfer-Encoding: chunked"]
    assert raw(till, both, body=b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n") == (400, 1)
    assert door.post("/x402/verify-payment", content=b"[" + b"[]," * 2_000_000 + b"[]]").status_code == 413
    assert door.get("/health").status_code == 200


@pytest.mark.parametrize("amount", [b"1e99999999999999999999", b"1e-99999999999999999999", b"9" * 5000, b"NaN", b"-0.1", b"1e400"])
def test_no_amount_breaks_the_service(till, amount):
    body = b'{"tx_hash": "%s", "chain": "%s", "expected_amount": %s}' % (FAKE.encode(), till.chain.encode(), amount)
    assert till.http.post(f"{ROOT}/verify", content=body).status_code == 400
    assert till.http.post("/x402/verify-payment", content=body).status_code in (200, 422)


def test_what_no_database_keeps_is_refused_before_it(till):
    assert till.http.get("/x402/stats?from_address=%00").status_code == 422
    for words in ({"email": "a@\0b"}, {"email": {"@": 1}}, {"email": "a@" + "b" * 300}, {"email": "a@b", "payment_address": "\x1b"}, {"email": "a@b", "tier": ["free"]}):
        till.new_minute()
        reply = till.http.post(f"{ROOT}/admin/create-tenant", json=words, headers={"x-admin-key": till.box.seller.admin_key})
        assert reply.status_code == (422 if "\0" in str(words["email"]) else 400), words
    assert till.box.seller.store.database.rows('select id from "X402Tenant"') == []


def test_a_sale_whose_booking_fails_is_owed_to_the_same_proof(till, authorization, monkeypatch):
    header, other = authorization(till), authorization(till)
    store = till.box.seller.store
    monkeypatch.setattr(store, "sold", broken)
    assert [till.get(x_payment=header).status_code for _ in range(2)] == [500, 500]
    assert len(till.box.settlements) == 1
    monkeypatch.undo()
    assert [till.get(x_payment=header).status_code for _ in range(2)] == [200, 402]
    monkeypatch.setattr(store, "used", broken)
    assert till.get(x_payment=other).status_code == 200, "a line of statistics is no reason to keep what was paid"
    assert till.balance() == 20_000 and len(till.box.settlements) == 2


def broken(*_args, **_options):
    raise SettingsError("locked", rule="database")


def test_a_database_that_is_away_is_said_by_the_service_in_its_own_words(till, monkeypatch):
    def gone(*_):
        raise SettingsError("away", rule="database")

    monkeypatch.setattr(till.box.seller.store.database, "rows", gone)
    health = till.http.get(f"{ROOT}/health")
    assert (health.status_code, health.json()["checks"]["database"]["status"]) == (503, "unhealthy")
    usage = till.http.get(f"{ROOT}/usage", headers={"authorization": "Bearer x402_live_" + "A" * 43})
    assert (usage.status_code, usage.json()) == (500, {"error": "Internal server error"})
    assert till.get(x_payment_token="x" * 43).json() == {"detail": "Internal server error"}


def test_a_redis_that_goes_away_lets_nobody_in(till, monkeypatch):
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    gone = Redis.__new__(Redis)
    gone._errors, gone._link = redis.RedisError, redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    till.box.seller.saas.count_in(gone)
    reply = till.http.post(f"{ROOT}/verify", json={"tx_hash": FAKE, "chain": till.chain})
    assert (reply.status_code, reply.json()) == (500, {"error": "Internal server error"})
    gone.close()


def test_a_months_end_seen_by_two_processes_is_one(till):
    tenants = till.box.seller.saas.tenants
    tenant, key = tenants.create("a@b.test")
    database = till.box.seller.store.database
    till.box.warp(40 * 86_400)
    honest, late = database.one, []

    def first(sql, *values):
        row = honest(sql, *values)
        if not late and "keyHash" in sql:  # another process sees the new month between our two statements, and counts in it
            late.append(tenants.take(tenants.who(key)) if late.append(True) is None else None)
        return row

    database.one = first
    assert tenants.who(key).id == tenant
    del database.one
    assert tenants.who(key).used == 1


def test_time_ends_where_calendars_do(till):
    with pytest.raises(ValueError, match="5138"):
        till.box.warp(10**18)
    till.box.warp(10**9)
    assert till.get().status_code == 402


def test_many_addresses_of_one_minute_are_not_all_looked_at_for_each_call():
    class Counted(dict):
        looks = 0

        def items(self):
            Counted.looks += len(self)
            return super().items()

    counts = Memory()
    counts._counts = Counted()
    for number in range(40_000):
        if not isinstance(counts._counts, Counted):
            counts._counts = Counted(counts._counts)
        counts.add(str(number), 60, 0)
    assert len(counts._counts) == 40_000 and Counted.looks < 100_000


def test_one_payment_address_is_one_tenants(till):
    answers = [till.http.post(f"{ROOT}/admin/create-tenant", json={"email": f"{name}@b.test", "payment_address": "0x" + "ab" * 20},
                              headers={"x-admin-key": till.box.seller.admin_key}).status_code for name in "xy"]  # fmt: skip
    assert answers == [201, 400]


@pytest.mark.parametrize("chain", ["evm", "solana"])
def test_a_tenant_without_a_real_address_cannot_stop_the_service_for_all(till_on, chain):
    till = till_on(chain=chain)
    answers = [till.http.post(f"{ROOT}/admin/create-tenant", json={"email": "x@b.test", "payment_address": address},
                              headers={"x-admin-key": till.box.seller.admin_key}).status_code
               for address in ("0x12", "1" * 31, "O" * 44, "0x" + "ab" * 20 + "\n", till.box.facilitator_address)]  # fmt: skip
    assert answers == [400, 400, 400, 400, 201]


def test_what_one_tenant_asked_is_remembered_for_it_alone_and_only_when_it_was_decided(till):
    tx, tenants = till.pay(blocks=0), till.box.seller.saas.tenants
    keys = [tenants.create(f"{name}@b.test")[1] for name in "xy"]

    def verify(key, tx=tx):
        return till.http.post(f"{ROOT}/verify", json={"tx_hash": tx, "chain": till.chain}, headers={"authorization": f"Bearer {key}"})

    assert verify(keys[0]).json()["errorCode"] == "PAYMENT_INVALID"
    till.box.mine(6)
    assert [verify(keys[0]).json().get("cached") for _ in range(2)] == [None, True]
    assert verify(keys[0], "0x" + tx[2:].upper()).json()["cached"] is True
    assert verify(keys[1]).json().get("cached") is None
    till.new_minute()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: verify(keys[1]).status_code, range(30)))
    assert (answers.count(200), answers.count(429)) == (10, 20)


@pytest.mark.full
def test_a_table_that_somebody_locks_holds_nobody_up_for_ever(fresh, till_on, monkeypatch):
    import psycopg

    from x402_agent import database

    monkeypatch.setattr(database, "_WAIT", 1)
    till = till_on(database=fresh)
    token = till.buy()
    with psycopg.connect(fresh) as link:
        link.execute("lock table x402_kamiyo.x402_payments in access exclusive mode")
        assert till.get(x_payment_token=token).status_code == 500
        link.rollback()
    assert till.get(x_payment_token=token).status_code == 200
