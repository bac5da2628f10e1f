-- Schema 12. What sellers signed: offers before a payment, receipts after it. Public evidence, not secrets.

CREATE TABLE x402_evidence (
    payment_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (payment_id, kind, text)
) WITHOUT ROWID;
