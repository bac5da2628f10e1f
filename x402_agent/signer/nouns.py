"""The nouns as messages and back. What comes in is checked as if a stranger had sent it, on both sides.

Of an agent's Ask the service takes method, URL and identity; host, origin and path it reads from the URL itself, and on
whose behalf it is made it knows from the socket. Two agents never share a purchase: the identity is salted with the agent.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, get_args

from .. import errors
from ..assets import asset_by_id
from ..errors import PaymentError, SigningFailed
from ..ledger import Payment, Token
from ..model import (
    Anchor,
    Ask,
    Cap,
    Challenge,
    Credential,
    Hold,
    Limit,
    Money,
    Offer,
    Proof,
    Terms,
    Under,
    Unit,
    Window,
)
from ..scopes import plain_path
from ..secret import plain
from ..tasks import Confines
from .frames import Fields, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Unasked", "ask_in", "ask_out", "bounds_in", "bounds_out", "caps_in", "caps_out", "challenge_in", "challenge_out", "credential_in",
           "credential_out", "error_in", "error_out", "hold_in", "hold_out", "limits_in", "limits_out", "offer_in", "offer_out",
           "own_scope", "payment_in", "payment_out", "place", "proof_in", "proof_out", "slips_in", "token_in", "token_out", "under_in"]  # fmt: skip

MAX_OFFERS = 32
MAX_LIMITS = 32
MAX_HEADERS = 32
_URL = re.compile(r"((?:https?|mcp)://((?:\[[0-9a-f:.]{2,60}\]|[a-z0-9._-]{1,253}))(?::[0-9]{1,5})?)(/[!-~]*)")
_METHOD = re.compile(r"[!-~]{1,32}")
_HEX = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[ -~]{0,128}")
_NONCE = re.compile(r"0x[0-9a-f]{64}")
_RUN = re.compile(r"[A-Za-z0-9_:-]{1,64}")  # without a dot, which ends an agent's name
_ERRORS = {name: getattr(errors, name) for name in errors.__all__}


class Unasked(Exception):
    """Calls of a whole origin would be bought, and its pages were not asked: the agent does that, since a signer asks no host that
    an agent names. Nothing was held."""  # fmt: skip


def ask_out(ask: Ask) -> dict[str, Any]:
    """An Ask as the agent sends it; raises NotReplayable for a one-shot body."""
    under = ask.under
    return {
        "method": ask.method, "url": ask.url, "key": ask.key, "has_body": ask.has_body, "caller_key": ask.caller_key,
        "again": ask.again, "paid": ask.paid, "listed": None if ask.listed is None else str(ask.listed), "expect": ask.expect, "task": under.task, "tool": under.tool, "category": under.category,
        "runs": list(under.runs), "slips": [one for one in under.slip.split(",") if one],
        "limits": limits_out(ask.limits), "caps": caps_out(ask.caps),
    }  # fmt: skip


def place(told: Fields) -> tuple[str, str, str, str]:
    """The URL in a message, and the origin, host and path in it. Raises Malformed."""
    url = told.text("url", 1 << 16)
    parts = _URL.fullmatch(url)
    if parts is None:
        raise Malformed("url is not one as requests have it")
    origin, host, target = parts.groups()
    return url, origin, host.strip("[]"), plain_path(target.partition("?")[0])


def ask_in(told: Fields, agent: str, group: str) -> Ask:
    """The same in the service, made by this agent."""
    url, origin, host, path = place(told)
    mine = told.text("caller_key", 4096)
    made = Ask(
        told.text("method", shape=_METHOD), url, origin, host, path,
        has_body=bool(told.flag("has_body")), caller_key=f"{agent}\n{mine}" if mine else "",
        under=under_in(told, agent, group), again=told.flag("again"), listed=told.whole("listed", 1 << 62) if told.has("listed") else None,
        limits=limits_in(told, agent, origin), caps=caps_in(told),
    )  # fmt: skip
    made.paid = told.text("paid", 64, shape=_WORD)
    made.expect = told.whole("expect", 1_000_000) if told.has("expect") else 0
    made._key = hashlib.sha256(f"{agent}\n{told.text('key', 64, shape=_HEX)}".encode()).hexdigest()
    return made


def under_in(told: Fields, agent: str, group: str = "") -> Under:
    """On whose behalf: what an agent says of task, tool, category and runs; its name and group are the socket's word."""
    runs = told.texts("runs", 16, 64)
    if not all(map(_RUN.fullmatch, runs)):
        raise Malformed("runs are not ids")
    return Under(
        agent=agent, group=group, task=told.text("task", 200, shape=_WORD), tool=told.text("tool", shape=_WORD),
        category=told.text("category", shape=_WORD), runs=tuple(f"{agent}.{run}" if agent else run for run in runs),
    )  # fmt: skip


