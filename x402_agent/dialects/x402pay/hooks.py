"""Webhooks of x402Pay, judged for whoever receives them: signed by a secret that both know, fresh, and each of them once.

    hooks = payer.webhooks("x402pay", secret=secret)
    delivery = hooks.judge(request.headers, body)      # raises ChallengeInvalid: answer 401, and do nothing

A webhook says that something happened; what it says of money is the seller's word until its transaction is looked up on the chain.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ChallengeInvalid, SettingsError
from ...secret import Secret
from .. import strict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Delivery", "Hooks"]

SIGNATURE, EVENT, DELIVERY = "x-x402pay-signature", "x-x402pay-event", "x-x402pay-delivery"
WINDOW = 300  # seconds that a delivery may be old, and ahead of our clock
MANY = 10_000  # deliveries that are remembered; within the window more are refused
_HMAC = re.compile(r"[0-9a-f]{64}").fullmatch
_ID = re.compile(r"[!-~]{1,128}").fullmatch


class Delivery(NamedTuple):
    """One that is genuine. `data` is as parsed; amounts in it are text, in the smallest unit. `timestamp` in unix seconds."""

    id: str
    event: str
    data: dict[str, Any]
    timestamp: int


class Hooks:
    """The receiver of one subscription; any thread may ask it, and what was taken is remembered in memory alone.

    `window` in seconds. Its sender repeats what was not answered, for a minute or two, with the same bytes: the second of two is an
    error whose `rule` says so, to be answered 200.
    """

    def __init__(self, secret: str | Secret, *, window: int = WINDOW, clock: Callable[[], float] = time.time) -> None:
        """Raises SettingsError for a secret that anybody could guess."""
        self._secret = Secret(secret)
        if len(self._secret) < 16:
            raise SettingsError("a webhook's secret has 16 characters at least", rule="secret", hint="the one that its subscription shows")
        self._window, self._clock = window, clock
        self._taken: OrderedDict[str, float] = OrderedDict()
        self._turn = threading.Lock()

    def judge(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """The delivery, if it is one, and new. `body` is what came, byte for byte. Raises ChallengeInvalid, whose `rule` says why."""
        named = {name.lower(): value for name, value in headers.items()}
        said = named.get(SIGNATURE, "")
        made = hmac.new(self._secret.raw, body, hashlib.sha256).hexdigest()
        if not _HMAC(said) or not hmac.compare_digest(said, made):
            raise ChallengeInvalid("a webhook that is not signed by its secret", rule=f"{SIGNATURE}: HMAC-SHA256 of the body, 64 hex digits", hint="the secret that its subscription shows, and the body as it came, byte for byte")
        fields = strict.parse(body).fields
        delivery, event, at, data = fields.get("id"), fields.get("type"), fields.get("timestamp"), fields.get("data")
        if not (isinstance(delivery, str) and _ID(delivery) and isinstance(event, str) and type(at) is int and isinstance(data, dict)):
            raise ChallengeInvalid("a webhook of another shape", rule="id, type, data, timestamp")
        if named.get(EVENT, event) != event:
            raise ChallengeInvalid("a webhook whose headers say otherwise than its body", rule=EVENT)
        now = self._clock()
        if abs(now - at) > self._window:
            raise ChallengeInvalid("a webhook of another time", rule=f"a timestamp within {self._window} seconds", hint="set the clock of this machine, if it is wrong")
        self._once(delivery, now)
        return Delivery(delivery, event, data, at)

    def _once(self, delivery: str, now: float) -> None:
        """The id is signed, the header that repeats it is not: so the id alone is believed."""
        with self._turn:
            while self._taken and now - next(iter(self._taken.values())) > 2 * self._window:
                self._taken.popitem(last=False)
            if delivery in self._taken:
                raise ChallengeInvalid("a webhook that came before", rule="each delivery once")
            if len(self._taken) >= MANY:
                raise ChallengeInvalid("more webhooks than can be remembered", rule=f"{MANY} within {2 * self._window} seconds")
            self._taken[delivery] = now
