-- Schema 19. Whether a credential serves one call at a time: its lease then is what others wait for.
ALTER TABLE x402_tokens ADD COLUMN serial INTEGER NOT NULL DEFAULT 0;
