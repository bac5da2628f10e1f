"""A pretend TRON in this process, with the ids and addresses of the Nile testnet: real contracts on a real EVM.

`envelope` transactions as bytes, `chain` blocks, resources and what a node takes, `node` a full node's HTTP API,
`grid` TronGrid's, `contracts` USDT, PaymentPermit and Permit2, `facilitator` who settles x402 payments.
"""

__all__: list[str] = []
