"""The 402 of x402Pay in its four spellings. What it says is compared with itself and with the request, and never with a guess.

`prd` and `openapi`: `payment{recipient, amount, asset, …}`, with or without `contract`, `contentId` and `nonce`. `gateway`: looks like x402
version 2, but its `extra.challengeToken` says that an id of a transaction is wanted, so it must never be signed as that.
`bearer`: a `paymentEndpoint`, and nobody who is paid: only settings can name one.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from ...errors import ChallengeInvalid
from ...model import Challenge, Offer
from ...secret import plain
from ..x402.offers import amount
from ..x402.passed import Passed, broken, show
from .items import CONTENT, network_of, token, units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...model import Ask, Asset
    from .desk import Desk

__all__ = ["NAME", "PROOF", "challenge", "content_asked", "nonce_of", "token_of"]

NAME, PROOF = "x402pay", "x-payment-proof"
LIFETIME = 300  # seconds that a nonce lives; a fresh one takes its place
SMALLEST = 5  # of less, the fifth that the platform gets is nothing, and the contract's transfer of nothing aborts
SHARES = (80, 20)
MAX_ENTRIES = 8
_NONCE = re.compile(r"[A-Za-z0-9_.~+/=-]{1,128}").fullmatch
_LONG = re.compile(r"[A-Za-z0-9_.:/-]{1,128}").fullmatch
_URL = re.compile(r'(?i)\bpayment_url\s*=\s*"([!#-~]{1,512})"').search
_PLACE = re.compile(r"[!-\[\]-~]{1,512}").fullmatch  # no backslash: two readers may read it in two ways
_HINT = "x402-agent get --dry-run URL"


def challenge(fields: dict[str, Any], header: str, ask: Ask, desk: Desk) -> Challenge | None:
    """The challenge in a body, None when it is not x402Pay's. `header`: WWW-Authenticate. Raises ChallengeInvalid when nothing can be read."""
    made: list[Offer] = []
    passed: list[str] = []
    works: list[tuple[str, Callable[[], Offer]]]
    if token_of(fields) is not None:
        rows = fields.get("accepts")
        listed = rows[:MAX_ENTRIES] if isinstance(rows, list) else []
        works = [(f"accepts[{index}]", partial(_gateway, each, fields, ask)) for index, each in enumerate(listed)]
    elif isinstance(fields.get("payment"), dict) and "recipient" in fields["payment"] and not fields.keys() & {"accepts", "x402Version"}:
        works = [("payment", partial(_documented, fields["payment"], ask))]
    elif fields.get("code") == "PAYMENT_REQUIRED" and ("paymentEndpoint" in fields or _URL(header)):
        works = [("paymentEndpoint", partial(_bearer, fields, header, ask, desk))]
    else:
        return None
    faults = not works
    for where, work in works:
        try:
            made.append(work())
        except Passed as why:
            passed.append(f"{where}: {why.reason}")
            faults = faults or why.broken
    if faults and not made:
        raise ChallengeInvalid("the challenge cannot be read", rule="; ".join(passed[:4]) or "it offers nothing (W4)", hint=_HINT)
    return Challenge(NAME, tuple(made), tuple(passed))


def token_of(fields: Mapping[str, Any]) -> str | None:
    """The token of a gateway's challenge, "" for one that is none, None for a document that is not the gateway's."""
    extra = fields.get("extra")
    if not isinstance(extra, dict) or "challengeToken" not in extra:
        return None
    found = extra["challengeToken"]
    return found if isinstance(found, str) and _NONCE(found) else ""


def nonce_of(fields: Mapping[str, Any], content: str) -> str:
    """The nonce of a challenge as designed, "" where it has none, or is for other content."""
    payment = fields.get("payment")
    if not isinstance(payment, dict) or payment.get("contentId") not in (None, content):
        return ""
    found = payment.get("nonce")
    return found if isinstance(found, str) and _NONCE(found) else ""


def content_asked(url: str) -> str:
    """The content that a gateway's URL asks for, "" where it names none or two."""
    named = [value for key, value in parse_qsl(urlsplit(url).query) if key == "contentId"]
    return named[0] if len(named) == 1 else ""


def _documented(payment: Mapping[str, Any], ask: Ask) -> Offer:
    """Raises Passed."""
    payment = {name: value for name, value in payment.items() if value is not None or name == "recipient"}
    chain = payment.get("chain", "stacks")
    if not isinstance(chain, str) or chain.lower().partition(":")[0] != "stacks":
        raise Passed(f"chain {show(chain)} is not one it can be paid on", broken=False)
    where = network_of(payment["recipient"])
    if ":" in chain and chain.lower() != where.id:
        raise broken(f"the recipient is no address of chain {show(chain)} (R2)")
    asset = token(payment.get("asset", "STX"), where)
    content, contract = _content(payment, ask), payment.get("contract")
    if contract is not None and not content:
        raise broken("it names no content, and neither does the URL (W4)")
    nonce = payment.get("nonce", "")
    if not isinstance(nonce, str) or (nonce and not _NONCE(nonce)):
        raise broken(f"nonce {show(nonce)} is not a short word (W4)")
    spelling = "openapi" if "contentId" in payment else "prd"
    return _offer(payment["recipient"], contract, asset, units(payment.get("amount"), asset), ask, (spelling, content, nonce))


