"""The command line: our first third-party user. One file per verb; typer is imported here and nowhere else."""

from __future__ import annotations

__all__ = ["main"]


def _streams() -> None:
    r"""A closed stdin, stdout or stderr becomes the null device: it reads as empty, and no file of ours gets its number.

    A letter that the locale's encoding does not have is written as `\xb7`: it ends no command, least of all amid a payment.
    """
    import io
    import os
    import sys

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """The entry point of `x402-agent`."""
    _streams()
    import os
    import sys

    from .app import app

    code: int | str | None = 0
    try:
        try:
            app(prog_name="x402-agent")
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()  # here, where what cannot be written is said in words, and not when the interpreter ends
    except OSError as why:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to write goes nowhere
        if not isinstance(why, BrokenPipeError):
            sys.stderr.write(f"the output cannot be written: {why.strerror}\n")
        code = code or 1
    raise SystemExit(code)
