"""A person elsewhere on this machine: the request lies in a private folder until `x402-agent approve` answers it there.

A request's file is named by its digest, and an answer names the whole of it: what was shown is what is answered. Both files
go when the question is over. Whoever may write into the folder may say yes: it belongs to the user who holds the key.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import PolicyDenied, SettingsError
from ..steps import Sleep
from .request import digest, lines

if TYPE_CHECKING:
    from pathlib import Path

    from ..steps import Steps
    from .request import Request

__all__ = ["File", "Waiting", "answer", "waiting"]

PAUSE = 0.2
MAX_BYTES = 64 * 1024
_STALE = 3600  # seconds after which the request of a process that was killed is swept away
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
log = logging.getLogger("x402_agent")


class File:
    """Writes `ID.json` into `folder` (made with mode 0700), and waits for `ID.answer` beside it."""

    name = "file"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, request: Request) -> Steps[bool]:
        """True for a yes that names this request's digest; raises TimeoutError, and PolicyDenied for any other answer."""
        end = time.monotonic() + request.expires - request.created
        _private(self.folder)
        _sweep(self.folder)
        asked, answered = self.folder / f"{request.id}.json", self.folder / f"{request.id}.answer"
        try:
            _write(asked, {**request.facts, "digest": request.digest})
            log.warning("a payment of %s waits for a person: x402-agent approve show %s", request.money, request.id)
            while (found := _read(answered)) is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                yield Sleep(min(PAUSE, left))
        finally:
            for path in (asked, answered):
                path.unlink(missing_ok=True)
        if found.get("digest") != request.digest:
            raise PolicyDenied("the answer is about another request")
        return found.get("answer") == "yes"


@dataclass(frozen=True)
class Waiting:
    """A request that lies in the folder: its id, and its facts as `Request.facts` has them. Times in unix seconds."""

    id: str
    facts: dict[str, Any]

    @property
    def expires(self) -> int:
        """When an answer comes too late."""
        return int(self.facts["expires"])


def waiting(folder: Path, now: float) -> list[Waiting]:
    """The requests that may still be answered, the oldest first. A file that is not what its name says is none."""
    if not folder.is_dir():
        return []
    _private(folder)
    found = []
    for path in folder.glob("*.json"):
        facts = _read(path) or {}
        named = facts.pop("digest", "")
        try:
            if named == digest(facts) and named[:16] == path.stem and now < int(facts["expires"]) and lines(facts):
                found.append(Waiting(path.stem, facts))
        except (KeyError, TypeError, ValueError):
            continue
    return sorted(found, key=lambda each: each.expires)


def answer(folder: Path, request: Waiting, *, yes: bool) -> bool:
    """Answer it, once; -> False when it has been answered already. Raises SettingsError when the folder is not private."""
    _private(folder)
    made = {"digest": digest(request.facts), "answer": "yes" if yes else "no"}
    try:
        _write(folder / f"{request.id}.answer", made)
    except FileExistsError:
        return False
    return True


def _private(folder: Path) -> None:
    """Made where it is missing; refused where others may write, since then they may answer."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not hasattr(os, "getuid"):
        return
    made = folder.lstat()
    if not stat.S_ISDIR(made.st_mode) or made.st_uid != os.getuid() or made.st_mode & 0o022:
        raise SettingsError(f"{folder} is not a folder that only you can write to", rule="whoever writes there may say yes",
                            hint=f"chmod 700 {folder}")  # fmt: skip


def _write(path: Path, facts: dict[str, Any]) -> None:
    """Whole or not at all, mode 0600, and never over another file; raises FileExistsError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(facts, indent=1) + "\n")
        os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a plain file of ours, None when there is none; {} when it is anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return None
    except OSError:
        return {}
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return {}
        text = file.read(MAX_BYTES)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if path.lstat().st_mtime < time.time() - _STALE:
                path.unlink()
