"""The TRON payment monitor as a seller: invoices settled by a USDT transfer that it has to notice, and a shop in front of it.

`app` takes requests, `asking` reads POST /create_payment, `shop` asks 402 in the shop's own words and delivers, `store` keeps
payments and their log in `books` (schema: `sql/`), which is what operators look after, `grid` asks TronGrid's API, `watch`
finds transfers there, `callbacks` tells merchants, `quirks` says how it misbehaves. Strict where deployed ones are lax;
each laxity is a scenario.
"""

__all__: list[str] = []
