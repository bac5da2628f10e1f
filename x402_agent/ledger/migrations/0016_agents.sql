-- Schema 16. Whose a credential is, where one ledger pays for several agents of a signer; '' for the ledger's own user.
ALTER TABLE x402_tokens ADD COLUMN agent TEXT NOT NULL DEFAULT '';
