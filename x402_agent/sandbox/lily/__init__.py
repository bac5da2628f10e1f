"""Lily on a pretend Solana: services for sessions that are paid in advance, for single proofs, and for credits.

`app` takes requests, `header` reads what is shown as payment, `gate` judges it and sells, `asking` says what is asked and what was wrong,
`sight` reads the chain, `store` keeps what was paid (`books`), `rest` is the database's own door (PostgREST's manners), `policies` who
may do what there, `columns` how rows look outside, `paid_rows` those that stand for money, `signin` who gets a key; `quirks` how it misbehaves.
"""

from __future__ import annotations

__all__: list[str] = []
