"""What this seller says about money: its 402s in every shape, its prices and its chains. It judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..challenge import requirements
from ..messages import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ground import Ground
    from ..messages import Request
    from ..routes import Route
    from .quirks import Quirks

__all__ = ["Asking"]

MICRO = 1_000_000
DOCS = "https://kamiyo.ai/docs/x402-payments"
SUPPORT = "support@kamiyo.ai"
_STRANGERS = (("solana", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"), ("polygon", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359"))


class Asking:
    """The 402s of one seller; it counts them, for the scenario in which they name two payees in turn."""

    def __init__(self, ground: Ground, chain: str) -> None:
        self._ground, self._chain = ground, chain
        self._asked = 0

    def entries(self, route: Route, request: Request, quirks: Quirks) -> list[dict[str, Any]]:
        """`accepts` of a route in x402 v1; the resource is the path, as this system writes it."""
        made = requirements(route, request, 1, self._ground, 1)
        for each in made:
            each.pop("outputSchema")
            each |= {"resource": route.path, "payTo": self.pay_to(quirks)}
            if quirks.domain and each["extra"].get("name"):
                each["extra"] = {**each["extra"], "name": "USD Coin" if each["extra"]["name"] == "USDC" else "USDC"}
        return made

    def pay_to(self, quirks: Quirks, *, at: bool = False) -> str:
        """The payee, as this scenario writes it; `at`: where his money is looked for, which on Solana is a token account."""
        payee = self._ground.facilitator.address if quirks.flips and self._asked % 2 else self._ground.pay_to
        payee = self._ground.account(payee) if at and not quirks.token_account else payee
        return _broken(payee) if quirks.checksum else payee

    def required(self, route: Route, request: Request, quirks: Quirks) -> Answer:
        """The 402 of a priced path."""
        self._asked += 1
        price = route.price / MICRO
        shapes = {"gateway": self._gateway, "native": self._native, "documented": self._documented}
        body = shapes[quirks.shape](route, request, quirks)
        lines = (("X-Payment-Required", "true"), ("X-Payment-Amount", f"{price:g}"), ("X-Payment-Currency", "USDC"), ("cache-control", "no-store"))
        return json_answer(402, body, *lines)

    def _gateway(self, route: Route, request: Request, quirks: Quirks) -> dict[str, Any]:
        entries = self.entries(route, request, quirks)
        if quirks.strangers:
            entries += [{**entries[0], "network": network, "asset": asset} for network, asset in _STRANGERS]
        facilitator = {
            "provider": "PayAI Network", "type": "facilitator", "priority": 1, "recommended": True,
            "supported_chains": [each["network"] for each in entries],
            "x402_standard": {"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": entries},
        }  # fmt: skip
        native = {
            "provider": "KAMIYO Native", "type": "direct_transfer", "priority": 2, "recommended": False,
            **self._chains(quirks),
        }  # fmt: skip
        return {
            "payment_required": True, "endpoint": route.path, "amount_usdc": route.price / MICRO,
            "payment_options": [facilitator, native], "api_documentation": DOCS, "support": SUPPORT,
        }  # fmt: skip

    def _native(self, route: Route, request: Request, quirks: Quirks) -> dict[str, Any]:
        onchain = {
            "type": "onchain", **self._chains(quirks),
            "instructions": "Send USDC, then show the transaction in x-payment-tx and its chain in x-payment-chain",
        }  # fmt: skip
        token = {"type": "token", "instructions": "Show a payment token in x-payment-token"}
        return {
            "payment_required": True, "endpoint": route.path, "method": request.method, "amount_usdc": route.price / MICRO,
            "description": route.description, "payment_methods": [onchain, token],
        }  # fmt: skip

    def _documented(self, route: Route, _request: Request, quirks: Quirks) -> dict[str, Any]:
        options = [{"provider": "PayAI Network", "supportedChains": [self._chain]}]
        return {"error": "Payment required", "price": route.price / MICRO, "merchant": self.pay_to(quirks), "paymentOptions": options}

    def _chains(self, quirks: Quirks) -> dict[str, Any]:
        return {"supported_chains": [self._chain], "payment_addresses": {self._chain: self.pay_to(quirks, at=True)}}

    def well_known(self, route: Route, request: Request, quirks: Quirks) -> Answer:
        """`/.well-known/x402`: a plain x402 v1 document, with status 402."""
        self._asked += 1
        about = {"provider": "KAMIYO", "version": "1.0.0", "documentation": DOCS}
        made = []
        for each in self.entries(route, request, quirks):
            extra = about if quirks.bare else {**about, **each["extra"]}
            more = {"resource": request.origin + route.path, "maxTimeoutSeconds": 300, "outputSchema": {"type": "object"}}
            made.append({**each, **more, "extra": extra})
        return json_answer(402, {"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": made}, ("cache-control", "no-store"))

    def chains(self, quirks: Quirks) -> dict[str, Any]:
        """GET /x402/supported-chains."""
        return {**self._chains(quirks), "min_payment_amount": quirks.minimum / MICRO}

    def pricing(self, routes: Mapping[str, Route], quirks: Quirks) -> dict[str, Any]:
        """GET /x402/pricing."""
        use = {"price_per_call": 0.001, "min_payment": quirks.minimum / MICRO, "requests_per_dollar": float(quirks.said or quirks.quota),
               "supported_chains": [self._chain], "token_expiry_hours": quirks.life // 3600}  # fmt: skip
        priced = {path: each.price / MICRO for path, each in routes.items() if each.price}
        methods = [{"type": "onchain"}, {"type": "token"}]
        return {"pricing_tiers": {"pay_per_use": use}, "endpoint_specific_pricing": priced, "payment_methods": methods,
                "payment_addresses": {self._chain: self.pay_to(quirks, at=True)}}  # fmt: skip


def _broken(address: str) -> str:
    """The same address with one letter in the other case: EIP-55 no longer holds."""
    at = next((i for i, c in enumerate(address) if i > 1 and c.isalpha()), None)
    return address if at is None else address[:at] + address[at].swapcase() + address[at + 1 :]
