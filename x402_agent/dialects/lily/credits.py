"""Credits: a balance that the seller keeps for our account. It is read before anything is paid, spent by a header that we sign, and topped up
by a transfer that is noted in the seller's table and then looked for in the balance.

What a top-up has bought is that balance, so nothing is shown with it: the next showing is one of credits. Whether it was booked is the
balance's to say, against the one that was read and kept before the note was written; a seller who notes it and books nothing is paid, and
asked again by the same transaction, and never paid a second time.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from ...errors import PaymentInDoubt
from ...model import NOTES, Ask, Credential
from ...secret import Secret, Veiled, plain
from ...steps import Keep, Look, Presented, Sleep
from ..desks import pause
from .desk import amount_in, rows_of, text_in
from .header import EXACT, HEADER, calls, number, parts, plainly, written
from .shapes import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...model import Account, Hold, Proof
    from ...steps import Fetched, Steps
    from .desk import Desk

__all__ = ["CREDITS", "KIND", "TRANSACTIONS", "Credits", "balance", "booked", "credential", "shown", "signed", "spends", "wanted"]

CREDITS, TRANSACTIONS = "x402_payment_credits", "x402_transactions"
KIND = "credits"  # the last word of such an offer's wire
ASIDE = f"{NOTES}credits-that-are-being-topped-up"  # what the balance was is kept there until it is another
TRIES = 5
PAUSE = 0.5  # seconds after the first failure; then twice as many each time
_BUSY = (0, 429, 500, 502, 503, 504)
_RULE = "paid once: the same transaction is noted again, never a second payment"


class Credits(NamedTuple):
    """What one account has at one service: `balance` and `price` of a call in dollars, None where nobody says; `why` they are not used, or ""."""

    account: str
    balance: Decimal | None
    price: Decimal | None
    why: str = ""


def balance(account: str, desk: Desk) -> Steps[Decimal | None]:
    """Dollars that the seller keeps for an account, 0 where it has no row; None where that cannot be read."""
    rows = yield from desk.rows(CREDITS, {"wallet_address": account, **desk.service})
    if rows is None:
        return None
    mine = [each for each in rows if text_in(each, "wallet_address") == account]
    return amount_in(mine[0], "balance") if len(mine) == 1 else number("0") if not mine else None


def signed(account: Account, have: Decimal | None, price: Decimal, currency: str) -> tuple[Credential | None, str]:
    """Credits that serve a call, or in words why those that are there do not."""
    if have is None or have < price:
        return None, ""
    if not account.signs:
        return None, f"{plainly(have)} dollars of credits lie there, and are spent by a signature that a locked or remote key does not give"
    return credential(account.address, have, price, currency), ""


def credential(account: str, have: Decimal, price: Decimal, currency: str) -> Credential:
    """Credits as they are kept: signed, and with a time, only when they are shown. Not all sellers count calls at once, so it is one at a time."""
    header = written({"wallet": account, "amount": plainly(price), "currency": currency, "timestamp": "0"})
    return Credential("", "/", {HEADER: header}, uses_left=calls(have, price), serial=True)


def spends(header: str) -> bool:
    """Whether a header spends credits: it shows neither a session nor a transaction."""
    return not {"session", "proof"} & parts(header).keys()


def wanted(desk: Desk) -> bool:
    """Whether settings let an account's credits be spent there: no seller is named in what is signed, so nobody else is ever shown it."""
    return desk.serves and desk.pays in ("auto", "credits")


def shown(header: str, milliseconds: int, sign: Callable[[str, str, str], str]) -> Secret:
    """The header of credits at a time, signed; raises SigningFailed, WalletError."""
    said = {**parts(header), "timestamp": str(milliseconds)}
    return Secret(written({**said, "signature": sign("solana", said["wallet"], written(said))}))


# -- topping up ---------------------------------------------------------------------------------------------------------


