-- Schema 5. Sealed checkpoints: entries of the journal whose payment_id is `checkpoint` and whose state is SEALED. Each holds
-- what was counted when it was made, under a seal made with the ledger's secret. The index finds the last one.

CREATE INDEX x402_events_sealed ON x402_events (seq) WHERE state = 'SEALED';
