"""Between nouns and rows: what a payment's row holds, and how an Offer, Ask and Hold come back out of it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..assets import asset_by_id
from ..errors import LedgerError
from ..model import Anchor, Ask, Asset, Hold, Limit, Money, Network, Offer, Outcome, Terms, Under, scopes_of
from . import states
from .events import quoted

if TYPE_CHECKING:
    import sqlite3

__all__ = ["COLUMNS", "INSERT", "INSERT_OFFER", "OFFER_COLUMNS", "SELECT", "Payment", "caller_hash", "clean_url", "facts", "hold_of", "known_offer",
           "offer_of", "offer_row", "payment_id_of", "payment_of", "row_of", "scopes_of_row", "true_to", "under_of", "whose"]  # fmt: skip

COLUMNS = (
    "payment_id", "ask_key", "caller_key", "method", "url", "origin", "host", "path", "has_body", "task", "agent",
    "realm", "chain", "network", "asset", "amount", "fee_cap", "micros", "from_address", "to_address", "nonce",
    "valid_after", "valid_before", "offer_digest", "identifier", "proof_digest", "state", "is_open", "delivered",
    "refused", "owner", "status_code", "tx_hash", "note", "charged", "given_back", "day", "created_at", "updated_at",
    "team", "runs", "tool", "category", "anchor", "account_nonce", "gas", "gas_paid", "last_event",
)  # fmt: skip
OFFER_COLUMNS = ("dialect", "scheme", "lifetime", "resource", "description", "flow", "wire", "transfer_method", "facilitator", "details")
_DAY, _GIVEN_BACK, _TEAM = (COLUMNS.index(name) for name in ("day", "given_back", "team"))
_ANEW = re.compile(r".*; held anew as ([0-9a-f]{16})", re.DOTALL).fullmatch
_METHOD, _VALID_AFTER = COLUMNS.index("method"), COLUMNS.index("valid_after")


def _of_offer(name: str) -> str:
    """An offer's column by its name in a joined row, where `method` is already the request's."""
    return f"o.{name.removeprefix('transfer_')} AS {name}"


INSERT = f"INSERT INTO x402_payments ({', '.join(COLUMNS)}) VALUES ({','.join('?' * len(COLUMNS))})"
INSERT_OFFER = (
    "INSERT OR IGNORE INTO x402_offers (offer_digest, dialect, scheme, asset, amount, to_address, lifetime, resource, "
    f"description, flow, fee_cap, wire, method, facilitator, details) VALUES ({','.join('?' * 15)})"
)
SELECT = (
    f"SELECT {', '.join('p.' + name for name in COLUMNS)}, {', '.join(map(_of_offer, OFFER_COLUMNS))} "
    "FROM x402_payments p LEFT JOIN x402_offers o ON o.offer_digest = p.offer_digest"
)


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment as the reading side shows it. Times are unix seconds, `transaction` is the seller's claim.

    `description` is what its offer says of itself, mostly in the seller's words. `amount` (atomic units, the fee cap included) was signed; `charged` is what the chain shows to have moved, where a
    scheme may take less, and `micros` what is counted now. `gas` is the most that its own transaction may take of the network's
    coin, in atomic units, `gas_paid` what a block showed.
    """

    payment_id: str
    state: str
    outcome: Outcome
    method: str
    url: str
    host: str
    task: str
    agent: str
    network: str
    amount: int
    asset_id: str
    money: Money | None
    micros: int
    payer: str
    pay_to: str
    nonce: str
    valid_before: int
    status: int
    transaction: str
    note: str
    delivered: bool
    day: str
    created_at: int
    updated_at: int
    charged: int | None = None
    gas: int = 0
    gas_paid: int | None = None
    description: str = ""

    @property
    def anew(self) -> str:
        """The id of the payment that took its place once a person had said yes, "" where none did."""
        found = _ANEW(self.note) if self.state == "RELEASED" else None
        return found[1] if found else ""


def caller_hash(key: str) -> str:
    """How the caller's own key is stored: it may be a secret of his."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest() if key else ""


def whose(agents: str) -> str:
    """The payer's own name in a row, under which tasks and slips may have others."""
    return agents.partition(",")[0]


def payment_id_of(network: str, nonce: str) -> str:
    """16 hex digits made of the nonce, which is random and ours: one nonce, one payment (X1)."""
    return hashlib.sha256(f"{network} {nonce.lower()}".encode()).hexdigest()[:16]


