"""The dialect door of x402: read a challenge, present a proof, read a receipt. No I/O, no keys, no clock."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ...errors import ChallengeInvalid
from ...model import Challenge, Claim
from ...secret import Veiled, plain
from ...steps import Presented, Reply
from .. import strict
from .offers import offer
from .passed import Passed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Ask, Hold, Offer, Proof
    from ...steps import Steps

__all__ = ["MAX_ENTRIES", "MAX_EXTENSIONS", "MAX_RECEIPT", "X402", "challenge"]

MAX_ENTRIES = 32
MAX_EXTENSIONS = 8 * 1024
MAX_RESOURCE = 8 * 1024
MAX_RECEIPT = 16 * 1024
IDENTIFIER = "payment-identifier"
SIGNED = "offer-receipt"
WAITING = ("settlement_pending", "transaction_held", "transaction_pending")  # broadcast or queued, and not refused
_DRAFT = {"confirmed": True, "success": True, "failed": False}
_TOKEN = re.compile(r"[!-~]{1,128}").fullmatch
_HINT = "x402-agent get --dry-run URL"
LISTS = frozenset({"/.well-known/x402", "/.well-known/x402.json"})  # of what a site sells elsewhere: KAMIYO's answers 402 to every proof
LISTED = "this page lists what the site sells and is not sold itself, whatever is paid: ask for the pages that it names"


class X402:
    """x402 versions 1 and 2 over HTTP. Stateless: one instance serves every thread."""

    name = "x402"

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """The challenge in a 402; None when it is not x402. Raises ChallengeInvalid when it is x402 and broken.

        A Challenge without offers means: well-formed, and nothing in it that this house pays; `passed_over` says why.
        """
        if reply.status != 402:
            return None
        header = reply.header("payment-required")
        found = _body(reply) if header is None else strict.parse(strict.decode64(header))
        if found is None or _others(found.fields.get("extra")):
            return None
        return Challenge(self.name, (), (LISTED,)) if ask.path in LISTS else challenge(found, ask)

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """PAYMENT-SIGNATURE (v2) or X-PAYMENT (v1): the same bytes for the same hold and proof."""
        yield from ()
        version, network, entry, resource, extensions = hold.offer.wire
        payload = strict.compact(proof.payload)
        if version == "1":
            scheme, where = strict.compact(hold.offer.scheme), strict.compact(network)
            text = f'{{"x402Version":1,"scheme":{scheme},"network":{where},"payload":{payload}}}'
            return Presented(Veiled({"X-PAYMENT": strict.encode64(text)}))
        middle = f'"resource":{resource},' if resource else ""
        tail = f',"extensions":{_extend(extensions, hold.identifier)}' if extensions else ""
        text = f'{{"x402Version":2,{middle}"accepted":{entry},"payload":{payload}{tail}}}'
        return Presented(Veiled({"PAYMENT-SIGNATURE": strict.encode64(text)}))

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """The seller's receipt from PAYMENT-RESPONSE or X-PAYMENT-RESPONSE; an empty Claim when it cannot be read."""
        values = reply.headers.get_list("payment-response") or reply.headers.get_list("x-payment-response")
        if len(values) != 1 or len(values[0]) > MAX_RECEIPT:
            return Claim()
        try:
            fields = strict.parse(strict.decode64(values[0])).fields
        except ChallengeInvalid:
            return Claim()
        success, transaction = fields.get("success"), fields.get("transaction", fields.get("tx_id"))
        status = fields.get("status") if "tx_id" in fields else None  # Stacks' draft says these two instead
        told = _DRAFT.get(status) if isinstance(status, str) else None
        return Claim(
            success if isinstance(success, bool) else told,
            transaction if isinstance(transaction, str) and _TOKEN(transaction) else "",
            fields,
            _signed_receipt(fields),
            waiting=fields.get("errorReason") in WAITING or status == "pending",
        )


def _others(extra: object) -> bool:
    """Whether a document only looks like version 2: x402Pay's gateway wants the id of a transaction, and would call a signed one none."""
    return isinstance(extra, dict) and "challengeToken" in extra


def _body(reply: Reply) -> strict.Document | None:
    """The document in the body, None when it is not x402's."""
    try:
        found = strict.parse(reply.content)
    except ChallengeInvalid:
        if _looks_like_ours(reply):
            raise
        return None
    return found if "x402Version" in found.fields or "accepts" in found.fields else None


