"""What was bought earlier, on the first send: one use of it at a time where it serves one call at a time, and never twice by two callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PolicyDenied
from .model import Credential
from .secret import Veiled
from .steps import Busy, Collect, Look, Reply, Return, Send, Sleep, Use

if TYPE_CHECKING:
    from .flow import Kit
    from .model import Ask
    from .steps import Steps

__all__ = ["SHOWN", "WAITED", "ask_with", "wait"]

BUSY_PAUSE = 0.05
_WAITS = {
    "pays": ("what is asked of {} is being paid for by another call, which has not ended",
             "one purchase, one payment: who comes second waits for the first, until its own deadline"),
    "shows": ("what is asked of {} is being used by another call, and serves one at a time",
              "one call at a time with what was bought so: who comes second waits for the first, until its own deadline"),
    "signs": ("the account that would pay {} is signing another payment, whose account nonce comes first",
              "account nonces are given to one payment after the other, until its own deadline"),
}  # fmt: skip
WAITED = frozenset(rule for _, rule in _WAITS.values())  # of what is raised by who has waited for as long as he could
SHOWN = 3  # credentials that one request may try
UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})  # of httpx and httpx2: no connection, so no byte left


def ask_with(ask: Ask, kit: Kit) -> Steps[Reply]:
    """The request, with what was bought for it earlier where there is such a thing, until one is not refused: by a 402 that is about it.

    Another process may have bought one since memory looked, so a plain 402 looks again before it is paid.
    """
    reply: Reply | None = None
    if not kit.keeps(ask):
        reply = yield Send()
    for _ in range(SHOWN):
        if reply is not None and reply.status != 402:
            return reply
        if (found := (yield from _taken(ask))) is None:
            break
        if isinstance(found, Reply):
            yield Collect(found.receipt.payment_id if found.receipt else "")
            return found
        reply = yield from _show(found, kit)
        if not kit.refuses(reply, found):
            return reply
    return (yield Send()) if reply is None else reply


def _taken(ask: Ask) -> Steps[Credential | Reply | None]:
    """What serves this Ask, one use of it taken. What serves one call at a time is waited for, and looked for again."""
    tries = SHOWN
    while tries:
        found: Credential | Reply | Busy | None = yield Look(ask)
        if isinstance(found, Credential) and found.uses_left is not None and (found := (yield Use(found))) is None:
            tries -= 1  # the last use went elsewhere
        elif isinstance(found, Busy):
            yield from wait(ask, found)
        else:
            return found
    return None


def _show(credential: Credential, kit: Kit) -> Steps[Reply]:
    """One request with a credential. What is not known to be unsent was used (c2); a refused one is forgotten (K3).

    Where its seller wants none of it, the request is made without, for what else its payment opens with.
    """
    try:
        headers = kit.fresh(credential)
    except BaseException:  # nobody signs in
        if credential.lease:
            yield Return(credential, unsent=True)
        raise
    try:
        reply: Reply = yield Send(Veiled(headers))
    except BaseException as cause:
        if credential.lease:
            yield Return(credential, unsent=type(cause).__name__ in UNSENT)
        raise
    left = kit.left(reply, credential)
    refused = kit.refuses(reply, credential) or (left == 0 and reply.status == 401)
    if credential.lease or refused or left is not None:
        yield Return(credential, left, refused, good=reply.status < 400)
    return (yield Send()) if refused and reply.status == 401 and (credential.lease or kit.exchanges) else reply


def wait(ask: Ask, busy: Busy, *, over: bool = False) -> Steps[None]:
    """For another call that makes this payment, uses what it bought or signs before it.

    Raises PolicyDenied when there is no more time: by the word of whoever drives, or `over`.
    """
    try:
        if over:
            raise TimeoutError
        yield Sleep(BUSY_PAUSE)
    except Exception as why:  # whoever drives has no more time
        ours = busy.payment_id[:8]
        what, rule = _WAITS[busy.how]
        raise PolicyDenied(
            f"{what.format(ask.host)}; this call paid nothing",
            rule=rule, payment_id=busy.payment_id,
            hint=f"x402-agent why {ours} says how far it is; then repeat the request" if ours else "repeat the request later",
        ) from why  # fmt: skip