def clean_url(url: str) -> str:
    """The URL with path and query, so that the Ask can be repeated, but without userinfo and fragment."""
    if "@" not in url and "#" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def row_of(hold: Hold, state: str, *, owner: str, realm: str, day: str, now: int,
           proof_digest: str, micros: int, digest: str) -> list[Any]:  # fmt: skip
    """The row of a new payment, in the order of COLUMNS; `last_event` is filled in by whoever writes it."""
    ask, offer, terms = hold.ask, hold.offer, hold.terms
    network, under = offer.asset.network, ask.under
    return [
        hold.payment_id, ask.key, caller_hash(ask.caller_key), ask.method, clean_url(ask.url), ask.origin, ask.host,
        ask.path, ask.has_body, under.task, under.agent, realm, network.name, network.id, offer.asset.id, str(offer.amount),
        str(offer.fee_cap), micros, terms.payer, offer.pay_to, terms.nonce, terms.valid_after, terms.valid_before,
        digest, hold.identifier, proof_digest, state, 1, 0, 0, owner, 0, "", "", "", 0, day, now, now,
        under.group, "".join(f"/{run}" for run in under.runs), under.tool, under.category, terms.anchor.text, terms.anchor.number,
        str(terms.anchor.cost or ""), "", 0,
    ]  # fmt: skip


def offer_row(offer: Offer, digest: str) -> tuple[Any, ...]:
    """The row of an offer."""
    return (digest, offer.dialect, offer.scheme, offer.asset.id, str(offer.amount), offer.pay_to, str(offer.lifetime),
            offer.resource, offer.description, offer.flow, str(offer.fee_cap), json.dumps(offer.wire), offer.method,
            offer.facilitator, offer.details)  # fmt: skip


def facts(row: list[Any] | tuple[Any, ...]) -> str:
    """What never changes in a row, as JSON: it stands in the payment's first event and is compared at opening."""
    method, url, origin, _, path, has_body, task, agent = row[_METHOD:_METHOD + 8]
    team, runs, tool, category, anchor, number, gas = row[_TEAM:_TEAM + 7]
    under = (
        f"{row[_DAY + 1]}\n{row[_VALID_AFTER]}\n{has_body:d}\n{method}\n{url}\n{origin}\n{path}\n{agent}\n{task}\n"
        f"{team}\n{runs}\n{tool}\n{category}"
    )
    chain = f',"anchor":{quoted(anchor)},"account_nonce":{number}' if anchor or number >= 0 else ""
    chain += f',"gas":"{gas}"' if gas else ""
    return f'{_old_facts(row)[:-1]},"under":{quoted(under)}{chain}}}'


def under_of(text: str) -> dict[str, Any]:
    """The columns that `under` of a first event names; raises ValueError."""
    created, after, body, method, url, origin, path, agent, task, team, runs, tool, category = text.split("\n")
    return {
        "created_at": int(created), "valid_after": int(after), "has_body": int(body), "method": method, "url": url,
        "origin": origin, "path": path, "agent": agent, "task": task, "team": team, "runs": runs, "tool": tool,
        "category": category,
    }  # fmt: skip


def true_to(row: tuple[Any, ...], first: str) -> bool:
    """Whether a row says what its first event said; before schema 4 that named fewer columns."""
    return first in (facts(row), _old_facts(row))


def _old_facts(row: list[Any] | tuple[Any, ...]) -> str:
    (payment_id, ask_key, caller_key, _, _, _, host, _, _, _, _, realm, _, network, asset, amount, fee_cap, micros, payer,
     pay_to, nonce, _, valid_before, offer_digest, *_) = row  # fmt: skip
    return (
        f'{{"amount":"{amount}","ask_key":"{ask_key}","asset":{quoted(asset)},"caller_key":"{caller_key}",'
        f'"day":"{row[_DAY]}","fee_cap":"{fee_cap}","host":{quoted(host)},"micros":{micros + row[_GIVEN_BACK]},'
        f'"network":"{network}","nonce":{quoted(nonce)},"offer":"{offer_digest}","payment_id":"{payment_id}","realm":"{realm}",'
        f'"from":{quoted(payer)},"to":{quoted(pay_to)},"valid_before":{valid_before}}}'
    )


