-- Schema 3. Our own transactions, written down before they are broadcast, and what a spender may still take.
-- Amounts are decimal text of atomic units, max_fee and fee_paid decimal text of wei (max_fee per unit of gas, fee_paid in
-- all, '' while unknown). `raw` is what was signed: public once broadcast, wiped when it never was.

CREATE TABLE x402_transactions (
    id INTEGER PRIMARY KEY,
    txid TEXT NOT NULL UNIQUE,
    network TEXT NOT NULL,
    account TEXT NOT NULL,
    account_nonce INTEGER NOT NULL,
    kind TEXT NOT NULL,
    asset TEXT NOT NULL,
    party TEXT NOT NULL,
    amount TEXT NOT NULL,
    gas_limit INTEGER NOT NULL,
    max_fee TEXT NOT NULL,
    fee_paid TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL,
    block INTEGER NOT NULL,
    owner TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_event INTEGER NOT NULL
);
-- One account nonce, one transaction: what never left gives its number back.
CREATE UNIQUE INDEX x402_transactions_nonce ON x402_transactions (network, account, account_nonce) WHERE state <> 'RELEASED';

-- `amount` is the allowance as the chain showed it; payments of a later id than `since` may have used some of it.
CREATE TABLE x402_allowances (
    network TEXT NOT NULL,
    token TEXT NOT NULL,
    owner TEXT NOT NULL,
    spender TEXT NOT NULL,
    amount TEXT NOT NULL,
    txid TEXT NOT NULL,
    since INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (network, token, owner, spender)
) WITHOUT ROWID;
