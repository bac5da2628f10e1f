"""What the wallet's accounts have, as far as a node said so a moment ago: quotes and plans ask, and a payment before its Hold,
unless policy's `know_balance` is off. A node is asked once in half a minute for an asset and account, whether it answers or not."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import NodeError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Hold, Offer
    from ..steps import Steps
    from ..wallet import Wallet
    from .payer import Payer

__all__ = ["Balances"]

_FRESH = 30.0  # seconds: who is told that money is missing sends some, and tries again


class Balances:
    """Balances of one payer in atomic units, by asset and account, less what was signed away since they were read."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self._seen: dict[tuple[str, str], tuple[float, int | None]] = {}

    def known(self, offer: Offer, account: str) -> int | None:
        """What an account has of the offer's asset; None where no node has said so lately."""
        if not self._seen:
            return None
        found = self._seen.get((offer.asset.id, account))
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def learn(self, hold: Hold) -> None:
        """A proof for this has left."""
        key = (hold.offer.asset.id, hold.terms.payer)
        if self._seen and (found := self._seen.get(key)) is not None and found[1] is not None:
            self._seen[key] = found[0], found[1] - hold.offer.money.amount

    def ask(self, offers: Iterable[Offer], wallet: Wallet) -> Steps[None]:
        """Ask nodes about the asset of each offer where one is set. What no node answers is unknown, and hinders nothing."""
        for offer in {each.asset.id: each for each in offers}.values():
            where = offer.network
            chain: Any = self._payer.chains.get(where.namespace)
            account, node = wallet.address(where.namespace), self._payer.settings.nodes.get(where.id, "")
            key, found = (offer.asset.id, account), None
            if not node or not account or not hasattr(chain, "balance") or self._seen.get(key, (0.0, None))[0] > time.monotonic():
                continue
            with suppress(NodeError, SettingsError):
                found = yield from chain.balance(offer.asset, account, node)
            self._seen[key] = time.monotonic() + _FRESH, found
