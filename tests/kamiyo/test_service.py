"""Its verification service, asked in threads and loops: the sandbox's own, and answers that say nothing of a payment."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest

from x402_agent import NodeError, Payer, SettingsError
from x402_agent.dialects.kamiyo import service
from x402_agent.dialects.kamiyo.service import Service
from x402_agent.steps import Fetched

KEY = "x402_test_" + "k" * 43
TX = "0x" + "ab" * 32
PAYEE = "0x" + "cd" * 20
PAID = {"success": True, "txHash": TX, "chain": "base", "amountUsdc": 1.25, "fromAddress": "0x" + "11" * 20, "toAddress": PAYEE,
        "confirmations": 11, "riskScore": 0.1, "error": None, "errorCode": None}  # fmt: skip


@pytest.fixture(scope="module")
def seller():
    """A payer on a sandbox whose seller runs the service, a key of it, and a transaction that paid it."""
    with Payer.sandbox(seller="kamiyo", serve=True) as payer:
        payer.policy = replace(payer.policy, per_call=1_000_000)
        payer.box.fund(payer.box.payer_address, 1_000_000)
        _, key = payer.box.seller.saas.tenants.create("dev@example.com", "free", "test", payer.box.pay_to)
        moved = payer.box.ground.token.transfer(payer.box.ground.payer, bytes.fromhex(payer.box.pay_to[2:]), 100_000)
        payer.box.mine(8)
        yield payer, key, getattr(moved, "hash", moved)


def options(payer, key):
    return {"key": key, "base": payer.box.url("/api/v1/x402"), "loopback": True}


def test_a_transaction_is_verified_by_the_chain_and_remembered(seller):
    payer, key, tx = seller
    asked = payer.verifier("kamiyo", **options(payer, key))
    found = asked.verify(tx, "base-sepolia", expected="0.10", to=payer.box.pay_to)
    assert (found.success, found.amount, found.cached, found.limits.limit) == (True, 100_000, False, 10)
    before = len(payer.box.requests)
    again = asked.verify(tx, "base-sepolia")
    assert again.cached and len(payer.box.requests) == before
    assert asked.verify(tx, "base-sepolia", expected="0.11").code == "AMOUNT_TOO_LOW"
    assert asked.verify(tx, "base-sepolia", to=PAYEE).success is False
    assert payer.ledger.payments() == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_rest_for_event_loops(seller, backend):
    payer, key, _ = seller

    async def main():
        asked = payer.async_verifier("kamiyo", **options(payer, key))
        return await asked.usage(), await asked.supported_chains(), await asked.analytics(7), await asked.health()

    usage, chains, analytics, health = anyio.run(main, backend=backend)
    assert (usage.tier, usage.limit, usage.chains) == ("free", 1000, ("solana", "base")) and chains == ("base-sepolia",)
    assert analytics.total >= 0 and health.healthy and health.checks == {"database": "healthy", "verifier": "healthy"}


def test_the_key_is_shown_nowhere(seller):
    payer, key, _ = seller
    asked = payer.verifier("kamiyo", **options(payer, key))
    with pytest.raises(SettingsError) as why:
        payer.verifier("kamiyo", **options(payer, KEY)).usage()
    assert KEY not in str(why.value) and key not in repr(asked) + repr(vars(asked)) + repr(vars(asked._asked))


def answered(steps, status, body=None, **headers):
    """What a question comes to with this answer."""
    step = next(steps)
    assert step.url.startswith(service.BASE) and KEY not in repr(step)
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    with pytest.raises(StopIteration) as done:
        steps.send(Fetched(status, {name.replace("_", "-"): value for name, value in headers.items()}, content))
    return done.value.value


@pytest.mark.parametrize(("status", "body", "verdict", "code"), [
    (200, PAID, True, ""),
    (200, {**PAID, "txHash": "0x" + "12" * 32}, None, "HTTP_200"),
    (200, {**PAID, "chain": "solana"}, None, "HTTP_200"),
    (200, {**PAID, "success": "true"}, None, "HTTP_200"),
    (200, {**PAID, "amountUsdc": None}, None, "NO_AMOUNT"),
    (200, {**PAID, "amountUsdc": -5}, None, "NO_AMOUNT"),
    (200, b"<html>", None, "HTTP_200"),
    (400, {"error": "Payment amount too low: 0.05 < 0.1", "errorCode": "PAYMENT_INVALID"}, False, "PAYMENT_INVALID"),
    (400, {"success": False, "errorCode": "VERIFICATION_FAILED"}, None, "VERIFICATION_FAILED"),
    (400, {"success": False, "errorCode": "INVALID_CHAIN"}, None, "INVALID_CHAIN"),
    (401, {"error": "Invalid API key"}, None, "HTTP_401"),
    (403, {"errorCode": "CHAIN_NOT_ENABLED", "error": "undefined is not enabled"}, None, "CHAIN_NOT_ENABLED"),
    (429, {"success": False, "errorCode": "QUOTA_EXCEEDED"}, None, "QUOTA_EXCEEDED"),
    (429, {"error": "Rate limit exceeded", "retryAfter": 12}, None, "HTTP_429"),
    (500, {"error": "Internal server error"}, None, "HTTP_500"),
    (0, b"", None, "HTTP_0"),
])  # fmt: skip
def test_only_what_was_decided_is_a_verdict(status, body, verdict, code):
    found = answered(Service(KEY).verify(TX, "base"), status, body)
    assert (found.success, found.code) == (verdict, code)
    assert (found.amount == 1_250_000) == (verdict is True)


def test_both_kinds_of_429_and_resets_in_either_unit():
    minute = answered(Service().verify(TX, "base"), 429, {"retryAfter": 7}, retry_after="9", x_ratelimit_limit="10", x_ratelimit_remaining="0",
                      x_ratelimit_reset="1795248060000")  # fmt: skip
    assert (minute.retry_after, minute.limits) == (9.0, (10, 0, 1_795_248_060.0))
    month = answered(Service().verify(TX, "base"), 429, {"success": False, "errorCode": "QUOTA_EXCEEDED", "upgradeUrl": "https://x"})
    assert (month.code, month.retry_after, month.limits) == ("QUOTA_EXCEEDED", None, None)
    assert answered(Service().verify(TX, "base"), 200, PAID, x_ratelimit_limit="1", x_ratelimit_remaining="0", x_ratelimit_reset="1795248060").limits.resets == 1_795_248_060.0


def test_a_verdict_is_remembered_for_an_hour_and_a_failure_is_not():
    now = [1000.0]
    asked = Service(KEY, clock=lambda: now[0])
    assert answered(asked.verify(TX, "base"), 500).success is None
    assert not answered(asked.verify(TX, "base"), 200, PAID).cached
    with pytest.raises(StopIteration) as done:
        next(asked.verify(TX, "base"))
    assert done.value.value.cached
    now[0] += 3600
    assert not answered(asked.verify(TX, "base"), 200, PAID).cached


@pytest.mark.parametrize("question", ["usage", "supported_chains", "analytics", "health"])
@pytest.mark.parametrize(("status", "body"), [(500, {}), (0, b""), (429, {"retryAfter": 3}), (200, b"[" * 5000)])
def test_what_is_no_answer_is_an_error_that_decides_nothing(question, status, body):
    steps = getattr(Service(KEY), question)()
    next(steps)
    with pytest.raises(NodeError, match="told no"):
        steps.send(Fetched(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode()))


def test_a_service_that_is_down_says_so_by_its_checks():
    body = {"status": "unhealthy", "checks": {"database": {"status": "unhealthy\x1b[31m"}}}
    assert answered(Service(KEY).health(), 503, body) == (False, "unhealthy", {"database": "unhealthy\\x1b[31m"})


@pytest.mark.parametrize("wrong", [
    {"key": "x402_live_short"}, {"key": "sk_live_" + "k" * 43}, {"key": KEY + "\r\nhost: evil"}, {"base": "http://kamiyo.ai/api"},
    {"base": "http://127.0.0.1:1/api"}, {"base": "ftp://kamiyo.ai"}, {"base": "https://user@kamiyo.ai"}, {"base": "http://192.168.0.1/", "loopback": True},
])  # fmt: skip
def test_a_wrong_key_or_address_is_refused(payer, wrong):
    with pytest.raises(SettingsError):
        payer.verifier("kamiyo", **wrong)


def test_there_is_one_service(payer):
    with pytest.raises(SettingsError, match="no verification service"):
        payer.verifier("other")


@pytest.mark.parametrize("asked", [("0x12", "base", {}), (TX, "Base!", {}), (TX, "base", {"expected": "1e400"}), (TX, "base", {"expected": "0"}), (TX + "\n", "base", {})])
def test_a_question_that_is_none_is_not_asked(asked):
    tx, chain, more = asked
    with pytest.raises(SettingsError):
        next(Service(KEY).verify(tx, chain, **more))


@pytest.mark.parametrize("days", [0, 91, True, "7"])
def test_analytics_are_of_one_to_ninety_days(days):
    with pytest.raises(SettingsError):
        next(Service(KEY).analytics(days))