def bounds_out(bounds: Confines, agent: str = "") -> dict[str, Any]:
    """What narrows payments, in an agent's own words."""
    under = bounds.under
    return {
        "task": under.task, "tool": under.tool, "category": under.category,
        "runs": [run.removeprefix(f"{agent}.") if agent else run for run in under.runs],
        "slips": [one for one in under.slip.split(",") if one], "caps": caps_out(bounds.caps),
        "limits": limits_out(replace(one, scope=_plain_scope(one.scope, agent)) for one in bounds.limits),
        "hosts": [{"names": sorted(names), "rule": rule} for names, rule in bounds.hosts],
    }  # fmt: skip


def bounds_in(told: Fields, agent: str = "", group: str = "") -> Confines:
    """The same from a message; with an `agent`, as the service has them."""
    hosts = tuple((frozenset(each.texts("names", 64)), plain(each.text("rule", 1000), 500)) for each in told.each("hosts", 16))
    return Confines(under_in(told, agent, group), limits_in(told, agent), caps_in(told), hosts)


def slips_in(told: Fields) -> tuple[str, ...]:
    """The slips that a payment stands under, by their numbers."""
    found = told.texts("slips", 16, 64)
    if not all(map(_RUN.fullmatch, found)):
        raise Malformed("slips are not ids")
    return found


def _plain_scope(scope: str, agent: str) -> str:
    """`own_scope` backwards."""
    return "all" if agent and scope == f"agent:{agent}" else f"run:{scope.removeprefix(f'run:{agent}.')}" if agent else scope


def own_scope(scope: str, agent: str) -> str:
    """What an agent calls `all` or `run:ID`, as the ledger knows it. It can speak of nothing else."""
    kind, _, name = scope.partition(":")
    if scope == "all":
        return f"agent:{agent}"
    if kind != "run" or not _RUN.fullmatch(name):
        raise Malformed("a scope is not the agent's own")
    return f"run:{agent}.{name}"


