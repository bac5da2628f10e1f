-- Schema 9. Slips: purses given to child processes and sub-agents. The token itself is nowhere, `digest` is its sha256;
-- `owner` is the process that gave it and dies with it; `runs` are the tasks and slips it stands under and its own id,
-- each after a slash; `terms` is JSON of what narrows it, `seal` an HMAC over all of it under the ledger's secret.

CREATE TABLE x402_slips (
    slip_id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    runs TEXT NOT NULL,
    terms TEXT NOT NULL,
    budget INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    seal TEXT NOT NULL
) WITHOUT ROWID;
