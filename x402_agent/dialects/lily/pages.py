"""The service's own row, asked before anything is chosen: who is paid, in what, and the most and least. With the 402's price it makes offers.

A 402 that is dearer than its row is not paid: it is one of the two that lies. What settings say outweighs the row, since a person wrote it.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from ...encodings import unbase58
from ...model import BUY, QUOTA, Offer
from ...secret import plain
from ...steps import Whose, Worth
from ..x402.passed import Passed, show
from .credits import KIND, Credits, balance, signed, wanted
from .desk import CONFIGS, amount_in, text_in
from .header import EXACT, calls, number, plainly
from .shapes import GUIDE, NAME
from .standing import limits

if TYPE_CHECKING:
    from ...model import Account, Ask, Asset, Challenge, Limit
    from ...steps import Steps
    from .. import strict
    from .desk import Desk

__all__ = ["agrees", "credits_at", "rate_of"]

LIFETIME = 300  # seconds that our transfer may take to begin: a blockhash ends sooner
APART = Fraction(2, 100)  # that a seller's rate may be from our own price's spread
_MOST = 1 << 63
PROOF = "proof"  # the flow of one that is paid before it is asked for
_FIXED = ("", "per_request")


class _Terms(NamedTuple):
    """What is asked and of whom: `price` of one call, `metered` where that is only a unit's, and the most of one session; dollars. `guided`: by a
    server that knows no proofs."""  # fmt: skip

    price: Decimal
    pay_to: str
    currency: str
    metered: str = ""
    most: Decimal | None = None
    session: Decimal | None = None
    ahead: bool = False
    rate: Decimal | None = None
    guided: bool = False


def agrees(challenge: Challenge, ask: Ask, desk: Desk, now: float) -> Steps[Challenge]:
    """The challenge with its offers, or with the reasons why there are none; `now` in unix seconds."""
    offers: tuple[Offer, ...] = ()
    passed: tuple[str, ...] = ()
    bound: tuple[Limit, ...] = ()
    held = None
    try:
        row = yield from _row(desk)
        terms = _terms(challenge.pages, row, desk)
        account = yield Whose("solana")
        bound = yield from limits(account.address, terms.price, ask, desk, now, ahead=terms.ahead)
        have = (yield from balance(account.address, desk)) if _counts(terms, account, desk) else None
        held, unused = signed(account, have, terms.price, terms.currency)
        passed = (unused,) if unused else ()
        offers, over = yield from _offers(terms, ask, desk, tops_up=account.signs and have is not None and (have < terms.price or ask.method == BUY))
        passed += over
    except Passed as why:
        passed = (*passed, why.reason)
    return replace(challenge, offers=offers, passed_over=(*challenge.passed_over, *passed), pages=(), limits=bound, held=held)


def credits_at(challenge: Challenge, desk: Desk) -> Steps[Credits]:
    """What our account has there, and what a call costs."""
    if not challenge.pages:  # it cannot be asked: why stands where an offer would
        return Credits("", None, None, "; ".join(challenge.passed_over))
    try:
        terms = _terms(challenge.pages, (yield from _row(desk)), desk)
    except Passed as why:
        return Credits("", None, None, why.reason)
    account = yield Whose("solana")
    if not desk.serves:
        return Credits(account.address, None, terms.price, "settings name no tables of it: rest_url and service_id")
    have = yield from balance(account.address, desk)
    return Credits(account.address, have, terms.price, "its balance cannot be read just now" if have is None else signed(account, have, terms.price, "")[1])


def _counts(terms: _Terms, account: Account, desk: Desk) -> bool:
    """Whether credits come into it at all."""
    return wanted(desk) and bool(account.address) and not terms.metered


def _row(desk: Desk) -> Steps[strict.Document | None]:
    """The row of the service; None where settings name no tables, or the tables no such service. Raises Passed."""
    if not desk.serves:
        return None
    found = yield from desk.rows(CONFIGS, desk.service)
    if found is None:
        raise _no(f"its services cannot be read just now ({CONFIGS}), so nobody knows who is paid")
    rows = [each for each in found if all(text_in(each, name) == value for name, value in desk.service.items())]
    if len(rows) > 1:
        raise _no(f"service {desk.service_id} has {len(rows)} rows, and it is unique")
    if rows and rows[0].fields.get("is_active") is False:
        raise _no(f"service {desk.service_id} is not active")
    return rows[0] if rows else None


def _terms(said: tuple[str, ...], row: strict.Document | None, desk: Desk) -> _Terms:
    """What the 402 said, held against the row. Raises Passed."""
    asked, coin, rate = number(said[0]), said[1], number(said[2])
    pay_to = desk.pay_to or (row and (text_in(row, "platform_wallet") or text_in(row, "owner_wallet"))) or ""
    if not pay_to:
        raise _no("its service has no row that names who is paid, and settings name nobody: pay_to, or another service_id")
    if not _account(pay_to):
        raise _no(f"who is paid, {show(pay_to)}, is no account of Solana (R2)")
    base = (_dollars(row, "base_price") if row else None) or desk.price
    least = (_dollars(row, "min_payment") if row else None) or Decimal(0)
    if asked is None and base is None:
        raise _no("neither the 402 nor its service's row says a price; settings may: price")
    if asked is not None and base is not None and asked > max(base, least):
        raise _no(f"its 402 asks {plainly(asked)}, and its own row {plainly(max(base, least))}: one of them lies (P15)")
    price = max(asked if asked is not None else base or least, least)
    terms = _Terms(price, pay_to, _currency(coin, row, desk), rate=rate, guided=said[3] == GUIDE and desk.serves and desk.pays == "auto")
    if row is None:
        return terms
    model = text_in(row, "pricing_model")
    most = _dollars(row, "max_payment")
    if model in _FIXED and most is not None and price > most:
        raise _no(f"it asks {plainly(price)}, and takes {plainly(most)} at most by its own row")
    rate = rate or amount_in(row, "conversion_rate")
    return terms._replace(metered="" if model in _FIXED else plain(model, 20), most=most, session=_dollars(row, "max_session_amount"),
                          ahead=row.fields.get("requires_preauth") is True, rate=rate)  # fmt: skip


def _account(text: str) -> bool:
    try:
        return text.isascii() and len(unbase58(text, 44)) == 32
    except ValueError:
        return False


def _currency(coin: str, row: strict.Document | None, desk: Desk) -> str:
    """USDC or SOL: as settings say, else as 402 and row agree. Raises Passed."""
    if desk.currency:
        return desk.currency
    said = {each for each in (coin, text_in(row, "currency") if row else "") if each} - {"USD"}
    if len(said) > 1:
        raise _no(f"its 402 and its own row name two currencies, {' and '.join(sorted(plain(each, 12) for each in said))}")
    if not said:
        raise _no('it asks dollars and no coin: settings may say currency = "USDC" or "SOL"')
    return said.pop()


def _offers(terms: _Terms, ask: Ask, desk: Desk, *, tops_up: bool) -> Steps[tuple[tuple[Offer, ...], tuple[str, ...]]]:
    """A proof for this call, and a session for as many as are expected; where our own rules say so, more credits and nothing else. Raises Passed."""
    asset = desk.asset(terms.currency)
    if asset is None:
        raise _no(f"{plain(terms.currency, 12)} is not what can be paid there")
    rate = None if asset.symbol == "USDC" else (yield from rate_of(terms.rate, asset))
    made: list[Offer] = []
    passed: list[str] = []
    if ask.top_up and tops_up:
        usd = Decimal(ask.top_up).scaleb(-6, EXACT)  # what a person or a rule has said, and never more
        if usd < terms.price:
            raise _no(f"one call costs {plainly(terms.price)}, and {plainly(usd)} would be paid ahead: a top-up is of a call at least")
        return (_offer(KIND, usd, terms, asset, rate, ask, desk),), ()
    if ask.top_up and ask.method == BUY:
        raise _no("credits are topped up by a key of this process alone, where settings name the tables and they can be read")
    works = {"session": desk.serves and _wants_session(terms, ask, desk), "proof": desk.pays in ("auto", "proof") and not (terms.ahead or terms.guided or ask.method == BUY)}
    for kind, works_here in works.items():
        try:
            if works_here:
                usd = _session(terms, ask, desk) if kind == "session" else _single(terms, ask, desk)
                made.append(_offer(kind, usd, terms, asset, rate, ask, desk))
        except Passed as why:
            passed.append(f"{kind}: {why.reason}")
    if not made and not passed:
        raise _no(_why_none(terms, desk))
    return tuple(made), tuple(passed)


def _wants_session(terms: _Terms, ask: Ask, desk: Desk) -> bool:
    return desk.pays == "session" or ask.method == BUY or (desk.pays == "auto" and (ask.expect > 1 or terms.ahead or terms.guided or bool(terms.metered)))


def _why_none(terms: _Terms, desk: Desk) -> str:
    if desk.pays == "credits":
        return 'settings say pays = "credits", and there are not enough'
    if desk.pays == "session" or terms.ahead:
        return "it wants a session, and settings name no tables to open one in: rest_url and service_id"
    return "settings leave no way to pay it: pays"


def _single(terms: _Terms, ask: Ask, desk: Desk) -> Decimal:
    return _held(terms, ask, desk) if terms.metered else terms.price


def _session(terms: _Terms, ask: Ask, desk: Desk) -> Decimal:
    """What is paid up front: as many calls as are expected, within what the seller takes for one session. Raises Passed."""
    usd = _held(terms, ask, desk) if terms.metered else _expected(terms, ask)
    if terms.session is not None and usd > terms.session:
        usd = EXACT.multiply(terms.price, Decimal(calls(terms.session, terms.price)))
    if usd < terms.price:
        raise _no(f"one call costs {plainly(terms.price)}, and a session {plainly(usd)} at most")
    return usd


def _expected(terms: _Terms, ask: Ask) -> Decimal:
    return EXACT.multiply(terms.price, Decimal(max(ask.expect, 1)))


def _held(terms: _Terms, ask: Ask, desk: Desk) -> Decimal:
    """What is paid ahead where the seller counts afterwards: the most that settings or row say, else one unit a call, if a person agrees. Raises Passed."""
    most = desk.most or terms.most
    if most is None:
        return _expected(terms, ask)
    if most < terms.price:
        raise _no(f"it is priced {terms.metered}, {plainly(terms.price)} for the least, and max_payment is {plainly(most)}")
    return most


def _offer(kind: str, usd: Decimal, terms: _Terms, asset: Asset, rate: Decimal | None, ask: Ask, desk: Desk) -> Offer:
    """Raises Passed for an amount that no transfer can move."""
    units = -(-Fraction(usd) * 10**asset.decimals // 1) if rate is None else Fraction(usd) / Fraction(rate) * 10**asset.decimals // 1
    if not 0 < units < _MOST:
        raise _no(f"{plainly(usd)} dollars are no amount of {asset.symbol} that can be paid (P2, P8)")
    many = calls(usd, terms.price) if kind in ("session", KIND) else 1
    words = {"session": f"{many} calls at {plainly(terms.price)} by a session", KIND: f"{plainly(usd)} dollars of credits"}.get(kind, f"one call at {plainly(usd)}")
    return Offer(dialect=NAME, scheme="transfer", asset=asset, amount=int(units), pay_to=terms.pay_to, lifetime=LIFETIME, resource=ask.url, description=words,
                 flow=PROOF if kind == "proof" else QUOTA, method="transfer", serves=many,
                 metered="" if desk.most or terms.most or kind == KIND else terms.metered,
                 wire=(plainly(terms.price), plainly(usd), asset.symbol, plainly(rate) if rate else "", desk.service_id, desk.service_type, str(desk.hours),
                       *((KIND,) if kind == KIND else ())))  # fmt: skip


def rate_of(quoted: Decimal | None, asset: Asset) -> Steps[Decimal]:
    """Dollars for one coin: the seller's where our own price source has it within its spread and APART, else our own. Raises Passed."""
    ours: tuple[int, int] | None = yield Worth(asset)
    if ours is None:
        if quoted:
            return quoted
        raise _no(f"it is paid in {asset.symbol}, and nobody says what that is worth: Payer(prices=…) does")
    price, spread = (Fraction(each, 10**6) for each in ours)
    if not quoted:
        return Decimal(ours[0]).scaleb(-6, EXACT)
    if not (price - spread) * (1 - APART) <= Fraction(quoted) <= (price + spread) * (1 + APART):
        raise _no(f"it counts {asset.symbol} at {plainly(quoted)} dollars, and ours is {plainly(Decimal(ours[0]).scaleb(-6, EXACT))}: more than 2 % apart (P18)")
    return quoted


def _dollars(row: strict.Document, name: str) -> Decimal | None:
    """A column in dollars; None where it is null. Raises Passed for what is no plain number."""
    if row.fields.get(name) is None:
        return None
    found = amount_in(row, name)
    if found is None:
        raise _no(f"{name} of its service's row is no plain number of dollars (P3, P4, P5)")
    return found


def _no(reason: str) -> Passed:
    return Passed(reason, broken=False)
