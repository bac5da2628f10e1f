-- Schema 7. What a credential sends is sealed with the wallet's key (version, nonce, ciphertext, tag); `account` is whose
-- key, `dialect` who may read what a seller says is left. `token_hash` is a name made with that key.
ALTER TABLE x402_tokens ADD COLUMN sealed BLOB NOT NULL DEFAULT x'';
ALTER TABLE x402_tokens ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_tokens ADD COLUMN dialect TEXT NOT NULL DEFAULT '';

-- One row per use that was taken and of which nothing was heard yet: written, and counted as used, before it is sent.
CREATE TABLE x402_leases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    taken_at INTEGER NOT NULL
);
CREATE INDEX x402_leases_token ON x402_leases (token_hash);
