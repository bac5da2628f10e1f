"""What rooms know, as a model may be told it: no path, no key, no token, and of a seller's words none outside of a fence."""

from __future__ import annotations

import json
import mimetypes
import re
from base64 import b64decode
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AddressRefused, ChallengeInvalid, NoAcceptableOffer, PaymentError, PaymentInDoubt, PolicyDenied
from ..secret import plain
from .fence import Fenced, fence
from .results import Amount, Bought, Handle, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Money, Offer
    from ..payer import Payer

__all__ = ["HEAD", "amount", "blotted", "bought_in", "bought_out", "kind_of", "problem", "shape", "transaction", "usd"]

HEAD = 1000  # bytes of what is shown of a long body, and of its shape
_FOLDERS = re.compile(r"(?<![\w:/.@-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:'\"()\[\]]+[/\\])+")
_KINDS = frozenset(mimetypes.types_map.values()) | {"application/x-ndjson", "text/event-stream", "application/problem+json"}
_TRANSACTION = re.compile(r"(0x)?[0-9a-fA-F]{64}").fullmatch  # of EVM, Stacks, TRON; in base58, as on Solana, letters can be words
_SIGNED = re.compile(rb'"([0-9A-Za-z+/=]{86,})"')  # a signature, or a signed transaction
BLOT = b"[not shown: a proof or credential]"
_ASK = "tell your user; do not try it in pieces or in another way"


def problem(why: BaseException, origin: str = "", payer: Payer | None = None) -> Problem:
    """An error as a model reads it. Of errors that quote sellers the sentence is our own, and theirs is fenced."""
    if not isinstance(why, PaymentError):
        kind = type(why).__name__
        web = any(base.__name__ in ("HTTPError", "InvalidURL", "StreamError") for base in type(why).__mro__)
        what = f"{origin or 'it'} could not be asked ({kind}); nothing was paid" if web else f"this failed here ({kind})"
        return Problem("NoAnswer" if web else "Failed", what, retry_safe=web)
    what, rule, hint, said = why.what, why.rule, why.hint, None
    theirs = isinstance(why, AddressRefused) and origin.partition("://")[2] not in what  # an address that the seller named
    if theirs or isinstance(why, (ChallengeInvalid, NoAcceptableOffer)) or rule.startswith("the offer that was locked"):
        said = fence(origin or "a seller", bare(what, payer), HEAD)
        what = f"{origin or 'a seller'} asks in a way that is not paid: {_BECAUSE.get(type(why), 'its terms have changed')}"
        rule, hint = (rule, hint) if isinstance(why, PolicyDenied) else ("", "another seller, or a person who looks at it")
    elif isinstance(why, PaymentInDoubt):
        hint = "the same call again, or resume: the same proof is shown, nothing is paid twice"
    elif rule.startswith("max of this request"):
        hint = "a larger max_price, if your user wants that"
    elif isinstance(why, PolicyDenied) and not rule.startswith("an offer_id"):
        hint = f"{_ASK}{f'. A person can change it: {hint}' if hint and type(why) is not AddressRefused else ''}"
    return Problem(type(why).__name__, bare(what, payer), bare(rule, payer), bare(hint, payer), why.retry_safe, said)


_BECAUSE: dict[type, str] = {
    AddressRefused: "it names an address that is not asked",
    ChallengeInvalid: "its 402 is broken, hostile or for another origin",
    NoAcceptableOffer: "none of its offers fits",
}


def bare(text: str, payer: Payer | None = None) -> str:
    """A text of ours without the folders that are named in it, on one line."""
    if payer is not None:
        own = payer.settings
        for folder in (own.policy_path.parent, own.ledger_path.parent, own.config_dir, own.data_dir, Path.home()):
            text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return plain(_FOLDERS.sub("", text), 600)


def amount(money: Money, *, sandbox: bool) -> Amount:
    """Money for people and for programs."""
    asset = money.asset
    return Amount(money.text, f"{asset.symbol} ({asset.network.name}{', sandbox' if sandbox else ''})", str(money.amount))


def usd(offer: Offer) -> str:
    """What budgets count of it, in dollars; "" where nobody knows."""
    from ..policy import dollars

    return "" if offer.micros is None else dollars(offer.micros)


def transaction(text: str) -> str:
    """The id of a transaction, where a seller's text is plainly one; else ""."""
    return text if _TRANSACTION(text) else ""


def blotted(body: bytes, shown: Iterable[str]) -> bytes:
    """A seller's answer without what we showed him: proofs and credentials that he reflects, as they were, or the signature in them."""
    for part in {part.encode() for value in shown for part in value.split() if len(part) > 15 and not _TRANSACTION(part)}:
        body = body.replace(part, BLOT)
        with suppress(ValueError):
            for inner in _SIGNED.findall(b64decode(part + b"==")):
                body = body.replace(inner, BLOT)
    return body


def kind_of(content_type: str) -> str:
    """A media type of the system's own table: what a seller calls it else may be anything."""
    found = content_type.partition(";")[0].strip().lower()
    return found if found in _KINDS else "application/octet-stream"


def shape(origin: str, body: bytes) -> Fenced | None:
    """What a JSON document looks like, cut and fenced, since its names are the seller's; None for what is none."""
    from ..dialects import strict

    if body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        found = strict.value(body, len(body))  # of any depth: no body exhausts the stack
    except ChallengeInvalid:
        return None
    return fence(origin, _like(found, 3), HEAD)


def _like(value: Any, depth: int) -> str:
    """`{"items": [120 x {"id": number}]}`."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name[:40])}: {_like(each, depth - 1)}" for name, each in list(value.items())[:30]) if depth else "…"
        return f"{{{inner}{', …' if len(value) > 30 and depth else ''}}}"
    if isinstance(value, list):
        return f"[{len(value)} x {_like(value[0], depth - 1)}]" if value and depth else f"[{len(value)}]"
    return {str: "text", bool: "true or false", type(None): "null"}.get(type(value), "number")


def bought_out(one: Bought) -> str:
    """A Bought as JSON, to be kept."""
    return json.dumps(asdict(one))


def bought_in(text: str) -> Bought:
    """The same back."""
    facts = json.loads(text)
    facts["paid"] = _made(Amount, facts["paid"])
    facts["body"] = _made(Fenced, facts["body"])
    if facts["more"]:
        facts["more"]["shape"] = _made(Fenced, facts["more"]["shape"])
        facts["more"] = Handle(**facts["more"])
    facts["problem"] = None
    return Bought(**facts)


def _made(kind: Any, facts: Any) -> Any:
    return None if facts is None else kind(**facts)
