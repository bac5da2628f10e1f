-- Schema 13. Where nothing new is paid, by a person's word: `kind` is all, host, agent or payee, `since` unix seconds.

CREATE TABLE x402_freezes (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    since INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- Payments up to this row no longer stop others at this host or payee, although nothing was delivered for them.
CREATE TABLE x402_pardons (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    payment INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
