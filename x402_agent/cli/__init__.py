"""The command line: our first third-party user. One file per verb; typer is imported here and nowhere else."""

from __future__ import annotations

__all__ = ["main"]


def _streams() -> None:
    """A closed stdin, stdout or stderr becomes the null device: it reads as empty, and no file of ours gets its number."""
    import os
    import sys

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def main() -> None:
    """The entry point of `x402-agent`."""
    _streams()
    from .app import app

    app(prog_name="x402-agent")