def _looks_like_ours(reply: Reply) -> bool:
    """Whether an unreadable body was meant as x402 (cut off, too large, UTF-16, duplicate keys): an object that says so."""
    start = reply.start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n")
    return start.startswith(b"{") and b'"x402Version"' in start


def challenge(found: strict.Document, ask: Ask) -> Challenge:
    """The challenge in a document of version 1 or 2, wherever it stood; raises ChallengeInvalid."""
    version = found.fields.get("x402Version")
    if type(version) is not int or version not in (1, 2):
        shown = plain(repr(version), 40)
        raise ChallengeInvalid(f"x402Version is {shown}", rule="x402Version 1 or 2, a number (W5)", hint=_HINT)
    entries = found.fields.get("accepts")
    if not isinstance(entries, list) or not entries:
        raise ChallengeInvalid("the challenge lists no way to pay", rule="accepts is a filled array (W4)", hint=_HINT)
    resource = found.fields.get("resource")
    tail = (
        found.raw["resource"] if isinstance(resource, dict) and len(found.raw["resource"]) <= MAX_RESOURCE else "",
        _extensions(found) if version == 2 else "",
    )
    about: Mapping[str, Any] = resource if isinstance(resource, dict) else {}
    advertised = found.fields.get("extensions")
    extensions: Mapping[str, Any] = advertised if isinstance(advertised, dict) else {}
    offers: list[Offer] = []
    passed: list[str] = []
    broken = False
    for index, (entry, raw) in enumerate(zip(entries[:MAX_ENTRIES], found.rows, strict=False)):
        try:
            offers.append(offer(entry, raw, version, ask, about, tail, extensions))
        except Passed as why:
            passed.append(f"accepts[{index}]: {why.reason}")
            broken = broken or why.broken
    if len(entries) > MAX_ENTRIES:
        passed.append(f"{len(entries) - MAX_ENTRIES} more entries were not read (S6)")
    if broken and not offers:
        raise ChallengeInvalid("no entry of the challenge can be read", rule="; ".join(passed[:4]), hint=_HINT)
    return Challenge("x402", tuple(offers), tuple(passed), _signed_offers(found.fields))


def _signed_offers(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What the seller signed of its offers, at most MAX_ENTRIES of them ("Offer and Receipt Extension", 4.1)."""
    found = _info(fields).get("offers")
    return tuple(each for each in found[:MAX_ENTRIES] if isinstance(each, dict)) if isinstance(found, list) else ()


def _signed_receipt(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The signed receipt in a SettleResponse (the same, 5.1)."""
    found = _info(fields).get("receipt")
    return found if isinstance(found, dict) else None


def _info(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    extensions = fields.get("extensions")
    extension = extensions.get(SIGNED) if isinstance(extensions, dict) else None
    info = extension.get("info") if isinstance(extension, dict) else None
    return info if isinstance(info, dict) else {}


def _extensions(found: strict.Document) -> str:
    """The text of `extensions` to echo, "" when there is none or too much; raises ChallengeInvalid (row W15)."""
    advertised = found.fields.get("extensions")
    if not isinstance(advertised, dict) or not advertised:
        return ""
    raw = found.raw["extensions"]
    for key, value in advertised.items():
        if _required(value) and (key != IDENTIFIER or len(raw) > MAX_EXTENSIONS):
            raise ChallengeInvalid(
                f"the seller requires the extension {plain(key, 60)!r}",
                rule="extension we lack (W15)",
                hint=_HINT,
            )
    return raw if len(raw) <= MAX_EXTENSIONS else ""


def _required(extension: object) -> bool:
    """Whether an extension is marked as required, on itself or in its info."""
    if not isinstance(extension, dict):
        return False
    info = extension.get("info")
    return extension.get("required") is True or (isinstance(info, dict) and info.get("required") is True)


def _extend(extensions: str, identifier: str) -> str:
    """The advertised extensions, word for word, with our payment identifier where it was advertised."""
    if not identifier or IDENTIFIER not in extensions:
        return extensions
    parsed = json.loads(extensions)
    extension = parsed.get(IDENTIFIER)
    if not isinstance(extension, dict) or not isinstance(extension.get("info"), dict):
        return extensions
    extension["info"]["id"] = identifier
    return strict.compact(parsed)
