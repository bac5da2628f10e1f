"""PaymentPermitDetails as 32 bytes to sign: x402's `exact_permit`, an amount to the payee and a fee to its facilitator.

The contracts are pinned here, never a seller's. Each moves what the payer's own approval lets it, to the payee and the fee's
recipient that were signed and nobody else, once for a nonce of the payer. The nonce and the window are ours: the ones in
`paymentPermitContext` are proposals, and published facilitators compare neither (D7, D8, D13).

Source: PaymentPermit `permitTransferFrom`, `nonceBitmap`; x402 on TRON, scheme exact_permit; TIP-712.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .networks import chain_id
from .tip712 import Struct
from .tip712 import digest as typed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONTRACTS", "KIND", "METHOD", "STRUCT", "digest"]

METHOD = "payment-permit"  # Offer.method
KIND = "PAYMENT_ONLY"  # the only one that moves money for nothing but the answer; 0 where it is signed
CONTRACTS = {  # by CAIP-2 id
    "tron:0x2b6653dc": "TT8rEWbCoNX7vpEUauxb7rWJsTgs8vDLAn",
    "tron:0xcd8690dc": "TFxDcGvS7zfQrS1YzcCMp673ta2NHHzsiH",
    "tron:0x94a9059e": "TR2XninQ3jsvRRLGTifFyUHTBysffooUjt",
}
_META = Struct(
    "PermitMeta",
    (("uint8", "kind"), ("bytes16", "paymentId"), ("uint256", "nonce"), ("uint256", "validAfter"), ("uint256", "validBefore")),
)
_PAYMENT = Struct("Payment", (("address", "payToken"), ("uint256", "payAmount"), ("address", "payTo")))
_FEE = Struct("Fee", (("address", "feeTo"), ("uint256", "feeAmount")))
STRUCT = Struct(
    "PaymentPermitDetails",
    ((_META, "meta"), ("address", "buyer"), ("address", "caller"), (_PAYMENT, "payment"), (_FEE, "fee")),
)


def digest(network: str, permit: Mapping[str, Any]) -> bytes:
    """The 32 bytes that sign a `paymentPermit` as x402 sends it, on the network of this CAIP-2 id.

    Raises ValueError, KeyError or OverflowError for one that is none.
    """
    meta = permit["meta"]
    if meta["kind"] != KIND:
        raise ValueError(f"only {KIND} is signed")
    signed = {**permit, "meta": {**meta, "kind": 0, "paymentId": bytes.fromhex(meta["paymentId"].removeprefix("0x"))}}
    return typed(STRUCT, signed, name="PaymentPermit", chain_id=chain_id(network), contract=CONTRACTS[network])
