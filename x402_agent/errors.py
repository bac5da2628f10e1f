"""One tree of errors. Each says what happened, which rule decided, and what to type next.

PaymentError                 everything below; `.retry_safe` `.hint` `.rule` `.payment_id`
├── PolicyDenied             a rule said no; nothing was signed                      retry_safe
│   ├── BudgetExceeded       the rule was a limit on money                           retry_safe
│   └── AddressRefused       a guarded client does not connect there                 retry_safe
├── NoAcceptableOffer        understood, but no key, chain or asset fits             retry_safe
├── ChallengeInvalid         their 402 is broken, hostile or for another origin      retry_safe
├── NotReplayable            a one-shot body cannot be sent twice; nothing signed    retry_safe
├── SigningFailed            no key, signer down, extra not installed                retry_safe
│   └── WalletError          the wallet file is locked, damaged or not private       retry_safe
├── PaymentRefused           the proof was sent and is provably dead                 retry_safe
├── PaymentInDoubt           the proof left, no answer came back              NOT retry_safe
├── NodeError                no node of a chain answered, or not believably          retry_safe
├── LedgerError              the journal cannot be written or trusted: nothing leaves
└── SettingsError            a setting or a policy line is wrong; names file and line

None of them is an httpx exception: generic retry code leaves them alone. `retry_safe` means that repeating
the call cannot pay twice for a reason of ours; after PaymentInDoubt the same call presents the same proof again.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AddressRefused",
    "BudgetExceeded",
    "ChallengeInvalid",
    "LedgerError",
    "NoAcceptableOffer",
    "NodeError",
    "NotReplayable",
    "PaymentError",
    "PaymentInDoubt",
    "PaymentRefused",
    "PolicyDenied",
    "SettingsError",
    "SigningFailed",
    "WalletError",
]


class PaymentError(Exception):
    """Base of every error this package raises.

    `what` says what happened, `rule` which rule, field or line decided, `hint` what to type next,
    `payment_id` names the payment in the ledger when there is one.
    """

    retry_safe: ClassVar[bool] = False

    def __init__(self, what: str, *, rule: str = "", hint: str = "", payment_id: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.rule = rule
        self.hint = hint
        self.payment_id = payment_id

    def __str__(self) -> str:
        lines = [self.what]
        if self.rule:
            lines.append(f"  decided by   {self.rule}")
        if self.payment_id:
            lines.append(f"  payment      {self.payment_id}")
        if self.hint:
            lines.append(f"  try          {self.hint}")
        return "\n".join(lines)


class PolicyDenied(PaymentError):
    """A rule said no. Nothing was signed."""

    retry_safe = True


class BudgetExceeded(PolicyDenied):
    """A limit on money said no. Nothing was signed."""


class AddressRefused(PolicyDenied):
    """A URL leads, or its name resolves, to where a guarded client does not connect. No byte was sent there."""

    retry_safe = True


class NoAcceptableOffer(PaymentError):
    """The challenge was understood, but no key, chain, network or asset of ours fits any offer."""

    retry_safe = True


class ChallengeInvalid(PaymentError):
    """Their 402 is broken, hostile, expired or meant for another origin. Nothing was signed."""

    retry_safe = True


class NotReplayable(PaymentError):
    """The request body can be read only once, so it could not be sent again with a proof."""

    retry_safe = True


class SigningFailed(PaymentError):
    """The wallet could not sign: locked, missing, or its signer did not answer. Nothing left."""

    retry_safe = True


class WalletError(SigningFailed):
    """The wallet file, or what should go into it, is missing, locked, damaged or readable by others. Nothing left."""

    retry_safe = True


class PaymentRefused(PaymentError):
    """The proof was sent, the seller said no, and the chain shows that it can never settle."""

    retry_safe = True


class PaymentInDoubt(PaymentError):
    """The proof left this machine and no answer came back.

    The money stays counted. Repeating the same call presents the same proof; a second one is never signed
    while the first can still settle.
    """


class NodeError(PaymentError):
    """No node of a chain gave an answer that can be believed. Nothing was decided by it.

    Its words name nodes by scheme and host: the rest of a URL may be a key.
    """

    retry_safe = True


class LedgerError(PaymentError):
    """The journal cannot be opened, locked, written or trusted. No journal, no signature."""


class SettingsError(PaymentError):
    """A setting, environment variable or policy line is wrong. Names the file and the line."""
