"""What a first payment needs: `[evidence]` in policy.toml, and what the payer's catalogue knows of a URL, weighed against it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from ..errors import PaymentError, SettingsError
from .approval import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Offer
    from .facts import Facts, Listed
    from .rules import Policy

__all__ = ["Evidence", "listed_at", "read_evidence", "unproven"]

LIVE, AGREEMENT, PAYERS = "live-probe", "price-agreement", "unique-payers"
_TOO_FEW = "unique payers, at least"
_PAYERS = re.compile(r"unique-payers>=([1-9][0-9]{0,8})", re.ASCII).fullmatch
_AGE = re.compile(r"([1-9][0-9]{0,4})([dhm])", re.ASCII).fullmatch
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60}


@dataclass(frozen=True)
class Evidence:
    """What the catalogue must know of a URL before its origin or recipient is paid for the first time: `live-probe`,
    `unique-payers>=N`, `price-agreement`, none of it older than `max_age` seconds. `otherwise` it is denied, or a person is asked.
    Raises SettingsError."""

    require: tuple[str, ...] = (LIVE,)
    max_age: int = 7 * 86_400
    otherwise: Literal["ask", "deny"] = "deny"
    rule: str = "[evidence]"

    def __post_init__(self) -> None:
        for each in self.require:
            if each not in (LIVE, AGREEMENT) and not _PAYERS(each):
                raise SettingsError(f"{each[:60]!r} is no evidence", rule=self.rule, hint=f'require = ["{LIVE}", "{PAYERS}>=3", "{AGREEMENT}"]')
        if not self.require:
            raise SettingsError("nothing is required", rule=self.rule, hint=f'require = ["{LIVE}"]')
        if self.otherwise not in ("ask", "deny"):
            raise SettingsError("otherwise is ask or deny", rule=self.rule, hint='otherwise = "ask"')
        if self.max_age <= 0:
            raise SettingsError("evidence is of some age", rule=self.rule, hint='max_age = "7d"')

    @property
    def payers(self) -> int:
        """How many must have paid it; 0 where nobody asks."""
        return max((int(found[1]) for each in self.require if (found := _PAYERS(each))), default=0)


def read_evidence(table: Any, place: Callable[..., str]) -> Evidence:
    """The table as it stands in the file; raises SettingsError naming file and line."""
    if not isinstance(table, dict):
        raise SettingsError("evidence is a table", rule=place("evidence"), hint=f'[evidence] require = ["{LIVE}"]')
    known = [each.name for each in fields(Evidence) if each.name != "rule"]
    values: dict[str, Any] = {}
    for name, value in table.items():
        line = place("evidence", name)
        if name not in known:
            raise SettingsError(f"evidence has no rule {name[:60]!r}", rule=line, hint=", ".join(known))
        if name == "require":
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise SettingsError("require is a list of text", rule=line, hint=f'require = ["{LIVE}"]')
            values[name] = tuple("".join(each.split()) for each in value)
        elif not isinstance(value, str):
            raise SettingsError(f"{name} is text", rule=line, hint='max_age = "7d"' if name == "max_age" else 'otherwise = "ask"')
        elif name == "max_age":
            found = _AGE(value)
            if found is None:
                raise SettingsError("max_age is a number of days, hours or minutes", rule=line, hint='max_age = "7d"')
            values[name] = int(found[1]) * _SECONDS[found[2]]
        else:
            values[name] = value
    return Evidence(**values, rule=f"[evidence] in {place('evidence', 'require')}")


def unproven(policy: Policy, ask: Ask, offer: Offer, facts: Facts) -> Reason | None:
    """What a first payment lacks; None where nothing is wanted, it is no first one, or all is there. Nothing is looked up before that."""
    wanted = policy.evidence
    if wanted is None or _paid_before(ask, offer, facts):
        return None
    try:
        found = facts.listed(ask)
    except PaymentError as why:
        return Reason(f"{ask.host} was never paid before, and what is known of it cannot be looked up: {why.what}", wanted.rule, why.hint)
    if found is None:
        what = f"{ask.host} was never paid before, and your catalogue knows nothing of {ask.method} {ask.origin}{ask.path}"
        return Reason(what, wanted.rule, f"x402-agent discover crawl --source {quote(f'402={ask.origin}{ask.path}') if ask.method == 'GET' else ask.origin}")
    short = _short(wanted, found, offer, facts.now())
    if not short:
        return None
    what = f"{ask.host} was never paid before, and your catalogue lacks what a first payment needs: {'; '.join(short)}"
    if short[0].startswith(_TOO_FEW):  # nothing else is missing: a probe counts nobody
        return Reason(what, wanted.rule, f"x402-agent pin {ask.origin} {offer.pay_to} --network {offer.network.name}, if you know it")
    return Reason(what, wanted.rule, f"x402-agent discover probe {found.id}")


def listed_at(policy: Policy, ask: Ask, offer: Offer, facts: Facts) -> int | None:
    """What is asked for is listed at, in millionths of a dollar: as the caller says, else as evidence for a first payment."""
    if ask.listed is not None or policy.evidence is None or _paid_before(ask, offer, facts):
        return ask.listed
    try:
        found = facts.listed(ask)
    except PaymentError:
        return None  # `unproven` has said so
    return found.micros if found else None


def _paid_before(ask: Ask, offer: Offer, facts: Facts) -> bool:
    return facts.knows_origin(ask) and facts.knows_payee(offer)


def _short(wanted: Evidence, found: Listed, offer: Offer, now: float) -> list[str]:
    short = []
    days = f"{wanted.max_age // 86_400} days" if wanted.max_age >= 172_800 else f"{wanted.max_age // 3_600} h" if wanted.max_age >= 7_200 else f"{wanted.max_age // 60} min"
    old = found.probed is None or now - found.probed > wanted.max_age
    if LIVE in wanted.require and (old or found.verdict != "live-402"):
        word = found.verdict or "never probed"
        short.append(f"a live probe of the last {days} ({f'{word}, longer ago' if found.probed is not None and old else word})")
    if AGREEMENT in wanted.require:
        if found.agreement != "agreement" or old:
            short.append(f"price agreement ({found.agreement or 'never compared'}{', longer ago' if found.agreement and old else ''})")
        elif (offer.asset.id, offer.pay_to.lower()) not in found.terms:
            short.append("price agreement (this token or recipient is not the one that was probed)")
    if wanted.payers and (found.payers is None or found.payers < wanted.payers or now - found.seen > wanted.max_age):
        known = "nobody says how many" if found.payers is None else f"{found.payers}, " + ("longer ago" if now - found.seen > wanted.max_age else "as catalogues count")
        short.append(f"{_TOO_FEW} {wanted.payers} ({known})")
    return short