def limits_out(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """Ceilings as messages have them."""
    return [{"scope": one.scope, "window": one.window, "most": str(one.most), "unit": one.unit, "rule": one.rule,
             "hint": one.hint} for one in limits]  # fmt: skip


def limits_in(told: Fields, agent: str = "", origin: str = "") -> tuple[Limit, ...]:
    """Ceilings from a message. Those that an `agent` brings along bind that agent alone: its runs, or all that it pays; or what anybody pays
    to the very `origin` that it asks, where the seller of a shared account has its own ceiling."""  # fmt: skip
    found = []
    for one in told.each("limits", MAX_LIMITS):
        window, unit, scope = one.text("window"), one.text("unit"), one.text("scope", 4096)
        if window not in get_args(Window) or unit not in get_args(Unit):
            raise Malformed("a limit is on no window or unit")
        scope = own_scope(scope, agent) if agent and (not origin or scope != f"origin:{origin}") else scope
        found.append(Limit(scope, window, one.whole("most", 1 << 62), *_words(one), unit))  # type: ignore[arg-type]
    return tuple(found)


def caps_out(caps: Iterable[Cap]) -> list[dict[str, Any]]:
    """Caps on one call as messages have them."""
    return [{"micros": str(cap.micros), "rule": cap.rule, "hint": cap.hint} for cap in caps]


def caps_in(told: Fields) -> tuple[Cap, ...]:
    """Caps from a message."""
    return tuple(Cap(each.whole("micros", 1 << 62), *_words(each)) for each in told.each("caps", MAX_LIMITS))


def _words(told: Fields) -> tuple[str, str]:
    """Rule and hint, harmless for terminals and logs."""
    return plain(told.text("rule", 1000), 500), plain(told.text("hint", 1000), 500)


def offer_out(offer: Offer) -> dict[str, Any]:
    """An Offer, every field of it."""
    return {
        "dialect": offer.dialect, "scheme": offer.scheme, "asset": offer.asset.id, "amount": str(offer.amount),
        "pay_to": offer.pay_to, "lifetime": str(offer.lifetime), "resource": offer.resource,
        "description": offer.description, "flow": offer.flow, "fee_cap": str(offer.fee_cap), "wire": list(offer.wire),
        "method": offer.method, "facilitator": offer.facilitator, "details": offer.details, "serves": offer.serves, "ends": offer.ends, "metered": offer.metered,
    }  # fmt: skip


def offer_in(told: Fields, resource: str | None = None) -> Offer:
    """An Offer of the closed table; what is bought is `resource`, where the reader knows it better than the writer."""
    asset = asset_by_id(told.text("asset"))
    if asset is None:
        raise Malformed("an asset is not in the table")
    uint = (1 << 256) - 1
    return Offer(
        dialect=told.text("dialect", 32, shape=_WORD), scheme=told.text("scheme", shape=_WORD), asset=asset,
        amount=told.whole("amount", uint, 1), pay_to=told.text("pay_to", shape=_WORD),
        lifetime=told.whole("lifetime", (1 << 63) - 1, 1),
        resource=told.text("resource", 1 << 16) if resource is None else resource,
        description=plain(told.text("description", 4096), 400), flow=told.text("flow", shape=_WORD),
        fee_cap=told.whole("fee_cap", uint), wire=told.texts("wire", 8, 1 << 17),
        method=told.text("method", shape=_WORD), facilitator=told.text("facilitator", shape=_WORD),
        details=told.text("details", 4096), serves=told.whole("serves", 1 << 53, 1) if told.has("serves") else 1,
        ends=told.whole("ends", 1 << 53) if told.has("ends") else 0, metered=plain(told.text("metered", 64), 40) if told.has("metered") else "",
    )  # fmt: skip


def challenge_out(challenge: Challenge) -> dict[str, Any]:
    """A Challenge: its offers, and why other entries were passed over."""
    return {
        "dialect": challenge.dialect,
        "offers": [offer_out(one) for one in challenge.offers[:MAX_OFFERS]],
        "passed_over": list(challenge.passed_over[:MAX_OFFERS]), "signed": list(challenge.signed[:MAX_OFFERS]),
    }


def challenge_in(told: Fields, ask: Ask) -> Challenge:
    """The same in the service; an offer buys what was asked, whatever it says."""
    offers = tuple(offer_in(one, ask.url) for one in told.each("offers", MAX_OFFERS))
    passed = tuple(plain(one, 400) for one in told.texts("passed_over", MAX_OFFERS, 4096))
    return Challenge(told.text("dialect", 32, shape=_WORD), offers, passed, told.raws("signed", MAX_OFFERS))


def hold_out(hold: Hold) -> dict[str, Any]:
    """A Hold without its Ask, which the other side has."""
    terms = hold.terms
    return {
        "payment_id": hold.payment_id, "offer": offer_out(hold.offer), "payer": terms.payer, "nonce": terms.nonce,
        "valid_after": terms.valid_after, "valid_before": terms.valid_before, "anchor": terms.anchor.text,
        "account_nonce": terms.anchor.number + 1, "gas": str(terms.anchor.cost), "limits": limits_out(hold.limits[:MAX_LIMITS]),
        "state": hold.state, "resumed": hold.resumed, "refused": hold.refused, "identifier": hold.identifier,
    }  # fmt: skip


def hold_in(told: Fields, ask: Ask) -> Hold:
    """The same where the Ask was made."""
    never = (1 << 63) - 1
    terms = Terms(told.text("payer", shape=_WORD), told.text("nonce", 66, shape=_NONCE),
                  told.whole("valid_after", never), told.whole("valid_before", never),
                  Anchor(told.text("anchor", 1024), told.whole("account_nonce", never) - 1,
                         told.whole("gas", 1 << 128)))  # fmt: skip
    return Hold(
        told.text("payment_id", 64, shape=_WORD), ask, offer_in(told.inner("offer")), terms, limits_in(told),
        told.text("state", 32, shape=_WORD), resumed=bool(told.flag("resumed")), refused=bool(told.flag("refused")),
        identifier=told.text("identifier", shape=_WORD),
    )  # fmt: skip


def payment_out(payment: Payment) -> dict[str, Any]:
    """One payment as the reading side has it, without its money, which is made anew from amount and asset."""
    return {**{one.name: getattr(payment, one.name) for one in fields(payment) if one.name != "money"},
            "url": payment.url[:1000], "amount": str(payment.amount), "gas": str(payment.gas),
            **{name: None if getattr(payment, name) is None else str(getattr(payment, name)) for name in ("charged", "gas_paid")}}  # fmt: skip


def payment_in(told: Fields) -> Payment:
    """The same where it is shown."""
    made: dict[str, Any] = {}
    for one in fields(Payment):
        if one.type in ("str", "Outcome"):
            made[one.name] = told.text(one.name, 1 << 16)
        elif one.type == "int":
            made[one.name] = told.whole(one.name, 1 << 256)
        elif one.type == "bool":
            made[one.name] = bool(told.flag(one.name))
    for name in ("charged", "gas_paid"):
        made[name] = told.whole(name, 1 << 256) if told.has(name) else None
    asset = asset_by_id(made["asset_id"])
    return Payment(**made, money=Money(made["amount"], asset) if asset else None)


def proof_out(proof: Proof) -> dict[str, Any]:
    """A Proof, for the agent whose Ask it answers and nobody else."""
    return {"payload": dict(proof.payload), "payer": proof.payer, "nonce": proof.nonce, "expires": proof.expires}


def proof_in(told: Fields) -> Proof:
    """The same on the agent's side."""
    return Proof(told.raw("payload"), told.text("payer", shape=_WORD), told.text("nonce", 66, shape=_NONCE),
                 told.whole("expires", (1 << 63) - 1))  # fmt: skip


def credential_out(credential: Credential) -> dict[str, Any]:
    """A Credential with its values: to the agent whose payment bought it, and from it."""
    one = credential
    return {
        "origin": one.origin, "path": one.path, "headers": dict(one.headers), "payment_id": one.payment_id, "uses": one.uses_left,
        "expires": None if one.expires is None else int(one.expires), "dialect": one.dialect, "name": one.name, "lease": one.lease, "serial": one.serial,
    }  # fmt: skip


def credential_in(told: Fields) -> Credential:
    """The same; what no request can carry is judged by `credentials.sound`."""
    headers = told.raw("headers")
    if len(headers) > MAX_HEADERS or not all(isinstance(each, str) for each in headers.values()):
        raise Malformed("headers are not text")
    return Credential(
        told.text("origin", 1024), told.text("path", 1024), headers, told.text("payment_id", 64, shape=_WORD),
        told.whole("uses", (1 << 53) - 1) if told.has("uses") else None,
        float(told.whole("expires", (1 << 40) - 1, 1)) if told.has("expires") else None,
        told.text("dialect", 32, shape=_WORD), told.text("name", 64, shape=_WORD),
        told.whole("lease", 1 << 62) if told.has("lease") else 0, bool(told.flag("serial")),
    )  # fmt: skip


def token_out(token: Token) -> dict[str, Any]:
    """A credential as a row, without what it sends."""
    return {**token._asdict(), "sealed": None, "account": None, "agent": None}


def token_in(told: Fields) -> Token:
    """The same where it is shown."""
    most = 1 << 53
    return Token(
        told.text("name", 64), told.text("payment_id", 64), told.text("origin", 1024), told.text("path", 1024),
        told.whole("uses_left", most, -most) if told.has("uses_left") else None, told.whole("expires", most) if told.has("expires") else None,
        dialect=told.text("dialect", 32), created_at=told.whole("created_at", most),
        last_used_at=told.whole("last_used_at", most) if told.has("last_used_at") else None, serial=told.whole("serial", 1), in_use=told.whole("in_use", most),
    )  # fmt: skip


def error_out(why: PaymentError) -> dict[str, Any]:
    """A refusal in words. A hint names commands of the operator's: the agent cannot run them, and is told so."""
    hint = why.hint
    if hint.startswith("x402-agent ") and not hint.startswith(("x402-agent resume", "x402-agent why", "x402-agent credentials")):
        hint = f"whoever runs the signer: {hint}"
    return {"error": type(why).__name__, "what": why.what, "rule": why.rule, "hint": hint, "payment_id": why.payment_id}


def error_in(told: Fields) -> PaymentError:
    """The error to raise where the payment was asked for."""
    kind: type[PaymentError] = _ERRORS.get(told.text("error", 64), SigningFailed)
    what = told.text("what", 1 << 16) or "the signer refused"
    return kind(what, rule=told.text("rule", 4096), hint=told.text("hint", 4096), payment_id=told.text("payment_id", 64))
