"""The command line: our first third-party user. One file per verb; typer is imported here and nowhere else."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The entry point of `x402-agent`."""
    from .app import app

    app(prog_name="x402-agent")