def _content(payment: Mapping[str, Any], ask: Ask) -> str:
    """What is sold: by its name, else by the last part of the path, "" where that is no name: a transfer needs none. Raises Passed."""
    if "contentId" not in payment:
        last = ask.path.rstrip("/").rpartition("/")[2]
        return last if CONTENT(last) else ""
    content = payment["contentId"]
    if not isinstance(content, str) or not CONTENT(content):
        raise broken(f"contentId {show(content)} is not 1 to 50 letters, digits, - and _ (W4)")
    return content


def _gateway(entry: object, fields: Mapping[str, Any], ask: Ask) -> Offer:
    """Raises Passed."""
    if not isinstance(entry, dict) or entry.get("scheme") != "exact":
        raise broken("an entry that is no `exact` (A7)")
    where = network_of(entry.get("payTo"))
    if entry.get("network") != where.id:
        raise broken(f"payTo is no address of network {show(entry.get('network'))} (R2)")
    asset = token(entry.get("asset"), where)
    key, content = token_of(fields), fields.get("contentId")
    if not key:
        raise broken("challengeToken is not a short word (W4)")
    asked = content_asked(ask.url)
    if not isinstance(content, str) or not _LONG(content) or (asked and asked != content):
        raise broken(f"contentId {show(content)} is not the content that was asked for (W4)")
    extra = entry.get("extra")
    contract = extra.get("contractAddress") if isinstance(extra, dict) else None
    return _offer(entry["payTo"], contract, asset, amount(entry.get("amount")), ask, ("gateway", content, key))


def _bearer(fields: Mapping[str, Any], header: str, ask: Ask, desk: Desk) -> Offer:
    """Its amounts are whole tokens. Raises Passed."""
    told = _URL(header)
    place = told[1] if told and fields.get("paymentEndpoint") is None else fields["paymentEndpoint"]
    parts = _parts(place, ask)
    if parts is None or (told and _parts(told[1], ask) != parts):
        raise broken(f"paymentEndpoint {show(place)} is not one address of this origin (R3)")
    if not desk.recipient:
        raise Passed(f'it names nobody who is paid: dialects.x402pay."{ask.origin}" = {{ recipient = "SP…" }} in settings.toml does (R2)', broken=False)
    said = fields.get("requiredAmount")
    asset = token(fields.get("currency"), network_of(desk.recipient))
    price = units(repr(said) if type(said) is float else said, asset, whole=True)
    return _offer(desk.recipient, None, asset, price, ask, ("bearer", "", "", parts, json.dumps(said)))


def _parts(place: object, ask: Ask) -> str | None:
    """Path and query of an address of this origin, however it is written; None for any other."""
    try:
        found = urlsplit(urljoin(ask.url, place)) if isinstance(place, str) and _PLACE(place) else None
        port = found.port if found else None
    except ValueError:
        return None
    if found is None or found.username is not None:
        return None
    host = (found.hostname or "") if ":" not in (found.hostname or "") else f"[{found.hostname}]"
    usual = port is None or (found.scheme, port) in (("https", 443), ("http", 80))
    origin = f"{found.scheme}://{host}" + ("" if usual else f":{port}")
    return (found.path or "/") + (f"?{found.query}" if found.query else "") if origin == ask.origin else None


def _offer(recipient: str, contract: object, asset: Asset, price: int, ask: Ask, wire: tuple[str, ...]) -> Offer:
    """By a call of the contract where one is named, else by a transfer. Raises Passed."""
    content, where = wire[1], asset.network
    if "." in recipient:
        raise broken("the recipient is a contract (R1)")
    if contract is None:
        return _made(recipient, asset, price, ask, wire, f"{content or ask.path}, by a transfer")
    if not isinstance(contract, str) or "." not in contract or network_of(contract) is not where:
        raise broken(f"contract {show(contract)} is none of {where.name}, which the recipient is of (R2)")
    if not asset.native:
        raise Passed(f"its contract moves STX alone: for {asset.symbol} it says yes, and moves nothing", broken=False)
    if price < SMALLEST:
        raise Passed(f"a fifth of {price} microSTX is nothing, and the contract's transfer of nothing aborts (u3)", broken=False)
    return _made(contract, asset, price, ask, wire, f"{content}, by pay-for-content", _call(content, price, recipient))


def _call(content: str, price: int, recipient: str) -> str:
    """Every form of the call that a published contract has: its interface decides.

    Exact, whichever it is: the contract takes 80 and 20 of a hundred, each rounded down, and what rounds away stays with us. So
    the post-condition never has to say "at most", by which a contract could move less and call it unpaid.
    """
    text, number = ["ascii", content], ["uint", str(price)]
    found = {
        "function": "pay-for-content", "arguments": [text, number],
        "instead": [[text, number, ["ascii", "STX"], ["nonce"]], [["buffer", content.encode().hex()], number]],
        "kept": price - sum(price * share // 100 for share in SHARES), "payees": [recipient],
    }  # fmt: skip
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def _made(pay_to: str, asset: Asset, price: int, ask: Ask, wire: tuple[str, ...], words: str, details: str = "") -> Offer:
    return Offer(dialect=NAME, scheme="transfer", method="transfer", asset=asset, amount=price, pay_to=pay_to, lifetime=LIFETIME,
                 resource=ask.url, description=plain(words), wire=wire, details=details)  # fmt: skip
