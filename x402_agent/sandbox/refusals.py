"""Why a proof is not accepted, and how a facilitator's request is read: the same on every chain. It judges nothing but form.

Source: x402 specification, the facilitator's interface (/verify, /settle).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["AMOUNTS", "Refused", "asked", "refusal", "request", "uint"]

AMOUNTS = {1: "maxAmountRequired", 2: "amount"}
_UINT256 = 1 << 256


class Refused(Exception):
    """Why a payment is not accepted: one code of the x402 specification, and words for people."""

    def __init__(self, code: str, words: str = "", payer: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.words = words
        self.payer = payer


def refusal(refused: Refused, network: str) -> dict[str, Any]:
    """The SettleResponse of a payment that was not accepted."""
    answer = {"success": False, "errorReason": refused.code}
    words = {"errorMessage": refused.words} if refused.words else {}
    payer = {"payer": refused.payer} if refused.payer else {}
    return {**answer, **words, **payer, "transaction": "", "network": network}


def request(body: object, versions: Container[object]) -> tuple[int, Mapping[str, Any], Mapping[str, Any]]:
    """Version, payload and requirement of a facilitator request; raises Refused."""
    if not isinstance(body, dict):
        raise Refused("invalid_payload", "the body is not a JSON object")
    payload, requirement = body.get("paymentPayload"), body.get("paymentRequirements")
    if not isinstance(payload, dict):
        raise Refused("invalid_payload", "paymentPayload is not an object")
    if not isinstance(requirement, dict):
        raise Refused("invalid_payment_requirements", "paymentRequirements is not an object")
    version = body.get("x402Version", payload.get("x402Version"))
    if type(version) is not int or version not in versions or payload.get("x402Version", version) != version:
        raise Refused("invalid_x402_version")
    return version, payload, requirement


def asked(requirement: Mapping[str, Any], field: str) -> int:
    """The amount of a requirement in atomic units; raises Refused."""
    try:
        return uint(requirement.get(field))
    except ValueError as cause:
        raise Refused("invalid_payment_requirements", f"{field}: {cause}") from None


def uint(value: object) -> int:
    """A uint256 from decimal digits or an integer; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("not a number")
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 79):
        raise ValueError("not decimal digits")
    number = int(value)
    if not 0 <= number < _UINT256:
        raise ValueError("does not fit in 256 bits")
    return number
