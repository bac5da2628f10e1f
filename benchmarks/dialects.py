"""What the sandbox's KAMIYO takes for its own work, on 30 days of the stated load, on SQLite and PostgreSQL.

30,000 payments with a token each, 3,000,000 rows of usage, 2,160 hourly sums, 30,000 verifications of one tenant. The load is
put in once, by the databases themselves; then each question is asked many times through the code that sells.

    python benchmarks/dialects.py [--days 30] [--engine sqlite|postgresql]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import httpx2

from pgserver import postgres
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.kamiyo.store import digest
from x402_agent.sandbox.token import raw_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from x402_agent.sandbox.kamiyo.store import Store

__all__ = ["PROMISED", "engines", "load", "measure"]

DAILY, USES, HOURLY = 1_000, 100, 72  # payments a day, requests of each, hourly rows a day
CHAINS = ("base", "ethereum", "solana")
PROMISED = {  # milliseconds
    "payment by tx_hash": 1, "token validated": 1, "active payments (view)": 10, "analytics, 30 days (hourly sums)": 50,
    "SaaS /health": 50, "SaaS /usage": 100, "SaaS /analytics": 200, "SaaS /verify": 500,
}  # fmt: skip


def load(store: Store, days: int, tenant: str) -> None:
    """Put in `days` of load that end now."""
    database, payments = store.database, days * DAILY
    lite = database.engine == "sqlite"
    apart = 86_400 // DAILY

    def rows(count: int) -> str:
        if lite:
            return (
                f"(with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) select i from n)"
            )
        return f"(select i from generate_series(1, {count}) as g(i)) as n"

    def ago(seconds: str) -> str:
        return (
            f"strftime('%Y-%m-%d %H:%M:%f', 'now', -({seconds}) || ' seconds')"
            if lite
            else f"now() at time zone 'utc' - ({seconds}) * interval '1 second'"
        )

    def hexed(text: str, width: int) -> str:
        return f"printf('0x%0{width}x', {text})" if lite else f"'0x' || lpad(to_hex({text}), {width}, '0')"

    chain = "case i % 3 when 0 then 'base' when 1 then 'ethereum' else 'solana' end"
    old = f"({payments} - i) * {apart}"
    amount = "'0.100000'" if lite else "0.1"
    status = f"case when {old} < 86400 then 'verified' when i % 2 = 0 then 'used' else 'expired' end"
    statements = (
        (
            "insert into x402_payments (id, tx_hash, chain, amount_usdc, from_address, to_address, block_number, confirmations, status,"
            " requests_allocated, requests_used, created_at, verified_at, expires_at, claimed_by)"
            f" select i, {hexed('i', 64)}, {chain}, {amount}, {hexed('i % 5000', 40)}, '0xpayee', i, 6, {status},"
            f" 200, {USES}, {ago(old)}, {ago(old)}, {ago(f'{old} - 86400')}, '127.0.0.1' from {rows(payments)}"
        ),
        (
            "insert into x402_usage (payment_id, endpoint, method, status_code, response_time_ms, ip_address, user_agent, created_at)"
            f" select 1 + (i - 1) / {USES}, case i % 4 when 0 then '/exploits' when 1 then '/exploits/latest-alert' when 2 then"
            " '/protocols/risk-score' else '/wallets/risk-check' end, 'GET', 200, i % 40, '127.0.0.1', 'bench',"
            f" {ago(f'({payments * USES} - i) * {apart} / {USES}')} from {rows(payments * USES)}"
        ),
        (
            "insert into x402_analytics (hour_bucket, chain, total_payments, total_amount_usdc, total_requests, unique_payers, average_payment_usdc)"
            f" select {ago('i / 3 * 3600')}, {chain}, 14, {amount.replace('0.1', '1.4')}, 1400, 14, {amount} from {rows(days * HOURLY)}"
        ),
        (
            'insert into "X402Verification" ("tenantId", "txHash", chain, success, "amountUsdc", "responseTimeMs", "createdAt")'
            f" select '{tenant}', {hexed('i', 64)}, {chain}, 1, {amount}, i % 200, {ago(old)} from {rows(payments)}"
        ),
    )
    with database.transaction():
        for each in statements:
            database.script(each)
        ends = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 86_400)),)
        database.many("insert into x402_tokens (token_hash, payment_id, expires_at) values (?, ?, ?)",
                      [(digest(f"token-{i}"), i, *ends) for i in range(1, payments + 1)])  # fmt: skip
    database.script("analyze")
    if not lite:
        database.script("select setval('x402_payments_id_seq', (select max(id) from x402_payments))")


def measure(engine: str, url: str, days: int) -> dict[str, tuple[float, float]]:
    """Best and median of each question, in milliseconds."""
    with Sandbox(seller="kamiyo", database=url) as box:
        seller: Any = box.seller
        store = seller.store
        tenant, key = seller.saas.tenants.create("bench@example.test", "enterprise")
        began = time.perf_counter()
        load(store, days, tenant)
        print(f"{engine}: loaded in {time.perf_counter() - began:.0f} s: {store.books.counts()}", flush=True)
        chance = random.Random(7)  # noqa: S311 - which rows are asked for
        count, since = days * DAILY, store.now()[:10].replace(store.now()[:4], str(int(store.now()[:4]) - 1), 1)
        with httpx2.Client(
            base_url=box.origin, transport=box.transport(), headers={"authorization": f"Bearer {key}"}
        ) as http:
            root = "/api/v1/x402"
            made = iter([_pay(box) for _ in range(110)])
            box.mine(6)

            def verify() -> object:
                return http.post(
                    f"{root}/verify", json={"tx_hash": next(made), "chain": "base-sepolia"}
                ).raise_for_status()

            questions: dict[str, tuple[Callable[[], object], int]] = {
                "payment by tx_hash": (lambda: store.by_tx(f"0x{chance.randint(1, count):064x}").id, 3_000),
                "token validated": (lambda: store.by_token(f"token-{chance.randint(1, count)}").id, 3_000),
                "active payments (view)": (
                    lambda: len(store.database.rows("select * from v_x402_active_payments")),
                    60,
                ),
                "analytics, 30 days (hourly sums)": (lambda: len(store.books.hours(since)), 60),
                "SaaS /health": (lambda: http.get(f"{root}/health").raise_for_status(), 100),
                "SaaS /usage": (lambda: http.get(f"{root}/usage").raise_for_status(), 100),
                "SaaS /analytics": (lambda: http.get(f"{root}/analytics?days=30").raise_for_status(), 40),
                "SaaS /verify": (verify, 100),
            }
            return {name: _timed(ask, times) for name, (ask, times) in questions.items()}


def _pay(box: Sandbox) -> str:
    ground: Any = box.ground
    return str(ground.token.transfer(ground.payer, raw_address(box.pay_to), 100_000).hash)


def _timed(ask: Callable[[], object], times: int) -> tuple[float, float]:
    for _ in range(5):
        assert ask()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return took[0], statistics.median(took)


def engines(names: list[str], days: int) -> dict[str, dict[str, tuple[float, float]]]:
    """What `measure` says of each engine, with `days` of load put in."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for engine in names:
            url = f"{folder}/kamiyo.db" if engine == "sqlite" else stack.enter_context(postgres())
            found[engine] = measure(engine, url, days)
    return found


def main() -> None:
    """Load, ask, print. What is promised is held against the best: neighbours make the rest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    found = engines([options.engine] if options.engine else ["sqlite", "postgresql"], options.days)
    print(f"| {options.days} days, ms: best / median | {' | '.join(found)} | promised |")
    print(f"|---|{'---|' * len(found)}---|")
    late = []
    for name, most in PROMISED.items():
        cells = [f"{found[engine][name][0]:.3f} / {found[engine][name][1]:.3f}" for engine in found]
        late += [f"{engine}: {name}" for engine in found if found[engine][name][0] > most]
        print(f"| {name} | {' | '.join(cells)} | {most} |")
    sys.exit(f"slower than promised: {', '.join(late)}" if late else 0)


if __name__ == "__main__":
    main()
