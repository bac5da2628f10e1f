"""What a seller wrote, on its way to a model: capped, escaped, and inside a fence that names whose words they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["INLINE", "Fenced", "fence"]

INLINE = 4096  # bytes of UTF-8 that one fence holds unless told otherwise
_MARK = re.compile(r"untrusted(?=: text of|:? text ends)", re.IGNORECASE)
# Printable by Unicode's word, and yet nothing is seen: fillers, joiners, selectors. Text can be smuggled in them.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_ODD = re.compile("[^ -~\n\t]")


@dataclass(frozen=True, slots=True)
class Fenced:
    """Somebody else's text: `text` holds it between two lines that say so. It is data, whatever it says. `cut`: there is more."""

    origin: str
    text: str
    cut: bool = False

    @property
    def inside(self) -> str:
        """The text between the two lines."""
        return self.text.partition("\n")[2].rpartition("\n")[0]


def fence(origin: str, text: str, limit: int = INLINE) -> Fenced:
    """Fence a text of `origin`: at most `limit` bytes of UTF-8, what is not plainly seen shown as its escape."""
    shown = _MARK.sub("un-trusted", _shown(text[:limit]))
    raw = shown.encode()
    cut = len(raw) > limit or len(text) > limit
    inside = raw[:limit].decode("utf-8", "ignore")
    return Fenced(origin, f"[untrusted: text of {origin}]\n{inside}\n[untrusted text ends]", cut)


def _shown(text: str) -> str:
    """Line ends and tabs as they are; what is invisible, turns the direction, or is no letter at all, as its escape."""
    return _ODD.sub(_plain, text.replace("\r\n", "\n"))


def _plain(found: re.Match[str]) -> str:
    letter = found[0]
    return letter if letter.isprintable() and not _UNSEEN.match(letter) else _escaped(letter)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
