"""KAMIYO as a seller: its 402s, its payments on chain with a token and a quota, its verification service.

`app` takes requests, `asking` writes its 402s, `gate` judges what is shown as payment, `native` answers `/x402/*`,
`sight` reads the chain through the ground's node, `store` keeps payments, tokens and usage in `books` (schema: `sql/`),
which is what operators look after, `limits` counts requests, `saas` is the verification service,
`quirks` says how it misbehaves. Strict where deployed ones are lax; each laxity is a scenario.
"""

__all__: list[str] = []
