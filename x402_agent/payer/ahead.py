"""Calls bought for later by a person's word: a session, or credits at a seller. One request is made, for its price; what is bought is kept for the next."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import NoAcceptableOffer, PolicyDenied, SettingsError
from ..model import BUY, Ask
from ..policy import micros
from ..policy.budget import expected
from ..secret import plain
from ..steps import Send
from ..transport.fetch import drive

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..ledger import Token
    from ..model import Receipt
    from ..steps import Reply, Steps
    from .kit import Kit
    from .payer import Payer

__all__ = ["Balance", "credits_at", "lead", "receipt_of", "revoked"]

_LAST = "nothing was bought"
_LOOK = "x402-agent get --dry-run {}"


@dataclass(frozen=True, slots=True)
class Balance:
    """What our `account` has at a seller: `dollars`, None where that cannot be read; `price` of one call; `why` it is not used, or ""."""

    account: str
    dollars: Decimal | None
    price: Decimal | None
    why: str = ""

    @property
    def calls(self) -> int:
        """How many calls it pays for."""
        return int(Fraction(self.dollars) // Fraction(self.price)) if self.dollars is not None and self.price else 0


def lead(payer: Payer, *, calls: int = 0, amount: str = "") -> Callable[[Ask], Kit]:
    """Leads a request whose 402 says the price of what is bought ahead. Raises SettingsError."""
    many = expected(calls, "calls") if calls else 0
    worth = micros(amount, "amount") if amount else 0
    if not (many or worth):
        raise SettingsError("nobody says how much", rule="calls, or an amount in dollars", hint="--calls 50")

    def led(ask: Ask) -> Kit:
        ask.method, ask.expect, ask.top_up = BUY, many, worth
        return payer.talk(ask)

    return led


def receipt_of(reply: Any, url: str) -> Receipt:
    """What was paid. Raises NoAcceptableOffer where the request asks for nothing, or for what nobody sells ahead."""
    receipt: Receipt | None = reply.extensions.get("payment")
    if receipt is None and reply.status_code == 402:
        raise PolicyDenied(f"calls there are being bought by another call; {_LAST}", rule="one payment for calls of an origin",
                           hint="x402-agent credentials list shows them; then the same command, if more are wanted")  # fmt: skip
    if receipt is None:
        raise NoAcceptableOffer(f"{plain(url, 200)} answered {reply.status_code} and asks for no money; {_LAST}", rule="a request that is answered 402",
                                hint=_LOOK.format(plain(url, 200)))  # fmt: skip
    if receipt.reason is not None:
        raise receipt.reason
    return receipt


class _Looks:
    """A kit whose conversation only asks what our account has."""

    def __init__(self, kit: Kit, found: list[Any]) -> None:
        self._kit, self._found = kit, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kit, name)

    def conversation(self) -> Steps[Reply]:
        reply: Reply = yield Send()
        if (challenge := self._kit.read(reply, self._kit.ask)) is not None:
            asks = getattr(self._kit.dialect(challenge.dialect), "credits", None)
            if asks is not None:
                self._found.append((yield from asks(challenge, self._kit.ask)))
        return reply


def credits_at(payer: Payer, url: str, method: str) -> Balance:
    """See Payer.credits."""
    found: list[Any] = []
    with payer.talking(lambda ask: _Looks(payer.talk(ask), found)) as client:  # type: ignore[arg-type, return-value]
        reply = client.request(method, url)
    if not found:
        raise NoAcceptableOffer(f"{plain(url, 200)} answered {reply.status_code}, which asks for nothing that credits pay", rule="a seller who keeps credits (Lily)",
                                hint=_LOOK.format(plain(url, 200)))  # fmt: skip
    return Balance(*found[0])


def revoked(payer: Payer, token: Token) -> str:
    """Forget a credential and tell its seller, where its dialect can. -> what came of that, in words, "" where nobody is told."""
    asks = next((getattr(each, "revokes", None) for each in payer.dialects if each.name == token.dialect), None)
    words = ""
    if asks is not None:
        host = token.origin.partition("://")[2].partition(":")[0]
        made = payer.credentials.look(Ask("GET", token.origin + token.path, token.origin, host, token.path), token.payment_id)
        shown = made.run() if hasattr(made, "run") else made
        words = drive(asks(shown)) if shown is not None else "its seller was not told: what it sends cannot be read by this wallet"
    payer.ledger.forget_token(token.name)
    return words
