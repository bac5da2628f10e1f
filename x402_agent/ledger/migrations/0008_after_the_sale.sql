-- Schema 8. What is kept of a purchase until somebody has it: its request, to be repeated, and its goods, when they came
-- while nobody waited. Both are sealed with the wallet's key (version, nonce, ciphertext, tag); `account` is whose key.
CREATE TABLE x402_requests (
    payment_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE x402_goods (
    payment_id TEXT PRIMARY KEY,
    ask_key TEXT NOT NULL,
    origin TEXT NOT NULL,
    account TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
);
