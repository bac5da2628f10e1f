"""Why a person is asked; and `[approval]` in policy.toml: how, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import SettingsError
from ..secret import Secret
from .identity import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Approval", "Reason", "posted_to", "read_approval"]

WAYS = ("terminal", "file", "webhook")


def posted_to(url: Secret) -> str | None:
    """Scheme and host, all of a webhook's URL that is ever shown; None when nothing may be posted there: https, or http on this machine."""
    try:
        parts = urlsplit(url.text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return None
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"


class Reason(NamedTuple):
    """Why a person must say yes to one offer: what, in our own words, by which rule, and what to type to change that."""

    what: str
    rule: str
    hint: str = ""


@dataclass(frozen=True)
class Approval:
    """`how` is terminal, file or webhook, "" for whatever the program brings; `seconds` is how long a person has.

    A webhook has an https `url` (or one on this machine) and the name of the variable that holds its secret.
    Raises SettingsError.
    """

    how: str = ""
    url: str = field(default="", repr=False)  # its path may be a key
    secret_env: str = "X402_AGENT_APPROVAL_SECRET"
    seconds: int = 120
    rule: str = field(default="[approval]", compare=False)

    def __post_init__(self) -> None:
        if self.how and self.how not in WAYS:
            raise SettingsError(f"nobody is asked by {self.how[:40]!r}", rule=self.rule, hint=f"how = {', '.join(WAYS)}")
        if not 1 <= self.seconds <= 3600:
            raise SettingsError("a person is given 1 to 3600 seconds", rule=self.rule, hint="seconds = 120")
        if (self.how == "webhook") != bool(self.url):
            raise SettingsError("a webhook has a url, and nothing else has", rule=self.rule,
                                hint='how = "webhook", url = "https://…"')  # fmt: skip


def read_approval(table: Any, where: Mapping[str, str]) -> Approval:
    """The table as it stands in the file; raises SettingsError naming file and line."""
    place = where.get("approval", "policy.toml")
    kinds = {"how": str, "url": str, "secret_env": str, "seconds": int}
    if not isinstance(table, dict):
        raise SettingsError("approval is a table", rule=place, hint="[approval]")
    for name, value in table.items():
        line = where.get(f"approval.{name}", place)
        if name not in kinds:
            raise SettingsError(f"approval has no rule {name!r}", rule=line, hint=", ".join(kinds))
        if type(value) is not kinds[name]:
            raise SettingsError(f"approval.{name} is {'text' if kinds[name] is str else 'a whole number'}", rule=line, hint=f'{name} = "…"' if kinds[name] is str else f"{name} = 120")
    if table.get("url") and posted_to(Secret(table["url"])) is None:
        raise SettingsError("a webhook's url is https, or http on this machine", rule=where.get("approval.url", place), hint='url = "https://…"')
    return Approval(**table, rule=f"[approval] in {place}")
