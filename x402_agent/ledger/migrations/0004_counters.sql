-- Schema 4. One counter for each scope and window that a limit has named; whom and what a payment was made for.

-- Made anew from the payments when a limit names them.
DROP TABLE x402_counters;

-- `scope` is `REALM/SCOPE` (realm real, test or sandbox), `began_at` the unix second at which the window began that is counted
-- (0 for `total`), `units` decimal text of atomic units where the scope is an asset. Everything here follows from
-- x402_payments and x402_events: a row that is missing is counted anew.
CREATE TABLE x402_counters (
    scope TEXT NOT NULL,
    window TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    payments INTEGER NOT NULL,
    units TEXT NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (scope, window)
) WITHOUT ROWID;

-- `runs` is `/ID/ID`, the outermost first; the others hold one name, or several with commas between them.
ALTER TABLE x402_payments ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN runs TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN tool TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN category TEXT NOT NULL DEFAULT '';
