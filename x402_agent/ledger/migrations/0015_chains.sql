-- Schema 15. `details`: what an offer's chain must know to make the proof, canonical JSON or ''. `anchor`: what a node said before
-- it was made. `account_nonce`: the number of the payer's transaction, -1 on chains where a payment needs none.

ALTER TABLE x402_offers ADD COLUMN details TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN anchor TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN account_nonce INTEGER NOT NULL DEFAULT -1;

-- One account nonce, one payment: what never left gives its number back.
CREATE UNIQUE INDEX x402_payments_account_nonce ON x402_payments (network, from_address, account_nonce)
WHERE account_nonce >= 0 AND state <> 'RELEASED';
