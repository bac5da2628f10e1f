"""Which accounts of the wallet pay for one Ask: those that policy names for whoever asks, else the first on each family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PolicyDenied
from ..model import Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Offer
    from .facts import Known
    from .payer import Payer

__all__ = ["Paying"]


class Paying:
    """Raises PolicyDenied for an account that policy names and the wallet does not have: another one never pays instead."""

    __slots__ = ("_payer", "facts", "wallet")

    def __init__(self, payer: Payer, ask: Ask) -> None:
        self._payer = payer
        name, rule = payer.policy.account(ask.under.agent.partition(",")[0], ask.under.group)  # the payer's own name stands first
        self.wallet = payer.wallet.named(name)
        self.facts: Known = payer.facts.of(self.wallet) if name else payer.facts
        if name and not self.wallet.signers:
            raise PolicyDenied(f"the wallet has no account called {name}", rule=rule, hint=f"x402-agent wallet account add {name}")

    def address(self, offer: Offer) -> str:
        """The account that pays an offer, "" when there is none on its family."""
        return self.wallet.address(offer.network.namespace)

    def refuses(self, offer: Offer) -> str:
        """Why an offer cannot be paid at all, or ""."""
        chain = self._payer.chains.get(offer.network.namespace)
        if chain is None:
            return f"no chain here pays on {offer.network.name}"
        account = self.address(offer)
        if not account or (reason := chain.refuses(offer, account)):
            return reason if account else f"no key for {offer.network.name}"
        unset: Callable[..., str] = getattr(chain, "unset", lambda *_: "")
        return unset(offer, self._payer.settings.nodes.get(offer.network.id, ""), self._payer.policy.chains)

    def lacks(self, offer: Offer) -> str:
        """Which allowance must be given before an offer can be paid, or "". Nobody but the wallet's owner gives it (D3)."""
        spender = self._payer.chains[offer.network.namespace].spender(offer) if offer.method else ""
        if not spender:
            return ""
        left = self._payer.allowance(offer, self.address(offer), spender)
        if left >= offer.money.amount:  # a fee is taken through it, too
            return ""
        have = f"only {Money(left, offer.asset).text}" if left else "no"
        return f"{offer.method} has been allowed to move {have} {offer.asset.symbol} of yours on {offer.network.name}"
