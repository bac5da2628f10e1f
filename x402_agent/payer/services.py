"""What a payer can do beside paying for a 402: pay an invoice that it was given, ask a verification service or a monitor, judge webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..dialects.x402pay import Hooks
    from ..model import Receipt
    from ..secret import Secret
    from .ahead import Balance
    from .invoices import Paid
    from .monitor import AsyncMonitor, Monitor
    from .verifier import AsyncVerifier, Verifier

__all__ = ["Services"]


class Services:
    """The doors of a Payer that lead to services by name."""

    def verifier(self, name: str, *, key: str = "", base: str = "", loopback: bool = False) -> Verifier:
        """A service that says whether a transaction is a payment: `kamiyo`. `base` is another address of it, over https; `loopback` lets one
        on this machine do without. Raises SettingsError."""  # fmt: skip
        from . import verifier

        return verifier.Verifier(verifier.service(name, key, base, self._clock, loopback=loopback))

    def async_verifier(self, name: str, *, key: str = "", base: str = "", loopback: bool = False) -> AsyncVerifier:
        """The same for asyncio and trio."""
        from . import verifier

        return verifier.AsyncVerifier(verifier.service(name, key, base, self._clock, loopback=loopback))

    def invoice(self, *, payment_id: str, wallet_address: str, amount: str, expires_at: float | str, status_url: str, network: str | None = None,
                order_id: str = "", currency: str = "USDT_TRC20", max: str | None = None, timeout: float = 180.0) -> Paid:  # noqa: A002 - as in extensions
        """Pay an invoice in USDT on TRON that no 402 asked for, and wait until its monitor calls it completed.

        `amount` is decimal text of USDT, `expires_at` unix seconds or ISO text with a zone, `max` dollars as text, `timeout` seconds for
        each answer of the monitor: waiting for blocks takes as long as they do, a minute and more. It is paid once: a
        second call shows what became of it. Raises ChallengeInvalid, NoAcceptableOffer, PolicyDenied before anything leaves, PaymentInDoubt with the transaction where the monitor has not noticed it.
        """
        from . import invoices

        told = {"payment_id": payment_id, "wallet_address": wallet_address, "amount": amount, "expires_at": expires_at, "status_url": status_url,
                "network": network, "order_id": order_id or None, "currency": currency}  # fmt: skip
        return invoices.pay(self._itself, told, max, timeout)

    async def invoice_async(self, *, payment_id: str, wallet_address: str, amount: str, expires_at: float | str, status_url: str, network: str | None = None,
                            order_id: str = "", currency: str = "USDT_TRC20", max: str | None = None, timeout: float = 180.0) -> Paid:  # noqa: A002
        """The same for asyncio and trio."""
        from . import invoices

        told = {"payment_id": payment_id, "wallet_address": wallet_address, "amount": amount, "expires_at": expires_at, "status_url": status_url,
                "network": network, "order_id": order_id or None, "currency": currency}  # fmt: skip
        return await invoices.pay_async(self._itself, told, max, timeout)

    def buy_ahead(self, url: str, *, calls: int, method: str = "GET", timeout: float = 120.0, **options: Any) -> Receipt:
        """Buy so many calls at a seller for later, by one payment, where its 402 sells them so (Lily's sessions, KAMIYO's calls on chain).

        One request is made, unpaid, for the price; `timeout` in seconds for each answer (blocks take as long as
        they do), `options` are the request's. What was bought is shown by whichever
        client asks there next. Raises what a paid request raises, NoAcceptableOffer where nobody sells calls ahead.
        """
        return self._bought(url, method, timeout, options, calls=calls)

    async def buy_ahead_async(self, url: str, *, calls: int, method: str = "GET", timeout: float = 120.0, **options: Any) -> Receipt:
        """The same for asyncio and trio."""
        return await self._bought_async(url, method, timeout, options, calls=calls)

    def top_up(self, url: str, amount: str, *, method: str = "GET", timeout: float = 120.0, **options: Any) -> Receipt:
        """Pay so many dollars (text) ahead to our account at a seller who keeps credits (Lily). Policy judges it as any payment.

        Raises what a paid request raises; PaymentInDoubt where it is paid and not booked: the same call again notes the same transaction.
        """
        return self._bought(url, method, timeout, options, amount=amount)

    async def top_up_async(self, url: str, amount: str, *, method: str = "GET", timeout: float = 120.0, **options: Any) -> Receipt:
        """The same for asyncio and trio."""
        return await self._bought_async(url, method, timeout, options, amount=amount)

    def credits(self, url: str, *, method: str = "GET") -> Balance:
        """What our account has at the seller of this URL, in dollars; nothing is paid. Raises NoAcceptableOffer for one who keeps no credits."""
        from . import ahead

        return ahead.credits_at(self._itself, url, method)

    def _bought(self, url: str, method: str, timeout: float, options: dict[str, Any], **how: Any) -> Receipt:
        from . import ahead

        payer = self._itself
        with payer.led(payer.client(timeout=timeout, follow_redirects=False), ahead.lead(payer, **how)) as http:
            return ahead.receipt_of(http.request(method, url, **options), url)

    async def _bought_async(self, url: str, method: str, timeout: float, options: dict[str, Any], **how: Any) -> Receipt:
        from . import ahead

        payer = self._itself
        async with payer.led(payer.async_client(timeout=timeout, follow_redirects=False), ahead.lead(payer, **how)) as http:
            return ahead.receipt_of(await http.request(method, url, **options), url)

    def monitor(self, base: str, *, loopback: bool = False) -> Monitor:
        """A TRON payment monitor at this address, for who sells: `loopback` lets one on this machine do without https. Raises SettingsError."""
        from . import monitor

        return monitor.Monitor(base, loopback=loopback)

    def async_monitor(self, base: str, *, loopback: bool = False) -> AsyncMonitor:
        """The same for asyncio and trio."""
        from . import monitor

        return monitor.AsyncMonitor(base, loopback=loopback)

    def webhooks(self, name: str, *, secret: str | Secret, window: int = 300) -> Hooks:
        """The judge of a subscription's webhooks, for who sells: `x402pay`. `secret` is what both sides know, `window` how many seconds a
        delivery may be old. In threads and event loops alike: it waits for nothing. Raises SettingsError."""  # fmt: skip
        if name != "x402pay":
            raise SettingsError(f"no webhooks are known of {name!r:.40}", rule="webhooks", hint='payer.webhooks("x402pay", secret=…)')
        from ..dialects.x402pay import Hooks

        return Hooks(secret, window=window, clock=self._clock)

    @property
    def _itself(self) -> Any:
        return self

    @property
    def _clock(self) -> Any:
        return self._itself.clock
