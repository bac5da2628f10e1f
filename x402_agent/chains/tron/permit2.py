"""PermitWitnessTransferFrom on TRON: x402's `exact` by TRON's own Permit2 and proxy, which are not those of EVM.

Pinned here, never a seller's. The permit names the proxy, and the proxy pays the witness and nobody else.

Source: Permit2 `SignatureTransfer`; x402 on TRON, scheme exact with assetTransferMethod permit2; TIP-712.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .networks import chain_id
from .tip712 import Struct
from .tip712 import digest as typed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONTRACTS", "METHOD", "PROXIES", "STRUCT", "digest"]

METHOD = "permit2"  # Offer.method
CONTRACTS = {  # Permit2, by CAIP-2 id
    "tron:0x2b6653dc": "TTJxU3P8rHycAyFY4kVtGNfmnMH4ezcuM9",
    "tron:0xcd8690dc": "TYQuuhGbEMxF7nZxUHV3uHJxAVVAegNU9h",
    "tron:0x94a9059e": "TJMkP7a3ucTMkvi17p7ChhTCw6zriFX3tg",
}
PROXIES = {  # who may hand an `exact` signature to Permit2
    "tron:0x2b6653dc": "TN49yaJmZMZoEdDCqjB4uPzQLHvYkGw95m",
    "tron:0xcd8690dc": "TFGoaq2KjizijgjtkVxT7yjffW1A5T1j6F",
    "tron:0x94a9059e": "TGZkC38n14f2GpBWPMQLF2BpmcpWW3QNhg",
}
_PERMITTED = Struct("TokenPermissions", (("address", "token"), ("uint256", "amount")))
_WITNESS = Struct("Witness", (("address", "to"), ("uint256", "validAfter")))
STRUCT = Struct(
    "PermitWitnessTransferFrom",
    ((_PERMITTED, "permitted"), ("address", "spender"), ("uint256", "nonce"), ("uint256", "deadline"), (_WITNESS, "witness")),
)


def digest(network: str, authorization: Mapping[str, Any]) -> bytes:
    """The 32 bytes that sign a `permit2Authorization` (addresses in any spelling), on the network of this CAIP-2 id.

    Raises ValueError, KeyError or OverflowError for one that is none.
    """
    return typed(STRUCT, authorization, name="Permit2", chain_id=chain_id(network), contract=CONTRACTS[network])
