-- Schema 13. What came back, as the chain shows it: one row a transaction, linked to the payment that it gives back.
-- `amount` is decimal text of atomic units. A refund changes no payment, no count and no limit.

CREATE TABLE x402_refunds (
    network TEXT NOT NULL,
    txid TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    amount TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (network, txid)
) WITHOUT ROWID;
CREATE INDEX x402_refunds_payment ON x402_refunds (payment_id);
