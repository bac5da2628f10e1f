-- Schema 17. What a payment's own transaction takes of its network's coin, decimal text of that coin's atomic units: `gas` the most that it
-- may, '' where somebody else pays for it; `gas_paid` what a block shows, '' until then. `[gas.NETWORK]` counts both, no budget of dollars does.
ALTER TABLE x402_payments ADD COLUMN gas TEXT NOT NULL DEFAULT '';
ALTER TABLE x402_payments ADD COLUMN gas_paid TEXT NOT NULL DEFAULT '';
CREATE INDEX x402_payments_gas ON x402_payments (network, created_at) WHERE gas <> '';
