-- Schema 1. Amounts are decimal text (a uint256 fits no integer column), micros are millionths of a US dollar,
-- created_at, updated_at, valid_* and expires_at are unix seconds, x402_events.at is unix milliseconds.

CREATE TABLE x402_payments (
    id INTEGER PRIMARY KEY,
    payment_id TEXT NOT NULL,
    ask_key TEXT NOT NULL,
    caller_key TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    origin TEXT NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    has_body INTEGER NOT NULL,
    task TEXT NOT NULL,
    agent TEXT NOT NULL,
    realm TEXT NOT NULL,
    chain TEXT NOT NULL,
    network TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount TEXT NOT NULL,
    fee_cap TEXT NOT NULL,
    micros INTEGER NOT NULL,
    from_address TEXT NOT NULL,
    to_address TEXT NOT NULL,
    nonce TEXT NOT NULL,
    valid_after INTEGER NOT NULL,
    valid_before INTEGER NOT NULL,
    offer_digest TEXT NOT NULL,
    identifier TEXT NOT NULL,
    proof_digest TEXT NOT NULL,
    state TEXT NOT NULL,
    is_open INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    owner TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    tx_hash TEXT NOT NULL,
    note TEXT NOT NULL,
    day TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_event INTEGER NOT NULL
);
-- payment_id is made of network and nonce, so this index also keeps a nonce from being used twice.
CREATE UNIQUE INDEX x402_payments_payment_id ON x402_payments (payment_id);
CREATE INDEX x402_payments_open ON x402_payments (ask_key) WHERE is_open = 1;
CREATE INDEX x402_payments_caller ON x402_payments (caller_key) WHERE caller_key <> '';

-- What was offered, once for all payments that took the same offer: its digest covers every field.
CREATE TABLE x402_offers (
    offer_digest TEXT PRIMARY KEY,
    dialect TEXT NOT NULL,
    scheme TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount TEXT NOT NULL,
    to_address TEXT NOT NULL,
    lifetime TEXT NOT NULL,
    resource TEXT NOT NULL,
    description TEXT NOT NULL,
    flow TEXT NOT NULL,
    fee_cap TEXT NOT NULL,
    wire TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE x402_events (
    seq INTEGER PRIMARY KEY,
    payment_id TEXT NOT NULL,
    before INTEGER NOT NULL,
    from_state TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TRIGGER x402_events_no_update BEFORE UPDATE ON x402_events
BEGIN SELECT RAISE(ABORT, 'x402_events is append-only'); END;
CREATE TRIGGER x402_events_no_delete BEFORE DELETE ON x402_events
BEGIN SELECT RAISE(ABORT, 'x402_events is append-only'); END;

CREATE TABLE x402_tokens (
    token_hash TEXT PRIMARY KEY,
    payment_id TEXT NOT NULL,
    origin TEXT NOT NULL,
    path TEXT NOT NULL,
    uses_left INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
);

CREATE TABLE x402_analytics (
    hour_bucket INTEGER NOT NULL,
    chain TEXT NOT NULL,
    total_payments INTEGER NOT NULL,
    total_amount_usdc TEXT NOT NULL,
    total_requests INTEGER NOT NULL,
    unique_payers INTEGER NOT NULL,
    average_payment_usdc TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (hour_bucket, chain)
);

CREATE TABLE x402_pins (
    origin TEXT NOT NULL,
    network TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (origin, network)
);

CREATE TABLE x402_counters (
    scope TEXT NOT NULL,
    day TEXT NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (scope, day)
) WITHOUT ROWID;

-- One row per answer to a proof: such an event carries the status and the time it took.
CREATE VIEW x402_usage AS
SELECT e.seq AS id, e.payment_id, p.origin || p.path AS endpoint, p.method, p.chain,
       CAST(json_extract(e.data, '$.status') AS INTEGER) AS status_code,
       CAST(json_extract(e.data, '$.ms') AS INTEGER) AS response_time_ms, e.at / 1000 AS created_at
FROM x402_events e JOIN x402_payments p ON p.payment_id = e.payment_id
WHERE e.before > 0 AND json_extract(e.data, '$.status') > 0;

CREATE VIEW v_x402_active_payments AS
SELECT id, payment_id, tx_hash, chain, printf('%d.%06d', micros / 1000000, micros % 1000000) AS amount_usdc,
       from_address, to_address,
       CASE state WHEN 'CONFIRMED' THEN 'verified' WHEN 'PAID_UNDELIVERED' THEN 'verified'
                  WHEN 'CLAIMED' THEN 'used' ELSE 'pending' END AS status,
       state, origin, created_at, valid_before AS expires_at, updated_at
FROM x402_payments
WHERE is_open = 1;

CREATE VIEW v_x402_stats_24h AS
SELECT chain, COUNT(*) AS total_payments,
       printf('%d.%06d', SUM(micros) / 1000000, SUM(micros) % 1000000) AS total_amount_usdc,
       COUNT(DISTINCT from_address) AS unique_payers, COUNT(DISTINCT to_address) AS unique_payees,
       SUM(CASE WHEN is_open = 1 THEN 1 ELSE 0 END) AS open_payments,
       printf('%d.%06d', SUM(micros) / COUNT(*) / 1000000, SUM(micros) / COUNT(*) % 1000000) AS average_payment_usdc
FROM x402_payments
WHERE state NOT IN ('RELEASED', 'DEAD') AND created_at > CAST(strftime('%s', 'now') AS INTEGER) - 86400
GROUP BY chain;

CREATE VIEW v_x402_top_payers AS
SELECT from_address, agent, chain, COUNT(*) AS payment_count,
       printf('%d.%06d', SUM(micros) / 1000000, SUM(micros) % 1000000) AS total_amount_usdc,
       MAX(created_at) AS last_payment_at
FROM x402_payments
WHERE state NOT IN ('RELEASED', 'DEAD')
GROUP BY from_address, agent, chain
ORDER BY SUM(micros) DESC
LIMIT 100;

CREATE VIEW v_x402_top_payees AS
SELECT to_address, host, chain, COUNT(*) AS payment_count,
       printf('%d.%06d', SUM(micros) / 1000000, SUM(micros) % 1000000) AS total_amount_usdc,
       MAX(created_at) AS last_payment_at
FROM x402_payments
WHERE state NOT IN ('RELEASED', 'DEAD')
GROUP BY to_address, host, chain
ORDER BY SUM(micros) DESC
LIMIT 100;

CREATE VIEW v_x402_endpoint_stats AS
SELECT endpoint, method, COUNT(*) AS total_requests,
       CAST(AVG(response_time_ms) AS INTEGER) AS avg_response_time_ms,
       SUM(CASE WHEN status_code BETWEEN 200 AND 399 THEN 1 ELSE 0 END) AS successful_requests,
       SUM(CASE WHEN status_code BETWEEN 200 AND 399 THEN 0 ELSE 1 END) AS failed_requests,
       COUNT(DISTINCT payment_id) AS unique_payments, MAX(created_at) AS last_request_at
FROM x402_usage
GROUP BY endpoint, method;
