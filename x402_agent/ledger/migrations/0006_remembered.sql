-- What a seller asked lately for one URL and was paid for, with a receipt: there a proof may go on the first send.
-- Without a digest: the seller refused such a proof at that time, and is asked first for a while.
CREATE TABLE x402_remembered (
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    origin TEXT NOT NULL,
    offer_digest TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (method, url)
) WITHOUT ROWID;
