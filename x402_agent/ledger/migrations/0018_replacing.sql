-- What takes the place of a payment has the payment's own account nonce, and there may be more than one of it.
DROP INDEX x402_transactions_nonce;
CREATE UNIQUE INDEX x402_transactions_nonce ON x402_transactions (network, account, account_nonce)
WHERE state <> 'RELEASED' AND kind NOT IN ('bump', 'cancel');
