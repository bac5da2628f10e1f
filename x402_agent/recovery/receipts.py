"""A seller's receipt is compared with what was signed, and with the chain where a node is set. It changes no count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import assets
from ..encodings import unc32_address
from ..transport.fetch import drive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..model import Hold, Network
    from ..payer import Payer

__all__ = ["differs", "look"]

_SAID = {
    "unnamed": "the seller named no transaction",
    "missing": "the transaction that the seller named is not on the chain",
    "another": "the transaction that the seller named is not this payment",
}


def differs(fields: Mapping[str, Any], hold: Hold) -> str:
    """In what a decoded receipt is not about what was signed, in our words alone; "" when nothing differs (row V1).

    Fields that it lacks are no difference; `amount` of a payment with a ceiling may be less.
    """
    if not fields:
        return ""
    offer, said = hold.offer, fields.get
    wrong = [] if said("success") is not False else ["success"]
    network = said("network")
    if network is not None and (not isinstance(network, str) or assets.network(network) is not offer.network):
        wrong.append("network")
    wrong += ["payer"] if not all(_same(said(name), hold.terms.payer, offer.network) for name in ("payer", "sender_address")) else []
    wrong += ["payTo"] if not all(_same(said(name), offer.pay_to, offer.network) for name in ("payTo", "to", "recipient_address")) else []
    amount = said("amount")
    if amount is not None and not _fits(amount, offer.amount, below=offer.scheme == "upto"):
        wrong.append("amount")
    return f"the seller's receipt says otherwise than was signed: {', '.join(wrong)}" if wrong else ""


def _same(said: object, ours: str, network: Network) -> bool:
    """Whether a field names our address; EVM addresses are equal whatever their case, those of Stacks by their key."""
    if said is None or said == "":
        return True
    if not isinstance(said, str):
        return False
    if network.namespace == "stacks":
        return said == ours or _key(said) == _key(ours)
    return said.lower() == ours.lower() if network.namespace == "eip155" else said == ours


def _key(address: str) -> bytes:
    """One key has two addresses of Stacks, the testnet's and the mainnet's."""
    try:
        return unc32_address(address)[1]
    except ValueError:
        return address.encode()


def _fits(said: object, amount: int, *, below: bool) -> bool:
    text = said if isinstance(said, str) else str(said) if type(said) is int else ""
    if not (text.isascii() and text.isdigit()) or len(text) > 78:
        return text == "" and said == ""
    return int(text) == amount or (below and int(text) <= amount)


def look(payer: Payer, hold: Hold, transaction: str) -> tuple[str, str] | None:
    """What the chain shows of a payment that its seller calls settled: the state it belongs in, and why in words.

    None where no node is set or nothing can be told yet. `transaction` is the seller's claim.
    """
    offer = hold.offer
    node, chain = payer.settings.nodes.get(offer.network.id), payer.chains.get(offer.network.namespace)
    if not node or chain is None:
        return None
    found = drive(chain.lookup(offer, hold.terms, transaction, node))
    if found == "paid":
        return "CONFIRMED", "found on chain: this amount, this payee, our nonce"
    if found not in _SAID:
        return None
    fate = drive(chain.fate(offer, hold.terms, node))
    if fate == "settled":
        return "CONFIRMED", f"settled on chain; {_SAID[found]}"
    if fate == "dead":
        return "DEAD", f"unused on chain past its expiry; {_SAID[found]}"
    return "CLAIMED", _SAID[found]
