"""x402Pay on a pretend Stacks: content sold by a transaction that is shown afterwards.

`app` takes requests, `gate` judges what is shown as payment, `asking` says what is asked, `sight` reads the chain, `store` keeps what
was sold (`books`), `content` what is for sale; `service` is the API below /v1 (`studio` its
creators' half, `desk` who calls, `analytics`), `gateway` the deployed functions, `generate` the routes of the Next app; `hooks` tells others,
`crowd` says who is an agent and who asks too often, `quirks` how it misbehaves.
"""

from __future__ import annotations

__all__: list[str] = []
