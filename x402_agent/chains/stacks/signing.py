"""What is signed for an offer, as a function of the table, the offer, and our own terms: nothing else comes into it.

STX goes by a token transfer, which carries no post-condition; a token by SIP-010's `transfer` under mode Deny and one exact
post-condition, so that whatever else its contract does takes nothing of ours (D15). A call of a seller's contract (calls.py) is
a payment of our own alone (method `transfer`): nobody else is given such bytes to broadcast.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from ...encodings import c32_address, unc32_address
from ...errors import SigningFailed
from .calls import Given, call, conditions
from .payloads import MEMO, Call, PostCondition, Transfer, sip010_transfer
from .transaction import EMPTY_SPONSOR, Spending, Transaction

if TYPE_CHECKING:
    from ...model import Network, Offer, Terms

__all__ = ["FIRST", "Details", "anchor_text", "checked", "details", "does", "fee_of", "forms", "own", "unsigned"]

FIRST = "transfer"  # the method of payments that pay first
_HALF_ORDER = bytes.fromhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0")
_FEE = re.compile(r"fee=([0-9]{1,19})(?: form=([1-9]))?").fullmatch
_NONCE = re.compile(r"0x[0-9a-f]{64}").fullmatch


class Details(NamedTuple):
    """`Offer.details`, read: the memo that the seller binds a payment by, who pays the fee, the payload's field.

    Where `function` is named, the payee is a contract and that function of it is called (calls.py): with `arguments`; it moves
    the amount, or where `exact` is False at most that, and `others` is what anybody but us may move beside. `instead` are argument
    lists for contracts that want others: which one stands is read from the interface before signing (ready.py) and kept in the
    anchor. `kept` is what rounds away inside the contract and stays with us; `payees` are accounts that it pays, none of them ours.
    """

    memo: str = ""
    sponsored: bool = False
    field: str = "transaction"
    function: str = ""
    arguments: list[Any] | tuple[()] = ()
    exact: bool = True
    others: list[Any] | tuple[()] = ()
    instead: list[Any] | tuple[()] = ()
    kept: int = 0
    payees: list[str] | tuple[()] = ()


def details(offer: Offer) -> Details:
    """What the dialect has written; raises SigningFailed for anything else."""
    if not offer.details:
        return Details()
    try:
        found: dict[str, Any] = json.loads(offer.details)
        made = Details(**found)
    except (ValueError, TypeError):
        raise SigningFailed("the details of the offer cannot be read", rule="memo, sponsored, field") from None
    fine = (
        type(made.memo) is str and type(made.sponsored) is bool and made.field in ("transaction", "signedTransaction")
        and type(made.function) is str and type(made.exact) is bool and type(made.kept) is int and 0 <= made.kept < offer.amount
        and isinstance(made.instead, list | tuple) and len(made.instead) < 10 and isinstance(made.payees, list | tuple)
    )  # fmt: skip
    first = offer.method == FIRST
    if not fine or (first and made.sponsored) or (not first and made[3:] != Details()[3:]):
        raise SigningFailed("the details of the offer are not of its kind", rule="a call pays first, a sponsor pays for others")
    if len(made.memo) > MEMO or not made.memo.isascii():
        raise SigningFailed("the details of the offer cannot be read", rule="memo of at most 34 bytes of ASCII")
    return made


def own(payer: str, network: Network) -> str:
    """Our account as this network writes it: the same key has an address of the testnet, too. Raises ValueError."""
    return c32_address(26 if network.testnet else 22, unc32_address(payer)[1])


def anchor_text(fee: int, form: int = 0) -> str:
    """The fee, in microSTX, and which of its argument lists a call has, as `Terms.anchor` keeps them."""
    return f"fee={fee} form={form}" if form else f"fee={fee}"


def fee_of(terms: Terms) -> int:
    """The fee in microSTX; raises SigningFailed when the terms hold none."""
    found = _FEE(terms.anchor.text)
    if not found or terms.anchor.number < 0:
        raise SigningFailed("the terms hold no fee and account nonce", rule="a node is asked before a hold (C6)")
    return int(found[1])


def memo(offer: Offer, nonce: str) -> bytes:
    """The seller's own nonce where there is one, else `x402:` and 24 letters of ours: 29 bytes."""
    bound = details(offer).memo
    if bound:
        return bound.encode()
    if not _NONCE(nonce):
        raise SigningFailed("the nonce of the terms is not 32 bytes", rule="own nonce (D13)")
    return b"x402:" + urlsafe_b64encode(bytes.fromhex(nonce[2:38]))


def does(offer: Offer, terms: Terms) -> Transfer | Call:
    """The payload for an offer. Raises ValueError, SigningFailed."""
    asset = offer.asset
    if details(offer).function:
        said = _FEE(terms.anchor.text)
        made, form = forms(offer, terms), int((said and said[2]) or 0)
        if form >= len(made):
            raise SigningFailed("the terms name an argument list that the offer has not", rule="form of the anchor")
        return made[form]
    note = memo(offer, terms.nonce)
    if asset.native:
        return Transfer(offer.pay_to, offer.amount, note)
    return sip010_transfer(asset.address, offer.amount, own(terms.payer, offer.network), offer.pay_to, note)


def forms(offer: Offer, terms: Terms) -> list[Call]:
    """The call with each of its argument lists, in their order. Raises ValueError, SigningFailed."""
    found, given = details(offer), _given(offer, terms.payer, terms.nonce)
    return [call(offer.pay_to, found.function, each, given) for each in (found.arguments, *found.instead)]


def _given(offer: Offer, payer: str, nonce: str) -> Given:
    if not _NONCE(nonce):
        raise SigningFailed("the nonce of the terms is not 32 bytes", rule="own nonce (D13)")
    return Given(own(payer, offer.network), nonce)


def unsigned(offer: Offer, terms: Terms) -> Transaction:
    """The transaction for an offer on these terms, without its signature. Raises ValueError, SigningFailed."""
    fee, found = fee_of(terms), details(offer)
    limit: tuple[PostCondition, ...] = ()
    if found.function or not offer.asset.native:
        given = _given(offer, terms.payer, terms.nonce)
        limit = conditions(offer.asset, offer.amount - found.kept, found.others, given, exact=found.exact)
    spending = Spending(unc32_address(terms.payer)[1], terms.anchor.number, fee)
    sponsor = EMPTY_SPONSOR if found.sponsored else None
    wired = tuple(each.wire() for each in limit)
    return Transaction(offer.network.testnet, spending, does(offer, terms).wire(), wired, sponsor)


def checked(signature: bytes) -> bytes:
    """A signer's answer, which must be r, s and v of a low s; raises SigningFailed."""
    if len(signature) != 65 or signature[64] not in (27, 28) or signature[32:64] > _HALF_ORDER:
        raise SigningFailed("the signer did not answer with r, s, v and a low s", rule="65 bytes, v 27 or 28")
    return signature
