"""A file that is there whole or not at all: 0600, durable, and never in the place of another one unless a person says so."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from ..errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OutFile"]

_NAMELESS = getattr(os, "O_TMPFILE", 0)  # Linux: a file without a name, which a killed process leaves nowhere


class OutFile:
    """Opened before anything is paid, so that what cannot be written is not bought. Raises SettingsError."""

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path.absolute()
        self._overwrite = overwrite
        self._part: Path | None = None
        self.size = 0
        if os.path.lexists(self.path) and (not overwrite or self.path.is_dir()):
            raise self._exists()
        try:
            self._file = os.fdopen(self._opened(), "wb")
        except OSError as why:
            raise SettingsError(f"{self.path} cannot be written: {why.strerror}", rule="--output", hint="--output FILE, in a folder of yours") from None

    def _opened(self) -> int:
        folder, mode = self.path.parent, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        if _NAMELESS and not self._overwrite and os.path.isdir("/proc/self/fd"):
            with suppress(OSError):  # not every file system has them
                return os.open(folder, mode | _NAMELESS, 0o600)
        self._part = folder / f".{self.path.name[:100]}.{secrets.token_hex(8)}.part"
        return os.open(self._part, mode | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)

    def write(self, chunk: bytes) -> None:
        """Raises OSError."""
        self._file.write(chunk)
        self.size += len(chunk)

    def keep(self) -> None:
        """All is there: now it gets its name, durably. Raises SettingsError when something has that name by now, OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            self._name()
        except FileExistsError:
            raise self._exists() from None
        _sync(self.path.parent)

    def _name(self) -> None:
        if self._part is None:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:  # with a folder given, link(2) follows the link of /proc to the file that it stands for
                os.link(f"/proc/self/fd/{self._file.fileno()}", self.path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)
        elif self._overwrite:
            os.replace(self._part, self.path)
        else:
            os.link(self._part, self.path)

    def _exists(self) -> SettingsError:
        hint = "another name" if self._overwrite else "another name, or --overwrite"
        return SettingsError(f"{self.path} exists already", rule="--output makes a new file", hint=hint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()
        if self._part is not None:
            with suppress(OSError):
                self._part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """The name itself on the disk, where folders can be synced."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
