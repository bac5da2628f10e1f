"""PermitWitnessTransferFrom as 32 bytes to sign: Permit2's domain, our own spenders, and a witness that names the payee.

Addresses are pinned here, never a seller's: Permit2 as Uniswap deployed it everywhere at one address, and x402's two
proxies, each of which pays the witness and nobody else. Permit2 can move only what the payer's own approval lets it.

Source: Permit2 `SignatureTransfer`, `PermitHash.hashWithWitness`; x402 specification, scheme_exact_evm and scheme_upto_evm.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...primitives import checksum, keccak
from .eip3009 import address_bytes

if TYPE_CHECKING:
    from ...model import Offer, Terms

__all__ = ["METHOD", "PERMIT2", "SPENDERS", "authorization", "chain_id", "digest", "domain_separator"]

METHOD = "permit2"  # Offer.method
PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
SPENDERS = {  # by scheme: who may hand the signature to Permit2
    "exact": "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
    "upto": "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002",
}
_DOMAIN = b"EIP712Domain(string name,uint256 chainId,address verifyingContract)"  # no version: Permit2 has none
_TOKEN = b"TokenPermissions(address token,uint256 amount)"
_WITNESS = {
    "exact": b"Witness(address to,uint256 validAfter)",
    "upto": b"Witness(address to,address facilitator,uint256 validAfter)",
}
_PERMIT = (
    b"PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,"
    b"Witness witness)"
)


def chain_id(offer: Offer) -> int:
    """The EIP-155 number of the network that an offer is paid on."""
    return int(offer.network.id.partition(":")[2])


@lru_cache(maxsize=256)
def domain_separator(chain: int) -> bytes:
    """Permit2's EIP-712 domain separator on the chain of this EIP-155 number, 32 bytes."""
    return keccak(keccak(_DOMAIN) + keccak(b"Permit2") + _word(chain) + _address(PERMIT2))


@lru_cache(maxsize=2)
def _types(scheme: str) -> tuple[bytes, bytes]:
    """The hashes of the permit's and the witness's type; referenced types follow in alphabetical order (EIP-712)."""
    witness = _WITNESS[scheme]
    return keccak(_PERMIT + _TOKEN + witness), keccak(witness)


def digest(offer: Offer, terms: Terms) -> bytes:
    """The 32 bytes to sign: at most `offer.amount` atomic units, to `offer.pay_to`, until `terms.valid_before`.

    The nonce is our 32 random bytes as one uint256. Raises KeyError for another scheme than exact and upto, ValueError
    for an address that is not one.
    """
    permit_type, witness_type = _types(offer.scheme)
    facilitator = _address(offer.facilitator) if offer.scheme == "upto" else b""
    witness = witness_type + _address(offer.pay_to) + facilitator + _word(terms.valid_after)
    permitted = keccak(_TOKEN) + _address(offer.asset.address) + _word(offer.amount)
    permit = (
        permit_type,
        keccak(permitted),
        _address(SPENDERS[offer.scheme]),
        bytes.fromhex(terms.nonce[2:]),
        _word(terms.valid_before),
        keccak(witness),
    )
    return keccak(b"\x19\x01" + domain_separator(chain_id(offer)) + keccak(b"".join(permit)))


def authorization(offer: Offer, terms: Terms) -> dict[str, Any]:
    """The same as x402 sends it (`permit2Authorization`): checksummed addresses, numbers as decimal strings."""
    facilitator = {"facilitator": checksum(offer.facilitator)} if offer.scheme == "upto" else {}
    return {
        "from": checksum(terms.payer),
        "permitted": {"token": checksum(offer.asset.address), "amount": str(offer.amount)},
        "spender": SPENDERS[offer.scheme],
        "nonce": str(int(terms.nonce, 16)),
        "deadline": str(terms.valid_before),
        "witness": {"to": checksum(offer.pay_to), **facilitator, "validAfter": str(terms.valid_after)},
    }


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _address(text: str) -> bytes:
    return bytes(12) + address_bytes(text)
