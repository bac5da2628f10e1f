"""What was bought earlier and still opens doors: sealed in the ledger, opened in memory, shown only below its own path."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from ..errors import PaymentError
from ..ledger import Token, Used
from ..model import NOTES, Credential
from ..secret import Secret, Veiled
from ..steps import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..ledger import Job, Live, SqliteLedger, Waiting
    from ..model import Ask
    from ..steps import Goods, Return
    from .keeping import Keeping
    from .sealing import Vault

__all__ = ["Credentials", "canonical", "covers", "sound"]

PURPOSE = "credentials"
MOST = 8 * 1024  # bytes that one credential may add to every request
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "expect", "trailer"})
log = logging.getLogger("x402_agent")


@lru_cache(maxsize=1024)
def canonical(path: str) -> tuple[str, ...] | None:
    """The segments of a path in their one spelling; None for a path that two servers may read in two ways.

    Those are encoded slashes and backslashes, dot segments (encoded or with a `;` behind them), and what is still
    encoded after decoding twice. Letters keep their case; a slash at the end is no segment.
    """
    if "\\" in path:
        return None
    found = []
    for raw in path.split("/"):
        part = unquote_to_bytes(unquote_to_bytes(raw))
        if b"/" in part or b"\\" in part or part.partition(b";")[0] in (b".", b"..") or unquote_to_bytes(part) != part:
            return None
        if any(letter < 32 or letter == 127 for letter in part):
            return None
        found.append(part.hex())
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def covers(path: str, asked: str) -> bool:
    """Whether a credential for `path` may be shown at `asked`: the same path or one below it, by whole segments."""
    own = canonical(path)
    if own == ():
        return True  # the whole origin, however its paths are read
    below = canonical(asked)
    return own is not None and below is not None and below[: len(own)] == own


class Credentials:
    """The credentials of one payer, or of one `agent` of a signer. `ledger` gives the open ledger, or None while there is none."""

    def __init__(
        self, ledger: Callable[[], SqliteLedger | None], keeping: Keeping, vault: Callable[[], Vault],
        clock: Callable[[], float], agent: str = "",
    ) -> None:  # fmt: skip
        self.agent = agent
        self._ledger, self._keeping, self._vault, self._clock = ledger, keeping, vault, clock
        self._origins: frozenset[str] | None = None  # where there were any when memory last looked
        self._brought = -1  # the ledger's word when memory last looked: another one, and there may be goods
        self._opened: dict[str, Veiled | None] = {}  # by name, which is made of the values: what it is never changes

    def keeps(self, origin: str) -> bool:
        """Whether there may be one for this origin, or goods that wait, from memory and eight bytes; reads the ledger once."""
        ledger = self._ledger()
        if ledger is None:
            return False
        if self._origins is None:
            self._move(ledger)
            brought = ledger.brought()
            self._seen(ledger.live().run(), brought)
        return origin in (self._origins or ()) or ledger.brought() != self._brought

    def _seen(self, live: Live, brought: int) -> None:
        self._origins, self._brought = frozenset((*live.tokens, *live.goods)), brought

    def waits(self, origin: str) -> None:
        """Something has come for this origin: look there before anything is sent."""
        if self._origins is not None:
            self._origins |= {origin}

    def look(self, ask: Ask, payment_id: str = "") -> Any:
        """What serves this Ask: goods that wait for it, else the credential to show, or None; a ledger job where it must be read.

        `payment_id`: what that payment bought, and nothing else.
        """
        ledger = self._ledger()
        if ledger is None:
            return None
        if payment_id:
            return ledger.live().then(lambda live: self._fit([each for each in live.tokens.get(ask.origin, ()) if each.payment_id == payment_id], ask))
        brought = ledger.brought()  # asked before anything is read
        known = ledger.known_live()
        if known is not None and brought != self._brought:
            self._seen(known, brought)
        if known is not None and ask.origin not in known.goods:
            return self._fit(_doors(known.tokens.get(ask.origin, ())), ask)
        key = _key(ask)
        return ledger.look(lambda live, read: self._pick(live, read, ask, key, brought))

    def _pick(
        self, live: Live, read: Callable[[str], Waiting | None], ask: Ask, key: str, brought: int
    ) -> Goods | Credential | None:
        self._seen(live, brought)
        bought = live.goods.get(ask.origin, {}).get(key, "")
        waiting = read(bought) if bought and ask.again is not True else None
        goods = None if waiting is None else self._keeping.opened(waiting, sandbox=self._open_ledger().sandbox)
        return goods or self._fit(_doors(live.tokens.get(ask.origin, ())), ask)

    def use(self, credential: Credential) -> Job[Credential | Busy | None]:
        """Take one use of it, before it is sent; None when the last one went elsewhere, Busy while a serial one is in use."""

        def taken(found: tuple[int, int] | Busy | None) -> Credential | Busy | None:
            return found if found is None or isinstance(found, Busy) else replace(credential, lease=found[0], uses_left=found[1])

        return self._open_ledger().use(credential.name, serial=credential.serial).then(taken)

    def returned(self, step: Return) -> Job[None]:
        """What came of one that was shown."""
        credential = step.credential
        if step.refused:
            log.info("a credential for %s was refused and is forgotten", credential.origin)
        return self._open_ledger().used(Used(credential.name, credential.lease, step.left, step.refused, step.unsent, self.agent,
                                                credential.serial, step.good))  # fmt: skip

    def keep(self, credential: Credential, ask: Ask) -> Job[None] | None:
        """Write one down. Raises LedgerError, WalletError. What no request can carry, or is of another origin, is not kept."""
        if not sound(credential, ask):
            log.warning("a credential that %s sold cannot be kept: its origin, path, headers or numbers are not sound", ask.host)
            return None
        token = self._sealed(Token("", credential.payment_id, credential.origin, credential.path, credential.uses_left,
                                   None if credential.expires is None else int(credential.expires),
                                   dialect=credential.dialect, agent=self.agent, serial=int(credential.serial)), credential.headers)  # fmt: skip
        self._opened[token.name] = Veiled(credential.headers)
        self.waits(token.origin)
        return self._open_ledger().keep(token)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _open_ledger(self) -> SqliteLedger:
        ledger = self._ledger()
        assert ledger is not None
        return ledger

    def _fit(self, tokens: Iterable[Token], ask: Ask) -> Credential | None:
        """The live one with the narrowest path, the oldest of several."""
        now = self._clock()
        fitting = [each for each in tokens if each.agent == self.agent and each.lives(now) and covers(each.path, ask.path)]
        for token in sorted(fitting, key=lambda each: -len(canonical(each.path) or ())):
            headers = self._open(token)
            if headers is not None:
                return Credential(token.origin, token.path, headers, token.payment_id, token.uses_left, token.expires,
                                  token.dialect, token.name, serial=bool(token.serial))  # fmt: skip
        return None

    def _open(self, token: Token) -> Veiled | None:
        """Its header values; None when they are sealed with another key. A locked wallet is asked again next time."""
        if token.name not in self._opened:
            try:
                plain = self._vault().open(PURPOSE, token.account, token.sealed, token.name, token.origin, token.path)
            except PaymentError:
                return None
            if plain is None:
                log.warning("credential %s for %s cannot be opened with this wallet", token.name[:8], token.origin)
            self._opened[token.name] = None if plain is None else _headers(plain)
        return self._opened[token.name]

    def _sealed(self, token: Token, headers: Mapping[str, str]) -> Token:
        vault, plain = self._vault(), _plain(headers)
        whose = f"{token.agent}\n" if token.agent else ""
        name = vault.name(PURPOSE, Secret(f"{whose}{token.origin}\n{token.path}\n{plain.text}"))
        account, sealed = vault.close(PURPOSE, plain, name, token.origin, token.path)
        return token._replace(name=name, account=account, sealed=sealed)

    def _move(self, ledger: SqliteLedger) -> None:
        """What an earlier release kept unsealed is sealed, once; a locked wallet leaves it for later."""
        held = {name: Veiled(headers) for name, headers in ledger.plain_tokens().items()}
        if held:
            try:
                self._vault().name(PURPOSE, Secret())
            except PaymentError:
                return
            ledger.seal_plain(lambda token: self._sealed(token, held[token.name]))


def _doors(tokens: Iterable[Token]) -> list[Token]:
    """Those that open something; notes are looked at by their payment alone."""
    return [each for each in tokens if not each.path.startswith(NOTES)]


def _key(ask: Ask) -> str:
    try:
        return ask.key
    except PaymentError:  # a body that can be read only once: nothing was bought with it
        return ""


def sound(credential: Credential, ask: Ask) -> bool:
    """Whether what a seller gave can be kept: for the Ask's own origin, and sent with every request without breaking it."""
    own = credential.origin == ask.origin
    return own and _path(credential.path) and _sendable(credential.headers) and _bounded(credential)


def _path(path: str) -> bool:
    return path.startswith("/") and path.isascii() and len(path) <= 1024 and canonical(path) is not None


def _bounded(credential: Credential) -> bool:
    """Whether its numbers are numbers: a count of uses, a time that a clock can show."""
    uses, expires = credential.uses_left, credential.expires
    return (not credential.serial if uses is None else type(uses) is int and 0 <= uses < 1 << 53) and (
        expires is None or (type(expires) in (int, float) and 0 < expires < 1 << 40)
    )


def _sendable(headers: Mapping[str, str]) -> bool:
    """Whether every request could carry them: header names and visible ASCII, none of those that frame a request."""
    sound = all(_NAME(name) and _VALUE(value) and name.lower() not in _OURS for name, value in headers.items())
    return bool(headers) and sound and sum(map(len, (*headers, *headers.values()))) <= MOST


def _plain(headers: Mapping[str, str]) -> Secret:
    return Secret("\n".join(f"{name}: {headers[name]}" for name in sorted(headers)))


def _headers(plain: Secret) -> Veiled:
    return Veiled(dict(line.split(": ", 1) for line in plain.text.split("\n")))