def offer_of(row: sqlite3.Row | dict[str, Any]) -> Offer:
    """The Offer that was signed; raises LedgerError when its asset left the table or its digest does not match."""
    asset = asset_by_id(row["asset"])
    if row["wire"] is None:
        raise LedgerError(f"the offer of payment {row['payment_id']} is missing", rule="one offer per payment (Z1)", hint="x402-agent ledger verify",
                          payment_id=row["payment_id"])  # fmt: skip
    if asset is None:
        raise LedgerError(
            f"payment {row['payment_id']} is in {row['asset']}, which assets.toml no longer lists",
            rule="what is not in assets.toml is never paid",
            hint="install the release of x402-agent-sdk that wrote it",
            payment_id=row["payment_id"],
        )
    offer = Offer(
        dialect=row["dialect"], scheme=row["scheme"], asset=asset, amount=int(row["amount"]), pay_to=row["to_address"],
        lifetime=int(row["lifetime"]), resource=row["resource"], description=row["description"], flow=row["flow"],
        fee_cap=int(row["fee_cap"]), wire=tuple(json.loads(row["wire"])),
        method=row["transfer_method"], facilitator=row["facilitator"], details=row["details"],
    )  # fmt: skip
    if offer.digest != row["offer_digest"]:
        raise LedgerError(
            f"the row of payment {row['payment_id']} has been changed",
            rule="the offer's digest stands in its row (Z1)",
            hint="x402-agent doctor",
            payment_id=row["payment_id"],
        )
    return offer


def known_offer(row: sqlite3.Row) -> bool:
    """Whether the offer of a row can be read: not of one in quarantine, nor of a token that left the table."""
    try:
        offer_of(row)
    except (LedgerError, ValueError, TypeError):
        return False
    return True


def hold_of(row: sqlite3.Row | dict[str, Any], ask: Ask | None = None, limits: tuple[Limit, ...] = ()) -> Hold:
    """The Hold of a row, to present its proof again; without `ask` the Ask is rebuilt from the row."""
    if ask is None:
        ask = Ask(row["method"], row["url"], row["origin"], row["host"], row["path"], has_body=bool(row["has_body"]),
                  under=_under(row))  # fmt: skip
        ask._key = row["ask_key"]
    anchor = Anchor(row["anchor"], row["account_nonce"], int(row["gas"] or 0))
    terms = Terms(row["from_address"], row["nonce"], row["valid_after"], row["valid_before"], anchor, row["proof_digest"])
    return Hold(
        row["payment_id"], ask, offer_of(row), terms, limits, row["state"],
        resumed=True, refused=bool(row["refused"]), identifier=row["identifier"],
    )  # fmt: skip


def _under(row: sqlite3.Row | dict[str, Any]) -> Under:
    runs = tuple(row["runs"].split("/")[1:])
    return Under(row["agent"], row["team"], row["task"], runs, row["tool"], row["category"])


def scopes_of_row(row: dict[str, Any]) -> tuple[str, ...]:
    """`scopes_of` for a payment that is written down; its asset may have left the table meanwhile."""
    ask = Ask("", "", row["origin"], row["host"], row["path"], under=_under(row))
    listed = asset_by_id(row["asset"])
    asset = Asset(row["asset"], Network(row["network"], row["chain"], testnet=False), "", listed.symbol if listed else "", 0)
    return scopes_of(ask, Offer("", "", asset, 0, row["to_address"], 0))


def payment_of(row: sqlite3.Row) -> Payment:
    """A row for people."""
    asset = asset_by_id(row["asset"])
    total = int(row["amount"]) + int(row["fee_cap"])
    return Payment(
        payment_id=row["payment_id"], state=row["state"],
        outcome=states.outcome(row["state"], refused=bool(row["refused"])),
        method=row["method"], url=row["url"], host=row["host"], task=row["task"], agent=row["agent"],
        network=row["network"], amount=total, asset_id=row["asset"], money=Money(total, asset) if asset else None,
        micros=row["micros"], payer=row["from_address"], pay_to=row["to_address"], nonce=row["nonce"],
        valid_before=row["valid_before"], status=row["status_code"], transaction=row["tx_hash"], note=row["note"],
        delivered=bool(row["delivered"]), day=row["day"], created_at=row["created_at"], updated_at=row["updated_at"],
        charged=int(row["charged"]) if row["charged"] else None,
        gas=int(row["gas"] or 0), gas_paid=int(row["gas_paid"]) if row["gas_paid"] else None,
        description=row["description"] or "",
    )  # fmt: skip
