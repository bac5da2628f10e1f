-- Schema 2. How an offer's token moves and who alone may settle it; what a payment with a ceiling was charged.

ALTER TABLE x402_offers ADD COLUMN method TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_offers ADD COLUMN facilitator TEXT NOT NULL DEFAULT '';

-- `charged` is decimal text of atomic units, '' while the whole `amount` is counted. It is written once, by an event of
-- the payment that carries it and the micro-dollars given back; `micros` then counts what was charged, and
-- `micros + given_back` stays what the first event says.
ALTER TABLE x402_payments ADD COLUMN charged TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN given_back INTEGER NOT NULL DEFAULT 0;
