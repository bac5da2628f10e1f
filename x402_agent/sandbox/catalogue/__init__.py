"""What a sandbox publishes of its seller: a facilitator's Bazaar, `/.well-known/x402`, `/openapi.json`, `/llms.txt`.

`shelf` makes rows of the seller's own routes, `bazaar` and `pages` write them down, `doors` answers for them. `lies` are the
scenarios of the seller `catalogue` (`app`): the shop, listed as it is not.
"""

__all__: list[str] = []