def booked(hold: Hold, proof: Proof, desk: Desk) -> Steps[Presented]:
    """After the transfer: noted, and found in the balance. Raises PaymentInDoubt where it is not."""
    price, usd, currency = hold.offer.wire[:3]
    account, txid, top_up = hold.terms.payer, str(proof.payload["transaction"]), number(usd)
    before, known = yield from _before(hold, txid, desk)
    assert top_up is not None
    if before is None:
        return Presented({}, credential(account, (yield from balance(account, desk)) or Decimal(0), number(price) or top_up, currency))
    document = {
        "transaction_signature": txid, "wallet_address": account, **desk.service, "amount": top_up, "currency": currency, "status": "completed",
        "resource_type": desk.service_type, "http_method": "POST", "purpose": "credit_top_up",
    }  # fmt: skip
    got = yield from _written(desk, "POST", TRANSACTIONS, document)
    after = yield from balance(account, desk)
    if got.status == 409 and hold.resumed and not known and after is not None:  # noted earlier, and what was before is forgotten once it is booked
        return Presented({}, credential(account, after, number(price) or top_up, currency))
    if got.status in (200, 201, 204, 409) and after == before:
        yield from _by_hand(account, before, EXACT.add(before, top_up), desk)
        after = yield from balance(account, desk)
    if after is None or after <= before:
        less = "" if after is None else f"its balance is {plainly(after)}, and was {plainly(before)} before"
        why = f"its balance is {plainly(before)} as before" if after == before else less or "its balance cannot be read"
        raise PaymentInDoubt(f"{hold.offer.money} for credits at {hold.ask.host} is paid, and not booked: {why} (its table answered {got.status or 'nothing'})",
                             rule=_RULE, hint=f"x402-agent resume {hold.payment_id[:8]}", payment_id=hold.payment_id)  # fmt: skip
    bought = credential(account, after, number(price) or after, currency)
    more = EXACT.subtract(after, before)
    short = "" if more >= top_up else f"its seller booked {plainly(more)} of {plainly(top_up)} dollars"
    return Presented({}, bought, note=plain(short, 200))


def _before(hold: Hold, txid: str, desk: Desk) -> Steps[tuple[Decimal | None, bool]]:
    """The balance as it was before this payment was told of, durable, and whether an earlier showing has kept it; None where it was found booked in
    one, which forgets what was before. Raises PaymentInDoubt where it cannot be read."""  # fmt: skip
    ask = hold.ask
    if hold.resumed:
        found = yield Look(Ask("GET", ask.origin + ASIDE, ask.origin, ask.host, ASIDE), hold.payment_id)
        said = number(parts(found.headers.get(HEADER, "")).get("amount", "")) if isinstance(found, Credential) and found.path == ASIDE else None
        if said is not None:
            return said, True
        if hold.state == "CLAIMED" or (yield from desk.rows(TRANSACTIONS, {"transaction_signature": txid})):
            return None, True
    have = yield from balance(hold.terms.payer, desk)
    if have is None:
        raise PaymentInDoubt(f"{hold.offer.money} for credits at {ask.host} is paid, and not noted: its balance cannot be read just now", rule=_RULE,
                             hint=f"x402-agent resume {hold.payment_id[:8]}", payment_id=hold.payment_id)  # fmt: skip
    kept = Veiled({HEADER: written({"wallet": hold.terms.payer, "amount": f"{have:f}", "timestamp": str(hold.terms.valid_after)})})
    yield Keep(Credential(ask.origin, ASIDE, kept, hold.payment_id, uses_left=1, dialect=NAME))
    return have, False


def _by_hand(account: str, before: Decimal, after: Decimal, desk: Desk) -> Steps[None]:
    """As published clients do it, once, where noting it has changed nothing: the balance itself is written, if it still is what it was."""
    where = {"wallet_address": account, **desk.service}
    got = yield from desk.ask("PATCH", CREDITS, {**where, "balance": f"{before:f}"}, {"balance": after})
    if not (got.status == 200 and rows_of(got)) and not before and (yield from desk.rows(CREDITS, where)) == []:
        yield from desk.ask("POST", CREDITS, document={**where, "balance": after})


def _written(desk: Desk, method: str, table: str, document: Mapping[str, object]) -> Steps[Fetched]:
    """One row, written until somebody answers; the same one each time. -> the last answer."""
    wait = PAUSE
    for left in range(TRIES, 0, -1):
        got = yield from desk.ask(method, table, document=document)
        if got.status not in _BUSY or left == 1:
            break
        yield Sleep(pause(got, wait))
        wait *= 2
    return got

