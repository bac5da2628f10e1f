"""Look before you pay: nothing is signed."""

from x402_agent import Payer

with Payer.sandbox() as payer:
    quote = payer.quote(payer.sandbox.url("/choice"))
    for offer, why in quote.offers:
        print("*" if offer is quote.chosen else "-", offer.money, why)
